"""Labels at the door: classes, indices, and what every row counts."""

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight

from isocline._core.checks import wrong

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]


def classes_of(y: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """The sorted classes and each label's index ``(n,)``.

    Two whole numbers, the usual case, are found without sorting.
    """
    if y.dtype.kind in "iub":
        low, high = y.min(), y.max()
        index = y == high
        if low < high and (index | (y == low)).all():
            return np.array([low, high]), index.view(np.int8)
    check_classification_targets(y)
    return many(*np.unique(y, return_inverse=True))


def many(classes: npt.NDArray[Any], index: Index) -> tuple[npt.NDArray[Any], Index]:
    """The same, when there are at least two classes."""
    if len(classes) < 2:
        raise wrong(
            "y", "at least two classes", f"one class, {classes.tolist()[0]!r}", "there is nothing to separate"
        )
    return classes, index


def shares(X: Any, index: Index, classes: npt.NDArray[Any], sample_weight: Any, class_weight: Any) -> Array:
    """What each row counts ``(n,)``: its own weight times its class's. "balanced" gives every class the same
    total.
    """
    weight = _check_sample_weight(sample_weight, X, dtype=np.float64, copy=True)
    if weight.min() < 0:
        raise wrong(
            "sample_weight",
            "weights >= 0",
            f"{weight.min():g} at row {int(weight.argmin())}",
            "drop such rows",
        )
    if not weight.any():
        raise wrong("sample_weight", "at least one weight above zero", "only zeros")
    if isinstance(class_weight, str) and class_weight == "balanced":
        totals = np.bincount(index, weights=weight, minlength=len(classes))
        weight *= np.divide(1.0, totals, out=np.zeros_like(totals), where=totals > 0)[index]
    elif class_weight is not None:
        weight *= compute_class_weight(class_weight, classes=classes, y=classes[index])[index]
    return weight / weight.max()
