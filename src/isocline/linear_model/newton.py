"""Damped Newton on the mean logistic loss of signed rows, given a block of rows at a time."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
_RIDGE = 1e-10  # of the mean curvature: keeps the equations solvable, moves no step that matters


def newton_direction(margins: Array, blocks: Iterable[tuple[Any, Array]]) -> tuple[Array, float]:
    """``H^-1 (-grad f)`` and its decrement ``grad f^T H^-1 grad f``, with a ridge in proportion to H.

    Shapes: margins ``(n,)``; blocks ``(index into margins, rows (k, d))``; returns ``(d,)``. Columns should
    be of about one size.
    Source: Boyd & Vandenberghe, *Convex Optimization*, section 9.5.
    """
    rates = np.exp(-np.logaddexp(0.0, margins))
    pull, hessian = 0.0, 0.0
    for index, rows in blocks:
        rate = rates[index]
        pull = pull + rate @ rows
        hessian = hessian + (rows * (rate * (1.0 - rate))[:, None]).T @ rows
    curvature, slope = np.asarray(hessian) / len(margins), np.asarray(pull) / len(margins)
    curvature[np.diag_indices_from(curvature)] += _RIDGE * (np.trace(curvature) / len(curvature) or 1.0)
    step = np.asarray(np.linalg.solve(curvature, slope), np.float64)
    return step, float(slope @ step)


def damping(margins: Array, along: Array, decrement: float) -> float:
    """The first of 1, 1/2, 1/4, ... that lowers the loss by a quarter of what the slope promises.

    Shapes: margins ``(n,)``, along ``(n,)`` what the whole step adds to them. Source: as `newton_direction`.
    """
    loss, size = np.logaddexp(0.0, -margins).mean(), 1.0
    while size > 1e-8:
        if np.logaddexp(0.0, -(margins + size * along)).mean() <= loss - 0.25 * size * decrement:
            break
        size /= 2
    return size
