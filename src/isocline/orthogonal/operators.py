"""A layer at one input size as a linear map: its shapes, its pads, the map and its transpose, and the whole matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isocline._core.checks import check_choice, wrong
from isocline.orthogonal.shapes import PADDINGS, ConvShape, per_axis

_CONVOLVE = (F.conv1d, F.conv2d, F.conv3d)
_TRANSPOSE = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)
Pads = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a layer works: the input of the convolution that has its weight, and what surrounds it.

    circular: then pads are empty and every ``size`` is S times ``outputs``. Of a transposed convolution, `size` is its
    output.
    """

    size: tuple[int, ...]
    outputs: tuple[int, ...]
    pads: Pads
    circular: bool

    def __str__(self) -> str:
        if self.circular:
            return "circular padding"
        if not any(map(any, self.pads)):
            return "no padding"
        pads = [str(a) if a == b else f"{a}+{b}" for a, b in self.pads]
        return f"zero padding {'x'.join(dict.fromkeys(pads)) if len(set(pads)) == 1 else ' x '.join(pads)}"


def place_of(
    conv: nn.Module, shape: ConvShape, input_size: int | Sequence[int], padding: str | None
) -> Place:
    """Where `conv` works on inputs of `input_size`; ``padding=None``: as the module itself pads.

    Raises ValueError for another padding, a circular input that the stride does not divide, or one with no output.
    """
    n = per_axis("input_size", input_size, len(shape.k))
    spans = [D * (k - 1) + 1 for k, D in zip(shape.k, shape.D, strict=True)]
    if padding is None:
        circular, pads = _own_padding(conv, shape)
    else:
        check_choice("padding", padding, PADDINGS)
        circular, valid = padding == "circular", padding == "valid"
        pads = tuple((0, 0) if valid else ((s - 1) // 2, s - 1 - (s - 1) // 2) for s in spans)
    if circular:
        return _circular(shape, n, spans, pads, padding is None)
    if shape.transposed:
        outputs, size = n, _opened(conv, shape, n, spans, pads)
    else:
        size = n
        outputs = tuple((x + sum(p) - s) // S + 1 for x, p, s, S in zip(n, pads, spans, shape.S, strict=True))
    if min(outputs) < 1 or min(size) < 1:
        want = f"at least {'x'.join(str(max(1, s - sum(p))) for s, p in zip(spans, pads, strict=True))} for this kernel"
        raise wrong("input_size", want, n)
    return Place(size, outputs, pads, False)


def _circular(shape: ConvShape, n: tuple[int, ...], spans: list[int], pads: Pads, own: bool) -> Place:
    if shape.transposed:
        return Place(tuple(x * S for x, S in zip(n, shape.S, strict=True)), n, (), True)
    if any(x % S for x, S in zip(n, shape.S, strict=True)):
        want = f"multiples of the stride {'x'.join(map(str, shape.S))}"
        raise wrong("input_size", want, n, "a circular layer repeats only then")
    outputs = tuple(x // S for x, S in zip(n, shape.S, strict=True))
    made = tuple((x + sum(p) - s) // S + 1 for x, p, s, S in zip(n, pads, spans, shape.S, strict=True))
    if own and made != outputs:
        raise wrong("padding", f"circular padding that keeps the size ({outputs} outputs)", f"{made} outputs")
    return Place(n, outputs, (), True)


def _own_padding(conv: nn.Module, shape: ConvShape) -> tuple[bool, Pads]:
    mode: Any = conv.padding_mode
    if mode not in ("zeros", "circular"):
        do = "give padding= one of 'circular', 'zeros', 'valid'"
        raise wrong("padding_mode", "'zeros' or 'circular'", repr(mode), do)
    padding: Any = conv.padding
    if padding == "valid":
        return mode == "circular", ((0, 0),) * len(shape.k)
    if padding == "same":
        totals = [D * (k - 1) for k, D in zip(shape.k, shape.D, strict=True)]
        return mode == "circular", tuple((t // 2, t - t // 2) for t in totals)
    return mode == "circular", tuple((int(p), int(p)) for p in padding)


def _opened(conv: Any, shape: ConvShape, n: tuple[int, ...], spans: list[int], pads: Pads) -> tuple[int, ...]:
    """How large the output of a transposed convolution is, at its own output padding."""
    sizes = zip(n, shape.S, pads, spans, conv.output_padding, strict=True)
    return tuple((x - 1) * S - sum(p) + s + extra for x, S, p, s, extra in sizes)


def apply(x: Tensor, weight: Tensor, shape: ConvShape, place: Place) -> Tensor:
    """The convolution with zeros around. Shapes: x ``(B, C g, *size)``; returns ``(B, M g, *outputs)``."""
    padded = F.pad(x, [p for pair in reversed(place.pads) for p in pair])
    return _CONVOLVE[len(shape.k) - 1](padded, weight, None, shape.S, 0, shape.D, shape.groups)


def apply_transposed(y: Tensor, weight: Tensor, shape: ConvShape, place: Place) -> Tensor:
    """Its transpose. Shapes: y ``(B, M g, *outputs)``; returns ``(B, C g, *size)``."""
    full = _TRANSPOSE[len(shape.k) - 1](y, weight, None, shape.S, 0, 0, shape.groups, shape.D)
    for axis, (size, (before, after)) in enumerate(zip(place.size, place.pads, strict=True)):
        length = before + size + after
        short = length - full.shape[2 + axis]  # a rest of the input that no kernel reaches
        if short > 0:
            full = F.pad(full, [0, 0] * (len(place.size) - 1 - axis) + [0, short])
        full = full.narrow(2 + axis, before, size)
    return full


def dense(weight: Tensor, shape: ConvShape, place: Place) -> Tensor:
    """The matrices of all groups, ``(g, M prod(outputs), C prod(size))``, column by column: slow, and true to PyTorch.

    A circular place is the layer on a repeated input.
    """
    per_group = shape.C * prod(place.size)
    units = torch.eye(per_group, dtype=weight.dtype, device=weight.device).reshape(-1, shape.C, *place.size)
    x = units.repeat(1, shape.groups, *[1] * len(place.size))
    y = _apply_circular(x, weight, shape, place) if place.circular else apply(x, weight, shape, place)
    return y.reshape(per_group, shape.groups, -1).permute(1, 2, 0)


def _apply_circular(x: Tensor, weight: Tensor, shape: ConvShape, place: Place) -> Tensor:
    spans = [D * (k - 1) + 1 for k, D in zip(shape.k, shape.D, strict=True)]
    for axis, (size, span) in enumerate(zip(place.size, spans, strict=True)):
        x = x.index_select(2 + axis, torch.arange(size + span - 1, device=x.device) % size)
    return _CONVOLVE[len(shape.k) - 1](x, weight, None, shape.S, 0, shape.D, shape.groups)
