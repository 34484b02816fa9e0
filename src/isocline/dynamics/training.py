"""The training of an ensemble, piece by piece: updates, alpha, snapshots, checkpoints; it goes on where it stopped.

Every ``look`` updates each member's free run is compared with what was held out and the best snapshot is kept; with
a folder, everything is then saved there in one step. What comes next depends on nothing but what is saved, so an
interrupted run ends with the numbers of one that was not.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isocline._core.files import CheckpointError, load_folder, plain, save_folder

from .members import Member, Stop, Validation
from .penalties import observed_loss
from .plan import Plan, forcing_signals, modules_of
from .recursion import forced_rollout_of
from .schedules import AdaptiveForcing, forcing_to_dict
from .selection import Judge
from .strength import estimated_alpha
from .trainers import Trainer, trainer_for

KIND = "isocline.dynamics checkpoint"
CALL = 500  # most updates in one call of a trainer: how soon an interrupt is noticed


@dataclass(frozen=True)
class Moment:
    """How far training has come; what ``Reconstructor.fit(watch=...)`` gets."""

    update: int
    updates: int
    loss: float  # mean over members that still run, and over the updates since the last moment
    alpha: float  # the same mean
    best: float  # the least validation score so far; inf: none yet
    stopped: int  # members that left the finite numbers


@contextmanager
def _one_thread() -> Iterator[None]:
    """torch works on small matrices inside: waking its other threads would take longer than the work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class Training:
    """An ensemble in training."""

    def __init__(self, plan: Plan, judge: Judge | None, *, look: int) -> None:
        self.plan, self.judge, self.look = plan, judge, look
        self.trainer: Trainer = trainer_for(plan)
        R = len(plan.seeds)
        self.alphas = [plan.forcing.first] * R
        self.best = self._snapshots()
        self.history: list[dict[str, Any]] = []
        self.resumed_at = 0

    def run(self, folder: str | os.PathLike[str] | None, watch: Callable[[Moment], None] | None) -> None:
        """Train to the end, saving into ``folder`` after every look."""
        while self.trainer.updates < self.plan.updates:
            target = min((self.trainer.updates // self.look + 1) * self.look, self.plan.updates)
            losses = self._advance_to(target)
            self._look(losses)
            if folder is not None:
                self.save(folder)
            if watch is not None:
                watch(self.moment())

    def _advance_to(self, target: int) -> list[float]:
        """Updates up to ``target``; the mean losses of the members, NaN where a member made none."""
        total, count = np.zeros(len(self.alphas)), np.zeros(len(self.alphas))
        while (now := self.trainer.updates) < target:
            step = CALL
            if isinstance(self.plan.forcing, AdaptiveForcing):
                step = self.plan.forcing.every
                if now % step == 0:
                    with _one_thread():
                        self._estimate(self.plan.forcing)
                step -= now % step
            last = min(now + step, target)
            losses = self.trainer.advance(
                self.alphas, [self.plan.rate(update) for update in range(now, last)]
            )
            total += np.nansum(losses.numpy(), 1, np.float64)
            count += np.isfinite(losses.numpy()).sum(1)
        with np.errstate(invalid="ignore"):
            return (total / count).tolist()

    def _estimate(self, forcing: AdaptiveForcing) -> None:
        """Move every member's alpha by the Jacobians along the windows that come next."""
        setup, update = self.plan.setup, self.trainer.updates
        for r, parameters in enumerate(self.trainer.parameters()):
            if int(self.trainer.stopped[r]) >= 0:
                continue
            signals = forcing_signals(setup, parameters, self.plan.batch(r, update)[1:])
            estimate = estimated_alpha(parameters, signals, forcing.method, setup.clipped)
            if math.isfinite(estimate):
                self.alphas[r] = forcing.after(self.alphas[r], estimate)

    def _snapshots(self) -> list[Member]:
        """All members as they stand."""
        each = zip(self.trainer.parameters(), self.plan.seeds, self.alphas, strict=True)
        return [Member(self.plan.setup, parameters, seed, alpha, None) for parameters, seed, alpha in each]

    def _look(self, losses: list[float]) -> None:
        """Judge every member that still runs, keep the better snapshot, and write down what was seen."""
        update, seen = self.trainer.updates, []
        for r, member in enumerate(self._snapshots()):
            stopped = int(self.trainer.stopped[r]) >= 0
            if self.judge is None:
                self.best[r] = member
                seen.append(None)
                continue
            found = None if stopped and self.best[r].validation else self.judge(member, update)
            seen.append(found)
            before = self.best[r].validation
            if found and (before is None or found.value <= before.value):
                self.best[r] = replace(member, validation=found)
        row = {"update": update, "loss": losses, "alpha": list(self.alphas)}
        self.history.append({**row, "validation": [None if one is None else one.value for one in seen]})

    def moment(self) -> Moment:
        """Where training stands now."""
        last = self.history[-1]
        running = [r for r in range(len(self.alphas)) if int(self.trainer.stopped[r]) < 0]
        mean = lambda values: float(np.mean([values[r] for r in running])) if running else math.nan  # noqa: E731
        best = min((one.validation.value for one in self.best if one.validation), default=math.inf)
        return Moment(
            self.trainer.updates, self.plan.updates, mean(last["loss"]), mean(last["alpha"]), best,
            len(self.alphas) - len(running),
        )  # fmt: skip

    def stops(self) -> list[Stop]:
        """The members that left the finite numbers, when, and why."""
        at = self.trainer.stopped.tolist()
        return [Stop(r, update, self._why(r, update)) for r, update in enumerate(at) if update >= 0]

    def _why(self, r: int, update: int) -> str:
        """The update that failed, done again in float64 from the state before it."""
        plan, parameters = self.plan, self.trainer.parameters()[r]
        model, observation = modules_of(plan.setup, parameters)
        model.requires_grad_(True)
        windows = plan.batch(r, update - 1).double()
        drive = plan.drive(r, update - 1)
        states = forced_rollout_of(
            model,
            observation.initial_state(windows[0]),
            observation.forcing(windows[1:]),
            self.alphas[r],
            inputs=None if drive is None else drive.double(),
            interval=plan.forcing.interval,
        )
        lost = ~torch.isfinite(states.detach().float()).flatten(1).all(1)
        loss = observed_loss(observation(states), windows[1:])
        loss.backward()
        slope = math.sqrt(sum(float(p.grad.square().sum()) for p in model.parameters() if p.grad is not None))
        where = (
            f"states leave float32 at step {int(lost.byte().argmax()) + 1} of a window; "
            if lost.any()
            else ""
        )
        return (
            f"{where}in float64 the loss is {float(loss.detach()):.3g} and its gradient {slope:.3g}, "
            f"with largest |A| {float(model.A.detach().abs().max()):.3g} and alpha {self.alphas[r]:.3g}"
        )

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of the settings and the data: whether a checkpoint belongs to this training."""
        plan = self.plan
        settings = plain(
            {
                "setup": plan.setup, "forcing": forcing_to_dict(plan.forcing), "updates": plan.updates,
                "learning_rate": plan.learning_rate, "seeds": plan.seeds, "look": self.look,
                "device": plan.device, "backend": plan.backend, "judged": self.judge is not None,
            }
        )  # fmt: skip
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        tensors = [plan.windows.rows, plan.windows.starts, plan.windows.inputs, plan.first_B]
        held = [torch.from_numpy(part.points) for part in self.judge.parts] if self.judge else []
        for tensor in [*tensors, *held]:
            digest.update(b"" if tensor is None else tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write everything in one step; a kill at any moment leaves this or the state before it."""
        best = [
            {"alpha": one.alpha, "validation": one.validation} for one in self.best
        ]  # their parameters are among the arrays
        config = {
            "kind": KIND, "fingerprint": self.fingerprint, "update": self.trainer.updates,
            "alphas": self.alphas, "best": best, "history": self.history,
        }  # fmt: skip
        arrays = {f"state.{name}": value for name, value in self.trainer.state().items()}
        for r, member in enumerate(self.best):
            arrays |= {f"best.{r}.{name}": value for name, value in member.parameters.items()}
        save_folder(folder, config, arrays)

    def resume(self, folder: str | os.PathLike[str]) -> None:
        """Go on from a checkpoint. Raises CheckpointError if it is damaged or of another training."""
        config, arrays = load_folder(folder, tensors=True)
        if config.get("kind") != KIND:
            raise CheckpointError(f"{folder}: is not a checkpoint of a reconstruction")
        if config.get("fingerprint") != self.fingerprint:
            raise CheckpointError(
                f"{folder}: belongs to other settings, data or seeds; name another folder or remove it"
            )
        try:
            self._take(config, arrays)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"{folder}: does not hold what a checkpoint must ({error})") from error

    def _take(self, config: dict[str, Any], arrays: dict[str, Tensor]) -> None:
        state = {name[6:]: value for name, value in arrays.items() if name.startswith("state.")}
        self.trainer.restore(state, int(config["update"]))
        self.alphas = [float(alpha) for alpha in config["alphas"]]
        self.history = [as_numbers(row) for row in config["history"]]
        for r, kept in enumerate(config["best"]):
            parameters = {name: arrays[f"best.{r}.{name}"] for name in self.plan.setup.shapes}
            validation = kept["validation"] and Validation(**as_numbers(kept["validation"]))
            self.best[r] = Member(
                self.plan.setup, parameters, self.plan.seeds[r], float(kept["alpha"]), validation
            )
        self.resumed_at = self.trainer.updates


def as_numbers(value: Any) -> Any:
    """Undo the words that JSON needs for what it cannot write."""
    if isinstance(value, dict):
        return {name: as_numbers(item) for name, item in value.items()}
    if isinstance(value, list):
        return [as_numbers(item) for item in value]
    return float(value) if value in ("nan", "inf", "-inf") else value
