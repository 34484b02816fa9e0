"""Layers to measure: plain PyTorch convolutions in float64, drawn from a generator."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor, nn

from isocline.orthogonal import orthogonal_


def near_orthogonal(
    shape: tuple[int, int, int, int], d: int, noise: float, generator: torch.Generator
) -> nn.Module:
    """A convolution (M, C, k, S) of d axes: an exactly orthogonal kernel plus `noise` times Glorot-uniform weights."""
    M, C, k, S = shape
    conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[d - 1](C, M, k, S, bias=False, dtype=torch.float64)
    orthogonal_(conv, generator=generator)
    conv.weight.data += noise * glorot(tuple(conv.weight.shape), generator)
    return conv


def glorot(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """A kernel ``(M, C, *k)`` uniform in ``+- sqrt(6 / ((M + C) k^d))``, as `torch.nn.init.xavier_uniform_`."""
    limit = (6 / ((shape[0] + shape[1]) * prod(shape[2:]))) ** 0.5
    return limit * (2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1)
