"""A trained model with its observation, as NumPy sees it: standardised samples in, free runs out."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from .forcing import forced_rollout
from .kernels.runs import Setup
from .lyapunov import LyapunovSpectrum, lyapunov_spectrum
from .measures.series import Array
from .models import ShallowPLRNN
from .plan import Observation, forcing_signals, modules_of
from .windows import Recorded


@dataclass(frozen=True)
class Validation:
    """How the free runs of a member compared with the recording, see ``selection``; smaller is better."""

    value: float  # by which snapshots are chosen; inf: a run left the finite numbers
    divergence: float  # nats, of the part held out
    hellinger: float  # in [0, 1], of the part held out
    update: int  # after how many updates


@dataclass(frozen=True)
class Stop:
    """Where a member's training left the finite numbers; its last good state was kept."""

    member: int
    update: int  # the first update that could not be made
    why: str

    def __str__(self) -> str:
        return f"member {self.member} stopped at update {self.update}: {self.why}"


@dataclass(frozen=True)
class Member:
    """One model of an ensemble: the parameters kept, and how they were chosen."""

    setup: Setup
    parameters: dict[str, Tensor] = field(repr=False)
    seed: int
    alpha: float  # of the forcing when these parameters were made
    validation: Validation | None  # None: nothing to compare with, the last parameters were kept

    @cached_property
    def _modules(self) -> tuple[ShallowPLRNN, Observation]:
        return modules_of(self.setup, self.parameters)

    @property
    def model(self) -> ShallowPLRNN:
        """The map in float64."""
        return self._modules[0]

    @property
    def observation(self) -> Observation:
        """From states to observations and back, in float64."""
        return self._modules[1]

    @torch.no_grad()
    def start(self, samples: Array) -> Tensor:
        """Initial states ``(..., M)`` of samples ``(..., N)``."""
        return self.observation.initial_state(torch.from_numpy(np.ascontiguousarray(samples, np.float64)))

    @torch.no_grad()
    def signals(self, samples: Array) -> Array:
        """The states ``(..., M)`` that samples ``(..., N)`` say."""
        values = {name: value.double() for name, value in self.parameters.items()}
        return forcing_signals(self.setup, values, torch.from_numpy(samples)).numpy()

    @torch.no_grad()
    def run(self, samples: Array, steps: int, inputs: Array | None = None) -> Array:
        """Free runs ``(steps, ..., N)`` from samples ``(..., N)``, the samples themselves left out.

        inputs ``(steps, ..., K)``, those of the arrival times.
        """
        return self.run_from(self.start(samples), steps, inputs)

    @torch.no_grad()
    def run_from(self, state: Tensor, steps: int, inputs: Array | None = None) -> Array:
        """As ``run`` from states ``(..., M)``."""
        given = None if inputs is None else torch.from_numpy(np.ascontiguousarray(inputs, np.float64))
        return self.observation(self.model.generate(state, steps, given)).numpy()

    @torch.no_grad()
    def arrive(self, recorded: Recorded) -> Tensor:
        """The state ``(M,)`` at the end of a series: held to every sample that is there, free where none is.

        The series must begin with a complete sample.
        """
        x = torch.from_numpy(recorded.series)
        if len(x) == 1:
            return self.observation.initial_state(x[0])
        z0 = self.observation.initial_state(x[:1])
        signal = self.observation.forcing(x[1:]).unsqueeze(1)
        driven = None if recorded.inputs is None else torch.from_numpy(recorded.inputs[1:]).unsqueeze(1)
        C = self.model.C
        states = forced_rollout(
            *self.model.weights(), z0, signal, 1.0, clipped=self.setup.clipped, C=C, inputs=driven
        )
        last = states[-1, 0].clone()
        known = ~signal[-1, 0].isnan()
        last[: len(known)][known] = signal[-1, 0][known]
        return last

    def autonomous(self) -> ShallowPLRNN:
        """The map with its inputs held at their mean, which standardised is zero."""
        if self.model.C is None:
            return self.model
        model, _ = modules_of(
            _without_inputs(self.setup), {k: v for k, v in self.parameters.items() if k != "C"}
        )
        return model

    def exponents(
        self, samples: Array, steps: int, *, transient: int = 1000, dt: float = 1.0
    ) -> LyapunovSpectrum:
        """The Lyapunov spectrum of free runs from samples ``(B, N)``, ``steps`` steps each; inputs at their mean."""
        settle = min(200, steps // 4)
        return lyapunov_spectrum(
            self.autonomous(), None, self.start(samples).numpy(), steps, transient, dt=dt, settle=settle
        )


def _without_inputs(setup: Setup) -> Setup:
    return replace(setup, input_dim=0)
