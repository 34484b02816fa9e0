"""Signs as bits: 1 for +1, 0 for -1.

Two layouts. In memory, activations are words of 32 channels, channels last; what a word has beyond the channels is 0 in both
operands and never differs. In files, weights are bytes without such gaps, a row an output channel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

WORD = 32
SLACK = 16  # words after the last, so that kernels may read sixteen at a time


@dataclass(frozen=True, slots=True)
class Bits:
    """Activations of one bit: ``(B, D, H, W, words)``, flat and with slack behind."""

    flat: np.ndarray  # (B D H W words + SLACK,) uint32
    shape: tuple[int, int, int, int]  # B, D, H, W; a missing axis is 1
    channels: int

    @property
    def words(self) -> np.ndarray:
        """``(B, D, H, W, words)`` uint32."""
        return self.flat[:-SLACK].reshape(*self.shape, -1)

    def signs(self) -> np.ndarray:
        """``(B, D, H, W, C)`` int8, +1 and -1."""
        bytes_ = np.ascontiguousarray(self.words).astype("<u4", copy=False).view(np.uint8)
        bits = np.unpackbits(bytes_, axis=-1, bitorder="little", count=self.channels)
        return bits.astype(np.int8) * 2 - 1

    def reshaped(self, shape: tuple[int, int, int, int]) -> Bits:
        """The same bits, their places counted in another way."""
        return Bits(self.flat, shape, self.channels)


def words_for(channels: int) -> int:
    """Words that hold so many channels."""
    return -(-channels // WORD)


def empty_bits(shape: tuple[int, int, int, int], channels: int) -> Bits:
    """Room for bits, all 0."""
    return Bits(np.zeros(int(np.prod(shape)) * words_for(channels) + SLACK, np.uint32), shape, channels)


def to_words(positive: np.ndarray) -> np.ndarray:
    """Truths ``(..., C)`` to words ``(..., words)`` uint32; channel c is bit ``c % 32`` of word ``c // 32``."""
    *rest, channels = positive.shape
    room = np.zeros((*rest, words_for(channels) * WORD), bool)
    room[..., :channels] = positive
    return np.packbits(room, axis=-1, bitorder="little").view("<u4").astype(np.uint32, copy=False)


def from_signs(signs: np.ndarray) -> Bits:
    """Numbers ``(B, D, H, W, C)`` to bits, 1 where they are >= 0."""
    found = empty_bits(signs.shape[:4], signs.shape[4])
    found.words[...] = to_words(signs >= 0)
    return found


def to_rows(positive: np.ndarray) -> np.ndarray:
    """Truths ``(M, n)`` to bytes ``(M, ceil(n / 8))``, the first the lowest bit: the layout of files.

    >>> to_rows(np.array([[True, False, True, True, False, False, False, False, True]]))
    array([[13,  1]], dtype=uint8)
    """
    return np.packbits(positive, axis=1, bitorder="little")


def from_rows(rows: np.ndarray, n: int) -> np.ndarray:
    """Bytes back to truths ``(M, n)``."""
    return np.unpackbits(rows, axis=1, bitorder="little", count=n).astype(bool)
