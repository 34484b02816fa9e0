"""What a convolution sees: sizes, steps and borders in three axes; one and two axes are three of which some are 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from isocline._core.checks import wrong

Three = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Window:
    """The geometry of a convolution without the image's size. A fully connected layer is a window of one tap."""

    inputs: int  # channels in, all groups
    outputs: int  # channels out, all groups
    groups: int = 1
    kernel: Three = (1, 1, 1)
    stride: Three = (1, 1, 1)
    dilation: Three = (1, 1, 1)
    before: Three = (0, 0, 0)  # padding
    after: Three = (0, 0, 0)
    pad_value: int = 0

    @property
    def taps(self) -> int:
        return int(np.prod(self.kernel))

    @property
    def size(self) -> int:
        """Products that a sum has: sums are whole numbers in ``[-size, size]``."""
        return self.taps * self.inputs // self.groups

    def outside(self, image: Three) -> Three:
        """The image's size after the convolution."""
        sizes = [
            (size + first + last - step * (taps - 1) - 1) // stride + 1
            for size, first, last, step, taps, stride in zip(
                image, self.before, self.after, self.dilation, self.kernel, self.stride, strict=True
            )
        ]
        if min(sizes) < 1:
            needed = tuple(d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True))
            raise wrong("x", f"an image of at least {needed} after padding", str(image))
        return sizes[0], sizes[1], sizes[2]

    def to_dict(self) -> dict[str, Any]:
        names = (
            "inputs",
            "outputs",
            "groups",
            "kernel",
            "stride",
            "dilation",
            "before",
            "after",
            "pad_value",
        )
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Window:
        """Read back; raises ValueError for sizes that no convolution has."""
        given: dict[str, Any] = {
            name: _three(name, value) if isinstance(value, list) else value for name, value in saved.items()
        }
        found = cls(**given)
        sizes = (found.inputs, found.outputs, found.groups, *found.kernel, *found.stride, *found.dilation)
        if not all(type(size) is int and 1 <= size < 1 << 24 for size in sizes):
            raise ValueError("a size of a window is not a whole number above 0")
        if not all(type(size) is int and 0 <= size < 1 << 24 for size in found.before + found.after):
            raise ValueError("a padding of a window is not a whole number")
        if found.inputs % found.groups or found.outputs % found.groups or found.pad_value not in (-1, 0, 1):
            raise ValueError("groups or pad_value of a window do not fit")
        if found.size >= 1 << 24:
            raise ValueError("a window of more products than float32 can count")
        return found


def inside(window: Window, image: Three) -> list[np.ndarray]:
    """Per axis, which taps of an output lie in the image: truths ``(outputs, taps)``."""
    found = []
    for axis, (size, count) in enumerate(zip(image, window.outside(image), strict=True)):
        first = np.arange(count) * window.stride[axis] - window.before[axis]
        place = first[:, None] + np.arange(window.kernel[axis]) * window.dilation[axis]
        found.append((place >= 0) & (place < size))
    return found


def best_sums(window: Window, signs: np.ndarray, image: Three) -> tuple[list[np.ndarray], np.ndarray]:
    """The sums of outputs if no bit differed, and which of them an output takes.

    Under zero padding the bits outside count as -1, so that each channel's best sum gains the weights outside; outputs with the
    same taps inside share one. Shapes: signs ``(M, *kernel, C)``, +1 and -1; returns three lists of places, which add up to a row
    of the table ``(rows, M)`` int32.
    """
    if window.pad_value or not any(window.before + window.after):
        zeros = [np.zeros(count, np.int32) for count in window.outside(image)]
        return zeros, np.full((1, window.outputs), window.size, np.int32)
    kinds, places, step = [], [], 1
    for truths in reversed(inside(window, image)):
        kind, which = np.unique(truths, axis=0, return_inverse=True)
        kinds.insert(0, kind.astype(np.int64))
        places.insert(0, (which.reshape(-1) * step).astype(np.int32))
        step *= len(kind)
    taps = signs.sum(-1, dtype=np.int64)
    seen = np.einsum("zi,yj,xk,mijk->zyxm", *kinds, taps, optimize=True)
    best = window.size + taps.sum((1, 2, 3)) - seen
    return places, np.ascontiguousarray(best.reshape(step, -1), np.int32)


def _three(name: str, value: list[Any]) -> Three:
    if len(value) != 3:
        raise ValueError(f"{name} of a window is not of three axes")
    return value[0], value[1], value[2]
