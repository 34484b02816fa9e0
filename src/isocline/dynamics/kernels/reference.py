"""The forced recursion step by step under autograd: the truth the other kernels are tested against."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ..maps import shallow_plrnn
from ..recursion import teacher_forced


def forced_rollout(
    A: Tensor, W1: Tensor, W2: Tensor, h1: Tensor, h2: Tensor, z0: Tensor, forcing: Tensor, weight: Tensor,
    drive: Tensor | None, clipped: bool,
) -> Tensor:  # fmt: skip
    """Predictions ``([R,] T, B, M)``. Shapes as in ``dynamics.forced_rollout``; weight broadcasts to forcing;
    drive ``([R,] T, B, M)`` is added to every prediction.
    """
    if A.dim() == 2:
        tensors = (A, W1, W2, h1, h2, z0, forcing, weight.expand(forcing.shape), drive)
        return torch.stack([forced_rollout(*each, clipped=clipped) for each in run_by_run(*tensors)])

    def step(z: Tensor, t: int) -> Tensor:
        predicted = shallow_plrnn(z, A, W1, W2, h1, h2, clipped=clipped)
        return predicted if drive is None else predicted + drive[t]

    return teacher_forced(step, z0, forcing, weight)


def run_by_run(*tensors: Tensor | None) -> Iterator[Any]:
    """The tensors of each run; what is None stays None."""
    first = tensors[0]
    for r in range(0 if first is None else len(first)):
        yield tuple(None if tensor is None else tensor[r] for tensor in tensors)
