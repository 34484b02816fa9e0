"""The loops over rows, plain: NumPy a row at a time.

`table` holds the rows: a dense ``(n, d)`` array, or the ``(data, indices, indptr)`` of a CSR one. `sign`
``(n,)`` holds the labels -1 and +1. A plane is `w` ``(d,)`` and a level, changed in place.
"""

from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]
Table = Any  # (n, d) array | (data, indices, indptr)

# What a walk of `relax` has done, as a vector of 7 float64:
PLUS, MINUS, DRIFT_PLUS, DRIFT_MINUS, COUNT, SHIFT, DRIFT_SHIFT = range(7)


def _row(table: Table, i: int) -> tuple[Any, Array]:
    """Where row i has values, and the values."""
    if isinstance(table, tuple):
        data, indices, indptr = table
        part = slice(indptr[i], indptr[i + 1])
        return indices[part], data[part]
    return slice(None), table[i]


def relax(
    table: Table,
    sign: Array,
    order: Array,
    w: Array,
    drift: Array,
    state: Array,
    center: Array | None,
    metric: Array | None,
    level: float,
    pull: float,
    target: float,
    burn: int,
) -> int:
    """Visit the rows of `order`; one with margin ``m < target`` is pulled by ``g = pull (target - m) /
    ||z||^2`` towards it.

    The walk is in coordinates ``z = y [metric^1/2 (x - center), level^1/2]``: ``w += g y metric (x -
    center)`` and the plane's level is ``level (plus - minus) - center . w`` with the sums of g over the
    classes in `state`. From visit `burn` on, `drift` and its entries of `state` gather ``count`` times every
    change, so that ``w - drift / count`` is the mean of the walk. Returns how many rows came with ``m <= 0``.
    Source: Agmon 1954, Motzkin & Schoenberg 1954 (relaxation, 0 < pull < 2); Polyak & Juditsky 1992 (the
    mean).
    """
    mistakes = 0
    for visit, i in enumerate(order):
        y = float(sign[i])
        at, x = _row(table, i)
        m = y * (float(x @ w[at]) + level * (state[PLUS] - state[MINUS]) - state[SHIFT])
        mistakes += not m > 0
        state[COUNT] += visit >= burn
        if m >= target:
            continue
        z = x if center is None else x - center
        pulled = z if metric is None else metric * z
        square = float(pulled @ z) + level
        if square <= 0:
            continue
        g = pull * (target - m) / square
        change = (g * y) * pulled
        turn = 0.0 if center is None else float(change @ center)
        w[at] += change
        state[PLUS if y > 0 else MINUS] += g
        state[SHIFT] += turn
        if visit >= burn:
            drift[at] += state[COUNT] * change
            state[DRIFT_PLUS if y > 0 else DRIFT_MINUS] += state[COUNT] * g
            state[DRIFT_SHIFT] += state[COUNT] * turn
    return mistakes


def margins(
    table: Table, sign: Array, rows: Array | None, w: Array, level: float, out: Array, squares: Array
) -> int:
    """``y_i (x_i . w + level)`` and ``||x_i||^2`` of the rows listed, in that order, or of all (None);
    returns how many are not above zero.
    """
    wrong = 0
    for k, i in enumerate(range(len(out)) if rows is None else rows):
        at, x = _row(table, i)
        out[k] = sign[i] * (x @ w[at] + level)
        squares[k] = x @ x
        wrong += not out[k] > 0
    return wrong


def cycle(table: Table, sign: Array, start: int, stop: int, theta: Array, bias: float, counts: Array) -> int:
    """One pass of the perceptron over rows start..stop: where ``y (x . theta[:d] + bias theta[d]) <= 0``, add
    ``y [x, bias]`` to theta.

    `counts` (n,) gathers the updates of each row. Returns the number of updates. Source: Novikoff 1962.
    """
    updates = 0
    for i in range(start, stop):
        y = float(sign[i])
        at, x = _row(table, i)
        m = float(x @ theta[:-1][at]) + bias * theta[-1]
        if not y * m > 0:
            theta[:-1][at] += y * x
            theta[-1] += y * bias
            counts[i] += 1
            updates += 1
    return updates
