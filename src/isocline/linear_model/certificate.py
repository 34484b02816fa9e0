"""What proves an answer: a vector whose margins are certainly positive, or weights that certainly balance.

Both proofs hold for the float64 numbers as they stand. Rounding is bounded, and where a bound leaves a doubt,
a few rows are looked at in whole numbers.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from isocline.linear_model.exact import exact_dependence, exact_sign
from isocline.linear_model.labelled import picked
from isocline.linear_model.rows import Rows

Array = npt.NDArray[np.float64]
_DOUBTFUL_ROWS = 200  # rows whose sign may be settled exactly
_EXACT_ROWS = 64  # rows whose dependence may be settled exactly: a second of whole-number arithmetic
_ENTRIES = 1 << 18  # entries looked at together
_EPS = float(np.finfo(np.float64).eps)


def certain_margin(rows: Rows, coef: Array, intercept: float) -> float | None:
    """``min_i y_i (x_i . coef + intercept) / ||coef||`` of the rows as they came; None if not certainly above
    0.

    A float64 margin is off by at most ``(d + 2) eps (sum_j |x_ij coef_j| + |intercept|)``; rows within that
    are decided exactly, and then the margin may be too small for float64 to tell: 0. Shapes: coef ``(d,)``.
    """
    if not (np.isfinite(coef).all() and np.isfinite(intercept)):
        return None
    least, doubtful = np.inf, list[int]()
    height = max(1, _ENTRIES // rows.X.shape[1])
    for start in range(0, len(rows.sign), height):
        block = slice(start, start + height)
        features = rows.X[block].astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is doubtful
            margins = rows.sign[block] * (features @ coef + intercept)
            doubt = (len(coef) + 2) * _EPS * (abs(features) @ np.abs(coef) + abs(intercept))
        doubtful += (np.flatnonzero(~(margins > doubt)) + start).tolist()
        least = min(least, float(margins.min()))
        if (margins < -doubt).any() or len(doubtful) > _DOUBTFUL_ROWS:
            return None
    if any(exact_sign(_plain(rows.X, [i])[0], coef, intercept) != rows.sign[i] for i in doubtful):
        return None
    size = float(np.abs(coef).max())
    return max(0.0, least) / size / float(np.linalg.norm(coef / size)) if size > 0 else None


def balances(rows: Rows, weights: Array) -> bool:
    """Is there, close to these weights, an exact balance ``Z^T a = 0``, ``a >= 0``? Then no separator exists.

    With ``r = Z^T a``, ``G = Z^T diag(a) Z`` and ``G v = r``, the weights ``a_i (1 - z_i . v)`` balance
    exactly; they are not negative when ``max ||z_i|| ||r|| < lambda_min(G)``. That is checked with the
    rounding of r and G added. Few rows that do not span the space are settled in whole numbers. Shapes:
    weights ``(n,)``. Source: Gordan 1873.
    """
    support = np.flatnonzero(weights)
    if len(support) == 0 or not np.isfinite(weights).all() or weights.min() < 0:
        return False
    if len(support) < len(weights):
        rows, weights = picked(rows, support), weights[support]
    residual, gram, longest = _moments(rows, weights)
    used = np.diag(gram) > 0  # a column of zeros balances by itself
    if used.any():
        rounding = (len(support) + len(residual) + 8) * _EPS
        least = np.linalg.eigvalsh(gram[used][:, used])[0] - rounding * np.trace(gram)
        if longest * (np.linalg.norm(residual) + rounding * longest * weights.sum()) < least:
            return True
    if len(support) > _EXACT_ROWS:
        return False
    ones = np.ones((len(support), 1 if rows.coordinates.bias else 0))
    return exact_dependence(np.hstack([_plain(rows.X, slice(None)), ones]) * rows.sign[:, None], weights)


def polished(rows: Rows, weights: Array) -> Array | None:
    """The weights moved to ``a_i (1 - z_i . v)``, see `balances`; None where that makes some negative."""
    support = np.flatnonzero(weights)
    if len(support) < len(weights):
        out, found = np.zeros(len(weights)), polished(picked(rows, support), weights[support])
        if found is None:
            return None
        out[support] = found
        return out
    for _ in range(2):
        weights = weights / weights.sum()
        residual, gram, _ = _moments(rows, weights)
        correction = np.asarray(np.linalg.lstsq(gram, residual, rcond=1e-13)[0], np.float64)
        weights = weights * (1.0 - rows.forward(correction))
        if not np.isfinite(weights).all() or weights.min() <= 0:
            return None
    return weights / weights.sum()


def _moments(rows: Rows, weights: Array) -> tuple[Array, Array, float]:
    """``Z^T a (p,)``, ``Z^T diag(a) Z (p, p)``, and the length of the longest row that has weight."""
    residual, gram, longest = np.zeros(rows.shape), np.zeros(rows.shape * 2), 0.0
    for block, z in rows.blocks():
        a = weights[block]
        residual += a @ z
        longest = max(longest, float(np.einsum("bp,bp->b", z, z)[a > 0].max(initial=0.0)))
        gram += (z * a[:, None]).T @ z
    return residual, gram, longest**0.5


def _plain(X: Any, index: Any) -> Array:
    features = X[index]
    return np.asarray(features.toarray() if sparse.issparse(features) else features, np.float64)
