"""The signed rows as an operator: margins forward, weighted sums back, and never a copy of X."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from isocline.linear_model.coordinates import Coordinates
from isocline.linear_model.solvers.packed import Packed

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]
Data = Any  # a dense (n, d) array or a CSR matrix or array


def height(X: Data, share: int = 50, least: int = 1 << 8, most: int = 1 << 17) -> int:
    """How many rows to hold at a time: about a `share`-th part of X, between `least` and `most` numbers."""
    n, d = X.shape
    return max(1, min(n, min(most, max(least, n * d // share)) // max(1, d)))


def blocks_of(X: Data) -> Iterator[tuple[slice, Array]]:
    """The rows as they came, a few at a time, dense and in float64. May be views: not to be written to."""
    step = height(X)
    for start in range(0, X.shape[0], step):
        rows = slice(start, min(start + step, X.shape[0]))
        block = X[rows]
        block = block.toarray() if sparse.issparse(block) else block
        yield rows, block.astype(np.float64, copy=False)


def scores(X: Data, coef: Array, intercept: npt.ArrayLike = 0.0) -> Array:
    """``X coef^T + intercept`` in float64; rows of another type are converted block by block.

    Shapes: X ``(n, d)``; coef ``(d,)`` or ``(K, d)``; returns ``(n,)`` or ``(n, K)``.
    """
    if X.dtype == np.float64:
        out: Array = np.asarray(X @ coef.T)
    else:
        out = np.empty((X.shape[0], *coef.shape[:-1]))
        step = height(X) if not sparse.issparse(X) else max(1, X.shape[0] // 16)
        for start in range(0, X.shape[0], step):
            out[start : start + step] = X[start : start + step].astype(np.float64) @ coef.T
    out += np.asarray(intercept)
    return out


def weighted_sum(X: Data, weights: Array) -> Array:
    """``weights^T X`` in float64. Shapes: weights ``(n,)`` or ``(n, K)``; returns ``(d,)`` or ``(K, d)``."""
    if X.dtype == np.float64:
        return np.asarray((X.T @ weights).T) if sparse.issparse(X) else weights.T @ X
    out = np.zeros((*weights.shape[1:], X.shape[1]))
    step = height(X) if not sparse.issparse(X) else max(1, X.shape[0] // 16)
    for start in range(0, X.shape[0], step):
        block, weight = X[start : start + step].astype(np.float64), weights[start : start + step]
        out += np.asarray((block.T @ weight).T) if sparse.issparse(X) else weight.T @ block
    return out


def squares(X: Data) -> Array:
    """``||x_i||^2 (n,)`` in float64."""
    if not sparse.issparse(X) and X.dtype == np.float64:
        return np.einsum("nd,nd->n", X, X)
    n = X.shape[0]
    out, step = np.empty(n), max(1, n // 16) if sparse.issparse(X) else height(X)
    for start in range(0, n, step):
        block = X[start : start + step].astype(np.float64)
        if sparse.issparse(X):
            out[start : start + step] = np.asarray(block.power(2).sum(axis=1)).ravel()
        else:
            out[start : start + step] = np.einsum("nd,nd->n", block, block)
    return out


def mean_square(X: Data, share: Array) -> Array:
    """``sum_i share_i x_ij^2 (d,)`` in float64."""
    if not sparse.issparse(X) and X.dtype == np.float64:
        return np.einsum("n,nd,nd->d", share, X, X)
    out, step = np.zeros(X.shape[1]), max(1, X.shape[0] // 16) if sparse.issparse(X) else height(X)
    for start in range(0, X.shape[0], step):
        block, part = X[start : start + step].astype(np.float64), share[start : start + step]
        out += block.power(2).T @ part if sparse.issparse(X) else part @ np.square(block)
    return out


@dataclass(frozen=True, slots=True)
class Rows:
    """Two classes: ``z_i = r_i y_i [M^T (x_i - c), s]`` for labels y = ±1, never formed.

    `share` (n,) is what each row counts, summing to one (None: all alike); `length` (n,) is r (None: one).
    """

    X: Data
    sign: npt.NDArray[np.int8]  # (n,) y
    coordinates: Coordinates
    share: Array | None = None
    length: Array | None = None

    @property
    def n(self) -> int:
        return len(self.sign)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of theta."""
        return (self.coordinates.size(self.X.shape[1]),)

    def forward(self, theta: Array) -> Array:
        """Margins ``Z theta (n,)``."""
        out = scores(self.X, *self.coordinates.plane(theta))
        return self._signed(out)

    def back(self, weights: Array) -> Array:
        """``Z^T weights (p,)``."""
        signed = self._signed(weights.copy())
        return self.coordinates.pull(weighted_sum(self.X, signed), signed.sum())

    def _signed(self, values: Array) -> Array:
        """Times ``r_i y_i``, in place and a few at a time, for NumPy buffers what it converts."""
        step = max(256, len(values) // 16)
        for start in range(0, len(values), step):
            part = slice(start, start + step)
            values[part] *= self.sign[part]
        if self.length is not None:
            values *= self.length
        return values

    def blocks(
        self, index: Index | None = None, *, signed: bool = True, width: int | None = None
    ) -> Iterator[tuple[Any, Array]]:
        """Rows in coordinates, a few at a time in one buffer that is overwritten: all, or those of an index.

        `width` cuts off columns from the right: d leaves out the intercept's.
        """
        n = len(self.sign) if index is None else len(index)
        step = max(1, min(n, height(self.X)))
        buffer = np.empty((step, self.shape[0] if width is None else width))
        for start in range(0, n, step):
            rows = slice(start, min(start + step, n)) if index is None else index[start : start + step]
            out = buffer[: min(step, n - start)]
            self.coordinates.walk(_picked(self.X, rows), out)
            if signed:
                out *= self.sign[rows, None]
            if signed and self.length is not None:
                out *= self.length[rows, None]
            yield rows, out

    def gram(self, index: Index | None, weights: Array | None) -> Packed:
        """``sum_i weights_i x_i x_i^T`` of the features, in coordinates but of their own length, over the
        rows of `index`, or all.

        Shapes: weights ``(n,)``, None for ones. The intercept's column is left out.
        """
        X, total, roots = self.X, Packed(self.X.shape[1]), np.empty(0)
        plain = isinstance(X, np.ndarray) and X.dtype == np.float64 and X.flags.c_contiguous
        plain = plain and self.coordinates.center is None and self.coordinates.metric is None
        if plain and index is None and weights is None:
            total.add(X)
            return total
        blocks = self._as_given(index) if plain else self.blocks(index, signed=False, width=X.shape[1])
        for rows, block in blocks:
            if weights is not None:
                roots = roots if len(roots) else np.empty_like(block)
                part = roots[: len(block)]
                part[:] = np.sqrt(weights[rows])[:, None]  # NumPy would buffer what it broadcasts
                block = np.multiply(part, block, out=part)
            total.add(block)
        return total

    def _as_given(self, index: Index | None) -> Iterator[tuple[Any, Array]]:
        """Dense rows as they came, a few at a time: views, or those of an index in one buffer."""
        step = height(self.X)
        if index is None:
            parts = (slice(start, start + step) for start in range(0, self.n, step))
            yield from ((part, self.X[part]) for part in parts)
            return
        buffer = np.empty((min(step, len(index)), self.X.shape[1]))
        for start in range(0, len(index), step):
            part = index[start : start + step]
            yield (
                part,
                self.X.take(part, axis=0, out=buffer[: len(part)], mode="clip"),
            )  # "raise" would buffer

    def mean(self, index: Index | None, weights: Array) -> Array:
        """The mean ``(d,)`` of the features, in coordinates, over the rows of `index`, or all.

        Shapes: weights ``(n,)``.
        """
        if index is not None:
            few, weights = weights, np.zeros(self.n)
            weights[index] = few[index]
        total = float(weights.sum())
        return self.coordinates.pull(weighted_sum(self.X, weights), total)[: self.X.shape[1]] / total

    def radius(self) -> float:
        """``max_i ||z_i||``."""
        return max(float(np.sqrt(np.einsum("bp,bp->b", z, z).max())) for _, z in self.blocks())


def _picked(X: Data, rows: slice | Index) -> Array:
    """Some rows, dense: a view where that is possible."""
    return X[rows].toarray() if sparse.issparse(X) else X[rows]
