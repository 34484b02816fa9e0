"""An interior point method for the question itself: a separator, or weights that balance, whichever exists.

``min sum_i s_i xi_i`` subject to ``m_i + xi_i >= 1``, ``xi >= 0`` has the dual ``max sum_i a_i`` subject to
``Z^T a = 0``, ``0 <= a <= s``: the least hinge loss, which is zero just for separable rows; any dual point
but zero proves (Gordan) that there is no separator. Both come within some twenty linear systems, as large as
there are columns, however hard the rows are. Source: Mehrotra 1992 (predictor and corrector); Wright 1997,
*Primal-Dual Interior-Point Methods*, chapter 10.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isocline.linear_model.kesler import Pairs
from isocline.linear_model.rows import Rows
from isocline.linear_model.solvers.direct import Direct
from isocline.linear_model.solvers.gradients import Gradients, in_balance
from isocline.linear_model.solvers.line import separating_point
from isocline.linear_model.solvers.walk import Walk, error_share

Array = npt.NDArray[np.float64]
REACH = 0.995  # of the way to the boundary
PROMISING = 0.02  # the share of weights below zero with which balanced ones are worth mending
LEAST = 1e-8  # of the largest weight: smaller ones are on their way to zero
ROUNDS = 8


@dataclass(slots=True)
class Point:
    """Inside both problems: ``a``, ``rest = s - a``, ``xi`` and ``zeta = m - 1 + xi`` above zero; ``(k,)``,
    one a row (or pair).

    On the central path ``a zeta`` and ``rest xi`` are all alike.
    """

    a: Array
    rest: Array
    xi: Array
    zeta: Array

    @classmethod
    def near(cls, margins: Array, share: Array) -> "Point":
        """For a plane with these margins."""
        lack = 1.0 - margins
        room = max(1e-3, float(np.abs(lack).mean()))
        xi, zeta = np.maximum(lack, 0.0) + room, np.maximum(-lack, 0.0) + room
        return cls(share * xi / (xi + zeta), share * zeta / (xi + zeta), xi, zeta)

    def gap(self) -> float:
        """The mean of the products, zero at the solution."""
        return float(self.a @ self.zeta + self.rest @ self.xi) / (2 * len(self.a))

    def curvature(self) -> Array:
        return 1.0 / (self.zeta / self.a + self.xi / self.rest)

    def slope(self, by: tuple[Array, Array], curvature: Array) -> Array:
        """What a would be if the products changed `by` this, and no margin."""
        return self.a + curvature * (by[0] / self.a - by[1] / self.rest)

    def change(self, by: tuple[Array, Array], curvature: Array, moved: Array) -> "Point":
        """How all change when the products change `by` this to first order and the margins by `moved`."""
        a = self.slope(by, curvature) - self.a - curvature * moved
        xi = (by[1] + self.xi * a) / self.rest
        return Point(a, -a, xi, moved + xi)

    def reach(self, change: "Point") -> tuple[float, float]:
        """How far the weights can go, and how far the plane, at most the whole way."""
        return (
            min(_reach(self.a, change.a), _reach(self.rest, change.rest)),
            min(_reach(self.xi, change.xi), _reach(self.zeta, change.zeta)),
        )

    def after(self, change: "Point", weights: float, plane: float) -> "Point":
        return Point(
            self.a + weights * change.a,
            self.rest + weights * change.rest,
            self.xi + plane * change.xi,
            self.zeta + plane * change.zeta,
        )


def interior(
    rows: Rows | Pairs, systems: Direct | Gradients, walk: Walk, theta: Array, *, max_iter: int
) -> Walk:
    """Go on with a walk from theta, for at most `max_iter` systems: to a separator, or to weights that
    balance.
    """
    margins = rows.forward(theta)
    live = np.isfinite(margins)
    share = np.full(rows.n, 1.0 / rows.n) if rows.share is None else rows.share
    share = np.broadcast_to(share.reshape(-1, *[1] * (margins.ndim - 1)), margins.shape)[live]
    point = Point.near(margins[live], share)

    def whole(values: Array) -> Array:
        out = np.zeros(margins.shape)
        out[live] = values
        return out

    promising = PROMISING
    for _ in range(max_iter):
        walk.n_iter, walk.n_passes = walk.n_iter + 1, walk.n_passes + 7
        curvature = point.curvature()
        solve = systems.system(whole(curvature), 0.0)
        by = (-point.a * point.zeta, -point.rest * point.xi)
        for corrected in (False, True):
            slope = whole(point.slope(by, curvature))
            step = solve(rows.back(slope), slope)
            moved = rows.forward(step)
            change = point.change(by, curvature, moved[live])
            far = point.reach(change)
            if not corrected:
                gap = point.gap()
                center = gap * (point.after(change, *far).gap() / gap) ** 3
                by = (by[0] + center - change.a * change.zeta, by[1] + center - change.rest * change.xi)
        weights = point.a + change.a  # which balance, but some may be below zero
        missed = -float(np.minimum(weights, 0.0).sum()) / float(np.abs(weights).sum())
        if missed <= promising:
            promising, walk.n_passes = missed / 4, walk.n_passes + 4
            found = balance(rows, systems, whole(np.maximum(weights, 0.0)))
            if found is not None:
                walk.weights, walk.refuted = found, True
                break
        t = separating_point(margins, moved)
        weight, plane = (REACH * part if part < 1 else 1.0 for part in far)
        theta = theta + (plane if t is None else t) * step
        margins = rows.forward(theta)
        if walk.keep(theta, error_share(margins, rows.share)):
            walk.separated_at = walk.n_iter
            break
        point = point.after(change, weight, plane)
    return walk


def balance(rows: Rows | Pairs, systems: Direct | Gradients, weights: Array) -> Array | None:
    """Weights near these with ``Z^T a = 0`` up to rounding; None when a few rounds do not find any.

    With ``G = Z^T diag(a) Z`` and ``G v = Z^T a``, the weights ``a_i (1 - z_i . v)`` balance; those below
    zero, or on their way there, are left out, and the others balanced again.
    """
    for _ in range(ROUNDS):
        weights = weights / weights.sum()
        pull = rows.back(weights)
        if in_balance(pull, weights, systems.units):
            return weights
        change = rows.forward(systems.system(weights.copy(), 0.0)(pull, weights))
        change[weights == 0] = 0.0
        weights = weights * (1.0 - change)
        if not np.isfinite(weights).all() or not weights.max() > 0:
            break
        weights[weights < LEAST * weights.max()] = 0.0
    return None


def _reach(values: Array, change: Array) -> float:
    """The largest ``t <= 1`` with ``values + t change >= 0``."""
    falling = change < 0
    return min(1.0, float((values[falling] / -change[falling]).min(initial=np.inf)))
