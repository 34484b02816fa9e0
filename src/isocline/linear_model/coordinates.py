"""The coordinates a method walks in: an invertible change of the features that does not change the task.

A row ``x`` becomes ``[M^T (x - c), s]`` with centre ``c (d,)``, metric ``M`` (a scale per column ``(d,)`` or
a triangle ``(d, d)``) and the constant ``s`` of the intercept's column. It is never formed: a parameter
``theta (p,)`` in these coordinates is the plane ``x . coef + intercept`` with ``coef = M theta[:d]`` and
``intercept = s theta[d] - c . coef``. What it does change is ``R^2 / mu^2``, and with it the number of steps:
centred, of equal spread and with a modest s, often by a hundred.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.linalg import solve_triangular

from isocline._core.checks import wrong

Array = npt.NDArray[np.float64]
Data = Any  # a dense (n, d) array or a CSR matrix or array
OFFSET = 1e3  # a mean this many times the spread costs the sums that follow half their digits: then centre


@dataclass(frozen=True, slots=True)
class Coordinates:
    """Centre, metric and the intercept's column; nothing at all by default."""

    center: Array | None = None  # (d,)
    metric: Array | None = None  # (d,) or (d, d), upper triangular
    bias: float = 0.0  # s; 0: no intercept

    def size(self, features: int) -> int:
        """The number of parameters: one a feature, and one for the intercept."""
        return features + (self.bias != 0)

    def plane(self, theta: Array) -> tuple[Array, Array]:
        """``theta (..., p)`` as ``coef (..., d)`` and ``intercept (...)`` in the features as they came."""
        coef = theta[..., :-1] if self.bias else theta
        if self.metric is not None:
            coef = coef * self.metric if self.metric.ndim == 1 else coef @ self.metric.T
        level = theta[..., -1] * self.bias if self.bias else np.zeros(theta.shape[:-1])
        return coef, level if self.center is None else level - coef @ self.center

    def theta(self, coef: Array, intercept: Array) -> Array:
        """The inverse of `plane`."""
        level = intercept if self.center is None else intercept + coef @ self.center
        if self.metric is not None and self.metric.ndim == 1:
            coef = coef / self.metric
        elif self.metric is not None:
            coef = solve_triangular(self.metric, coef.T).T
        return np.concatenate([coef, np.asarray(level / self.bias)[..., None]], -1) if self.bias else coef

    def pull(self, sums: Array, totals: npt.ArrayLike) -> Array:
        """The transpose of `plane`: ``X^T w (..., d)`` and ``1^T w (...)`` to ``Z^T w (..., p)``."""
        total = np.asarray(totals)[..., None]
        if self.center is not None:
            sums = sums - total * self.center
        if self.metric is not None:
            sums = sums * self.metric if self.metric.ndim == 1 else sums @ self.metric
        return np.concatenate([sums, self.bias * total], axis=-1) if self.bias else sums

    def walk(self, block: Array, out: Array) -> Array:
        """Rows ``(B, d)`` written into ``out (B, p)`` in these coordinates; into ``(B, d)`` without the
        intercept's column.
        """
        d = block.shape[1]
        features = out[:, :d]
        np.copyto(features, block) if self.center is None else np.subtract(block, self.center, out=features)
        if self.metric is not None and self.metric.ndim == 1:
            features *= self.metric
        elif self.metric is not None:
            features[:] = features @ self.metric
        out[:, d:] = self.bias
        return out


def moments(X: Data, share: Array | None = None) -> tuple[Array, Array]:
    """Mean and spread (standard deviation) of every column, both ``(d,)``, by `share` of the rows; no copy of
    X.

    Each column is measured in its own size, so that squares neither overflow nor vanish.
    """
    from isocline.linear_model.rows import (
        blocks_of,
    )  # the two know each other: rows walk, coordinates are found from rows

    n, d = X.shape
    size = largest(X)
    size[size == 0] = 1.0
    total, square = np.zeros(d), np.zeros(d)
    for rows, block in blocks_of(X):
        weight = np.full(len(block), 1.0 / n) if share is None else share[rows]
        total += weight @ (block := block / size)
    for rows, block in blocks_of(X):
        weight = np.full(len(block), 1.0 / n) if share is None else share[rows]
        block = block / size - total
        square += weight @ np.square(block, out=block)
    spread = np.sqrt(square)
    spread[spread <= 1e-14] = 0.0  # a constant column, up to the rounding of its mean
    return total * size, spread * size


def largest(X: Data) -> Array:
    """``max_i |x_ij|`` of every column ``(d,)``, in float64."""
    if sparse.issparse(X):
        out = np.zeros(X.shape[1])
        np.maximum.at(out, X.indices, np.abs(X.data))
        return out
    return np.maximum(X.max(axis=0), -X.min(axis=0)).astype(np.float64)


def whitening(X: Data, center: Array | None, size: Array, share: Array | None) -> Array:
    """The triangle ``M`` with ``M^T C M = I`` for the second moment C of the (centred) rows, slightly ridged."""
    from isocline.linear_model.rows import blocks_of

    d = X.shape[1]
    moment = np.zeros((d, d))
    for rows, block in blocks_of(X):
        block = (block if center is None else block - center) / size
        weight = np.full(len(block), 1.0 / X.shape[0]) if share is None else share[rows]
        moment += (block * weight[:, None]).T @ block
    moment[np.diag_indices(d)] += 1e-10 * (np.trace(moment) / d or 1.0)
    factor = np.linalg.cholesky(moment)  # C = L L^T, M = L^-T
    return solve_triangular(factor, np.diag(1.0 / size), lower=True).T


def find_coordinates(X: Data, how: str | None, bias: float, share: Array | None) -> Coordinates:
    """The coordinates a name asks for; centring needs an intercept to take up the shift, and is left out
    without one.
    """
    if how is None or (how == "rows" and not bias):
        return Coordinates(bias=bias)
    center, spread = moments(X, share)
    spread[spread == 0] = 1.0
    middle = center if bias else None
    if how == "whiten":
        size = spread if bias else np.hypot(spread, center)
        return Coordinates(middle, whitening(X, middle, size, share), bias)
    if how in ("center", "rows"):
        if how == "center" and not bias:
            raise wrong(
                "precondition", "an intercept to centre with", "fit_intercept=False", "use None or 'whiten'"
            )
        return Coordinates(middle, None, bias)
    return Coordinates(middle, 1.0 / (spread if bias else np.hypot(spread, center)), bias)
