"""The perceptron: rows in order, and every row that is wrong is added. Source: Novikoff 1962."""

from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from isocline.linear_model.kesler import Pairs
from isocline.linear_model.rows import Rows
from isocline.linear_model.solvers.walk import Stuck, Walk, error_share, hopeless

Array = npt.NDArray[np.float64]
PATIENCE = 64  # passes without a separator before the question is put whether there is one


def perceptron(
    rows: Rows, kernels: ModuleType, *, max_iter: int, start: Array | None = None, stuck: Stuck | None = None
) -> Walk:
    """Cyclic passes from zero until one makes no update; `max_iter` counts passes, `separated_at` updates."""
    p = rows.shape[0]
    theta = np.zeros(p + (rows.coordinates.bias == 0))
    theta[:p] = 0.0 if start is None else start
    counts, updates = np.zeros(rows.n), 0
    walk = Walk("perceptron", rows, theta[:p])
    for k in range(1, max_iter + 1):
        made = one_pass(rows, kernels, theta, counts)
        walk.n_iter, walk.n_passes, walk.weights, updates = k, walk.n_passes + 1, counts, updates + made
        if (
            made and k < max_iter and k & (k - 1)
        ):  # the pocket is looked at after passes 1, 2, 4, 8, ... and the last
            continue
        if k >= PATIENCE and made and hopeless(walk, stuck):
            break
        walk.n_passes += 1
        if walk.keep(theta[:p].copy(), error_share(rows.forward(theta[:p]), rows.share)):
            walk.separated_at = updates
            break
    return walk


def one_pass(rows: Rows, kernels: ModuleType, theta: Array, counts: Array) -> int:
    """One pass over all rows; theta ``(p,)``, or ``(p + 1,)`` with a zero where the rows have no intercept's
    column.
    """
    bias = rows.coordinates.bias
    if rows.length is None and rows.coordinates.center is None and rows.coordinates.metric is None:
        X: Any = rows.X
        table = (X.data, X.indices, X.indptr) if sparse.issparse(X) else X
        return kernels.cycle(table, rows.sign, 0, rows.n, theta, bias, counts)
    made, ones = 0, np.ones(1, np.int8)
    wide = theta if not bias else np.append(theta, 0.0)
    for span, block in rows.blocks():
        ones = np.ones(len(block), np.int8) if len(ones) != len(block) else ones
        made += kernels.cycle(block, ones, 0, len(block), wide, 0.0, counts[span])
    theta[:] = wide[: len(theta)]
    return made


def pairs_perceptron(
    rows: Pairs, *, max_iter: int, start: Array | None = None, stuck: Stuck | None = None
) -> Walk:
    """Several classes: a sample that scores a wrong class as high as its own is added to its own and taken
    from the highest.
    """
    theta = np.zeros(rows.shape) if start is None else start.copy()
    walk, counts, updates = Walk("perceptron", rows, theta), np.zeros((rows.n, rows.classes)), 0
    for k in range(1, max_iter + 1):
        updates += pairs_pass(rows, theta, counts)
        walk.n_iter, walk.n_passes, walk.weights = k, walk.n_passes + 2, counts
        if walk.keep(theta.copy(), error_share(rows.forward(theta), rows.share)):
            walk.separated_at = updates
            break
        if k >= PATIENCE and hopeless(walk, stuck):
            break
    return walk


def pairs_pass(rows: Pairs, theta: Array, counts: Array) -> int:
    """One pass over the samples; theta ``(K, p)`` and counts ``(n, K)`` are changed in place.

    Returns the updates.
    """
    made = 0
    for span, block in rows.features().blocks():
        for i, a in enumerate(block, start=span.start):
            own, result = rows.index[i], theta @ a
            gaps = result[own] - result
            gaps[own] = np.inf
            other = int(gaps.argmin())
            if not gaps[other] > 0:
                theta[own] += a
                theta[other] -= a
                counts[i, other] += 1
                made += 1
    return made
