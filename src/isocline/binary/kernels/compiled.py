"""The two loops over activations in single precision, compiled: the sign on the way there, ReSTE's slope on the way back."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import extending, njit, types

# Contracted but not reordered: NaN and infinity keep their meaning, every lane computes the same.
_compiled: Callable[..., Any] = njit(
    nogil=True, cache=True, error_model="numpy", fastmath={"contract", "nsz"}
)
_inlined: Callable[..., Any] = njit(error_model="numpy", fastmath={"contract", "nsz"})
_intrinsic: Any = extending.intrinsic  # its functions are called without their first argument

SQRT_HALF = 0x3F3504F3  # sqrt(1/2) as the bits of a float32
LOG = tuple(2 / math.log(2) / odd for odd in (1, 3, 5, 7, 9))
EXP = tuple(math.log(2) ** n / math.factorial(n) for n in range(8))


@_intrinsic
def _bits(typing, number):
    """The bits of a float32 as an int32."""

    def build(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.int32(types.float32), build


@_intrinsic
def _number(typing, bits):
    """The float32 of these bits."""

    def build(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), build


@_inlined
def _to_the(a, c):
    """``a^c = 2^(c log2 a)`` for a normal float32 a > 0, right to about 3 units in the last place while ``|c log2 a| < 4``."""
    f32, i32 = types.float32, types.int32
    bits = _bits(a)
    exponent = i32((bits - i32(SQRT_HALF)) >> i32(23))
    part = _number(i32(bits - i32(exponent << i32(23))))  # in [sqrt(1/2), sqrt(2))
    s = (part - f32(1)) / (part + f32(1))
    q = s * s
    series = f32(LOG[0]) + q * (f32(LOG[1]) + q * (f32(LOG[2]) + q * (f32(LOG[3]) + q * f32(LOG[4]))))
    y = c * (f32(exponent) + s * series)
    whole = math.floor(y + f32(0.5))
    r = f32(y - whole)
    low = f32(EXP[0]) + r * (f32(EXP[1]) + r * (f32(EXP[2]) + r * f32(EXP[3])))
    high = f32(EXP[4]) + r * (f32(EXP[5]) + r * (f32(EXP[6]) + r * f32(EXP[7])))
    q = r * r
    return (low + q * q * high) * _number(i32((i32(whole) + i32(127)) << i32(23)))


@_compiled
def signs(x, out, at_zero):
    """``out = sign(x)`` with `at_zero` for the sign of 0; NaN stays NaN. Shapes: x, out ``(n,)`` float32."""
    one = types.float32(1)
    for i in range(x.size):
        z = x[i]
        out[i] = one if z > 0 else (-one if z < 0 else (at_zero if z == 0 else z))


@_compiled
def reste_slope(x, grad, o, t, m):
    """``grad *= g(x)``, ReSTE's slope of `functional.reste_surrogate`. Shapes: x, grad ``(n,)`` float32; o, t, m float64."""
    f32 = types.float32
    c, plateau, scale = f32(1 / o - 1), f32(m ** (1 / o - 1)), f32(1 / o)
    top, low, zero = f32(t), f32(m), f32(0)
    for i in range(x.size):
        a = abs(x[i])
        inside = min(max(a, low), top)
        slope = scale * _to_the(inside, c)
        g = plateau if a <= low else (zero if a > top else slope)
        grad[i] *= g if a == a else a
