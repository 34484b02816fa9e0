"""The convolution of signs: one front, two backends.

==============  ====================================================================================================
``reference``   NumPy, `numpy.bitwise_count`: the truth, and the way out where numba does not install
``numba``       compiled: sixteen output channels an instruction, a share of the outputs for each thread
==============  ====================================================================================================
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np

from isocline._core.checks import check_choice, wrong

from ..bits import Bits, from_signs
from ..epilogue import Affine, Limits
from ..window import Window
from . import reference

BACKENDS = ("auto", "reference", "numba")


def backend_for(asked: str) -> str:
    """The backend's own name; raises ValueError for an unknown one, ImportError for numba where there is none."""
    check_choice("backend", asked, BACKENDS)
    there = find_spec("numba") is not None
    if asked == "numba" and not there:
        raise wrong("backend", "one that is installed", "'numba'", "pip install numba", error=ImportError)
    return ("numba" if there else "reference") if asked == "auto" else asked


class SignConvolution:
    """A convolution of activations of one bit with weights of one bit, and what becomes of its sums.

    signs: ``(M, *kernel, C / groups)``, +1 and -1. how: limits make bits of the sums, an affine map numbers.
    """

    def __init__(
        self, window: Window, signs: np.ndarray, how: Limits | Affine | None = None, backend: str = "auto"
    ) -> None:
        self.window, self.how, self.backend = window, how, backend_for(backend)
        self._signs = signs.astype(np.int8)
        self._compiled: Any = None
        if self.backend == "numba":
            from .compiled import Compiled  # numba is slow to import

            self._compiled = Compiled(window, self._signs, how)

    def sums(self, bits: Bits) -> np.ndarray:
        """Sums of products of signs, ``(B, D', H', W', M)`` int32."""
        shape = self._shape(bits)
        if self._compiled is not None:
            return self._compiled.sums(bits, shape)
        return reference.sums(bits, self._signs, self.window)

    def to_bits(self, bits: Bits) -> Bits:
        """Bits of the sums by the limits; the sums never leave the cache."""
        assert isinstance(self.how, Limits)
        shape = self._shape(bits)
        if self._compiled is not None:
            return self._compiled.to_bits(bits, shape)
        return reference.to_bits(self.sums(bits), self.how)

    def to_numbers(
        self, bits: Bits, skip: np.ndarray | None = None, want_bits: bool = False
    ) -> tuple[np.ndarray, Bits | None]:
        """Numbers of the sums by the affine map, with what is skipped added, ``(B, D', H', W', M)`` float32; their signs too.

        Raises ValueError for a skip of another shape, and for a NaN whose sign is wanted.
        """
        assert isinstance(self.how, Affine)
        shape = (*self._shape(bits), self.window.outputs)
        if skip is not None and skip.shape != shape:
            raise wrong("skip", f"shape {shape}", skip)
        if self._compiled is not None:
            return self._compiled.to_numbers(bits, shape, skip, want_bits)
        numbers = reference.to_numbers(self.sums(bits), self.how, skip)
        return numbers, bits_of(numbers, "reference") if want_bits else None

    def _shape(self, bits: Bits) -> tuple[int, int, int, int]:
        if bits.channels != self.window.inputs:
            raise wrong("x", f"{self.window.inputs} channels", str(bits.channels))
        return (bits.shape[0], *self.window.outside(bits.shape[1:]))


def bits_of(numbers: np.ndarray, backend: str = "auto", *, channels_first: bool = False) -> Bits:
    """Bits of numbers, 1 where they are >= 0. Raises ValueError for NaN, which has no sign.

    Shapes: ``(B, D, H, W, C)`` float32, or ``(B, C, D, H, W)`` with `channels_first`.
    """
    if backend_for(backend) == "numba":
        from .compiled import bits_of as compiled_bits_of

        return compiled_bits_of(numbers, channels_first)
    last = np.moveaxis(numbers, 1, -1) if channels_first else numbers
    if np.isnan(last).any():
        raise nan_found()
    return from_signs(last)


def transposed(numbers: np.ndarray, backend: str = "auto") -> np.ndarray:
    """``(B, rows, columns)`` float32 to ``(B, columns, rows)``, contiguous."""
    if backend_for(backend) == "numba":
        from .compiled import transposed as compiled_transposed

        return compiled_transposed(numbers)
    return np.ascontiguousarray(numbers.swapaxes(1, 2))


def nan_found() -> ValueError:
    """The error for a NaN on its way to a bit."""
    return wrong("x", "activations that have a sign", "NaN", "find where it begins with the model in float")
