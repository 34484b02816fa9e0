"""From a recording to a small tractable model whose free run has its attractor: ``Reconstructor``."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from isocline._core.checks import check_choice, check_number, wrong
from isocline._core.seeds import derive_seed

from . import saving
from .findings import Findings, examine
from .kernels import BACKENDS
from .kernels.runs import Setup
from .measures.series import Array
from .members import Member, Stop
from .plan import Plan, principal_axes
from .schedules import AdaptiveForcing, Forcing, forcing_to_dict
from .scores import Scores, score
from .selection import Judge
from .training import Moment, Training
from .windows import Recorded, Standard, Windows, as_recorded, split

LOOKS, APART = 50, 500  # times that free runs are judged while training, and updates between them at least


class DivergedWarning(UserWarning):
    """Training left the finite numbers; the last good state was kept."""


@dataclass(eq=False)
class Reconstructor:
    """A (clipped) shallow PLRNN trained by generalized teacher forcing on one or several series.

    ``latent_dim``: states M, as many as channels where None. ``hidden_dim``: units L. ``forcing``: one of
    ``schedules``. ``observation``: "identity" (the channels are the first states), "affine" (``x = B z``, B drawn) or
    "principal" (affine, B from the principal axes of the data).
    ``sequence_length``, ``batch_size``: windows. ``updates``: of RAdam, with a ``learning_rate`` that falls
    exponentially from the first value to the last. ``regularization``: of the model's weights;
    ``observation_regularization``: the condition of B, or the size of the hidden states' first values.
    ``validation``: the share held out, on which snapshots are chosen as ``selection`` says. ``seeds``: members
    trained side by side, the best of which is used. ``dt``: time from sample to sample. ``backend``: "auto" is the
    compiled loop on the CPU; a kernel's name trains eagerly with it, on any ``device``.

    After ``fit``: ``members_``, ``member_`` (the best), ``model_``, ``mean_``, ``scale_``, ``alpha_``, ``stopped_``,
    ``history_``, ``seed_``, ``resumed_at_``. Source: Hess et al. 2023.

    >>> Reconstructor(hidden_dim=20, updates=1000)  # doctest: +ELLIPSIS
    Reconstructor(latent_dim=None, hidden_dim=20, forcing=AdaptiveForcing(...), ..., updates=1000, ...)
    """

    latent_dim: int | None = None
    hidden_dim: int = 50
    forcing: Forcing = field(default_factory=AdaptiveForcing)
    observation: str = "identity"
    sequence_length: int = 200
    batch_size: int = 16
    updates: int = 60_000
    learning_rate: tuple[float, float] = (1e-3, 1e-6)
    regularization: float = 1e-5
    observation_regularization: float = 1e-6
    validation: float = 0.1
    seeds: int = 1
    random_state: int | None = None
    clipped: bool = True
    dt: float = 1.0
    device: str = "auto"
    backend: str = "auto"

    def fit(
        self,
        series: Any,
        inputs: Any = None,
        *,
        checkpoint: str | os.PathLike[str] | None = None,
        watch: Callable[[Moment], None] | None = None,
    ) -> Self:
        """Learn from a series ``(T, N)``, or a list of them of any lengths; NaN = missing.

        ``inputs``: ``(T, K)`` of a driven system, or a list. ``checkpoint``: a folder in which training is saved
        as it goes and from which the same call goes on, to the same numbers. ``watch``: called at every look at
        the free runs. Raises ValueError or TypeError for bad data or settings, CheckpointError for a checkpoint
        that is damaged or of another training; warns ``DivergedWarning``.
        """
        self._check()
        recorded = as_recorded(series, inputs)
        setup = self._setup(recorded[0])
        trained_on, held_out = split(recorded, float(self.validation), self.sequence_length + 1)
        standard = Standard.of([one.series for one in trained_on])
        driven = _standard_inputs(trained_on)
        trained_on = [_standardised(one, standard, driven) for one in trained_on]
        held_out = [_standardised(one, standard, driven) for one in held_out]
        windows = Windows.of(trained_on, self.sequence_length)
        judge = Judge.of(held_out, trained_on)
        drawn = int(np.random.SeedSequence().generate_state(1, np.uint64)[0] >> 2)
        self.seed_ = drawn if self.random_state is None else int(self.random_state)
        training = Training(self._plan(setup, windows), judge, look=max(APART, -(-self.updates // LOOKS)))
        if checkpoint is not None and (Path(checkpoint) / "manifest.json").exists():
            training.resume(checkpoint)
        training.run(checkpoint, watch)
        self._learn(training, standard, driven, trained_on, held_out)
        return self

    def _check(self) -> None:
        for name in ("hidden_dim", "sequence_length", "batch_size", "updates", "seeds"):
            check_number(name, getattr(self, name), least=1, integer=True)
        if self.latent_dim is not None:
            check_number("latent_dim", self.latent_dim, least=1, integer=True)
        for name in ("regularization", "observation_regularization"):
            check_number(name, getattr(self, name), least=0)
        check_number("validation", self.validation, least=0, most=0.5)
        check_number("dt", self.dt, above=0)
        if self.random_state is not None:
            check_number("random_state", self.random_state, least=0, below=2**62, integer=True)
        rates = self.learning_rate
        if not isinstance(rates, (tuple, list)) or len(rates) != 2:
            raise wrong("learning_rate", "two numbers, the first rate and the last", rates)
        for i, rate in enumerate(rates):
            check_number(f"learning_rate[{i}]", rate, above=0)
        check_choice("observation", self.observation, ("identity", "affine", "principal"))
        check_choice("backend", self.backend, BACKENDS)
        forcing_to_dict(self.forcing)

    def _setup(self, first: Recorded) -> Setup:
        channels = first.series.shape[1]
        latent = channels if self.latent_dim is None else self.latent_dim
        return Setup(
            latent,
            self.hidden_dim,
            channels,
            0 if first.inputs is None else first.inputs.shape[1],
            clipped=self.clipped,
            observation="identity" if self.observation == "identity" else "affine",
            sequence_length=self.sequence_length,
            batch_size=self.batch_size,
            shrinkage=float(self.regularization),
            observation_penalty=float(self.observation_regularization),
        )

    def _plan(self, setup: Setup, windows: Windows) -> Plan:
        seeds = tuple(derive_seed("reconstructor", self.seed_, member) for member in range(self.seeds))
        first, last = self.learning_rate
        rates = (float(first), float(last))
        first_B = principal_axes(windows.rows, setup.latent_dim) if self.observation == "principal" else None
        device = self._device(setup)
        return Plan(setup, windows, self.forcing, self.updates, rates, seeds, device, self.backend, first_B)

    def _device(self, setup: Setup) -> str:
        """ "auto" is the CPU, where the compiled loop is, unless CUDA is there and the model is large."""
        if self.device == "auto":
            large = setup.latent_dim * setup.hidden_dim >= 2**15 and self.backend == "auto"
            return "cuda" if large and torch.cuda.is_available() else "cpu"
        try:
            torch.empty(0, device=self.device)
        except (RuntimeError, AssertionError) as error:
            raise wrong("device", "auto, or a device that torch can use here", repr(self.device)) from error
        return str(torch.device(self.device))

    def _learn(
        self,
        training: Training,
        standard: Standard,
        driven: Standard | None,
        trained_on: list[Recorded],
        held_out: list[Recorded],
    ) -> None:
        self.members_: tuple[Member, ...] = tuple(training.best)
        self.stopped_: tuple[Stop, ...] = tuple(training.stops())
        self.history_, self.resumed_at_ = training.history, training.resumed_at
        self.standard_, self.inputs_standard_ = standard, driven
        self.truth_ = None if training.judge is None else training.judge.truth
        self.trained_on_, self.held_out_ = trained_on, held_out
        last = (held_out or trained_on)[-1]
        known = np.flatnonzero(~np.isnan(last.series).any(1))
        self.start_ = last.series[known[0] if len(known) else 0]
        for stop in self.stopped_:
            message = f"{stop}; its last good state was kept: lower learning_rate or force more strongly"
            warnings.warn(message, DivergedWarning, stacklevel=3)

    @property
    def member_(self) -> Member:
        """The member whose free run is nearest to what was held out; the first if nothing was."""
        self._check_fitted()
        return min(self.members_, key=lambda one: one.validation.value if one.validation else 0.0)

    @property
    def model_(self):
        """The map of the best member, a ``ShallowPLRNN`` in float64, on standardised data."""
        return self.member_.model

    @property
    def alpha_(self) -> float:
        """The forcing with which the best member was being trained when it was kept."""
        return self.member_.alpha

    @property
    def mean_(self) -> Array:
        """``(N,)`` what was taken from each channel, in its units."""
        self._check_fitted()
        return self.standard_.mean

    @property
    def scale_(self) -> Array:
        """``(N,)`` by what each channel was then divided, in its units."""
        self._check_fitted()
        return self.standard_.scale

    def _check_fitted(self) -> None:
        if not hasattr(self, "members_"):
            raise wrong(
                "self", "a fitted Reconstructor", "one before fit", "call fit or load", error=AttributeError
            )

    def generate(
        self, steps: int, start: Any = None, inputs: Any = None, *, member: int | None = None
    ) -> Array:
        """A free run ``(steps, N)`` in the units of the data, the start left out.

        ``start``: a sample ``(N,)``, or several ``(B, N)`` for ``(steps, B, N)``; None: the first sample that was
        held out (without validation: of the last series). ``inputs`` ``(steps, K)``, shared by all runs.
        ``member``: one of ``members_`` in the place of the best. Raises ValueError.
        """
        chosen = self._member(member)
        steps = int(check_number("steps", steps, least=1, integer=True))
        sample = self.start_ if start is None else self._sample(start)
        given = self._drive(inputs, steps)
        if given is not None and sample.ndim == 2:
            given = np.repeat(given[:, None], len(sample), 1)
        return self.standard_.invert(chosen.run(sample, steps, given))

    def forecast(
        self, series: Any, steps: int, inputs: Any = None, *, future: Any = None, member: int | None = None
    ) -> Array:
        """The ``steps`` samples ``(steps, N)`` after a series ``(T, N)``, in the units of the data.

        The model is led along the end of the series, the state being set to every sample that is there, and runs
        freely from its last row; NaN = missing. ``inputs`` ``(T, K)`` go with the series, ``future`` ``(steps, K)``
        with the forecast. Raises ValueError.
        """
        chosen = self._member(member)
        steps = int(check_number("steps", steps, least=1, integer=True))
        (given,) = self._recorded([series], None if inputs is None else [inputs])
        known = np.flatnonzero(~np.isnan(given.series).any(1))
        if not len(known):
            raise wrong("series", "at least one complete sample", "none")
        since = max(0, len(given) - chosen.setup.sequence_length)
        first = known[known >= since][0] if known[-1] >= since else known[-1]
        state = chosen.arrive(given.part(int(first), len(given)))
        return self.standard_.invert(chosen.run_from(state, steps, self._drive(future, steps, "future")))

    def score(
        self,
        series: Any,
        inputs: Any = None,
        *,
        other: Any = None,
        units: str = "standard",
        member: int | None = None,
        exponent_steps: int = 5000,
    ) -> Scores:
        """Compare the free run with a series ``(T, N)`` that was not trained on; see ``scores.Scores``.

        ``other``: a further stretch of the same system, which makes the noise floor (else the halves of the series
        do). ``units``: "standard" (channels as trained on) or "data". The longest stretch without missing samples
        is used. Raises ValueError.
        """
        check_choice("units", units, ("standard", "data"))
        check_number("exponent_steps", exponent_steps, least=2, integer=True)
        recorded = self._recorded(series, inputs)
        floor = (
            None
            if other is None
            else _standardised(as_recorded(other, channels=len(self.mean_))[0], self.standard_, None)
        )
        return score(
            self._member(member), recorded, self.standard_,
            other=floor, units=units, dt=float(self.dt), exponent_steps=exponent_steps,
        )  # fmt: skip

    def report(self, path: str | os.PathLike[str], series: Any = None, **about: Any) -> Path:
        """Write one HTML page about the fit and return its path.

        ``series`` ``(T, N)``: what to score on; None: what was held out while fitting. ``about``: title, channels,
        caveat and the other words of ``report.write_report``.
        """
        from .report import write_report  # matplotlib and Jinja2 come with it

        return write_report(self, self.examine(series), path, **about)

    def examine(self, series: Any = None, inputs: Any = None) -> Findings:
        """Scores, exponents, fixed points and false attractors of the best member: what ``report`` shows."""
        self._check_fitted()
        if series is None and not self.held_out_:
            do = "give a series that was not trained on"
            raise wrong("series", "a series where nothing was held out in this process", "None", do)
        return examine(self, self.held_out_ if series is None else self._recorded(series, inputs))

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Save settings and all members as JSON and safetensors; none of the data. ``load`` reads it back."""
        self._check_fitted()
        saving.save(self, folder)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Self:
        """What ``save`` wrote. Nothing is unpickled; raises CheckpointError for what is damaged or foreign."""
        return saving.load(cls, folder)

    def _member(self, member: int | None) -> Member:
        self._check_fitted()
        if member is None:
            return self.member_
        return self.members_[check_number("member", member, least=0, below=len(self.members_), integer=True)]

    def _recorded(self, series: Any, inputs: Any) -> list[Recorded]:
        """Series at the door of a fitted model, standardised as it was trained."""
        self._check_fitted()
        setup = self.members_[0].setup
        given = as_recorded(series, inputs, channels=setup.observed_dim, drives=setup.input_dim)
        return [_standardised(one, self.standard_, self.inputs_standard_) for one in given]

    def _sample(self, start: Any) -> Array:
        values = np.asarray(start, np.float64)
        if values.ndim not in (1, 2) or values.shape[-1] != len(self.mean_) or not np.isfinite(values).all():
            want = f"a finite sample ({len(self.mean_)},), or several (B, {len(self.mean_)})"
            raise wrong("start", want, values)
        return self.standard_.apply(values)

    def _drive(self, inputs: Any, steps: int, argument: str = "inputs") -> Array | None:
        count = self.members_[0].setup.input_dim
        if inputs is None and not count:
            return None
        values = None if inputs is None else np.asarray(inputs, np.float64)
        if values is None or self.inputs_standard_ is None or values.shape != (steps, count):
            raise wrong(
                argument,
                f"shape ({steps}, {count})" if count else "None",
                "None" if values is None else values,
            )
        return self.inputs_standard_.apply(values)


def _standard_inputs(recorded: list[Recorded]) -> Standard | None:
    given = [one.inputs for one in recorded if one.inputs is not None]
    return Standard.of(given, "inputs") if given else None


def _standardised(one: Recorded, standard: Standard, driven: Standard | None) -> Recorded:
    inputs = None if one.inputs is None or driven is None else driven.apply(one.inputs)
    return Recorded(standard.apply(one.series), inputs)
