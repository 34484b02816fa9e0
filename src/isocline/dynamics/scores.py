"""The scores of a reconstruction, each beside what it could be at best or at worst: no number stands alone.

Protocol: from the first sample of the test series the model runs freely for 1.25 times its length and the first fifth
is left out; D_stsp and D_H compare what remains with the whole series. A driven model runs for the length of the
series under its inputs, nothing left out. Source: Hess et al. 2023, evaluation measures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from isocline._core.checks import wrong
from isocline._core.files import plain

from .lyapunov import LyapunovSpectrum
from .measures import (
    Divergence,
    NoiseFloor,
    PredictionError,
    SpectralDistance,
    escaped_at,
    noise_floor,
    prediction_error,
    spectral_hellinger,
    state_space_divergence,
    valid_prediction_time,
)
from .measures.series import Array, refuse_constant
from .members import Member
from .windows import Recorded, Standard

if TYPE_CHECKING:
    from matplotlib.axes import Axes

AHEAD = 20  # steps of the prediction error, as published
RESTARTS = 16  # free runs from elsewhere on the series
FORECASTS = 32  # starts of the valid prediction time
HORIZON = 1000  # most steps of a forecast


@dataclass(frozen=True, slots=True)
class ValidTimes:
    """Steps for which forecasts stay valid, median over starts spread along the series."""

    median: float
    least: int
    most: int
    starts: int
    horizon: int  # no forecast was longer
    lyapunov_times: float | None  # of the median; None where the model is not chaotic
    persistence: float  # the median for predicting no change
    how: str

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {field.name: plain(getattr(self, field.name)) for field in fields(self)}


@dataclass(frozen=True, slots=True)
class Restarts:
    """Whether the free run ends on the same attractor wherever it starts."""

    divergences: tuple[float, ...]  # D_stsp of runs from other samples; inf: left the finite numbers
    escaped: int  # runs that left the range of the data, widened by that range on either side
    still: int  # runs that came to rest

    @property
    def median(self) -> float:
        return float(np.median(self.divergences)) if self.divergences else math.nan

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {"divergences": plain(list(self.divergences)), "escaped": self.escaped, "still": self.still}


class Line(NamedTuple):
    """One row of the table of scores."""

    name: str
    value: float
    error: float | None
    beside: float | None
    what: str  # what stands beside


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """How a model's free run compares with a series; ``print(scores)`` shows all of it."""

    divergence: Divergence
    hellinger: SpectralDistance
    prediction: PredictionError
    valid_times: ValidTimes
    lyapunov: LyapunovSpectrum | None  # None: the orbit left the finite numbers
    restarts: Restarts
    floor: NoiseFloor
    units: str
    samples: int
    generated: Array  # (T, N) the free run that was compared, in the same units

    def lines(self) -> list[Line]:
        """The table: name, value, error, what to compare it with."""
        times, floor = self.valid_times, self.floor
        found = [
            Line("D_stsp, nats", self.divergence.value, self.divergence.standard_error,
                 floor.divergence.value, "truth against truth"),
            Line("D_H", self.hellinger.value, None, floor.hellinger.value, "truth against truth"),
            Line(f"PE({self.prediction.steps})", self.prediction.value, None, floor.persistence,
                 "predicting no change"),
            Line("valid prediction time, steps", times.median, None, times.persistence,
                 "predicting no change"),
        ]  # fmt: skip
        if self.lyapunov is not None:
            rates, errors = self.lyapunov.per_time, self.lyapunov.standard_error / self.lyapunov.dt
            found.append(
                Line("largest Lyapunov exponent", float(rates[0]), float(errors[0]), 0.0, "no chaos")
            )
            found.append(Line("Kaplan-Yorke dimension", self.lyapunov.dimension, None, None, ""))
        found.append(
            Line("D_stsp from other starts, median", self.restarts.median, None, self.divergence.value,
                 "from the first sample")
        )  # fmt: skip
        return found

    def __str__(self) -> str:
        head = f"{'':34}{'value':>10}{'error':>9}{'beside':>10}"
        body = [
            f"{line.name:34}{line.value:>10.4g}{_or_blank(line.error):>9}{_or_blank(line.beside):>10}  {line.what}"
            for line in self.lines()
        ]
        r = self.restarts
        tail = f"{len(r.divergences)} further starts: {r.escaped} escaped, {r.still} came to rest"
        return "\n".join([head, *body, tail, f"{self.samples} samples, {self.units}"])

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types: all but the generated series."""
        return {
            field.name: plain(getattr(self, field.name))
            for field in fields(self)
            if field.name != "generated"
        }

    def plot(self, ax: Axes | None = None) -> Axes:
        """Each score and what stands beside it, on a logarithmic axis; returns the axes."""
        from matplotlib.figure import Figure

        ax = Figure(figsize=(6.4, 2.8), layout="constrained").add_subplot() if ax is None else ax
        lines = [line for line in self.lines() if line.beside and 0 < line.value < math.inf]
        shown = [(line.name, line.value, float(line.beside or 0)) for line in reversed(lines)]
        for place, (_, value, beside) in enumerate(shown):
            ax.plot([beside, value], [place, place], color="0.8", zorder=1)
            ax.plot(beside, place, "|", color="0.35", markersize=14, label=None if place else "beside")
            ax.plot(value, place, "o", color="C0", label=None if place else "model")
        ax.set_yticks(range(len(shown)), [name for name, *_ in shown])
        ax.set(xscale="log", title="scores, and what stands beside them")
        ax.legend()
        return ax


def _or_blank(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


@np.errstate(over="ignore", invalid="ignore")  # a lost run has no finite scores, which is what they say
def score(
    member: Member,
    recorded: Sequence[Recorded],
    standard: Standard,
    *,
    other: Recorded | None = None,
    units: str = "standard",
    dt: float = 1.0,
    exponent_steps: int = 5000,
) -> Scores:
    """Score a member on the longest complete stretch of standardised series; ``other`` makes the noise floor."""
    known = max((one.complete() for one in recorded), key=len)
    if len(known) < 4 * AHEAD:
        got = f"{len(known)} in the longest stretch"
        raise wrong("series", f"at least {4 * AHEAD} complete samples in a row", got, "score a longer series")
    refuse_constant("series", known.series)
    shown = standard.invert if units == "data" else (lambda values: values)
    truth = shown(known.series)
    generated = shown(_free_run(member, known))
    exponents = _exponents(member, known, exponent_steps, dt)
    return Scores(
        state_space_divergence(truth, generated),
        spectral_hellinger(truth, generated),
        _prediction(member, known, standard if units == "data" else None),
        _valid_times(member, known, exponents, dt),
        exponents,
        _restarts(member, known),
        noise_floor(truth, None if other is None else shown(other.complete().series[: len(truth)]), n=AHEAD),
        "units of the data" if units == "data" else "channels of mean 0 and deviation 1",
        len(truth),
        generated,
    )


def _free_run(member: Member, known: Recorded) -> Array:
    """``(T, N)`` by the protocol."""
    first, length = known.series[0], len(known)
    if known.inputs is not None:
        return np.concatenate([first[None], member.run(first, length - 1, known.inputs[1:])])
    return member.run(first, math.ceil(1.25 * length))[-length:]


def _prediction(member: Member, known: Recorded, standard: Standard | None) -> PredictionError:
    scale = 1.0 if standard is None else standard.scale**2
    found = prediction_error(
        member.model,
        known.series,
        AHEAD,
        initial=member.observation.initial_state,
        observe=member.observation,
        inputs=known.inputs,
    )
    per_channel = found.per_channel * scale
    return PredictionError(float(per_channel.mean()), per_channel, found.steps, found.starts, found.how)


def _valid_times(
    member: Member, known: Recorded, exponents: LyapunovSpectrum | None, dt: float
) -> ValidTimes:
    horizon = min(HORIZON, len(known) // 2)
    starts = np.linspace(0, len(known) - horizon - 1, FORECASTS).astype(int)
    driven = None
    if known.inputs is not None:
        driven = np.stack([known.inputs[at + 1 : at + 1 + horizon] for at in starts], 1)
    made = member.run(known.series[starts], horizon, driven)
    whole = known.series.std(0)
    steps, still = [], []
    for k, at in enumerate(starts):
        truth = known.series[at + 1 : at + 1 + horizon]
        if np.ptp(truth, axis=0).min() <= 1e-9 * whole.max():
            continue
        stay = np.broadcast_to(known.series[at], truth.shape)
        steps.append(valid_prediction_time(truth, made[:, k]).steps)
        still.append(valid_prediction_time(truth, stay).steps)
    if not steps:
        steps = still = [0]
    middle, rate = float(np.median(steps)), math.nan if exponents is None else float(exponents.exponents[0])
    return ValidTimes(
        middle, min(steps), max(steps), len(steps), horizon, middle * rate if rate > 0 else None,
        float(np.median(still)), "until the error exceeds 0.4 of the spread",
    )  # fmt: skip


def _exponents(member: Member, known: Recorded, steps: int, dt: float) -> LyapunovSpectrum | None:
    starts = known.series[np.linspace(0, len(known) - 1, RESTARTS).astype(int)]
    try:
        return member.exponents(starts, steps, dt=dt)
    except ValueError:  # the orbit left the finite numbers, which the other scores say
        return None


def _restarts(member: Member, known: Recorded) -> Restarts:
    if known.inputs is not None:
        return Restarts((), 0, 0)
    length = min(len(known), 10_000)
    places = np.linspace(0, len(known), RESTARTS, endpoint=False).astype(int)
    made = member.run(known.series[places], math.ceil(1.25 * length))[-length:]
    runs = [made[:, k] for k in range(RESTARTS)]
    values = [float(state_space_divergence(known.series, run)) for run in runs]
    spread = known.series.std(0)
    return Restarts(
        tuple(math.inf if math.isnan(value) else value for value in values),
        sum(escaped_at(known.series, run) is not None for run in runs),
        sum(bool(np.isfinite(run).all() and (np.ptp(run, axis=0) < 1e-6 * spread).all()) for run in runs),
    )
