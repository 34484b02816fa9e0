"""Training runs of the shallow PLRNN in the compiled loop: begin, advance, read the parameters, go on later.

>>> setup = Setup(latent_dim=3, hidden_dim=50, observed_dim=3)
>>> setup.size  # values per run: 2M + L + 2ML, L filled up to a multiple of four
370
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..._core.checks import check_choice, check_number, wrong
from . import training
from .cpu import share
from .steps import UNITS


@dataclass(frozen=True)
class Setup:
    """What is trained, and on batches of which shape.

    ``observation`` "identity" learns ``lift`` when there are hidden states, "affine" learns B and, with
    ``bias``, b. ``shrinkage`` weighs ``functional.shrinkage``; ``observation_penalty`` the sum of squares of
    the lift, or the condition penalty of B.
    """

    latent_dim: int
    hidden_dim: int
    observed_dim: int
    input_dim: int = 0
    clipped: bool = True
    observation: str = "identity"
    bias: bool = False
    sequence_length: int = 200
    batch_size: int = 16
    shrinkage: float = 0.0
    observation_penalty: float = 0.0

    def __post_init__(self) -> None:
        check_choice("observation", self.observation, ("identity", "affine"))
        for name in ("latent_dim", "hidden_dim", "observed_dim", "sequence_length", "batch_size"):
            check_number(name, getattr(self, name), least=1, integer=True)
        if self.observation == "identity" and self.latent_dim < self.observed_dim:
            want = f"at least the {self.observed_dim} observed channels"
            raise wrong("latent_dim", want, self.latent_dim, "take the affine observation")

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The parameters by name, in their order."""
        M, L, N, K = self.latent_dim, self.hidden_dim, self.observed_dim, self.input_dim
        found: dict[str, tuple[int, ...]] = {"A": (M,), "W1": (M, L), "W2": (L, M), "h1": (M,), "h2": (L,)}
        if K:
            found["C"] = (M, K)
        if self.observation == "affine":
            found["B"] = (N, M)
        elif M > N:
            found["lift"] = (M - N, N)
        if self.observation == "affine" and self.bias:
            found["b"] = (N,)
        return found

    @property
    def size(self) -> int:
        """Values that a run's parameters take."""
        rest = [shape for name, shape in self.shapes.items() if name in ("C", "B", "lift", "b")]
        return sum(_map_parts(self)) + sum(int(np.prod(s)) for s in rest)


@dataclass
class Runs:
    """R runs as they stand: all that is needed to continue them exactly, as plain tensors.

    ``theta``, ``moments``, ``squares`` ``(R, size)``: packed parameters and RAdam's two averages; ``seeds``
    ``(R,)``; ``stopped`` ``(R,)``: -1, or the update at which a run was no longer finite (its parameters are
    those before it).
    """

    theta: Tensor
    moments: Tensor
    squares: Tensor
    seeds: Tensor
    stopped: Tensor
    updates: int = 0


def begin(setup: Setup, parameters: Sequence[Mapping[str, Tensor]], seeds: Sequence[int]) -> Runs:
    """Runs at update 0, one for each mapping of parameters by name (see ``Setup.shapes``) and seed."""
    if len(parameters) != len(seeds) or not seeds:
        raise wrong("seeds", f"{len(parameters)} seeds, one per run", len(seeds))
    for given in parameters:
        for name, shape in setup.shapes.items():
            if name not in given or tuple(given[name].shape) != shape:
                got = tuple(given[name].shape) if name in given else "nothing"
                raise wrong(f"parameters[{name!r}]", f"shape {shape}", got)
    theta = torch.zeros(len(parameters), setup.size, dtype=parameters[0]["A"].dtype)
    for row, given in zip(theta, parameters, strict=True):
        _pack(setup, row, {name: given[name].detach().cpu().to(theta.dtype) for name in setup.shapes})
    stopped = torch.full((len(seeds),), -1)
    return Runs(theta, torch.zeros_like(theta), torch.zeros_like(theta), torch.tensor(list(seeds)), stopped)


def parameters_of(setup: Setup, runs: Runs) -> list[dict[str, Tensor]]:
    """The parameters of every run by name: copies."""
    return [_unpack(setup, row) for row in runs.theta]


def advance(
    setup: Setup,
    runs: Runs,
    series: Tensor,
    starts: Tensor,
    *,
    alphas: Sequence[float],
    rates: Sequence[float],
    inputs: Tensor | None = None,
) -> Tensor:
    """Do ``len(rates)`` updates of every run that has not stopped, in place; the losses ``(R, updates)``.

    Shapes: series ``(rows, N)``, contiguous, of the runs' dtype, NaN = missing; inputs ``(rows, K)``; starts
    ``(S,)``: the rows at which a window of ``sequence_length + 1`` rows may begin (none missing); alphas, one
    for each run; rates, one for each update. Losses of updates that were not made are NaN. The same numbers
    come of one call with many rates and of many calls with few.
    """
    _check(setup, runs, series, starts, inputs)
    if len(alphas) != len(runs.seeds) or not all(0 <= float(alpha) <= 1 for alpha in alphas):
        raise wrong("alphas", f"{len(runs.seeds)} numbers in [0, 1]", list(alphas), "one for each run")
    losses = torch.full((len(runs.seeds), len(rates)), torch.nan, dtype=runs.theta.dtype)
    given = torch.empty(0, 0, dtype=series.dtype) if inputs is None else inputs
    arguments = (
        sizes_of(setup),
        setup.clipped,
        bool(series.isnan().any()),
        float(setup.shrinkage),
        float(setup.observation_penalty),
        series.numpy(),
        given.numpy(),
        starts.numpy(),
        runs.seeds.numpy(),
        runs.updates,
        np.asarray(rates, np.float64),
        np.asarray(alphas, np.float64).astype(runs.theta.numpy().dtype),
        runs.theta,
        runs.moments,
        runs.squares,
        losses.numpy(),
        runs.stopped.numpy(),
    )
    share(lambda first, last: training.advance(*arguments, first, last), len(runs.seeds))
    runs.updates += len(rates)
    return losses


def sizes_of(setup: Setup) -> training.Sizes:
    """What the compiled loop wants to know of a setup."""
    return training.Sizes(
        setup.batch_size,
        setup.sequence_length,
        setup.latent_dim,
        setup.hidden_dim,
        setup.observed_dim,
        setup.input_dim,
        setup.observation == "affine",
        setup.bias,
    )


def _check(setup: Setup, runs: Runs, series: Tensor, starts: Tensor, inputs: Tensor | None) -> None:
    if series.dim() != 2 or series.shape[1] != setup.observed_dim:
        raise wrong("series", f"(rows, {setup.observed_dim})", tuple(series.shape))
    if series.dtype != runs.theta.dtype:
        raise wrong("series", f"{runs.theta.dtype}, as the runs", str(series.dtype))
    if (inputs is None) != (setup.input_dim == 0) or (
        inputs is not None and tuple(inputs.shape) != (len(series), setup.input_dim)
    ):
        want = f"({len(series)}, {setup.input_dim})" if setup.input_dim else "None"
        raise wrong("inputs", want, "None" if inputs is None else tuple(inputs.shape))
    last = len(series) - setup.sequence_length - 1
    if len(starts) == 0 or int(starts.min()) < 0 or int(starts.max()) > last:
        raise wrong("starts", f"rows from 0 to {last}", "none" if len(starts) == 0 else starts.tolist())


def _map_parts(setup: Setup) -> list[int]:
    """How many values A, h1, h2, W1 and W2 take in a packed row, the units filled up to whole groups of four."""
    M, L = setup.latent_dim, -(-setup.hidden_dim // UNITS) * UNITS
    return [M, M, L, L * M, L * M]


def _pack(setup: Setup, row: Tensor, values: Mapping[str, Tensor]) -> None:
    """Write parameters by name into a packed row of zeros; for its layout see ``steps``."""
    A, h1, h2, W1, W2 = row[: sum(_map_parts(setup))].split(_map_parts(setup))
    A.copy_(values["A"])
    h1.copy_(values["h1"])
    h2[: setup.hidden_dim] = values["h2"]
    for part, W in ((W1, values["W1"].mT), (W2, values["W2"])):
        filled = W.new_zeros(len(h2), setup.latent_dim)
        filled[: setup.hidden_dim] = W
        part.view(-1, setup.latent_dim, UNITS).copy_(filled.view(-1, UNITS, setup.latent_dim).mT)
    for name, part in _rest(setup, row).items():
        part.copy_(values[name])


def _unpack(setup: Setup, row: Tensor) -> dict[str, Tensor]:
    """The parameters of a packed row by name: copies."""
    A, h1, h2, *both = row[: sum(_map_parts(setup))].split(_map_parts(setup))
    M, L = setup.latent_dim, setup.hidden_dim
    W1, W2 = (part.view(-1, M, UNITS).mT.reshape(-1, M)[:L] for part in both)
    values = {"A": A, "W1": W1.mT, "W2": W2, "h1": h1, "h2": h2[:L], **_rest(setup, row)}
    return {name: value.clone(memory_format=torch.contiguous_format) for name, value in values.items()}


def _rest(setup: Setup, row: Tensor) -> dict[str, Tensor]:
    """The parameters after those of the map, as views of a packed row."""
    shapes = dict(list(setup.shapes.items())[5:])
    parts = row[sum(_map_parts(setup)) :].split([int(np.prod(shape)) for shape in shapes.values()])
    return {name: part.view(shapes[name]) for name, part in zip(shapes, parts, strict=True)}
