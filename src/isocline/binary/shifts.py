"""Learned shifts around the sign: where it changes, and where the activation behind the sums bends."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from isocline._core.checks import check_number

from .estimators import Estimator, make_estimator


def _per_channel(numbers: Tensor, x: Tensor) -> Tensor:
    return numbers.reshape(-1, *(1,) * (x.ndim - 2))


class RSign(nn.Module):
    """``sign(x - b)`` with a learned threshold b for each channel, which gets the estimator's gradient.

    Shapes: x ``(B, channels, ...)``; returns the same. Use it in front of a layer whose input is binarised already: the sign
    of a sign is itself. Raises ValueError for channels < 1 or an unknown estimator. Source: Liu et al. 2020 (ReActNet).

    >>> RSign(2)(torch.tensor([[-0.5, 0.5]]))
    tensor([[-1.,  1.]], grad_fn=<_BinarisedBackward>)
    """

    def __init__(self, channels: int, estimator: str | Estimator = "polynomial") -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.zeros(check_number("channels", channels, least=1, integer=True)))
        self.estimator = make_estimator(estimator).for_input()

    def forward(self, x: Tensor) -> Tensor:
        return self.estimator(x - _per_channel(self.threshold, x))


class RPReLU(nn.Module):
    """``PReLU(x - before) + after``: both shifts and the slope below learned for each channel.

    Shapes: x ``(B, channels, ...)``; returns the same. slope: where the slope below begins. Raises ValueError for channels < 1.
    Source: Liu et al. 2020 (ReActNet).

    >>> RPReLU(1)(torch.tensor([[-4.0], [4.0]])).flatten().tolist()
    [-1.0, 4.0]
    """

    def __init__(self, channels: int, slope: float = 0.25) -> None:
        super().__init__()
        check_number("channels", channels, least=1, integer=True)
        self.before, self.after = nn.Parameter(torch.zeros(channels)), nn.Parameter(torch.zeros(channels))
        self.slope = nn.Parameter(torch.full((channels,), check_number("slope", slope)))

    def forward(self, x: Tensor) -> Tensor:
        before, after = _per_channel(self.before, x), _per_channel(self.after, x)
        return nn.functional.prelu(x - before, self.slope) + after
