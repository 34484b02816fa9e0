"""Latent weights kept in bounds, and an optimiser that has none: Bop flips the bits themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from isocline._core.checks import check_number, wrong

from .layers import BinaryConv1d, BinaryConv2d, BinaryConv3d, BinaryLinear

LAYERS = (BinaryConv1d, BinaryConv2d, BinaryConv3d, BinaryLinear)


def binary_parameters(model: nn.Module) -> Iterator[nn.Parameter]:
    """The latent weights of a model's binary layers, each once: for an optimiser's group of their own, or for `Bop`."""
    seen = set[int]()
    for module in model.modules():
        if isinstance(module, LAYERS) and id(module.weight) not in seen:
            seen.add(id(module.weight))
            yield module.weight


@torch.no_grad()
def clip_weights(model: nn.Module, limit: float = 1.0) -> None:
    """Clamp the latent weights of all binary layers to ``[-limit, limit]``, in place; call it after a step.

    Beyond an estimator's truncation a latent weight gets no gradient and would stay for ever. Raises ValueError unless limit
    > 0. Source: Courbariaux et al. 2016, Algorithm 1.
    """
    check_number("limit", limit, above=0)
    for weight in binary_parameters(model):
        weight.clamp_(-limit, limit)


class Bop(Optimizer):
    """Flips a binary weight when the mean of its gradient is strong and points to the other side; there is no latent weight.

    ``m <- (1 - rate) m + rate grad``, then ``w <- -w`` where ``|m| > threshold`` and ``sign(m) = sign(w)``. At the first step
    the weights become their signs. Use it on `binary_parameters`, with a layer of ``scale="none"`` and an estimator that lets
    gradients through at 1, such as "ste"; any other optimiser takes the rest.
    Raises ValueError unless 0 < rate <= 1 and threshold >= 0. Source: Helwegen et al. 2019, Algorithm 1.

    >>> w = nn.Parameter(torch.tensor([0.3, -0.2]))
    >>> w.grad = torch.tensor([1.0, 1.0])
    >>> Bop([w], rate=0.5, threshold=0.1).step()
    >>> w.tolist()
    [-1.0, -1.0]
    """

    def __init__(self, params: Iterable[Any], rate: float = 1e-4, threshold: float = 1e-8) -> None:
        check_number("rate", rate, above=0, most=1)
        check_number("threshold", threshold, least=0)
        super().__init__(params, {"rate": rate, "threshold": threshold})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step; raises ValueError for a sparse gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for w in group["params"]:
                if w.grad is not None:
                    self._flip(w, w.grad, group["rate"], group["threshold"])
        return loss

    def _flip(self, w: Tensor, grad: Tensor, rate: float, threshold: float) -> None:
        if grad.is_sparse:
            raise wrong("grad", "a dense gradient", "a sparse one")
        state = self.state[w]
        if not state:
            state["mean"] = torch.zeros_like(w)
            w.copy_(torch.where(w >= 0, 1.0, -1.0))
        mean = state["mean"].lerp_(grad, rate)
        w.mul_(torch.where((mean.abs() > threshold) & (mean * w > 0), -1.0, 1.0))
