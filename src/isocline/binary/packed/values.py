"""An activation on its way through a packed model: as numbers or bits, in whichever layout somebody asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from .bits import Bits
from .kernels import bits_of, transposed

Shape = tuple[int, int, int, int]


class Value:
    """Numbers with channels first, as PyTorch has them, or last, as kernels like them; or bits. Made once, when asked for.

    axes: spatial axes that PyTorch's tensor has, 0 to 3; the other layouts always have three.
    """

    def __init__(
        self,
        axes: int,
        *,
        first: Tensor | None = None,
        last: np.ndarray | None = None,
        bits: Bits | None = None,
        backend: str = "auto",
    ) -> None:
        self.axes, self.backend = axes, backend
        self._first, self._last, self._bits = first, last, bits

    def first(self) -> Tensor:
        """``(B, C, ...)`` float32, contiguous."""
        if self._first is None:
            last = self.last()
            turned = transposed(last.reshape(len(last), -1, last.shape[4]), self.backend)
            self._first = torch.from_numpy(turned).reshape(len(last), -1, *last.shape[4 - self.axes : 4])
        return self._first

    def last(self) -> np.ndarray:
        """``(B, D, H, W, C)`` float32, contiguous."""
        if self._last is None:
            assert self._first is not None, "bits that somebody wants as numbers"
            first = self._first
            turned = transposed(first.reshape(*first.shape[:2], -1).numpy(), self.backend)
            self._last = turned.reshape(*three_axes(first), first.shape[1])
        return self._last

    def bits(self) -> Bits:
        """The signs. Raises ValueError for NaN."""
        if self._bits is None:
            if self._last is not None:
                self._bits = bits_of(self._last, self.backend)
            else:
                first = self.first()
                B, D, H, W = three_axes(first)
                numbers = first.contiguous().numpy().reshape(B, -1, D, H, W)
                self._bits = bits_of(numbers, self.backend, channels_first=True)
        return self._bits

    @property
    def is_last(self) -> bool:
        """Whether the numbers lie there with channels last."""
        return self._last is not None

    def like(self, **made: Any) -> Value:
        """A value of the same axes and backend."""
        return Value(self.axes, backend=self.backend, **made)


def three_axes(first: Tensor) -> Shape:
    """B, D, H, W of ``(B, C, ...)``; what the tensor does not have is 1."""
    sizes = [1, 1, 1, *first.shape[2:]][-3:]
    return first.shape[0], sizes[0], sizes[1], sizes[2]
