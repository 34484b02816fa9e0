"""How a classifier is trained, as data: one frozen dataclass, and the optimiser and schedule that it names."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from isocline._core.checks import check_choice, check_number, wrong
from isocline.training.augment import Augment
from isocline.training.lamb import Lamb
from isocline.training.mixing import Mix

OPTIMIZERS = ("sgd", "adam", "adamw", "lamb")
LOSSES = ("cross_entropy", "binary")
SCHEDULES: dict[
    str, Callable[[float], float]
] = {  # share of the way done -> share of the way down that is left
    "constant": lambda t: 1.0,
    "linear": lambda t: 1.0 - t,
    "cosine": lambda t: (1.0 + math.cos(math.pi * t)) / 2.0,
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides how a classifier is trained, but the model, the data and the machine.

    The rate climbs from ``lr / warmup steps`` to `lr` over `warmup` epochs and then falls to `final_lr` along the schedule.
    The loss is the cross entropy of ``temperature * logits``: networks that cannot stretch their input need one above 1. With
    ``loss="binary"`` it is a yes or no for every class, yes for each that is in the (mixed) image. `repeats`: an epoch has so
    many copies of one out of as many images, each augmented for itself (`Loader`).
    Raises ValueError or TypeError, naming the field.

    >>> Recipe(epochs=2, lr=0.1, optimizer="sgd").batch_size
    128
    """

    epochs: int = 10
    batch_size: int = 128
    optimizer: str = "adamw"
    lr: float = 1e-3  # the largest
    final_lr: float = 0.0  # the last
    schedule: str = "cosine"
    warmup: float = 0.0  # epochs
    momentum: float = 0.9  # of "sgd"
    weight_decay: float = 0.0
    decay_vectors: bool = True  # False: biases and scales of normalisations are not decayed
    clip_norm: float | None = None  # largest norm of a gradient
    label_smoothing: float = 0.0
    temperature: float = 1.0
    loss: str = "cross_entropy"
    augment: Augment = field(default_factory=Augment)
    mix: Mix = field(default_factory=Mix)
    repeats: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("optimizer", self.optimizer, OPTIMIZERS)
        check_choice("schedule", self.schedule, SCHEDULES)
        check_choice("loss", self.loss, LOSSES)
        for name in ("epochs", "batch_size", "repeats"):
            check_number(name, getattr(self, name), least=1, integer=True)
        for name in ("lr", "temperature"):
            check_number(name, getattr(self, name), above=0)
        check_number("final_lr", self.final_lr, least=0, most=self.lr)
        check_number("warmup", self.warmup, least=0, most=self.epochs)
        check_number("weight_decay", self.weight_decay, least=0)
        for name in ("momentum", "label_smoothing"):
            check_number(name, getattr(self, name), least=0, below=1)
        if self.clip_norm is not None:
            check_number("clip_norm", self.clip_norm, above=0)
        check_number("seed", self.seed, least=0, below=2**63, integer=True)
        if not isinstance(self.augment, Augment):
            raise wrong("augment", "an Augment", type(self.augment).__name__, error=TypeError)
        if not isinstance(self.mix, Mix):
            raise wrong("mix", "a Mix", type(self.mix).__name__, error=TypeError)
        if self.loss == "binary" and self.label_smoothing:
            raise wrong("label_smoothing", "0 with the binary loss", self.label_smoothing)

    def rate(self, step: int, steps_per_epoch: int) -> float:
        """The learning rate of step 0, 1, ..."""
        warm = round(self.warmup * steps_per_epoch)
        if step < warm:
            return self.lr * (step + 1) / warm
        total = self.epochs * steps_per_epoch
        left = SCHEDULES[self.schedule](min(1.0, (step - warm) / max(1, total - warm)))
        return self.final_lr + (self.lr - self.final_lr) * left


def optimizer_of(recipe: Recipe, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """The recipe's optimiser over those of the parameters that are trained."""
    trained = [p for p in parameters if p.requires_grad]
    decayed = [p for p in trained if recipe.decay_vectors or p.ndim > 1]
    kept = [p for p in trained if not recipe.decay_vectors and p.ndim <= 1]
    groups = [{"params": decayed}] + ([{"params": kept, "weight_decay": 0.0}] if kept else [])
    if recipe.optimizer == "sgd":
        return SGD(groups, recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
    return {"adam": Adam, "adamw": AdamW, "lamb": Lamb}[recipe.optimizer](
        groups, recipe.lr, weight_decay=recipe.weight_decay
    )


def schedule_of(recipe: Recipe, optimizer: Optimizer, steps_per_epoch: int) -> LambdaLR:
    """The recipe's rate, step by step, as torch's scheduler."""
    return LambdaLR(optimizer, lambda step: recipe.rate(step, steps_per_epoch) / recipe.lr)


def loss_of(recipe: Recipe, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The mean loss of a batch: smoothed cross entropy of ``temperature * logits``, or binary cross entropies (their mean).

    Logits ``(B, classes)``; labels ``(B,)``, or the share of every class ``(B, classes)``. Source of the binary loss: Touvron et
    al. 2022, *DeiT III*, section 3, after Wightman et al. 2021.
    """
    z, smoothing = recipe.temperature * logits, recipe.label_smoothing
    if recipe.loss == "cross_entropy":
        return nn.functional.cross_entropy(z, labels, label_smoothing=smoothing)
    if labels.ndim == 1:
        labels = nn.functional.one_hot(labels, logits.shape[1])
    return nn.functional.binary_cross_entropy_with_logits(z, (labels > 0).to(z.dtype))
