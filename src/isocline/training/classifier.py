"""A classifier as Lightning sees it: one step, its optimiser, its metrics as plain dicts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, distributed, nn
from torch.nn.functional import cross_entropy

from isocline.training.augment import augmented
from isocline.training.checkpoint import of_all
from isocline.training.loader import Share, as_images
from isocline.training.metrics import Tally, right
from isocline.training.mixing import mixed, soft_targets
from isocline.training.recipe import Recipe, loss_of, optimizer_of, schedule_of


class Diverged(RuntimeError):
    """The loss is no longer finite. The last checkpoint holds the state before."""


class Classifier(LightningModule):
    """Any model from images ``(B, C, H, W)`` to logits ``(B, classes)``, trained by a recipe.

    penalty: called without arguments at every step, its scalar is added to the loss; where it has ``state_dict`` and
    ``load_state_dict`` its state is kept too. steps_per_epoch: the optimiser's, which the schedule needs. ``history`` is one
    plain dict an epoch, over the examples of all processes; where images are mixed its accuracy speaks of their own labels, so
    that 1 is out of reach. A batch may carry its `Share` of a global one: then losses are
    weighed so that a step is that of the global batch, and buffers (the running means of batch norms) are the first
    process's whenever the model is judged or kept. Raises Diverged when the loss is not finite: at that step, or, where
    several processes train, at the end of the epoch or before the next checkpoint, in all of them together.
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

    def training_step(self, batch: tuple[Any, ...], batch_idx: int) -> Tensor:
        images, labels, share = _with_share(batch)
        images, own = mixed(augmented(as_images(images), self.recipe.augment), self.recipe.mix)
        logits = self(images)
        wanted = labels if own == 1 else soft_targets(labels, own, logits.shape[1], logits.dtype)
        loss = loss_of(self.recipe, logits, wanted)
        self._trained.add(loss, right(logits, labels), share.own)
        if share.weight != 1:
            loss = share.weight * loss
        if self.penalty is not None and share.last:  # once a step: the weights are the same in all rounds
            price = self.penalty()
            self._penalties += float(price.detach()) * share.whole / share.ranks
            loss = loss + share.rounds * price  # which Lightning divides by the rounds
        if share.ranks == 1:
            self._check_finite(self._trained, self._penalties)
        return loss

    def validation_step(self, batch: tuple[Any, ...], batch_idx: int) -> None:
        images, labels, share = _with_share(batch)
        logits = self(as_images(images))
        self._validated.add(cross_entropy(logits, labels), right(logits, labels), share.own)

    def _check_finite(self, trained: Tally, penalties: float) -> None:
        if not math.isfinite(trained.loss + penalties):
            what = "penalty" if math.isfinite(trained.loss) else "loss"
            raise Diverged(
                f"{what}: not finite at step {self.global_step}; lower lr, clip, or lower the penalty's weight"
            )

    def _sums(self, tally: Tally, more: float = 0.0) -> tuple[Tally, float]:
        """The sums over the examples of all processes, which call this together."""
        if self.trainer.world_size == 1:
            return tally, more
        mine = [tally.examples, tally.loss, tally.right, more]
        sums = torch.tensor(mine, dtype=torch.float64, device=self.device)
        distributed.all_reduce(sums)
        examples, loss, hits, more = sums.tolist()
        return Tally(int(examples), loss, int(hits)), more

    def agree(self) -> None:
        """Before the model is judged or kept: the loss is finite, and everybody's buffers are the first process's."""
        if self.trainer.world_size == 1:
            return
        self._check_finite(*self._sums(self._trained, self._penalties))
        for buffer in self.model.buffers():
            distributed.broadcast(buffer, 0)

    def configure_optimizers(self) -> Any:
        optimizer = optimizer_of(self.recipe, self.model.parameters())
        schedule = schedule_of(self.recipe, optimizer, self.steps_per_epoch)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_epoch_start(self) -> None:
        self._trained, self._penalties = Tally(), 0.0

    def on_validation_epoch_start(self) -> None:
        self._validated = Tally()
        self.agree()

    def on_train_end(self) -> None:
        self.agree()

    def on_train_epoch_end(self) -> None:
        self.agree()
        trained, penalties = self._sums(self._trained, self._penalties)
        validated, _ = self._sums(self._validated)
        row: dict[str, float] = {"epoch": self.current_epoch + 1, "step": self.global_step}
        row["lr"] = self.recipe.rate(self.global_step - 1, self.steps_per_epoch)  # of the last step
        row |= trained.means()
        if self.penalty is not None:
            row["penalty"] = penalties / trained.examples
        self.history.append(row | (validated.means("val_") if validated.examples else {}))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        keeps = getattr(self.penalty, "state_dict", None)
        sums = self._trained.to_dict() | {"penalties": self._penalties}
        checkpoint["isocline"] = {
            "recipe": asdict(self.recipe),
            "parts": {"devices": self.trainer.world_size, "accumulate": self.trainer.accumulate_grad_batches},
            "history": self.history,
            "trained": of_all(sums, self.trainer.world_size),
            "penalty": keeps() if keeps else None,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        kept = checkpoint["isocline"]
        self.history = kept["history"]
        sums = dict(kept["trained"][self.trainer.global_rank])
        self._penalties = sums.pop("penalties")
        self._trained = Tally(**sums)
        if kept["penalty"] is not None:
            self.penalty.load_state_dict(kept["penalty"])  # type: ignore[union-attr]


def _with_share(batch: tuple[Any, ...]) -> tuple[Tensor, Tensor, Share]:
    images, labels, *share = batch
    return images, labels, share[0] if share else Share(len(labels), len(labels), 1, 1, True)
