"""Loops over a latent weight, channel after channel, compiled. Shapes: w ``(M, n)`` float32, sums ``(M,)`` float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit, types

# Sums may be reordered, so that they run in lanes; NaN and infinity keep their meaning.
_summed: Callable[..., Any] = njit(
    nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"}
)


@_summed
def absolute_sums(w, out):
    """``out_m = sum_i |w_mi|``."""
    for m in range(w.shape[0]):
        total = 0.0
        for i in range(w.shape[1]):
            total += abs(types.float64(w[m, i]))
        out[m] = total


@_summed
def scaled_signs(w, alpha, out, at_zero):
    """``out_mi = alpha_m sign(w_mi)`` with `at_zero` for the sign of 0; NaN stays NaN."""
    for m in range(w.shape[0]):
        a = types.float32(alpha[m])
        for i in range(w.shape[1]):
            z = w[m, i]
            out[m, i] = a if z > 0 else (-a if z < 0 else (a * at_zero if z == 0 else z))


@_summed
def sums_along(w, grad, out, at_zero):
    """``out_m = sum_i grad_mi sign(w_mi)``, the slope of the loss along each channel's scale."""
    for m in range(w.shape[0]):
        total = 0.0
        for i in range(w.shape[1]):
            g, z = types.float64(grad[m, i]), w[m, i]
            total += g if z > 0 else (-g if z < 0 else g * at_zero)
        out[m] = total


@_summed
def scaled(grad, alpha, out):
    """``out_mi = alpha_m grad_mi``."""
    for m in range(grad.shape[0]):
        a = types.float32(alpha[m])
        for i in range(grad.shape[1]):
            out[m, i] = a * grad[m, i]


@_summed
def add_signs(w, coefficient, out):
    """``out_mi += coefficient_m d|w|/dw_mi``, which is 0 at 0."""
    zero = types.float32(0)
    for m in range(w.shape[0]):
        c = types.float32(coefficient[m])
        for i in range(w.shape[1]):
            z = w[m, i]
            out[m, i] += c if z > 0 else (-c if z < 0 else zero)
