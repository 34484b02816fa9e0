"""A classifier as Lightning sees it: one step, its optimiser, its metrics as plain dicts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from isocline.training.augment import augmented
from isocline.training.loader import as_images
from isocline.training.metrics import Tally, right
from isocline.training.recipe import Recipe, loss_of, optimizer_of, schedule_of


class Diverged(RuntimeError):
    """The loss is no longer finite. The last checkpoint holds the state before."""


class Classifier(LightningModule):
    """Any model from images ``(B, C, H, W)`` to logits ``(B, classes)``, trained by a recipe.

    penalty: called without arguments at every step, its scalar is added to the loss; where it has ``state_dict`` and
    ``load_state_dict`` its state is kept too. steps_per_epoch: the number of training batches, which the schedule needs.
    ``history`` is one plain dict an epoch; in data-parallel training each process keeps that of its own examples. Raises
    Diverged when the loss is not finite.
    """

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        *,
        steps_per_epoch: int,
        penalty: Callable[[], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.model, self.recipe, self.steps_per_epoch = model, recipe, steps_per_epoch
        self.penalty = penalty
        self.history: list[dict[str, float]] = []
        self._trained, self._validated, self._penalties = Tally(), Tally(), 0.0

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, labels = batch
        logits = self(augmented(as_images(images), self.recipe.augment))
        loss = loss_of(self.recipe, logits, labels)
        self._trained.add(loss, right(logits, labels))
        if self.penalty is not None:
            price = self.penalty()
            self._penalties += float(price.detach()) * len(labels)
            loss = loss + price
        if not math.isfinite(self._trained.loss + self._penalties):
            what = "penalty" if math.isfinite(self._trained.loss) else "loss"
            raise Diverged(
                f"{what}: not finite at step {self.global_step}; lower lr, clip, or lower the penalty's weight"
            )
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        images, labels = batch
        logits = self(as_images(images))
        self._validated.add(cross_entropy(logits, labels), right(logits, labels))

    def configure_optimizers(self) -> Any:
        optimizer = optimizer_of(self.recipe, self.model.parameters())
        schedule = schedule_of(self.recipe, optimizer, self.steps_per_epoch)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_epoch_start(self) -> None:
        self._trained, self._penalties = Tally(), 0.0

    def on_validation_epoch_start(self) -> None:
        self._validated = Tally()

    def on_train_epoch_end(self) -> None:
        row: dict[str, float] = {"epoch": self.current_epoch + 1, "step": self.global_step}
        row["lr"] = self.recipe.rate(self.global_step - 1, self.steps_per_epoch)  # of the last step
        row |= self._trained.means()
        if self.penalty is not None:
            row["penalty"] = self._penalties / self._trained.examples
        self.history.append(row | (self._validated.means("val_") if self._validated.examples else {}))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        keeps = getattr(self.penalty, "state_dict", None)
        checkpoint["isocline"] = {
            "recipe": asdict(self.recipe),
            "history": self.history,
            "trained": self._trained.to_dict(),
            "penalties": self._penalties,
            "penalty": keeps() if keeps else None,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        kept = checkpoint["isocline"]
        self.history, self._penalties = kept["history"], kept["penalties"]
        self._trained = Tally(**kept["trained"])
        if kept["penalty"] is not None:
            self.penalty.load_state_dict(kept["penalty"])  # type: ignore[union-attr]
