"""Newton's method in two parts: the logistic loss looks for a separator, an interior point method settles the
question.

On ``f(theta) = sum_i s_i log(1 + exp(-m_i))`` a step cuts what is left of f by about e while rows are being
separated: a dozen steps where a perceptron needs a hundred thousand. The first, from zero, is least squares
on the labels, Fisher's discriminant, which is often enough; and on every step's ray a separator is looked
for. When a step promises to lower f by little, there is probably no separator, and `interior` finds one after
all or proves that there is none. Source: Boyd & Vandenberghe, *Convex Optimization*, section 9.5; Fisher
1936.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from isocline.linear_model.coordinates import find_coordinates
from isocline.linear_model.kesler import Pairs
from isocline.linear_model.rows import Rows, mean_square, weighted_sum
from isocline.linear_model.solvers.direct import Direct
from isocline.linear_model.solvers.gradients import Gradients
from isocline.linear_model.solvers.interior import interior
from isocline.linear_model.solvers.line import logistic_scale, logistic_step, separating_point
from isocline.linear_model.solvers.walk import Walk, error_share

Array = npt.NDArray[np.float64]
FACTORED = 2000  # columns up to which a Hessian is factored
LEAST, MOST, EASE = 1e-8, 1.0, 10.0  # damping, and the factor by which it follows the length of the steps
SLOW = 0.05  # of the loss: a step that promises less is not on its way to a separator
OFFSET = 1e3  # a mean this many times the spread costs half the digits of the sums: then centre first


def newton(rows: Rows | Pairs, *, max_iter: int, start: Array | None = None) -> Walk:
    """From zero, or `start`, to the first separator or to weights that balance; ``walk.rows`` has the
    coordinates walked in.
    """
    if ill_placed(rows):
        rows, start = settled(rows), None
    share = rows.pair_share if isinstance(rows, Pairs) else rows.share
    factored = rows.X.shape[1] <= FACTORED
    systems = Direct(rows) if factored and isinstance(rows, Rows) else Gradients(rows)
    theta = np.zeros(rows.shape) if start is None else start
    margins = rows.forward(theta)
    if start is not None:
        t = logistic_scale(margins, share)
        theta, margins = t * theta, t * margins
    walk, damping = Walk("newton", rows, theta), LEAST
    for k in range(1, max_iter + 1):
        walk.n_iter, walk.n_passes = k, walk.n_passes + 4
        pull, curvature = rows.back(slopes(margins, share)), curvatures(margins, share)
        del margins  # a pass more, for a vector less while the Hessian is summed
        solve = systems.system(curvature, damping)
        del curvature
        margins = rows.forward(theta)
        step = solve(pull, slopes(margins, share))
        del solve
        change = rows.forward(step)
        t, slow = separating_point(margins, change), False
        if t is None:
            t, slow = logistic_step(margins, change, share, float(np.vdot(pull, step)), SLOW)
            damping = min(MOST, damping * EASE) if t < 0.25 else max(LEAST, damping / EASE)
        step *= t
        change *= t
        margins += change
        del change
        before, theta = theta, theta + step
        if walk.keep(theta, error_share(margins, rows.share)):
            walk.separated_at = k
        if walk.separated_at or slow or k == max_iter:
            walk.weights = slopes(rows.forward(before), share)
        del before, step
        if walk.separated_at:
            break
        if slow:
            return interior(rows, systems, walk, theta, max_iter=max_iter - k)
    return walk


def slopes(margins: Array, share: Array | None) -> Array:
    """``a_i = s_i / (1 + exp(m_i))``: minus the slopes of the logistic losses, the weights that may balance."""
    out = np.negative(margins)
    expit(out, out=out)
    if share is not None:
        out *= share
    return out


def curvatures(margins: Array, share: Array | None) -> Array:
    """``s_i p_i (1 - p_i)`` with ``p_i = 1 / (1 + exp(m_i))``."""
    out = slopes(margins, None)
    out *= 1.0 - out
    if share is not None:
        out *= share
    return out


def ill_placed(rows: Rows | Pairs) -> bool:
    """Would sums in these coordinates lose too many digits, or leave float64?"""
    if rows.coordinates.metric is not None:
        return False
    X, n = rows.X, rows.n
    share = np.full(n, 1.0 / n) if rows.share is None else rows.share
    with np.errstate(over="ignore", invalid="ignore"):
        mean, square = weighted_sum(X, share), mean_square(X, share)
        spread = square - mean**2 if rows.coordinates.bias else square
        there = (square > 0) | (mean != 0)
        return not (np.isfinite(square).all() and (spread[there] * OFFSET**2 > square[there]).all())


def settled(rows: Rows | Pairs) -> Rows | Pairs:
    """The same rows, centred and of equal spread."""
    return replace(rows, coordinates=find_coordinates(rows.X, "auto", rows.coordinates.bias, rows.share))
