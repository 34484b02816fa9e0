"""Which solver for which data: small problems are decided by Newton, large ones searched by relaxation first."""

from types import ModuleType
from typing import Any

from scipy import sparse

from isocline.linear_model.kesler import Pairs
from isocline.linear_model.rows import Rows
from isocline.linear_model.solvers.newton import FACTORED, newton
from isocline.linear_model.solvers.relaxation import relaxation
from isocline.linear_model.solvers.walk import Walk

SMALL = 2e8  # multiplications for a Hessian: below, Newton steps of a few milliseconds need no compiled loops
NEARLY = 2e-3  # errors: with more, Newton's method does better from zero than from where relaxation has come
FEW = 1e5  # numbers in X


def is_large(X: Any) -> bool:
    """Is `relaxation` the first thing to try?"""
    n, d = X.shape
    return n * d * min(d, FACTORED) > SMALL and (X.nnz if sparse.issparse(X) else n * d) > FEW


def auto(rows: Rows | Pairs, *, max_iter: int, seed: int) -> Walk:
    """The first separator, or else what Newton's method makes of the rows: weights that balance, or the
    pocket.
    """
    if isinstance(rows, Pairs) or rows.length is not None or not is_large(rows.X):
        return newton(rows, max_iter=max_iter)
    first = relaxation(rows, compiled(), max_passes=max_iter, seed=seed)
    if first.separated_at is not None:
        return first
    start = rows.coordinates.theta(*first.plane) if first.plane and first.errors < NEARLY else None
    second = newton(rows, max_iter=max_iter, start=start)
    second.n_passes += first.n_passes
    if second.separated_at is None and first.errors < second.errors:
        second.plane, second.errors = first.plane, first.errors
    return second


def compiled() -> ModuleType:
    """The compiled loops; importing Numba takes half a second, once."""
    from isocline.linear_model.kernels import cpu

    return cpu
