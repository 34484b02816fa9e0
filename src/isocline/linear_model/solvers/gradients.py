"""Newton's linear systems by conjugate gradients: many columns, or several classes.

Only products with the rows are needed, nothing larger than a few parameter vectors is kept, and no step
leaves the span of the rows. Systems are preconditioned by the Cholesky factor of the samples' second moment
where that is small: then the first step of Newton's method is Fisher's discriminant at once. Source: Hestenes
& Stiefel 1952; Dembo, Eisenstat & Steihaug 1982 (how exactly to solve).
"""

from collections.abc import Callable
from math import sqrt

import numpy as np
import numpy.typing as npt

from isocline.linear_model.kesler import Pairs
from isocline.linear_model.rows import Rows, mean_square

Array = npt.NDArray[np.float64]
Precondition = Callable[[Array], Array]
BALANCED = 1e-13  # |Z^T a| / sum a, column by column in units of the column: what rounding leaves
EXACT = 1e-13  # a relative residual that counts as solved
MOST = 500  # products for one system
FACTORED = 1000  # columns up to which a second moment is factored
SPANNED = 1e-8  # the least pivot, as a share of its column's square, of columns that count as independent


class Gradients:
    """Systems ``H step = Z^T slope`` with ``H = Z^T diag(curvature) Z``; shapes as theta and the margins."""

    def __init__(self, rows: Rows | Pairs) -> None:
        self.rows, self.units = rows, column_units(rows)

    def system(self, curvature: Array, damping: float) -> Callable[[Array, Array], Array]:
        """What solves for a step from ``Z^T slope`` and slope: the more exactly, the nearer to balance."""
        ridge = (damping if damping > 1e-6 else 0.0) * float(curvature.sum()) * self.units**2
        precondition = self._precondition(curvature, ridge)

        def solve(pull: Array, slope: Array) -> Array:
            far = float((np.abs(pull) / self.units).max()) / max(float(slope.sum()), np.finfo(float).tiny)
            if far == 0:
                return np.zeros_like(pull)
            accuracy = max(min(0.1, sqrt(far)), 0.1 * BALANCED / far)
            return conjugate_gradients(self.rows, curvature, ridge, pull, precondition, accuracy)

        return solve

    def _precondition(self, curvature: Array, ridge: Array) -> Precondition:
        """An approximate inverse of H.

        The columns' scales alone where there are many, or where the rows that matter do not span them: the
        inverse of a singular second moment would blow rounding up.
        """
        rows, units = self.rows, self.units
        d, bias = rows.X.shape[1], rows.coordinates.bias

        def scales(vector: Array) -> Array:
            return vector / units**2

        weights = curvature.sum(axis=1) if curvature.ndim == 2 else curvature
        index = np.flatnonzero(weights)
        if d > FACTORED or len(index) == 0:
            return scales
        if rows.length is not None:
            weights = weights * rows.length**2
        gram = (rows.features() if isinstance(rows, Pairs) else rows).gram(index, weights)
        before = np.concatenate(gram.diagonal())
        for part, more in zip(gram.diagonal(), np.split(ridge[:d], [-(-d // 2)]), strict=True):
            part += more
        if not gram.factor() or (np.concatenate(gram.diagonal()) ** 2 <= SPANNED * before).any():
            return scales
        mass = bias**2 * float(weights.sum()) or 1.0

        def factored(vector: Array) -> Array:
            out = np.empty_like(vector)
            out[..., :d] = gram.solve(np.atleast_2d(vector)[:, :d].T).T.reshape(out[..., :d].shape)
            out[..., d:] = vector[..., d:] / mass
            return out

        return factored


def conjugate_gradients(
    rows: Rows | Pairs,
    curvature: Array,
    ridge: Array,
    pull: Array,
    precondition: Precondition,
    accuracy: float,
) -> Array:
    """``H^-1 pull`` to a relative accuracy, for ``H = Z^T diag(curvature) Z + diag(ridge)``."""
    step, residual, own = np.zeros_like(pull), pull.copy(), curvature == 0
    toward = precondition(residual)
    direction, energy = toward, float(np.vdot(residual, toward))
    enough = max(accuracy, EXACT) ** 2 * energy
    for _ in range(min(4 * pull.size, MOST)):
        moved = rows.forward(direction)
        moved[own] = 0.0  # the margin against the own class is infinite
        bent = rows.back(curvature * moved) + ridge * direction
        curve = float(np.vdot(direction, bent))
        if not curve > 0:
            break
        length = energy / curve
        step += length * direction
        residual -= length * bent
        toward = precondition(residual)
        before, energy = energy, float(np.vdot(residual, toward))
        if energy <= enough:
            break
        direction = toward + (energy / before) * direction
    return step


def in_balance(pull: Array, slope: Array, units: Array) -> bool:
    """``Z^T slope = 0``, up to rounding."""
    return bool((np.abs(pull) <= BALANCED * float(slope.sum()) * units).all())


def column_units(rows: Rows | Pairs) -> Array:
    """The root mean square ``(p,)`` of every column, in coordinates; 1 for one of zeros."""
    n, d = rows.X.shape
    share = np.full(n, 1.0 / n) if rows.share is None else rows.share
    if rows.length is not None:
        share = share * rows.length**2
    metric, squares = rows.coordinates.metric, np.zeros(rows.shape[-1])
    if rows.coordinates.center is None and (metric is None or metric.ndim == 1):
        squares[:d] = mean_square(rows.X, share)
        squares[:d] *= 1.0 if metric is None else np.square(metric)
        squares[d:] = rows.coordinates.bias**2 * share.sum()
    else:
        features = rows.features() if isinstance(rows, Pairs) else rows
        for span, z in features.blocks(signed=False):
            squares += share[span] @ np.square(z)
    return np.where(squares > 0, np.sqrt(squares), 1.0)
