"""What a fit can prove: margins of the rows as they came, bounds on them, and certificates."""

from dataclasses import dataclass, replace
from math import inf
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import sparse

from isocline._core.files import plain
from isocline.linear_model.certificate import balances, certain_margin, polished
from isocline.linear_model.kesler import Pairs
from isocline.linear_model.labelled import labelled
from isocline.linear_model.rows import Rows, scores, weighted_sum

Array = npt.NDArray[np.float64]
Answer = Literal["separable", "not separable", "undecided"]
BALANCE = 1e-12  # the relative change of the data up to which weights that balance are taken for a proof
PROVED = 1000  # columns up to which an exact balance near the weights is proved
ROUNDING = 1e-13  # weights below this share of the largest are taken for rounding
DOUBT = 200  # rows whose sign may be settled in whole numbers


@dataclass(frozen=True, slots=True, repr=False)
class Certificate:
    """The answer, and what anyone can check it with.

    "separable": the plane `theta`, `intercept` has every row on its right side, beyond rounding. "not
    separable": `weights` >= 0 whose signed rows cancel (Gordan): exactly, or (`residual` > 0) for data whose
    entries differ from the given ones by at most that share. "undecided": neither was found within the
    iterations allowed.
    """

    answer: Answer
    theta: Array | None  # (d,), or (K, d)
    intercept: Array | None
    weights: Array | None  # (n,) of the rows; (n, K) of the pairs (row, wrong class)
    residual: float
    how: str

    def verify(self, X: Any, y: npt.ArrayLike, *, fit_intercept: bool = True) -> bool:
        """Check the certificate of two classes from nothing but the data; False for "undecided".

        Raises: ValueError for more than two classes, and for data that are not finite.
        """
        rows = labelled(X, y, fit_intercept=fit_intercept)
        if self.theta is not None and self.intercept is not None:
            return certain_margin(rows, self.theta, float(self.intercept)) is not None
        if self.weights is None or self.answer != "not separable":
            return False
        return imbalance(rows, self.weights) <= BALANCE or balances(rows, self.weights)

    def __repr__(self) -> str:
        return f"Certificate({self.answer}; {self.how})"

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        return {name: plain(getattr(self, name)) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Verdict:
    """A plane, and what is proved about it and about all others."""

    coef: Array
    intercept: Array
    separated: bool
    margin: float  # min_i m_i / ||coef||; negative while rows are on the wrong side
    upper: float  # no separator has a wider margin
    certificate: Certificate


def verdict(rows: Rows, walk: Any) -> Verdict:
    """Judge a walk of two classes by the rows as they came."""
    coef, intercept = walk.plane or walk.rows.coordinates.plane(walk.theta)
    least, proved = least_margin(rows, coef, float(intercept), walk.low)
    separated = walk.separated_at is not None and proved
    margin = relative(least, coef)
    upper = max(margin, min(upper_bound(rows, walk.weights), walk.upper))
    if separated:
        how = f"every margin is at least {least:.3g} in float64, beyond its rounding"
        return Verdict(
            coef, intercept, True, margin, upper, Certificate("separable", coef, intercept, None, 0.0, how)
        )
    return Verdict(coef, intercept, False, margin, upper, refutation(rows, walk))


def relative(least: float, coef: Array) -> float:
    """A margin in units of ``||coef||``, without overflow."""
    size = float(np.abs(coef).max(initial=0.0))
    return least / size / float(np.linalg.norm(coef / size)) if size > 0 else min(0.0, least)


def least_margin(rows: Rows, coef: Array, intercept: float, low: Array | None) -> tuple[float, bool]:
    """``min_i y_i (x_i . coef + intercept)`` in float64, and whether all are above zero beyond doubt.

    Of large data `low`, a lower bound on every margin, is known already: then only the lowest row is looked
    at, and where its bound is not its margin (it was spared a second look) the bound stands.
    """
    X, sign = rows.X, rows.sign
    if low is not None:
        row = [int(low.argmin())]
        exact = float(sign[row[0]] * scores(X[row], coef, intercept)[0])
        bound = float(low[row[0]])
        return (exact if exact - bound <= 1e-3 * abs(exact) else bound), bound > 0
    margins = scores(X, coef, intercept)
    margins *= sign
    least = float(margins.min())
    if not least > 0:
        return least, False
    reach = float(np.abs(coef).sum()) * _largest(X) + abs(intercept)
    unsure = np.flatnonzero(margins <= (X.shape[1] + 4) * 2.3e-16 * reach)
    return least, len(unsure) == 0 or (len(unsure) <= DOUBT and _certain(rows, unsure, coef, intercept))


def _largest(X: Any) -> float:
    values = X.data if sparse.issparse(X) else X
    return max(float(values.max(initial=0)), -float(values.min(initial=0)))


def _certain(rows: Rows, index: npt.NDArray[np.intp], coef: Array, intercept: float) -> bool:
    """Are these few rows on their sides of the plane, in exact arithmetic where rounding leaves a doubt?"""
    few = Rows(rows.X[index], rows.sign[index], rows.coordinates)
    return certain_margin(few, coef, intercept) is not None


def upper_bound(rows: Rows, weights: Array | None) -> float:
    """No plane has a margin above ``||sum_i a_i y_i x_i||`` for simplex weights a, balanced between classes
    if there is an intercept.
    """
    if weights is None or weights.shape != (rows.n,):
        return inf
    weights = weights if rows.length is None else weights * rows.length
    if not rows.coordinates.bias:
        total = float(weights.sum())
        return float(np.linalg.norm(weighted_sum(rows.X, weights * rows.sign / total))) if total > 0 else inf
    up, down = float(weights[rows.sign > 0].sum()), float(weights[rows.sign < 0].sum())
    if not (up > 0 and down > 0):
        return inf
    halves = np.where(rows.sign > 0, 0.5 / up, -0.5 / down)
    halves *= weights
    return float(np.linalg.norm(weighted_sum(rows.X, halves)))


def refutation(rows: Rows, walk: Any) -> Certificate:
    """What the walk's weights prove: that no separator exists, or nothing."""
    walk = walk.second or walk
    if walk.separated_at is not None:
        coef, intercept = walk.plane or walk.rows.coordinates.plane(walk.theta)
        if least_margin(rows, coef, float(intercept), walk.low)[1]:
            how = f"found by {walk.method}; the method asked for did not get there"
            return Certificate("separable", coef, intercept, None, 0.0, how)
    if not walk.refuted:
        how = f"no separator and no balance of weights after {walk.n_iter} iterations of {walk.method}"
        return Certificate("undecided", None, None, None, inf, how)
    weights = cleaned(walk)
    if rows.X.shape[1] <= PROVED:
        signed = replace(walk.rows, length=None, share=None)
        for candidate in (polished(signed, weights), weights):
            if candidate is not None and balances(signed, candidate):
                how = f"{np.count_nonzero(candidate)} rows cancel exactly, for weights within rounding of these (Gordan)"
                return Certificate("not separable", None, None, candidate, 0.0, how)
    return by_balance(weights, imbalance(rows, weights))


def cleaned(walk: Any) -> Array:
    """The weights of a walk for rows of their own length, summing to one, without those that are only
    rounding.
    """
    weights = walk.weights
    if walk.rows.length is not None:
        weights = weights * (walk.rows.length if weights.ndim == 1 else walk.rows.length[:, None])
    weights = np.where(weights > ROUNDING * weights.max(), weights, 0.0)
    return weights / weights.sum()


def by_balance(weights: Array, residual: float) -> Certificate:
    """The certificate of weights that cancel up to a relative change of the data."""
    if residual > BALANCE:
        how = (
            f"the best weights found cancel up to {residual:.1g} of the entries of X: not enough for a proof"
        )
        return Certificate("undecided", None, None, weights, residual, how)
    how = f"rows whose entries differ from the given ones by at most {residual:.1g} of their size cancel exactly (Gordan)"
    return Certificate("not separable", None, None, weights, residual, how)


def imbalance(rows: Rows | Pairs, weights: Array) -> float:
    """The least relative change of the entries of X with which these weights would cancel exactly: the
    backward error.

    ``max_j |sum_i a_i z_ij| / sum_i a_i |z_ij|``, with the rounding of both sums added; the classes' weights
    are made to agree first, where there is an intercept.
    """
    if isinstance(rows, Pairs):
        signed = -weights
        signed[np.arange(rows.n), rows.index] = weights.sum(axis=1)
        if rows.coordinates.bias and np.abs(signed.sum(axis=0)).max() > 1e-12 * weights.sum():
            return inf
    else:
        signed = weights * rows.sign
        if rows.coordinates.bias:
            up, down = weights[rows.sign > 0].sum(), weights[rows.sign < 0].sum()
            if not (up > 0 and down > 0):
                return inf
            signed = np.where(rows.sign > 0, signed / up, signed / down)
    residual, size = np.abs(weighted_sum(rows.X, signed)), _absolute_sum(rows.X, np.abs(signed))
    rounding = 1.2e-16 * (4 + rows.n**0.5)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.where(size > 0, residual / size, 0.0).max(initial=0.0)) + rounding


def _absolute_sum(X: Any, weights: Array) -> Array:
    """``weights^T |X|``, block by block."""
    step = max(1, X.shape[0] // 16)
    total = np.zeros((*weights.shape[1:], X.shape[1]))
    for start in range(0, X.shape[0], step):
        total += weighted_sum(abs(X[start : start + step]), weights[start : start + step])
    return total
