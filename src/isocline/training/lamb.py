"""LAMB: Adam's direction, with a step for each tensor that is a fixed share of the tensor's own length."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from isocline._core.checks import check_number


def trust_ratio(weight: Tensor, update: Tensor) -> Tensor:
    """``||w|| / ||u||``, 1 where one of them is 0. Shapes: any; returns a scalar. Source: You et al. 2020, Algorithm 2."""
    w, u = weight.norm(), update.norm()
    return torch.where((w > 0) & (u > 0), w / u.clamp(min=torch.finfo(u.dtype).tiny), torch.ones_like(w))


class Lamb(Optimizer):
    """``w <- w - lr ||w|| u / ||u||`` with ``u = m / (sqrt(v) + eps) + weight_decay w``, m and v Adam's, corrected means.

    For large batches, as in DeiT III's recipe. Raises ValueError for numbers out of range.
    Source: You et al. 2020, *Large Batch Optimization for Deep Learning: Training BERT in 76 minutes*, Algorithm 2.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        check_number("lr", lr, least=0)
        check_number("eps", eps, above=0)
        check_number("weight_decay", weight_decay, least=0)
        for beta in betas:
            check_number("betas", beta, least=0, below=1)
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._move(weight, weight.grad, group)
        return loss

    def _move(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state, (beta1, beta2) = self.state[weight], group["betas"]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float64)
            state["mean"], state["square"] = torch.zeros_like(weight), torch.zeros_like(weight)
        state["step"] += 1
        step, mean, square = float(state["step"]), state["mean"], state["square"]
        mean.lerp_(gradient, 1 - beta1)
        square.lerp_(gradient.square(), 1 - beta2)
        m, v = mean / (1 - beta1**step), square / (1 - beta2**step)
        update = m / (v.sqrt() + group["eps"]) + group["weight_decay"] * weight
        weight.sub_(group["lr"] * trust_ratio(weight, update) * update)
