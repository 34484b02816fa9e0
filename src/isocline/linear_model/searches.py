"""Searches for a separator, or for weights that balance; whatever they yield is judged elsewhere."""

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.optimize import linprog, nnls
from scipy.special import softmax

from isocline.linear_model.certificate import polished
from isocline.linear_model.labelled import dense
from isocline.linear_model.newton import damping, newton_direction
from isocline.linear_model.rows import Rows
from isocline.linear_model.solvers.line import hinge_minimum, separating_point

Array = npt.NDArray[np.float64]
# How it was found, a vector in the rows' coordinates, weights on the rows.
Candidates = Iterator[tuple[str, Array | None, Array | None]]
NEWTON_WIDTH = 1000  # columns up to which normal equations are quick
LP_SIZE = 3_000_000  # values up to which a linear program ends in minutes


def contradictions(rows: Rows) -> Candidates:
    """A signed row of zeros, or two that cancel: equal ones of two classes or, without intercept, opposite
    ones.
    """
    seen: dict[tuple[bytes, bool], int] = {}
    for i, sign in enumerate(rows.sign > 0):
        if rows.coordinates.bias:  # [x, 1] cancels -[x, 1]
            own, opposite = (_digest(rows.X, i, 1.0), sign), (_digest(rows.X, i, 1.0), not sign)
        else:
            own, opposite = ((_digest(rows.X, i, s), True) for s in (rows.sign[i], -rows.sign[i]))
        clash = i if own == opposite else seen.get(opposite)
        if clash is not None:
            weights = np.zeros(len(rows.sign))
            weights[[clash, i]] = 1.0
            how = "a row of zeros" if clash == i else f"rows {clash} and {i} contradict each other"
            yield how, None, weights
            return
        seen[own] = i


def _digest(X: Any, i: int, factor: float) -> bytes:
    """A digest of a row times plus or minus one; adding 0.0 makes -0.0 and 0.0 one number."""
    if not sparse.issparse(X):
        return hashlib.blake2b(factor * X[i] + 0.0, digest_size=20).digest()
    part = slice(X.indptr[i], X.indptr[i + 1])
    entries = X.indices[part].tobytes() + (factor * X.data[part]).tobytes()
    return hashlib.blake2b(entries, digest_size=20).digest()


def class_means(rows: Rows) -> Candidates:
    """From one mean to the other; with these coordinates, nearly the direction of a diagonal discriminant."""
    plus = rows.sign > 0
    shares = np.where(plus, 1 / max(1, plus.sum()), 1 / max(1, (~plus).sum()))
    yield "the difference of the class means", rows.back(shares), None


def hinge(rows: Rows, steps: int = 60) -> Candidates:
    """Newton on ``1/2 sum max(0, 1 - m)^2``: where least, ``max(0, 1 - m)`` balances (Mangasarian 2002)."""
    if rows.shape[0] > NEWTON_WIDTH:
        return
    theta, margins = np.zeros(rows.shape), np.zeros(len(rows.sign))
    for step in range(1, steps + 1):
        lack = np.maximum(0.0, 1.0 - margins)
        if not lack.any():
            return
        pull, hessian = np.zeros(rows.shape), np.zeros(rows.shape * 2)
        for block, z in rows.blocks():
            active = np.flatnonzero(lack[block])
            pull += lack[block][active] @ z[active]
            hessian += z[active].T @ z[active]
        if np.linalg.norm(pull) <= 1e-11 * lack.sum():
            yield f"Newton on the squared hinge, step {step}: it is least", None, polished(rows, lack)
            return
        hessian[np.diag_indices_from(hessian)] += 1e-10 * (np.diag(hessian) + np.trace(hessian) / len(pull))
        direction = np.asarray(np.linalg.solve(hessian, pull), np.float64)
        along = rows.forward(direction)
        size = separating_point(margins, along)
        if size is not None:
            yield f"Newton on the squared hinge, step {step}", theta + size * direction, None
        size = hinge_minimum(margins, along, None)
        theta, margins = theta + size * direction, margins + size * along


def logistic(rows: Rows, steps: int = 60) -> Candidates:
    """Newton on the logistic loss; where it rests, its mistakes balance, without those going to zero."""
    if rows.shape[0] > NEWTON_WIDTH:
        return
    theta, margins, rest = np.zeros(rows.shape), np.zeros(len(rows.sign)), 1e-6
    for step in range(1, steps + 1):
        direction, decrement = newton_direction(margins, rows.blocks())
        along = rows.forward(direction)
        size = damping(margins, along, decrement)
        theta, margins = theta + size * direction, margins + size * along
        yield f"Newton, step {step}", theta, None
        if decrement < rest:
            mistakes = np.exp(-np.logaddexp(0.0, margins))
            for least in (0.0, 1e-6, 1e-3):
                weights = polished(rows, np.where(mistakes >= least * mistakes.max(), mistakes, 0.0))
                yield f"Newton, step {step}: the gradient vanishes", None, weights
            rest = min(1e-4 * rest, decrement)
        if decrement < 1e-20 or size < 1e-7:
            return


def smooth_perceptron(rows: Rows, steps: int = 2000) -> Candidates:
    """For wide rows. Source: Soheili & Pena 2012; the averaged weights balance where no separator exists."""
    n, p = len(rows.sign), rows.shape[0]
    if p <= NEWTON_WIDTH:
        return
    length = rows.radius() or 1.0
    weights, nu = np.full(n, 1 / n), 2.0
    pull = theta = rows.back(weights) / length
    for k in range(steps):
        yield f"smooth perceptron, step {k}", theta, None
        if k in (250, 1000, steps - 1) and p <= 4 * NEWTON_WIDTH:
            yield f"smooth perceptron, step {k}: its averaged weights", None, polished(rows, weights)
        tau = 2.0 / (k + 3)
        entropy = softmax(-rows.forward(theta) / length / nu)
        theta = (1 - tau) * (theta + tau * pull) + tau**2 * rows.back(entropy) / length
        nu *= 1 - tau
        weights = (1 - tau) * weights + tau * softmax(-rows.forward(theta) / length / nu)
        pull = rows.back(weights) / length


def linear_program(rows: Rows) -> Candidates:
    """``max t`` with ``z_i . theta >= t`` on unit rows, ``|theta_j| <= 1``; its multipliers balance if t =
    0.
    """
    n = len(rows.sign)
    if n * rows.shape[0] > LP_SIZE:
        return
    z = dense(rows, np.arange(n))
    length = np.linalg.norm(z, axis=1)
    length[length == 0] = 1.0
    z = z / length[:, None]
    goal = np.append(np.zeros(rows.shape[0]), -1.0)
    limits = [(-1.0, 1.0)] * rows.shape[0] + [(None, None)]
    result = linprog(goal, np.column_stack([-z, np.ones(n)]), np.zeros(n), bounds=limits, method="highs")
    if result.x is None:
        return
    yield "linear program (HiGHS)", result.x[:-1], None
    support = np.flatnonzero(-result.ineqlin.marginals > 1e-9)
    if len(support):
        balance = np.vstack([z[support].T, np.ones(len(support))])
        weights = np.zeros(n)
        weights[support] = nnls(balance, np.append(np.zeros(rows.shape[0]), 1.0))[0] / length[support]
        yield "linear program (HiGHS): its multipliers", None, weights
