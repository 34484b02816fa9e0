"""Between a person's model and the walk: normalisation inside the model, probabilities as logits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

from isocline._core.checks import check_finite, wrong

Model: TypeAlias = Callable[[Tensor], Tensor]


class Normalized(nn.Module):
    """``model((x - mean) / std)``: a model that takes images in [0, 1], as the walk's bounds want them.

    mean, std: a number, or one a channel (the second axis). Raises: ValueError unless finite and std > 0.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, mean: float | Sequence[float], std: float | Sequence[float]) -> None:
        super().__init__()
        self.model = model
        for name, given in (("mean", mean), ("std", std)):
            value = torch.as_tensor(given, dtype=torch.get_default_dtype()).reshape(-1)
            check_finite(name, value)
            self.register_buffer(name, value)
        if not bool((self.std > 0).all()):
            raise wrong("std", "numbers > 0", str(self.std.tolist()))
        if len(self.mean) != len(self.std):
            raise wrong("std", f"as many numbers as mean, {len(self.mean)}", f"{len(self.std)}")

    def forward(self, x: Tensor) -> Tensor:
        shape = (-1, *[1] * (x.dim() - 2))
        return self.model((x - self.mean.to(x).reshape(shape)) / self.std.to(x).reshape(shape))  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        return f"mean={self.mean.tolist()}, std={self.std.tolist()}"


class Probabilities(nn.Module):
    """A model that gives probabilities, as one that gives logits: their logarithms."""

    def __init__(self, model: nn.Module | Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        p = self.model(x)
        return p.clamp(min=torch.finfo(p.dtype).tiny).log()


def are_probabilities(output: Tensor) -> bool:
    """Whether every row of ``(B, K)`` is a distribution: none negative, and a sum within 1e-4 of 1."""
    if output.dim() != 2 or not output.is_floating_point() or not bool(torch.isfinite(output).all()):
        return False
    return bool((output >= 0).all()) and bool(((output.sum(1) - 1).abs() < 1e-4).all())
