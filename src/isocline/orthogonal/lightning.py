"""The regulariser as a Lightning callback; importing this file imports Lightning."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from isocline.orthogonal.penalty import OrthogonalPenalty

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ImportError as error:
    raise ImportError("lightning: want it installed, got none; pip install 'isocline[vision]'") from error


class OrthogonalCallback(Callback):
    """Adds the gradient of an `OrthogonalPenalty` to that of the loss, once a step of the optimiser.

    It comes behind the backward pass, behind the unscaling of mixed precision and before gradients are clipped, so it needs no
    change of the module, and is right with accumulated batches and data-parallel training (not with sharded weights).
    model: the part to regularise; None takes the whole LightningModule. Its value is logged as ``orthogonal_penalty``,
    `penalty` is the `OrthogonalPenalty` once fitting has begun. weight, every: as there.
    """

    def __init__(self, weight: float, every: int | None = None, *, model: nn.Module | None = None) -> None:
        self.weight, self.every, self.model = weight, every, model
        self.penalty: OrthogonalPenalty | None = None
        self._state: dict[str, int] | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            self.penalty = OrthogonalPenalty(self.model or pl_module, self.weight, self.every)
            if self._state is not None:
                self.penalty.load_state_dict(self._state)

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        assert self.penalty is not None
        within = {id(p) for p in (self.model or pl_module).parameters()}
        moved = [
            p
            for group in optimizer.param_groups
            for p in group["params"]
            if id(p) in within and p.requires_grad
        ]
        if not moved:  # the optimiser of another part
            return
        with torch.enable_grad():
            price = self.penalty()
        if price.requires_grad:
            gradients = torch.autograd.grad(price, moved, allow_unused=True)
            for p, gradient in zip(moved, gradients, strict=True):
                if gradient is not None:
                    p.grad = gradient if p.grad is None else p.grad.add_(gradient)
        pl_module.log("orthogonal_penalty", price.detach())

    def state_dict(self) -> dict[str, Any]:
        return {} if self.penalty is None else dict(self.penalty.state_dict())

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._state = dict(state_dict)
        if self.penalty is not None:
            self.penalty.load_state_dict(self._state)
