"""Which solver walks: by name, or the one for the data."""

from dataclasses import dataclass, replace
from math import inf
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy import sparse

from isocline.linear_model.coordinates import find_coordinates, moments
from isocline.linear_model.kernels import reference
from isocline.linear_model.kesler import Pairs
from isocline.linear_model.rows import Rows
from isocline.linear_model.solvers.auto import auto, compiled
from isocline.linear_model.solvers.batch import batch
from isocline.linear_model.solvers.newton import newton
from isocline.linear_model.solvers.perceptron import pairs_perceptron, perceptron
from isocline.linear_model.solvers.walk import Walk

Array = npt.NDArray[np.float64]
AnyRows = TypeVar("AnyRows", Rows, Pairs)
METHODS = (
    "auto",
    "perceptron",
    "batch_perceptron",
    "normalized_batch_perceptron",
    "lr_gd",
    "normalized_lr_gd",
    "exp_gd",
    "smooth_perceptron",
    "momentum",
    "newton",
)
PRECONDITIONS = ("auto", None, "center", "whiten", "rows")
ITERATIONS = {
    "auto": 200,
    "newton": 200,
    "perceptron": 1000,
}  # when max_iter is None; passes, for the perceptron
STEPS = 10_000  # the same for the batch methods
PLAIN_ROWS = 200  # up to so many, the perceptron's loops need no compiler


@dataclass(frozen=True, slots=True)
class Settings:
    """How to walk."""

    method: str = "auto"
    step_size: float = inf
    max_iter: int | None = None
    fit_intercept: bool = True
    intercept_scaling: str | float = "auto"
    precondition: str | None = "auto"
    stop: str = "separated"
    margin_tol: float = 1e-2

    @property
    def iterations(self) -> int:
        return ITERATIONS.get(self.method, STEPS) if self.max_iter is None else self.max_iter

    @property
    def decides(self) -> bool:
        """Newton and "auto" look for any separator, in coordinates of their own."""
        return self.method in ("auto", "newton")


def in_coordinates(rows: AnyRows, settings: Settings) -> AnyRows:
    """The rows in the coordinates the settings ask for."""
    X, how = rows.X, settings.precondition
    bias = float(settings.fit_intercept)
    if settings.fit_intercept and settings.intercept_scaling != "auto":
        bias = float(settings.intercept_scaling)
    if settings.decides and isinstance(rows, Rows) and how != "rows":
        return replace(rows, coordinates=find_coordinates(X, None, bias, rows.share))
    if settings.decides and how == "whiten":  # which changes nothing for Newton's method
        how = "auto"
    if sparse.issparse(X) and how == "auto":
        how = None
    coordinates = find_coordinates(X, how, bias, rows.share)
    if settings.fit_intercept and settings.intercept_scaling == "auto":
        coordinates = replace(coordinates, bias=usual_length(X, coordinates.metric, rows.share))
    rows = replace(rows, coordinates=coordinates)
    return replace(rows, length=1.0 / lengths(rows)) if how == "rows" else rows


def usual_length(X: Array, metric: Array | None, share: Array | None) -> float:
    """The root mean square length of the centred rows, in coordinates: a modest constant for the intercept's
    column.
    """
    if metric is not None and metric.ndim == 2:
        return float(X.shape[1]) ** 0.5
    spread = moments(X, share)[1] if metric is None else np.ones(X.shape[1])
    size = float(np.abs(spread).max())
    return size * float(np.linalg.norm(spread / size)) if size > 0 else 1.0


def lengths(rows: Rows | Pairs) -> Array:
    """``||z_i|| (n,)``; 1 for a row of zeros."""
    features = rows.features() if isinstance(rows, Pairs) else rows
    out = np.empty(rows.n)
    for span, block in features.blocks(signed=False):
        out[span] = np.sqrt(np.einsum("bp,bp->b", block, block))
    out[out == 0] = 1.0
    return out


def walk(rows: Rows | Pairs, settings: Settings, seed: int, start: Array | None = None) -> Walk:
    """Let the method of the settings walk over rows that are in their coordinates already."""
    method, most = settings.method, settings.iterations
    if method == "auto":
        return auto(rows, max_iter=most, seed=seed)
    if method == "newton":
        return newton(rows, max_iter=most)

    def stuck() -> Walk:
        return newton(rows, max_iter=ITERATIONS["newton"])

    if method == "perceptron" and rows.share is not None:
        method = "normalized_batch_perceptron"  # a row is added whole or not at all: no weight fits in there
    if method == "perceptron":
        if isinstance(rows, Pairs):
            return pairs_perceptron(rows, max_iter=most, start=start, stuck=stuck)
        kernels = reference if rows.n <= PLAIN_ROWS else compiled()
        return perceptron(rows, kernels, max_iter=most, start=start, stuck=stuck)
    goal = {"stop": settings.stop, "margin_tol": settings.margin_tol}
    return batch(rows, method, step_size=settings.step_size, max_iter=most, start=start, stuck=stuck, **goal)
