"""What becomes of a sum of signs: a bit by a limit, or a number by an affine map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NEVER = np.iinfo(np.int32).max  # a limit that no sum reaches


@dataclass(frozen=True, slots=True)
class Limits:
    """``bit = (sum >= limit) xor flip``, per output channel."""

    limit: np.ndarray  # (M,) int32
    flip: np.ndarray  # (M,) bool


@dataclass(frozen=True, slots=True)
class Affine:
    """``a max(scale sum + bias, floor) + b`` in float32, per output channel, in this order.

    fused: whether ``a x + b`` is rounded once, as torch's batch norm does on processors with such an instruction.
    """

    scale: np.ndarray  # (M,) float32, as the others
    bias: np.ndarray
    a: np.ndarray
    b: np.ndarray
    floor: float = -np.inf  # 0 for a ReLU
    fused: bool = True


def affine(sums: np.ndarray, how: Affine) -> np.ndarray:
    """The affine map in NumPy. Shapes: sums ``(..., M)`` whole; returns ``(..., M)`` float32."""
    value = np.maximum(sums.astype(np.float32) * how.scale + how.bias, np.float32(how.floor))
    return fma(value, how.a, how.b) if how.fused else value * how.a + how.b


def fma(x: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``x a + b`` for float32, rounded once.

    The product is exact in float64. Its sum with b is rounded to the odd neighbour (Boldo, Melquiond 2008), which the second
    rounding, to float32, then treats as it would the exact sum.

    >>> x = np.float32(1 + 2**-12)
    >>> float(fma(x, x, np.float32(-1))) == float(x) ** 2 - 1
    True
    """
    product, added = np.float64(x) * np.float64(a), np.float64(b)
    total = np.asarray(product + added)
    part = total - product
    error = (product - (total - part)) + (added - part)
    bits = total.view(np.int64)
    odd = bits | ((error != 0) & (bits & 1 == 0))
    odd = np.where((error != 0) & (bits & 1 == 0) & ((error > 0) != (total > 0)), bits - 1, odd)
    return odd.view(np.float64).astype(np.float32)
