"""The perceptron on rows that come in pieces."""

from typing import Any

import numpy as np
import numpy.typing as npt

from isocline.linear_model.coordinates import Coordinates
from isocline.linear_model.kernels import reference
from isocline.linear_model.kesler import Pairs
from isocline.linear_model.rows import Rows
from isocline.linear_model.solvers.auto import compiled
from isocline.linear_model.solvers.choice import PLAIN_ROWS, Settings, usual_length
from isocline.linear_model.solvers.perceptron import one_pass, pairs_pass

Array = npt.NDArray[np.float64]


def one_bias(X: Any, settings: Settings) -> float:
    """The constant of the intercept's column, from the first piece; 0 for none."""
    if not settings.fit_intercept:
        return 0.0
    return (
        usual_length(X, None, None)
        if settings.intercept_scaling == "auto"
        else float(settings.intercept_scaling)
    )


def online(X: Any, index: npt.NDArray[np.intp], theta: Array, bias: float) -> int:
    """One pass in order; theta ``(1 or K, d + 1)`` is changed in place. Returns the updates."""
    n, classes = X.shape[0], len(theta)
    plain = Coordinates(bias=bias)
    if classes == 1:
        sign = np.where(index == 1, 1, -1).astype(np.int8)
        kernels = reference if n <= PLAIN_ROWS else compiled()
        return one_pass(Rows(X, sign, plain), kernels, theta[0], np.zeros(n))
    p = plain.size(X.shape[1])
    return pairs_pass(Pairs(X, index, classes, plain), theta[:, :p], np.zeros((n, classes)))
