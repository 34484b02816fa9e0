"""Is there a separator? Yes, no, or undecided; each answer comes with what proves it."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from isocline._core.files import plain
from isocline.linear_model import searches
from isocline.linear_model.certificate import balances, certain_margin
from isocline.linear_model.labelled import labelled
from isocline.linear_model.rows import Rows, scores

Array = npt.NDArray[np.float64]
Answer = Literal["separable", "not separable", "undecided"]
SEARCHES = (
    searches.class_means,
    searches.contradictions,
    searches.hinge,
    searches.logistic,
    searches.smooth_perceptron,
)


@dataclass(frozen=True, slots=True, repr=False)
class Separability:
    """The answer, and what anyone can check it with.

    "separable": ``y_i (x_i . theta + intercept) > 0`` for every row beyond any rounding, with y = +1 for the
    second class in sorted order. "not separable": `weights` >= 0, summing to one, that balance the signed
    rows (Gordan). "undecided": neither could be proved.
    """

    answer: Answer
    theta: Array | None  # (d,) of the rows as they came
    intercept: float
    weights: Array | None  # (n,)
    margin: float  # min_i y_i (x_i . theta + intercept) / ||theta||, exact to rounding; 0 without a separator
    fit_intercept: bool
    how: str

    def verify(self, X: Any, y: npt.ArrayLike) -> bool:
        """Does the certificate prove the answer for these data? Never so for "undecided"."""
        rows = labelled(X, y, fit_intercept=self.fit_intercept)
        if self.answer == "separable" and self.theta is not None:
            return certain_margin(rows, self.theta, self.intercept) is not None
        if self.answer == "not separable" and self.weights is not None:
            return balances(rows, self.weights)
        return False

    def __repr__(self) -> str:
        margin = f", margin {self.margin:.3g}" if self.answer == "separable" else ""
        return f"Separability({self.answer}{margin}; {self.how})"

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        names = ("answer", "theta", "intercept", "weights", "margin", "fit_intercept", "how")
        return {name: plain(getattr(self, name)) for name in names}


def is_separable(X: Any, y: npt.ArrayLike, *, fit_intercept: bool = True, lp: bool = True) -> Separability:
    """Can a hyperplane have the two classes strictly on its two sides?

    Cheap proofs come first: the difference of the class means, rows that contradict each other; then Newton's
    method on the squared hinge and on the logistic loss, whose iterates separate or whose gradient's weights
    balance (the smooth perceptron for more than 1000 columns); then, with `lp` and up to 3 million values, a
    linear program. Whoever finds an answer, it is given only when its proof holds for the data as they came.
    Shapes: X ``(n, d)``, dense or CSR; y ``(n,)`` labels of two classes. Without `fit_intercept` the
    hyperplane passes through zero.
    Raises: ValueError for data that are not finite or not (n, d), and for one class or more than two.
    Source: Gordan's theorem; paper, section 1 (the task).

    >>> is_separable([[0.0], [1.0], [2.0]], [0, 0, 1]).answer
    'separable'
    """
    rows = labelled(X, y, fit_intercept=fit_intercept)
    for search in (*SEARCHES, searches.linear_program) if lp else SEARCHES:
        for how, theta, weights in search(rows):
            found = _proved(rows, how, theta, weights)
            if found is not None:
                return found
    return Separability("undecided", None, 0.0, None, 0.0, fit_intercept, "nothing found could be proved")


def _proved(rows: Rows, how: str, theta: Array | None, weights: Array | None) -> Separability | None:
    """The answer that a vector of the scaled rows, or weights, prove; None when they prove nothing."""
    fit_intercept = rows.coordinates.bias != 0
    if theta is not None and (placed := _placed(rows, theta)) is not None:
        margin = certain_margin(rows, *placed)
        if margin is not None:
            return Separability("separable", *placed, None, margin, fit_intercept, how)
    if weights is not None and balances(rows, weights):
        return Separability("not separable", None, 0.0, weights / weights.sum(), 0.0, fit_intercept, how)
    return None


def _placed(rows: Rows, theta: Array) -> tuple[Array, float] | None:
    """``(coef, intercept)`` along theta, half-way between the classes; None when theta separates nothing."""
    if not rows.coordinates.bias:
        return (rows.coordinates.plane(theta)[0], 0.0) if rows.forward(theta).min() > 0 else None
    turned = np.append(theta[:-1], 0.0)
    coef, _ = rows.coordinates.plane(turned)
    if _level(rows, rows.sign * rows.forward(turned)) is None:
        return None
    level = _level(rows, scores(rows.X, coef))  # of the rows as they came
    return None if level is None else (coef, level)


def _level(rows: Rows, along: Array) -> float | None:
    """The intercept half-way between the classes along a direction, if it has them apart."""
    low, high = along[rows.sign < 0].max(), along[rows.sign > 0].min()
    return -float(low + high) / 2 if low < high else None
