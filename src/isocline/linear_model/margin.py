"""The maximum margin between its two proofs: a direction from below, weights on the rows from above."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.linalg import qr
from scipy.optimize import nnls

from isocline._core.checks import check_number, wrong
from isocline._core.files import plain
from isocline.linear_model.labelled import dense, labelled
from isocline.linear_model.rows import Rows

Array = npt.NDArray[np.float64]
_ACTIVE = 2500  # rows of the working set up to which non-negative least squares stays quick
_ENTRIES = 20_000_000  # and numbers in it
_NOTHING = 1e-12  # a margin this small beside the rows is rounding


@dataclass(frozen=True, slots=True, repr=False)
class MaxMargin:
    """The widest separator found, and how much wider one could still be.

    ``margin <= mu <= upper``, in the units of the data: `margin` is the least ``y_i (x_i . theta +
    intercept)`` with ``||theta|| = 1``, `upper` is ``||sum_i a_i z_i||`` of the convex `weights`, by duality.
    Both are computed in float64; y = +1 for the second class.
    """

    theta: Array  # (d,), of length one
    intercept: float
    margin: float
    upper: float
    weights: Array  # (n,) >= 0, summing to one; with an intercept, to 1/2 in each class
    how: str

    @property
    def gap(self) -> float:
        """``upper - margin``: no separator is better by more than this."""
        return self.upper - self.margin

    def __repr__(self) -> str:
        return f"MaxMargin({self.margin:.6g}, gap {self.gap:.1e}; {self.how})"

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        names = ("theta", "intercept", "margin", "upper", "gap", "weights", "how")
        return {name: plain(getattr(self, name)) for name in names}


def max_margin(
    X: Any, y: npt.ArrayLike, *, fit_intercept: bool = False, tol: float = 1e-10, max_rounds: int = 200
) -> MaxMargin:
    """The hard margin ``mu = max over ||theta|| = 1 of min_i y_i (x_i . theta)``, with its duality gap.

    mu is the distance from zero to the convex hull of the signed rows (with `fit_intercept`, half the
    distance between the hulls of the classes). The nearest point is found by non-negative least squares on a
    working set of rows, which takes in the rows it gets wrong until ``gap <= tol * upper``, or `max_rounds`
    are over; when the set grows large, momentum goes on, with up to 10 max_rounds steps. The gap says how
    good the answer is.
    Shapes: X ``(n, d)``, dense or CSR; y ``(n,)`` labels of two classes.
    Raises: ValueError when no separator was found; `is_separable` says whether there is one.
    Source: Gordan's theorem and minimax duality; Lawson & Hanson 1974, chapter 23 (NNLS).

    >>> max_margin([[2.0, 0.0], [0.0, 2.0]], [1, 1 - 2]).margin.__round__(6)
    1.414214
    """
    check_number("tol", tol, least=0)
    check_number("max_rounds", max_rounds, least=1, integer=True)
    rows, unit = _isotropic(labelled(X, y, fit_intercept=fit_intercept))
    weights = _halves(rows, np.ones(len(rows.sign)))
    pulled = _features(rows, weights)
    found = _Bounds(_placed(rows, pulled), weights, float(np.linalg.norm(pulled)))
    found = _by_working_set(rows, found, tol, max_rounds)
    if found.apart(tol) and found.upper > _NOTHING:
        found = _by_momentum(rows, found, tol, 10 * max_rounds)
    margin, upper = found.plane.margin, max(found.plane.margin, found.upper)
    if not margin > 0:
        got = f"none found, and none has a margin above {unit * upper:.2g}"
        raise wrong("X", "rows that a hyperplane separates", got, "is_separable has a proof either way")
    coef, intercept = rows.coordinates.plane(found.plane.theta)
    return MaxMargin(
        coef * unit, float(intercept) * unit, margin * unit, upper * unit, found.weights, found.how
    )


class _Plane(NamedTuple):
    theta: Array  # (p,), its features of length one
    margin: float
    margins: Array  # (n,)


class _Bounds(NamedTuple):
    """The best plane and the best weights so far."""

    plane: _Plane
    weights: Array
    upper: float
    how: str = "class means"

    def apart(self, tol: float) -> bool:
        return self.upper - self.plane.margin > tol * self.upper

    def improved(self, *planes: _Plane, weights: Array, upper: float, how: str) -> "_Bounds":
        plane = max(self.plane, *planes, key=lambda plane: plane.margin)
        weights, upper = (weights, upper) if upper < self.upper else (self.weights, self.upper)
        return _Bounds(plane, weights, upper, how)


def _by_working_set(rows: Rows, found: _Bounds, tol: float, max_rounds: int) -> _Bounds:
    """The nearest point of the hull of a few rows, again and again, with the rows added that it gets
    wrong.
    """
    active, margins = np.zeros(0, np.int64), found.plane.margins
    count, most = max(100, min(rows.shape[0], 500)), min(_ACTIVE, _ENTRIES // rows.shape[0])
    for number in range(1, max_rounds + 1):
        new = _hardest(margins, active, below=found.upper * (1 - tol), count=count)
        if not found.apart(tol) or len(new) == 0 or len(active) + len(new) > most:
            break
        active = np.union1d(active, new)
        weights = _nearest(rows, active)
        if weights is None:
            break
        pulled = _features(rows, weights)
        near, exact = _placed(rows, pulled), _placed(rows, _on_the_planes(rows, weights))
        how = f"non-negative least squares on {len(active)} of {len(margins)} rows, {number} rounds"
        found = found.improved(near, exact, weights=weights, upper=float(np.linalg.norm(pulled)), how=how)
        margins = near.margins
    return found


def _by_momentum(rows: Rows, found: _Bounds, tol: float, steps: int) -> _Bounds:
    """Dual momentum: theta is the pull of all weights so far. Source: Ji, Srebro & Telgarsky 2021."""
    step = 1.0 / (rows.radius() or 1.0) ** 2
    weights = found.weights
    total = velocity = np.zeros(len(weights))
    for t in range(steps):
        velocity = t / (t + 1) * (velocity + weights)
        total = total + velocity + weights
        pulled, mass = _features(rows, total), total.sum()
        plane, length = _placed(rows, pulled), float(np.linalg.norm(pulled))
        how = f"momentum, {t + 1} steps"
        found = found.improved(plane, weights=total / mass, upper=length / mass, how=how)
        if not found.apart(tol):
            break
        weights = _halves(rows, np.exp(step * length * (plane.margin - plane.margins)))
    return found


def _halves(rows: Rows, weights: Array) -> Array:
    """Summing to one; with an intercept, to 1/2 in each class."""
    if not rows.coordinates.bias:
        return weights / weights.sum()
    plus = rows.sign > 0
    return np.where(plus, 0.5 / weights[plus].sum(), 0.5 / weights[~plus].sum()) * weights


def _isotropic(rows: Rows) -> tuple[Rows, float]:
    """The rows with one scale for all columns, so that the largest entry is about one; and that scale."""
    metric = np.asarray(rows.coordinates.metric)
    coordinates = replace(rows.coordinates, metric=np.full_like(metric, metric.min()))
    return replace(rows, coordinates=coordinates), float(1 / metric.min())


def _features(rows: Rows, weights: Array) -> Array:
    return rows.back(weights)[: rows.X.shape[1]]


def _placed(rows: Rows, direction: Array) -> _Plane:
    """The plane across a direction, half-way between the classes where there is an intercept."""
    unit = direction / (np.linalg.norm(direction) or 1.0)
    if not rows.coordinates.bias:
        margins = rows.forward(unit)
        return _Plane(unit, float(margins.min()), margins)
    margins = rows.forward(np.append(unit, 0.0))
    high, low = margins[rows.sign > 0].min(), -margins[rows.sign < 0].min()
    intercept = -(high + low) / 2
    return _Plane(np.append(unit, intercept), float(high - low) / 2, margins + intercept * rows.sign)


def _hardest(
    margins: Array, active: npt.NDArray[np.int64], *, below: float, count: int
) -> npt.NDArray[np.int64]:
    """Up to `count` rows of least margin among those below, leaving out the active ones."""
    hard = np.setdiff1d(np.flatnonzero(margins < below), active)
    return hard[np.argsort(margins[hard], kind="stable")[:count]]


def _nearest(rows: Rows, active: npt.NDArray[np.int64]) -> Array | None:
    """Weights ``(n,)`` of the point nearest to zero in the hull of the active rows; None when NNLS gives up.

    Minimises ``||Z^T a||^2 + (1 - sum a)^2`` over ``a >= 0``, whose solution is that point's up to a factor.
    With an intercept the classes must weigh alike; the method of multipliers sees to that.
    """
    z, sign = dense(rows, active)[:, : rows.X.shape[1]], rows.sign[active]
    body = z.T if len(active) >= z.shape[1] else qr(z.T, mode="r")[0][: len(active)]
    force, target = (10.0, 0.0) if rows.coordinates.bias else (0.0, 0.0)
    system = np.vstack([body, np.ones(len(active)), force * sign])
    a, weights = np.zeros(len(active)), np.zeros(len(rows.sign))
    for _ in range(12):
        try:
            goal = np.append(np.zeros(len(body)), [1.0, force * target])
            a = nnls(system, goal, maxiter=30 * len(active))[0]
        except RuntimeError:  # its limit of iterations
            return None
        target -= float(sign @ a)
        if not force or abs(sign @ a) < 1e-13 * a.sum():
            break
    weights[active] = a
    return _halves(rows, weights)


def _on_the_planes(rows: Rows, weights: Array) -> Array:
    """The shortest theta with margin one on every row that has weight: the same again, with less rounding."""
    support = np.flatnonzero(weights)
    z, target, sign = dense(rows, support)[:, : rows.X.shape[1]], np.ones(len(support)), rows.sign[support]
    if rows.coordinates.bias:
        z, target = z - np.outer(sign, sign @ z) / len(sign), target - sign * (sign @ target) / len(sign)
    return np.asarray(np.linalg.lstsq(z, target, rcond=None)[0], np.float64)
