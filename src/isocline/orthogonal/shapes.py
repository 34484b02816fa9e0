"""What a convolution is, before any of its weights: channels, kernel, stride, dilation, groups, direction."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import gcd, prod
from typing import Any

import torch
from torch import Tensor, nn

from isocline._core.checks import check_number, wrong

PADDINGS = ("circular", "zeros", "valid")
_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
CONVOLUTIONS = (*_CONVS, *_TRANSPOSED)


@dataclass(frozen=True, slots=True)
class ConvShape:
    """A layer (M, C, k, S) of the paper, in any dimension: ``ConvShape(64, 32, 3)`` is a 3 x 3 convolution from 32 to 64.

    kernel_size, stride and dilation are one number for all axes or one an axis; numbers alone mean `dim` axes.
    A transposed convolution is the transpose of the convolution that has the same weight tensor, so its channels change
    places: ``M`` is `in_channels`, ``C`` is `out_channels`. Raises ValueError or TypeError for what is no layer.
    """

    out_channels: int
    in_channels: int
    kernel_size: int | tuple[int, ...]
    stride: int | tuple[int, ...] = 1
    dilation: int | tuple[int, ...] = 1
    groups: int = 1
    transposed: bool = False
    dim: int | None = None

    def __post_init__(self) -> None:
        for name in ("out_channels", "in_channels", "groups"):
            check_number(name, getattr(self, name), least=1, integer=True)
        axes = {
            n: len(v)
            for n in ("kernel_size", "stride", "dilation")
            if isinstance(v := getattr(self, n), tuple)
        }
        if self.dim is not None:
            axes["dim"] = check_number("dim", self.dim, least=1, most=3, integer=True)
        if len(set(axes.values())) > 1:
            raise wrong("kernel_size", "as many axes as stride, dilation and dim", str(axes))
        dim = next(iter(axes.values()), 2)
        object.__setattr__(self, "dim", dim)
        for name in ("kernel_size", "stride", "dilation"):
            object.__setattr__(self, name, per_axis(name, getattr(self, name), dim))
        for name in ("out_channels", "in_channels"):
            if getattr(self, name) % self.groups:
                want = f"a divisor of {name} = {getattr(self, name)}"
                raise wrong("groups", want, self.groups)

    @property
    def k(self) -> tuple[int, ...]:
        """Taps along each axis."""
        return self.kernel_size  # type: ignore[return-value]

    @property
    def S(self) -> tuple[int, ...]:
        """Stride along each axis."""
        return self.stride  # type: ignore[return-value]

    @property
    def D(self) -> tuple[int, ...]:
        """Dilation along each axis."""
        return self.dilation  # type: ignore[return-value]

    @property
    def M(self) -> int:
        """Output channels of one group of the convolution that has this weight."""
        return (self.in_channels if self.transposed else self.out_channels) // self.groups

    @property
    def C(self) -> int:
        """Input channels of one group of the convolution that has this weight."""
        return (self.out_channels if self.transposed else self.in_channels) // self.groups

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """The shape of the weight tensor, as PyTorch keeps it."""
        return (self.M * self.groups, self.C, *self.k)

    @property
    def rows_fewer(self) -> bool:
        """Whether the convolution has at most as many outputs as inputs: ``M <= C S^d``."""
        return self.C * prod(self.S) >= self.M

    def __str__(self) -> str:
        arrow = f"{self.in_channels} -> {self.out_channels}"
        words = [f"{'transposed ' if self.transposed else ''}{arrow}", f"kernel {'x'.join(map(str, self.k))}"]
        for name, value in (("stride", self.S), ("dilation", self.D)):
            if any(v > 1 for v in value):
                words.append(f"{name} {'x'.join(map(str, value))}")
        return ", ".join([*words, f"{self.groups} groups"] if self.groups > 1 else words)


def shape_of(layer: nn.Module | ConvShape | tuple[Any, ...]) -> ConvShape:
    """The `ConvShape` of a convolution module, of ``(M, C, k)`` or ``(M, C, k, S)`` (two axes), or of one."""
    if isinstance(layer, ConvShape):
        return layer
    if isinstance(layer, CONVOLUTIONS):
        channels = (layer.out_channels, layer.in_channels)
        sizes = (tuple(layer.kernel_size), tuple(layer.stride), tuple(layer.dilation))
        return _shape(*channels, *sizes, layer.groups, isinstance(layer, _TRANSPOSED))
    if isinstance(layer, (tuple, list)) and len(layer) in (3, 4):
        return ConvShape(*layer)
    want = "a torch convolution, a ConvShape, or (out_channels, in_channels, kernel_size, stride)"
    raise wrong(
        "layer", want, layer if isinstance(layer, (tuple, list)) else type(layer).__name__, error=TypeError
    )


@lru_cache(maxsize=1024)
def _shape(*sizes: Any) -> ConvShape:
    return ConvShape(*sizes)


def weight_of(conv: nn.Module) -> tuple[Tensor, ConvShape]:
    """The weight of a convolution module, detached, in float32 where it is shorter, and its `ConvShape`."""
    if not isinstance(conv, CONVOLUTIONS):
        raise wrong("conv", "a torch convolution, such as nn.Conv2d", type(conv).__name__, error=TypeError)
    weight = conv.weight.detach()
    if not weight.is_floating_point():
        raise wrong(
            "weight", "real floating-point numbers", weight, "convert it with .float()", error=TypeError
        )
    return (weight.float() if weight.element_size() < 4 else weight), shape_of(conv)


def weight_shape(weight: Tensor, stride: Any, dilation: Any, groups: int, transposed: bool) -> ConvShape:
    """The `ConvShape` of a weight ``(M, C / groups, *k)``; for a transposed one ``(in, out / groups, *k)``."""
    if not isinstance(weight, Tensor):
        raise wrong("weight", "a tensor (M, C / groups, *kernel)", type(weight).__name__, error=TypeError)
    if not weight.is_floating_point():
        raise wrong(
            "weight", "real floating-point numbers", weight, "convert it with .float()", error=TypeError
        )
    if not 3 <= weight.ndim <= 5 or 0 in weight.shape:
        raise wrong("weight", "shape (M, C / groups, *kernel) with 1 to 3 axes of taps", weight)
    check_number("groups", groups, least=1, integer=True)
    if weight.shape[0] % groups:
        raise wrong("groups", f"a divisor of {weight.shape[0]}, the first size of weight", groups)
    M, C = weight.shape[0], weight.shape[1] * groups
    out, into = (C, M) if transposed else (M, C)
    stride, dilation = (
        per_axis(n, v, weight.ndim - 2) for n, v in (("stride", stride), ("dilation", dilation))
    )
    return ConvShape(out, into, tuple(weight.shape[2:]), stride, dilation, groups, transposed)


def per_axis(name: str, value: Any, dim: int) -> tuple[int, ...]:
    """`value` as one whole number >= 1 an axis."""
    if isinstance(value, (tuple, list, torch.Size)):
        if len(value) != dim:
            raise wrong(name, f"one number, or {dim}, one an axis", tuple(value))
        return tuple(check_number(name, v, least=1, integer=True) for v in value)
    return (check_number(name, value, least=1, integer=True),) * dim


def tap_stride(shape: ConvShape) -> tuple[int, ...]:
    """By how many taps two outputs' kernels are displaced at their nearest common places: ``S / gcd(S, D)``."""
    return tuple(s // gcd(s, d) for s, d in zip(shape.S, shape.D, strict=True))
