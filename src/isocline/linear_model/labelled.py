"""The door of the decisions: rows with two labels become signed rows with columns of about one size."""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from isocline._core.checks import check_finite, wrong
from isocline.linear_model.coordinates import Coordinates
from isocline.linear_model.rows import Rows

Array = npt.NDArray[np.float64]
_LEAST, _LARGEST = 1e-150, 1e150  # beyond these, squares leave float64


def labelled(X: Any, y: npt.ArrayLike, *, fit_intercept: bool) -> Rows:
    """Check X ``(n, d)`` and labels y ``(n,)`` of two classes; the second in sorted order is +1.

    Without an intercept one class is enough, if its label is a number: its sign is theirs. The columns are
    centred on their means where an intercept takes that up, and divided by a power of two, which is exact;
    neither changes what separates. Raises: ValueError, TypeError.
    """
    X, sign = checked_features(X), np.asarray(y)
    if sign.shape != (X.shape[0],):
        raise wrong("y", f"one label a row, ({X.shape[0]},)", f"{sign.shape}")
    check_finite("y", sign)
    classes = np.unique(sign)
    if len(classes) == 1 and not fit_intercept and classes.dtype.kind in "fiub":
        classes = np.array([np.inf, classes[0]]) if classes[0] > 0 else np.array([classes[0], np.inf])
    if len(classes) != 2:
        known = ", ".join(map(repr, classes[:5].tolist()))
        do = (
            "ask pair by pair, or one against the rest"
            if len(classes) > 2
            else "there is nothing to separate"
        )
        raise wrong("y", "labels of two classes", f"{len(classes)}: {known}", do)
    return of_one_size(X, np.where(sign == classes[1], 1, -1).astype(np.int8), fit_intercept=fit_intercept)


def checked_features(X: Any) -> Any:
    """X as float64 or float32, an array or canonical CSR, finite, with squares that stay in float64."""
    if sparse.issparse(X):
        X = sparse.csr_array(X)
        if not X.has_canonical_format or not X.data.all():
            X = X.copy()
            X.sum_duplicates()
            X.eliminate_zeros()
        values = X.data
    else:
        X = values = np.asarray(X)
    if X.ndim != 2 or 0 in X.shape:
        raise wrong(
            "X", "rows (n, d) with n >= 1 and d >= 1", f"{X.shape}", "X.reshape(-1, 1) is one feature"
        )
    if X.dtype.kind not in "fiub":
        raise wrong("X", "real numbers", f"dtype {X.dtype}", error=TypeError)
    check_finite("X", values)
    size = max(abs(float(values.max(initial=0))), abs(float(values.min(initial=0))))
    if size and not _LEAST < size < _LARGEST:
        raise wrong("X", f"a largest entry between {_LEAST:g} and {_LARGEST:g}", size, "divide X by it")
    return X if X.dtype in (np.float64, np.float32) else X.astype(np.float64)


def of_one_size(X: Any, sign: npt.NDArray[np.int8], *, fit_intercept: bool) -> Rows:
    """Signed rows in coordinates whose columns lie between about -2 and 2; a constant column is zero where
    there is an intercept.
    """
    center, size = _center_and_size(X, centered=fit_intercept)
    power = np.where(size > 0, np.ldexp(1.0, 1 - np.frexp(size)[1]), 1.0)
    return Rows(X, sign, Coordinates(center if fit_intercept else None, power, float(fit_intercept)))


def picked(rows: Rows, index: npt.NDArray[np.int64]) -> Rows:
    """Some of the rows, in coordinates of their own."""
    return of_one_size(rows.X[index], rows.sign[index], fit_intercept=rows.coordinates.bias != 0)


def dense(rows: Rows, index: npt.NDArray[np.int64]) -> Array:
    """The signed rows of an index, in coordinates: ``(k, p)``."""
    features = rows.X[index]
    features = features.toarray() if sparse.issparse(features) else features
    return rows.coordinates.walk(features, np.empty((len(index), *rows.shape))) * rows.sign[index, None]


def _center_and_size(X: Any, *, centered: bool) -> tuple[Array, Array]:
    """A column's mean, exact where the column is constant, and its largest distance from there."""
    low, high = (
        np.asarray(X.min(axis=0).toarray().ravel() if sparse.issparse(X) else X.min(axis=0), np.float64),
        np.asarray(X.max(axis=0).toarray().ravel() if sparse.issparse(X) else X.max(axis=0), np.float64),
    )
    if not centered:
        return np.zeros_like(low), np.maximum(np.abs(low), np.abs(high))
    mean = np.clip(np.asarray(X.mean(axis=0, dtype=np.float64)).ravel(), low, high)
    return mean, np.maximum(high - mean, mean - low)
