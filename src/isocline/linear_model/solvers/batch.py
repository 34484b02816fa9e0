"""The batch methods: every step adds the rows, weighted by a rule of their margins alone."""

from collections.abc import Callable, Iterator
from math import inf

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from isocline.linear_model.functional import WEIGHTS, class_margins
from isocline.linear_model.kesler import Pairs, pair_radius
from isocline.linear_model.rows import Rows
from isocline.linear_model.solvers.walk import Stuck, Walk, error_share, hopeless

Array = npt.NDArray[np.float64]
PATIENCE = 100  # steps without a separator before the question is put whether there is one
# A method yields, for ever: theta in units of the step size, its margins, and simplex-to-be weights whose sum of rows is known:
# (weights, ||Z^T weights||). The weights are of all steps so far.
State = tuple[Array, Array, Array, float]


def weighted(rows: Rows | Pairs, method: str, step_size: float, start: Array | None) -> Iterator[State]:
    """theta grows by ``Z^T w`` with the weights w of `functional.WEIGHTS`.

    Source: Tyurin, arXiv 2412.08424, sections 3 to 6.
    """
    rule = WEIGHTS[method]
    theta, tie = (np.zeros(rows.shape), 0.5) if start is None else (start, 1.0)
    origin, total = theta, np.zeros(())
    margins = rows.forward(theta)
    while True:
        if isinstance(rows, Pairs):
            least, parts = class_margins(np.where(np.isinf(margins), 0.0, -margins), rows.index, step_size)
            weights = rule(least, step_size, tie=tie, share=rows.share)[:, None] * parts
        else:
            weights = rule(margins, step_size, tie=tie, share=rows.share)
        theta, total, tie = theta + rows.back(weights), total + weights, 1.0
        margins = rows.forward(theta)
        yield theta, margins, total, float(np.linalg.norm(theta - origin))


def smooth_perceptron(
    rows: Rows | Pairs, _method: str, _step: float, _start: Array | None
) -> Iterator[State]:
    """Smooth perceptron on rows of length at most one, from the mean row. Source: Soheili & Pena 2012."""
    unit, uniform = 1.0 / pair_radius(rows), _uniform(rows)
    nu, k = 2.0, 0
    theta = unit * rows.back(uniform)
    margins = unit * rows.forward(theta)
    weights = _entropy(margins / nu, rows)
    pull = unit * rows.back(weights)
    while True:
        yield theta, margins / unit, weights, float(np.linalg.norm(pull)) / unit
        tau = 2.0 / (k + 3)
        theta = (1 - tau) * (theta + tau * pull) + tau**2 * unit * rows.back(_entropy(margins / nu, rows))
        margins = unit * rows.forward(theta)
        nu, k = (1 - tau) * nu, k + 1
        weights = (1 - tau) * weights + tau * _entropy(margins / nu, rows)
        pull = unit * rows.back(weights)


def momentum(rows: Rows | Pairs, _method: str, _step: float, start: Array | None) -> Iterator[State]:
    """Dual momentum towards the maximum margin, rows of length at most one.

    Source: Ji, Srebro & Telgarsky 2021.
    """
    unit = 1.0 / pair_radius(rows)
    theta = np.zeros(rows.shape) if start is None else start / (np.linalg.norm(start) or 1.0)
    velocity, t, total = np.zeros(rows.shape), 0, np.zeros(())
    margins = unit * rows.forward(theta)
    while True:
        weights = _entropy(margins, rows)
        pull = unit * rows.back(weights)
        velocity = t / (t + 1) * (velocity + pull)  # (t + 1) velocity = sum_{j <= t} j pull_j
        theta, t, total = theta + velocity + pull, t + 1, total + t * weights
        margins = unit * rows.forward(theta)
        last = float(np.linalg.norm(pull))
        mean = 2.0 * t * float(np.linalg.norm(velocity)) / (t * (t - 1)) if t > 1 else inf
        best = (weights, last) if last <= mean else (total, mean * t * (t - 1) / 2.0)
        yield theta, margins / unit, best[0], best[1] / unit


Method = Callable[[Rows | Pairs, str, float, Array | None], Iterator[State]]
METHODS: dict[str, Method] = {
    **dict.fromkeys(WEIGHTS, weighted),
    "smooth_perceptron": smooth_perceptron,
    "momentum": momentum,
}


def batch(
    rows: Rows | Pairs,
    method: str,
    *,
    step_size: float = inf,
    max_iter: int,
    stop: str = "separated",
    margin_tol: float = 1e-2,
    start: Array | None = None,
    stuck: Stuck | None = None,
) -> Walk:
    """Walk by one of `METHODS` to the first separator; with `stop` "margin" until the margin is known to
    `margin_tol`, with "max_iter" to the end. Rows without a separator end it when `stuck` says so. The walk
    keeps the separator of the widest margin.
    """
    walk = Walk(method, rows, np.zeros(rows.shape))
    best, upper = 0.0, inf
    first = 0 if method == "smooth_perceptron" else 1  # which starts from the mean row, before any step
    states = METHODS[method](rows, method, step_size, start)
    for k, (theta, margins, weights, length) in enumerate(states, start=first):
        walk.n_iter, walk.n_passes = max(1, k), walk.n_passes + 2
        least, size, mass = float(margins.min()), float(np.linalg.norm(theta)), float(weights.sum())
        if mass > 0 and length / mass < upper:
            upper, walk.weights = length / mass, weights
        if least > 0 and walk.separated_at is None:
            walk.separated_at = k
        if least > 0 and size > 0 and least / size > best:
            best, walk.theta, walk.errors = least / size, theta, 0.0
        elif least <= 0:
            walk.keep(theta, error_share(margins, rows.share))
        enough = {
            "separated": least > 0,
            "margin": best > 0 and upper - best <= margin_tol * upper,
            "max_iter": False,
        }
        if enough[stop] or k >= max_iter:
            return walk
        if k >= PATIENCE and walk.separated_at is None and hopeless(walk, stuck):
            return walk
    raise AssertionError("a method ended by itself")


def _uniform(rows: Rows | Pairs) -> Array:
    """The share of every row; of every pair, alike among the wrong classes."""
    if isinstance(rows, Pairs):
        share = np.full(rows.n, 1.0 / rows.n) if rows.share is None else rows.share
        weights = np.repeat(share[:, None] / (rows.classes - 1), rows.classes, axis=1)
        weights[np.arange(rows.n), rows.index] = 0.0
        return weights
    return np.full(rows.n, 1.0 / rows.n) if rows.share is None else rows.share


def _entropy(margins: Array, rows: Rows | Pairs) -> Array:
    """``softmax(log share - margins)`` over all rows, or all pairs."""
    if rows.share is None:
        return softmax(-margins)
    share = np.log(rows.share)
    return softmax((share[:, None] if margins.ndim == 2 else share) - margins)
