"""The schedule as a Lightning callback; importing this file imports Lightning."""

from __future__ import annotations

from typing import Any

from torch import nn

from isocline._core.checks import check_choice, check_number, wrong

from .schedule import PowerSchedule

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ImportError as error:
    raise ImportError("lightning: want it installed, got none; pip install 'isocline[vision]'") from error


class PowerCallback(Callback):
    """Sets the sharpness of all estimators before every epoch, or every step of the optimiser, and logs it as ``o``.

    It is computed from the trainer's own count, so a run that is resumed goes on where it was. o_end: as `PowerSchedule`.
    every: "epoch" or "step". total: how many there are; None takes the trainer's. model: the part to schedule; None takes
    the whole LightningModule. Raises ValueError for a trainer without end unless total is given.
    """

    def __init__(
        self,
        o_end: float = 3.0,
        every: str = "epoch",
        *,
        total: int | None = None,
        model: nn.Module | None = None,
    ) -> None:
        self.o_end = check_number("o_end", o_end, least=1)
        self.every = check_choice("every", every, ("epoch", "step"))
        self.total = None if total is None else check_number("total", total, least=1, integer=True)
        self.model = model
        self.schedule: PowerSchedule | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        total = self.total or _length(trainer, self.every)
        self.schedule = PowerSchedule(self.model or pl_module, self.o_end, total=total)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._set(trainer)  # a run resumed in the middle of an epoch does not begin it again

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        pl_module.log("o", self._set(trainer))

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._set(trainer)

    def _set(self, trainer: Trainer) -> float:
        assert self.schedule is not None
        done = trainer.current_epoch if self.every == "epoch" else trainer.global_step
        if done != self.schedule.done:
            self.schedule.go_to(done)
        return self.schedule.o


def _length(trainer: Trainer, every: str) -> int:
    found = trainer.max_epochs if every == "epoch" else trainer.estimated_stepping_batches
    if found is None or not 0 < found < float("inf"):
        raise wrong(
            "total", "a number, for a trainer without end", None, "give total, or max_epochs to the trainer"
        )
    return int(found)
