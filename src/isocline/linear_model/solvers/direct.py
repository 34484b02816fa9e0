"""Newton's linear systems with a factored Hessian: dense or CSR rows of not too many columns.

The Hessian is summed over blocks of rows and kept in packed form; the intercept is eliminated, which is what
centring the features on the weighted mean does. Where few rows matter and they do not span the features, H is
singular, and its damped inverse would blow up the rounding of its right side where no row sees it. Then the
system is solved for the rows instead: ``(Z U^-2 Z^T + damping / curvature) alpha = slope / curvature`` with
the columns' spread U, and the step ``U^-2 Z^T alpha``, the same one, stays within their span.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from isocline.linear_model.rows import Rows
from isocline.linear_model.solvers.gradients import column_units
from isocline.linear_model.solvers.packed import Packed

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]
Solve = Callable[[Array, Array], Array]  # Z^T slope, slope -> step
SPANNED = 1e-7  # the least pivot, as a share of its column's square, of columns that count as independent
NEGLIGIBLE = 1e-8  # curvature, as a share of the largest, where there is damping
UNDAMPED = 1e-13  # of the diagonal itself, where there is none
UNSEEN = 1e-4  # of the damping: all that a system for the rows needs, as it blows nothing up
FEW = 500  # rows for which such a system is always small


class Direct:
    """Systems ``(H + damping) step = Z^T slope`` with ``H = Z^T diag(curvature) Z``, damped in the columns'
    units.
    """

    def __init__(self, rows: Rows) -> None:
        self.rows, self.units = rows, column_units(rows)
        self.spread = self.units.copy()
        if rows.coordinates.bias:
            mean = rows.mean(None, np.ones(rows.n) if rows.share is None else rows.share)
            least = 1e-6 * self.units[:-1]
            self.spread[:-1] = np.sqrt(np.maximum(self.units[:-1] ** 2 - mean**2, least**2))

    def system(self, curvature: Array, damping: float) -> Solve:
        """What solves for a step ``(p,)`` from ``Z^T slope (p,)`` and slope ``(n,)``; curvature ``(n,)`` is
        used up.
        """
        largest = float(curvature.max())
        curvature /= largest
        active = np.flatnonzero(curvature > (NEGLIGIBLE if damping else 0.0))
        few = len(active) <= max(FEW, 2 * len(self.units))
        if 2 * len(active) > len(curvature):  # leaving out the others would save little
            active = None
        solve = self._by_columns(active, curvature, damping, spanned=few)
        if solve is None and few:
            solve = self._by_rows(active, curvature, damping)
        while solve is None:
            damping = max(100.0 * damping, UNDAMPED)
            solve = self._by_columns(active, curvature, damping)
        found = solve
        return lambda pull, slope: found(pull, slope) / largest

    def _by_columns(
        self, active: Index | None, curvature: Array, damping: float, *, spanned: bool = False
    ) -> Solve | None:
        """By Cholesky; None when H is not positive to rounding, or, if it has to be `spanned`, many columns
        depend on others.
        """
        rows, bias = self.rows, self.rows.coordinates.bias
        weights = curvature if rows.length is None else curvature * rows.length**2
        few = weights if active is None else weights[active]
        mass, alike = float(few.sum()), few.min() == few.max()
        del few
        hessian = rows.gram(active, None if alike else weights)
        mean = rows.mean(active, weights) if bias else np.zeros(0)
        if bias:
            hessian.add(mean[None], -mass)
        squares, half = mass * self.spread[: hessian.p] ** 2, -(-hessian.p // 2)
        for part, size in zip(hessian.diagonal(), np.split(squares, [half]), strict=True):
            part += damping * size if damping else UNDAMPED * part
            part[part == 0] = 1.0
        if not hessian.factor():
            return None
        if spanned and damping < SPANNED:
            pivots = np.concatenate(hessian.diagonal()) ** 2
            if 4 * np.count_nonzero(pivots <= SPANNED * squares) > len(squares):
                return None

        def solve(pull: Array, slope: Array) -> Array:
            if not bias:
                return hessian.solve(pull)
            total = float(pull[-1]) / bias
            step = hessian.solve(pull[:-1] - total * mean)
            return np.append(step, (total / mass - mean @ step) / bias)

        return solve

    def _by_rows(self, active: Index | None, curvature: Array, damping: float) -> Solve | None:
        """The same from a system as large as there are rows; None when that is not positive to rounding."""
        chosen = slice(None) if active is None else active
        few, done = curvature[chosen], 0
        table, kernel = np.empty((len(few), len(self.units))), Packed(len(few))
        for _, block in self.rows.blocks(active):
            np.divide(block, self.spread, out=table[done : done + len(block)])
            done += len(block)
        kernel.add_outer(table)
        softness = damping * UNSEEN * float(few.sum()) / few
        for part, soft in zip(kernel.diagonal(), np.split(softness, [-(-len(few) // 2)]), strict=True):
            part += soft
        if not kernel.factor():
            return None
        return lambda pull, slope: (kernel.solve(slope[chosen] / few) @ table) / self.spread
