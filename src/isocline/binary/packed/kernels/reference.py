"""The convolution of signs in NumPy: gather, exclusive or, count. The truth that the compiled one is tested against."""

from __future__ import annotations

import numpy as np

from ..bits import Bits, empty_bits, to_words
from ..epilogue import Affine, Limits, affine
from ..window import Window, best_sums

AT_ONCE = 1 << 22  # words compared together


def sums(bits: Bits, signs: np.ndarray, window: Window) -> np.ndarray:
    """Sums of products of signs. Shapes: weights `signs` ``(M, *kernel, C / groups)``; returns ``(B, D', H', W', M)`` int32."""
    image, groups = bits.shape[1:], window.groups
    places, best = best_sums(window, signs, image)
    table = best[places[0][:, None, None] + places[1][:, None] + places[2]]
    rows = _gathered(bits, window)
    weights = to_words(signs > 0).reshape(groups, window.outputs // groups, -1)
    found = np.empty((*rows.shape[:4], window.outputs), np.int32)
    for g in range(groups):
        seen = rows[..., g, :]
        for m, weight in enumerate(weights[g]):
            differing = np.bitwise_count(seen ^ weight).sum(-1, dtype=np.int32)
            found[..., g * len(weights[g]) + m] = -2 * differing
    return found + table


def to_bits(found: np.ndarray, limits: Limits) -> Bits:
    """Bits of sums ``(B, D, H, W, M)``."""
    made = empty_bits(found.shape[:4], found.shape[4])
    made.words[...] = to_words((found >= limits.limit) ^ limits.flip)
    return made


def to_numbers(found: np.ndarray, how: Affine, skip: np.ndarray | None) -> np.ndarray:
    """Numbers of sums ``(B, D, H, W, M)``, with what is skipped added."""
    numbers = affine(found, how)
    return numbers if skip is None else numbers + skip


def _gathered(bits: Bits, window: Window) -> np.ndarray:
    """What each output sees, ``(B, D', H', W', groups, taps words)``."""
    each = window.inputs // window.groups
    words = to_words(bits.signs().reshape(*bits.shape, window.groups, each) > 0)
    fill = to_words(np.full(each, window.pad_value == 1))
    edges = [(0, 0), *zip(window.before, window.after, strict=True), (0, 0), (0, 0)]
    padded = np.pad(words, edges)
    mask = np.pad(np.ones(bits.shape, bool), edges[:4])
    padded[~mask] = fill
    counts = window.outside(bits.shape[1:])
    axes = [
        np.arange(count)[:, None] * stride + np.arange(taps) * step
        for count, stride, taps, step in zip(
            counts, window.stride, window.kernel, window.dilation, strict=True
        )
    ]
    z, y, x = axes
    seen = padded[
        :, z[:, None, None, :, None, None], y[None, :, None, None, :, None], x[None, None, :, None, None, :]
    ]
    seen = np.moveaxis(seen, 7, 4)  # groups before taps
    return seen.reshape(*seen.shape[:5], -1)
