"""Two ways to do the same updates: the compiled loop, and the eager one for any device and schedule.

Both draw the same windows from the same seeds and minimise the same loss, so they differ by rounding alone. Both do
as many updates as they are asked for and can be continued exactly from ``state()``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from .forcing import forced_rollout
from .kernels import runs, training
from .kernels.cpu import share
from .penalties import condition_penalty, shrinkage
from .plan import Parameters, Plan


class Trainer(Protocol):
    """R runs side by side."""

    updates: int

    @property
    def stopped(self) -> Tensor:
        """``(R,)``: -1, or the update at which a run was no longer finite, and which was not made."""
        ...

    def advance(self, alphas: Sequence[float], rates: Sequence[float]) -> Tensor:
        """Do ``len(rates)`` updates; returns the losses ``(R, updates)``, NaN for those not made."""
        ...

    def parameters(self) -> list[dict[str, Tensor]]:
        """The parameters of every run by name, as they stand."""
        ...

    def state(self) -> dict[str, Tensor]:
        """All that is needed to go on exactly."""
        ...

    def restore(self, state: Mapping[str, Tensor], updates: int) -> None:
        """Go on from a ``state``."""
        ...


def trainer_for(plan: Plan) -> Trainer:
    """The compiled loop where it can do the work, else the eager one."""
    compiled = plan.backend == "auto" and plan.device == "cpu" and plan.forcing.interval is None
    return (CompiledTrainer if compiled else EagerTrainer)(plan, plan.first_parameters())


class CompiledTrainer:
    """K updates of all runs in one compiled call; on the CPU, for one alpha at all steps."""

    def __init__(self, plan: Plan, parameters: Sequence[Parameters]) -> None:
        setup, windows = plan.setup, plan.windows
        self.plan, self.updates = plan, 0
        self.runs = runs.begin(setup, parameters, plan.seeds)
        self._sizes = runs.sizes_of(setup)
        self._series, self._starts = windows.rows.numpy(), windows.starts.numpy()
        self._inputs = np.empty((0, 0), np.float32) if windows.inputs is None else windows.inputs.numpy()
        self._missing = bool(np.isnan(self._series).any())

    @property
    def stopped(self) -> Tensor:
        return self.runs.stopped

    def advance(self, alphas: Sequence[float], rates: Sequence[float]) -> Tensor:
        setup, held = self.plan.setup, self.runs
        losses = np.full((len(alphas), len(rates)), np.nan, np.float32)
        share(
            lambda first, last: training.advance(
                self._sizes, setup.clipped, self._missing, setup.shrinkage, setup.observation_penalty,
                self._series, self._inputs, self._starts, held.seeds.numpy(), self.updates,
                np.asarray(rates, np.float64), np.asarray(alphas, np.float32), held.theta,
                held.moments, held.squares, losses, held.stopped.numpy(), first, last,
            ),
            len(alphas),
        )  # fmt: skip
        self.updates += len(rates)
        return torch.from_numpy(losses)

    def parameters(self) -> list[dict[str, Tensor]]:
        return runs.parameters_of(self.plan.setup, self.runs)

    def state(self) -> dict[str, Tensor]:
        names = ("theta", "moments", "squares", "stopped")
        return {name: getattr(self.runs, name).clone() for name in names}

    def restore(self, state: Mapping[str, Tensor], updates: int) -> None:
        for name in ("theta", "moments", "squares", "stopped"):
            getattr(self.runs, name).copy_(state[name])
        self.updates = updates


class EagerTrainer:
    """One update after another through autograd and ``torch.optim.RAdam``: any device, sparse forcing too."""

    def __init__(self, plan: Plan, parameters: Sequence[Parameters]) -> None:
        self.plan, self.updates = plan, 0
        self._stopped = torch.full((len(parameters),), -1)
        self.weights = {
            name: torch.stack([given[name] for given in parameters]).to(plan.device).requires_grad_()
            for name in plan.setup.shapes
        }
        self.optimizer = torch.optim.RAdam(self.weights.values())

    @property
    def stopped(self) -> Tensor:
        return self._stopped

    def advance(self, alphas: Sequence[float], rates: Sequence[float]) -> Tensor:
        losses = torch.full((len(self.stopped), len(rates)), torch.nan, dtype=torch.float32)
        alpha = torch.tensor(alphas, dtype=torch.float32, device=self.plan.device)
        for k, rate in enumerate(rates):
            running = self.stopped < 0
            found = self._update(alpha, rate)
            losses[:, k] = torch.where(running, found, torch.nan)
        return losses

    def _update(self, alpha: Tensor, rate: float) -> Tensor:
        """One update of all runs that are still finite; the losses ``(R,)``."""
        before = [weight.detach().clone() for weight in self.weights.values()]
        self.optimizer.zero_grad()
        loss = self._loss(alpha)
        (loss.sum() + self._penalty()).backward()
        slopes = [weight.grad for weight in self.weights.values() if weight.grad is not None]
        whole = loss.detach() + sum(slope.flatten(1).sum(1) for slope in slopes)
        self.updates += 1
        self.stopped[(self.stopped < 0) & ~torch.isfinite(whole.cpu())] = self.updates
        halted = (self.stopped >= 0).to(self.plan.device)
        for slope in slopes:
            slope[halted] = 0
        self.optimizer.param_groups[0]["lr"] = rate
        self.optimizer.step()
        with torch.no_grad():
            for weight, kept in zip(self.weights.values(), before, strict=True):
                weight[halted] = kept[halted]
        return loss.detach().cpu()

    def _loss(self, alpha: Tensor) -> Tensor:
        """The mean squared error ``(R,)`` over what was observed."""
        plan, setup, members = self.plan, self.plan.setup, range(len(self.stopped))
        windows = torch.stack([plan.batch(r, self.updates) for r in members]).to(plan.device)
        given = [drive for r in members if (drive := plan.drive(r, self.updates)) is not None]
        first, later = windows[:, 0], windows[:, 1:]  # (R, B, N), (R, T, B, N)
        if setup.observation == "affine":
            inverse = torch.linalg.pinv(self.weights["B"])
            z0 = torch.einsum("rmn,rbn->rbm", inverse, first)
            signals = torch.einsum("rmn,rtbn->rtbm", inverse.detach(), later)
        else:
            lift = self.weights.get("lift")
            hidden = [] if lift is None else [torch.einsum("rmn,rbn->rbm", lift, first)]
            z0, signals = torch.cat([first, *hidden], -1), later
        states = forced_rollout(
            self.weights["A"],
            self.weights["W1"],
            self.weights["W2"],
            self.weights["h1"],
            self.weights["h2"],
            z0,
            signals,
            alpha.view(-1, 1, 1, 1),
            clipped=setup.clipped,
            C=self.weights.get("C"),
            inputs=torch.stack(given).to(plan.device) if given else None,
            interval=plan.forcing.interval,
            backend=plan.backend,
        )
        if setup.observation == "affine":
            predicted = torch.einsum("rnm,rtbm->rtbn", self.weights["B"], states)
        else:
            predicted = states[..., : setup.observed_dim]
        missing = later.isnan()
        error = torch.where(missing, 0, predicted - torch.where(missing, 0, later))
        return error.square().sum((1, 2, 3)) / (~missing).sum((1, 2, 3)).clamp_min(1)

    def _penalty(self) -> Tensor:
        """The penalties of all runs together: each run's gradient is its own."""
        setup, weights = self.plan.setup, self.weights
        rest = [weights[name] for name in ("W1", "W2", "h1", "h2", "C") if name in weights]
        total = setup.shrinkage * shrinkage(weights["A"], *rest)
        if setup.observation_penalty == 0:
            return total
        if setup.observation == "affine":
            return total + setup.observation_penalty * condition_penalty(weights["B"]).sum()
        if "lift" in weights:
            return total + setup.observation_penalty * weights["lift"].square().sum()
        return total

    def parameters(self) -> list[dict[str, Tensor]]:
        values = {name: weight.detach().cpu() for name, weight in self.weights.items()}
        return [{name: value[r].clone() for name, value in values.items()} for r in range(len(self.stopped))]

    def state(self) -> dict[str, Tensor]:
        found = {"stopped": self.stopped.clone()}
        for name, weight in self.weights.items():
            kept = self.optimizer.state.get(weight, {})
            found[f"theta.{name}"] = weight.detach().cpu().clone()
            for key in ("exp_avg", "exp_avg_sq"):
                value = kept.get(key, torch.zeros_like(weight))
                found[f"{key}.{name}"] = value.detach().cpu().clone()
        return found

    def restore(self, state: Mapping[str, Tensor], updates: int) -> None:
        self.updates = updates
        self.stopped.copy_(state["stopped"])
        for name, weight in self.weights.items():
            with torch.no_grad():
                weight.copy_(state[f"theta.{name}"])
            averages = {key: state[f"{key}.{name}"].to(weight) for key in ("exp_avg", "exp_avg_sq")}
            if updates:
                self.optimizer.state[weight] = {"step": torch.tensor(float(updates)), **averages}
