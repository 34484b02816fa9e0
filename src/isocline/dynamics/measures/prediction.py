"""How far ahead a model predicts: the n-step error, and the time for which a forecast stays valid."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from isocline._core.checks import check_number, wrong
from isocline._core.files import plain

from ..orbit import states_for
from .series import Array, as_series, lost_at, refuse_constant

_STARTS = 16_384  # starts that step together


@dataclass(frozen=True, slots=True, eq=False)
class PredictionError:
    """Mean squared error n steps ahead; ``float(error)`` is its value."""

    value: float  # squared units of the series; infinite if a prediction overflows
    per_channel: Array  # (N,)
    steps: int
    starts: int
    how: str

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        return f"PE({self.steps}) {self.value:.4g} ({self.how})"

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        return {field.name: plain(getattr(self, field.name)) for field in fields(self)}


def prediction_error(
    step: Callable[..., Any],
    series: npt.ArrayLike,
    n: int = 20,
    *,
    initial: Callable[[Any], Any] | None = None,
    observe: Callable[[Any], Any] | None = None,
    inputs: npt.ArrayLike | None = None,
) -> PredictionError:
    """PE(n): start at every sample x_t with t + n < T, iterate n free steps, compare the n-th with x_{t+n}.

    Shapes: series ``(T, N)``; ``initial`` takes ``(B, N)`` samples to ``(B, M)`` states, ``observe`` back
    (both the identity where not given); ``step(z)`` or, with inputs ``(T, K)``, ``step(z, s)`` is one step of
    the batch, s being the input of the time arrived at. A module and a tensor series are worked on as
    tensors, all else as NumPy arrays. Only the n-th step counts, not the mean over 1..n. Raises ValueError.
    Source: Hess et al. 2023, PE(n).
    """
    n = int(check_number("n", n, least=1, integer=True))
    truth = as_series("series", series, least=n + 1)
    driven = None if inputs is None else as_series("inputs", inputs)
    if driven is not None and len(driven) != len(truth):
        raise wrong("inputs", f"{len(truth)} samples, as in series", len(driven))
    starts = len(truth) - n
    total = np.zeros(truth.shape[1])
    as_tensors = isinstance(series, torch.Tensor)
    for begin in range(0, starts, _STARTS):
        chosen = np.arange(begin, min(begin + _STARTS, starts))
        with torch.no_grad(), np.errstate(over="ignore", invalid="ignore"):
            z = states_for(step, truth[chosen], as_tensors)
            z = z if initial is None else initial(z)
            for ahead in range(1, n + 1):
                z = (
                    step(z)
                    if driven is None
                    else step(z, states_for(step, driven[chosen + ahead], as_tensors))
                )
            seen = z if observe is None else observe(z)
            total += np.sum((_seen(seen, (len(chosen), truth.shape[1])) - truth[chosen + n]) ** 2, axis=0)
    per_channel = np.where(np.isnan(total), math.inf, total) / starts
    return PredictionError(float(per_channel.mean()), per_channel, n, starts, f"{starts} starts")


def _seen(values: Any, shape: tuple[int, int]) -> Array:
    array = np.asarray(values.detach().cpu() if isinstance(values, torch.Tensor) else values, np.float64)
    if array.shape != shape:
        do = "give initial and observe where states are not observations"
        raise wrong("step", f"predictions of shape {shape}", f"{array.shape}", do)
    return array


def persistence_error(series: npt.ArrayLike, n: int = 20) -> float:
    """The error of predicting that nothing changes: mean of ``(x_{t+n} - x_t)^2`` over series ``(T, N)``."""
    n = int(check_number("n", n, least=1, integer=True))
    values = as_series("series", series, least=n + 1)
    return float(np.mean((values[n:] - values[:-n]) ** 2))


@dataclass(frozen=True, slots=True)
class ValidTime:
    """For how long a forecast stayed within its threshold; ``float(time)`` is in steps."""

    steps: int
    reached_end: bool  # the forecast was still valid when it ended: the time is a lower bound
    time: float  # in the units of dt
    lyapunov_times: float | None  # None: no exponent given
    threshold: float

    def __float__(self) -> float:
        return float(self.steps)

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        return {field.name: plain(getattr(self, field.name)) for field in fields(self)}


def valid_prediction_time(
    true: npt.ArrayLike,
    predicted: npt.ArrayLike,
    *,
    threshold: float = 0.4,
    dt: float = 1.0,
    exponent: float | None = None,
) -> ValidTime:
    """Steps before the error of a forecast first exceeds ``threshold`` times the spread of the true series.

    Shapes: true and predicted ``(T, N)``, sample t of one against sample t of the other. The error is ``|x_t
    - x^_t| / sqrt(mean_t |x_t - mean(x)|^2)``. ``exponent``, the largest Lyapunov exponent per unit of
    ``dt``, turns the time into Lyapunov times. Raises ValueError. Source: Vlachas et al. 2020; Pathak et al.
    2018.
    """
    real = as_series("true", true)
    made = as_series("predicted", predicted, finite=False)
    if made.shape != real.shape:
        raise wrong("predicted", f"shape {real.shape}, as true", made)
    refuse_constant("true", real)
    threshold = float(check_number("threshold", threshold, above=0))
    dt = float(check_number("dt", dt, above=0))
    spread = math.sqrt(np.mean(np.sum((real - real.mean(0)) ** 2, axis=1)))
    end = len(made) if (lost := lost_at(made)) is None else lost
    error = np.linalg.norm(made[:end] - real[:end], axis=1) / spread
    beyond = np.flatnonzero(error > threshold)
    steps = int(beyond[0]) if len(beyond) else end
    rate = None if exponent is None else float(check_number("exponent", exponent, above=0))
    times = None if rate is None else steps * dt * rate
    return ValidTime(steps, steps == len(real), steps * dt, times, threshold)
