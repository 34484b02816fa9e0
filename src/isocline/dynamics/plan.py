"""All that is fixed while an ensemble trains: sizes, windows, schedule, learning rate; and what follows from it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from isocline._core.seeds import derive_seed, seeded, torch_generator

from .kernels.runs import Setup
from .kernels.windows import window_starts
from .models import ShallowPLRNN
from .observation import AffineObservation, IdentityObservation
from .schedules import Forcing
from .windows import Windows

Observation = IdentityObservation | AffineObservation
Parameters = Mapping[str, Tensor]  # by the names of ``Setup.shapes``
_OF_OBSERVATION = ("B", "b", "lift")
GENTLE = (
    20.0  # condition of an observation matrix at the start: forcing signals are its inverse times the data
)


@dataclass(frozen=True)
class Plan:
    """What to train, on what, and how."""

    setup: Setup
    windows: Windows
    forcing: Forcing
    updates: int
    learning_rate: tuple[float, float]
    seeds: tuple[int, ...]  # one for each member of the ensemble
    device: str = "cpu"
    backend: str = "auto"
    first_B: Tensor | None = None  # (N, M) observation matrix to begin with; None: drawn

    def rate(self, update: int) -> float:
        """The learning rate of an update: exponential from the first to the last value."""
        first, last = self.learning_rate
        return first * (last / first) ** (update / self.updates)

    def rows(self, member: int, update: int) -> npt.NDArray[np.int64]:
        """The first rows ``(B,)`` of the windows of one update, a function of the member's seed alone."""
        starts = self.windows.starts.numpy()
        return window_starts(self.seeds[member], update, self.setup.batch_size, starts)

    def batch(self, member: int, update: int) -> Tensor:
        """The windows ``(T + 1, B, N)`` of one update."""
        steps = np.arange(self.setup.sequence_length + 1)[:, None]
        return torch.from_numpy(self.windows.rows.numpy()[steps + self.rows(member, update)])

    def drive(self, member: int, update: int) -> Tensor | None:
        """The inputs ``(T, B, K)`` at the arrival times of one update's windows."""
        if self.windows.inputs is None:
            return None
        steps = np.arange(1, self.setup.sequence_length + 1)[:, None]
        return torch.from_numpy(self.windows.inputs.numpy()[steps + self.rows(member, update)])

    def first_parameters(self) -> list[dict[str, Tensor]]:
        """The reference initialisation of every member, float32; no global random state is touched."""
        found = []
        for seed in self.seeds:
            model, observation = empty_modules(self.setup)
            generator = torch_generator(derive_seed("parameters", seed))
            model.reset_parameters(generator)
            _reset(observation, generator)
            named: dict[str, Tensor] = {}
            named |= dict([*model.named_parameters(), *observation.named_parameters()])
            if self.first_B is not None:
                named["B"] = self.first_B
            found.append({name: named[name].detach().float() for name in self.setup.shapes})
        return found


def empty_modules(setup: Setup) -> tuple[ShallowPLRNN, Observation]:
    """Model and observation of these sizes in float64, their values yet to be set."""
    with seeded(0):
        model = ShallowPLRNN(setup.latent_dim, setup.hidden_dim, setup.clipped, setup.input_dim)
        if setup.observation == "affine":
            observation = AffineObservation(setup.observed_dim, setup.latent_dim, setup.bias)
        else:
            observation = IdentityObservation(setup.observed_dim, setup.latent_dim)
    return model.double(), observation.double()


def _reset(observation: Observation, generator: torch.Generator) -> None:
    """Draw until an observation matrix can be inverted gently, as a square one often cannot; else the best of 100."""
    best, least = None, math.inf
    for _ in range(100):
        observation.reset_parameters(generator)
        if not isinstance(observation, AffineObservation):
            return
        condition = float(torch.linalg.cond(observation.B.detach()))
        if condition < least:
            best, least = observation.B.detach().clone(), condition
        if condition <= GENTLE:
            return
    if isinstance(observation, AffineObservation) and best is not None:
        with torch.no_grad():
            observation.B.copy_(best)


def principal_axes(rows: Tensor, count: int) -> Tensor:
    """The observation matrix ``(N, count)`` under which standardised rows ``(T, N)`` are states of unit variance that
    do not correlate: the principal axes, each times the deviation along it, but at least 1 / 20 of the largest.

    Axes beyond N are small random ones. Rows with a missing sample are left out.
    """
    known = rows[~rows.isnan().any(1)].double()
    values, axes = torch.linalg.eigh(known.mT @ known / len(known))
    order = values.argsort(descending=True)[:count]
    spread = values[order].clamp_min(0).sqrt()
    B = axes[:, order] * spread.clamp_min(float(spread[0]) / GENTLE)
    rest = torch.randn(len(B), count - B.shape[1], dtype=B.dtype, generator=torch_generator(0))
    return torch.cat([B, rest / GENTLE], dim=1)


def modules_of(setup: Setup, parameters: Parameters) -> tuple[ShallowPLRNN, Observation]:
    """Model and observation in float64, without gradients, for parameters by name."""
    model, observation = empty_modules(setup)
    for module, own in ((model, False), (observation, True)):
        state = {
            name: value.double() for name, value in parameters.items() if (name in _OF_OBSERVATION) == own
        }
        module.load_state_dict(state)
        module.requires_grad_(False)
    return model, observation


def forcing_signals(setup: Setup, parameters: Parameters, batch: Tensor) -> Tensor:
    """The states that the data say, ``(..., N)`` to ``(..., M)``; states that are not observed are as at a start."""
    if setup.observation == "affine":
        seen = batch if "b" not in parameters else batch - parameters["b"]
        return seen @ torch.linalg.pinv(parameters["B"]).mT
    if "lift" in parameters:
        return torch.cat([batch, batch @ parameters["lift"].mT], dim=-1)
    return batch


def parameter_count(setup: Setup) -> int:
    """How many numbers are trained."""
    return sum(math.prod(shape) for shape in setup.shapes.values())
