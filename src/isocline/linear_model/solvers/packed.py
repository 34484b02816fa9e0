"""A symmetric positive matrix in half the memory: LAPACK's rectangular full packed form, as fast as the full
one.

Source: Gustavson, Wasniewski, Dongarra & Langou 2010, *Rectangular full packed format for Cholesky's
algorithm*, ACM TOMS 37.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg

Array = npt.NDArray[np.float64]
lapack: Any = scipy.linalg.lapack  # its stubs lack the packed routines
LAYOUT = {"transr": "N", "uplo": "L"}


class Packed:
    """``H (p, p)``, built from sums of outer products and then solved with once, in place."""

    __slots__ = ("p", "values")

    def __init__(self, p: int) -> None:
        self.p, self.values = p, np.zeros(p * (p + 1) // 2)

    def add(self, block: Array, weight: float = 1.0) -> None:
        """``H += weight block^T block``. Shapes: block ``(B, p)``, rows contiguous or copied so."""
        self.values = lapack.dsfrk(
            self.p, len(block), weight, block.T, 1.0, self.values, trans="N", overwrite_c=1, **LAYOUT
        )

    def add_outer(self, table: Array) -> None:
        """``H += table table^T``. Shapes: table ``(p, k)``, rows contiguous or copied so."""
        self.values = lapack.dsfrk(
            self.p, table.shape[1], 1.0, table.T, 1.0, self.values, trans="T", overwrite_c=1, **LAYOUT
        )

    def diagonal(self) -> tuple[Array, Array]:
        """Two views ``(ceil(p / 2),)`` and ``(floor(p / 2),)`` that are the diagonal, first part and last."""
        half, odd = divmod(self.p, 2)
        height = self.p + 1 - odd
        first, last = (0, height) if odd else (1, 0)
        step = height + 1
        return self.values[first::step][: half + odd], self.values[last::step][:half]

    def factor(self) -> bool:
        """Put the Cholesky factor in the place of H; False, and H lost, when H is not positive to rounding."""
        self.values, info = lapack.dpftrf(self.p, self.values, overwrite_a=1, **LAYOUT)
        return info == 0

    def solve(self, right: Array) -> Array:
        """``H^-1 right`` after `factor`. Shapes: ``(p,)``, or ``(p, k)``."""
        columns = right[:, None] if right.ndim == 1 else right
        return lapack.dpftrs(self.p, self.values, columns, **LAYOUT)[0].reshape(right.shape)
