"""What surrounds the compiled loops: weights in blocks, tables of the border, a share of the outputs for each thread."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import torch

from ..bits import SLACK, WORD, Bits, empty_bits, to_words, words_for
from ..epilogue import Affine, Limits
from ..window import Three, Window, best_sums
from . import cpu, nan_found, reference
from .lanes import LANES

ALONE = 1 << 24  # bits compared, below which a second thread costs more than it brings
_FLOATS, _WHOLE, _HALVES = np.empty(0, np.float32), np.empty(0, np.int32), np.empty(0, np.uint16)
_pool = cache(ThreadPoolExecutor)
os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not survive a fork


class Compiled:
    """The numba backend of a `SignConvolution`."""

    def __init__(self, window: Window, signs: np.ndarray, how: Limits | Affine | None) -> None:
        self.window, self._signs = window, signs
        self._each = window.outputs // window.groups
        weights = self._in_lanes(to_words(signs > 0).reshape(window.outputs, -1).T, np.uint32)
        words = words_for(window.inputs // window.groups)
        blocks = weights.reshape(len(weights), window.groups, -1, LANES).transpose(1, 2, 0, 3)
        self._weights = aligned(blocks.ravel())
        self._fill = np.zeros(words + LANES, np.uint32)
        self._fill[:words] = to_words(np.full(window.inputs // window.groups, window.pad_value == 1))
        self._limits = how if isinstance(how, Limits) else None
        flip = _padded(how.flip if isinstance(how, Limits) else _WHOLE, 0, bool)
        self._flips = np.packbits(flip, bitorder="little").view("<u2").astype(np.uint16)
        self._affine = self._map(how if isinstance(how, Affine) else None)
        self._placed: dict[Three, tuple[np.ndarray, ...]] = {}

    def sums(self, bits: Bits, shape: tuple[int, ...]) -> np.ndarray:
        found = np.empty((*shape, self.window.outputs), np.int32)
        self._run(bits, shape, cpu.SUMS, sums=found.reshape(-1))
        return found

    def to_bits(self, bits: Bits, shape: tuple[int, int, int, int]) -> Bits:
        if self.window.groups > 1 and self._each % LANES:  # a group's bits begin inside a block
            assert self._limits is not None
            return reference.to_bits(self.sums(bits, shape), self._limits)
        made = empty_bits(shape, self.window.outputs)
        self._run(bits, shape, cpu.BITS, made=_halves(made))
        return made

    def to_numbers(
        self, bits: Bits, shape: tuple[int, int, int, int, int], skip: np.ndarray | None, want_bits: bool
    ) -> tuple[np.ndarray, Bits | None]:
        numbers = np.empty(shape, np.float32)
        made = empty_bits(shape[:4], self.window.outputs) if want_bits else None
        skipped = _FLOATS if skip is None else np.ascontiguousarray(skip, np.float32).reshape(-1)
        halves = _HALVES if made is None else _halves(made)
        if self._run(bits, shape, cpu.NUMBERS, numbers=numbers.reshape(-1), made=halves, skip=skipped):
            raise nan_found()
        return numbers, made

    def _run(
        self,
        bits: Bits,
        shape: tuple[int, ...],
        want: int,
        *,
        sums: np.ndarray = _WHOLE,
        made: np.ndarray = _HALVES,
        numbers: np.ndarray = _FLOATS,
        skip: np.ndarray = _FLOATS,
    ) -> bool:
        geometry, places, best, most = self._place(bits.shape[1:])
        table = most if want == cpu.BITS else best
        given = (self._regrouped(bits), self._weights, geometry, self._fill, places, table, self._flips, want)
        rest = (*self._affine, skip, sums, made, numbers)
        count = int(np.prod(shape[:4]))
        work = count * self.window.size * self.window.outputs
        return any(shared(lambda i, j: cpu.convolve(*given, *rest, *self._room(), i, j), count, work))

    def _room(self) -> tuple[np.ndarray, ...]:
        lanes = self.window.groups * -(-self._each // LANES) * LANES
        return cpu.room(
            self.window.taps * (len(self._fill) - LANES), lanes, 2 * words_for(self.window.outputs)
        )

    def _place(self, image: Three) -> tuple[np.ndarray, ...]:
        """Sizes, places and tables for images of one size; kept for the last few sizes."""
        if image not in self._placed:
            while len(self._placed) >= 8:
                self._placed.pop(next(iter(self._placed)))
            w, places = self.window, best_sums(self.window, self._signs.reshape(self._shape()), image)
            groups, inputs = w.groups, w.inputs // w.groups
            sizes = (*image, *w.outside(image), *w.kernel, *w.stride, *w.before, *w.dilation)
            geometry = np.array([*sizes, groups, words_for(inputs), inputs, self._each], np.int64)
            best = self._in_lanes(places[1], np.int32)
            rows = (np.concatenate(places[0]) * best.shape[1]).astype(np.int64)
            self._placed[image] = geometry, rows, best.ravel(), self._most(places[1])
        return self._placed[image]

    def _most(self, best: np.ndarray) -> np.ndarray:
        """``best - 2 differing >= limit`` as the most bits that may differ; -1, which none are, where no channel is."""
        if self._limits is None:
            return _WHOLE
        most = np.maximum((best.astype(np.int64) - self._limits.limit) // 2, -1)
        return (self._in_lanes(most + 1, np.int64) - 1).astype(np.int32).ravel()

    def _shape(self) -> tuple[int, ...]:
        return (self.window.outputs, *self.window.kernel, self.window.inputs // self.window.groups)

    def _in_lanes(self, table: np.ndarray, dtype: Any) -> np.ndarray:
        """``(rows, M)`` with every group's channels filled up to whole blocks, ``(rows, groups blocks LANES)``."""
        groups, blocks = self.window.groups, -(-self._each // LANES)
        room = np.zeros((len(table), groups, blocks * LANES), dtype)
        room[..., : self._each] = table.reshape(len(table), groups, self._each)
        return room.reshape(len(table), -1)

    def _regrouped(self, bits: Bits) -> np.ndarray:
        """Bits whose every group begins with a word of its own."""
        each, groups = self.window.inputs // self.window.groups, self.window.groups
        if groups == 1 or each % WORD == 0:
            return bits.flat
        words = to_words(bits.signs().reshape(*bits.shape, groups, each) > 0).reshape(-1)
        return np.concatenate([words, np.zeros(SLACK, np.uint32)])

    def _map(self, how: Affine | None) -> tuple[Any, ...]:
        if how is None:
            return _FLOATS, _FLOATS, np.float32(0), _FLOATS, _FLOATS, True
        scale, bias, a, b = (_padded(values, 0, np.float32) for values in (how.scale, how.bias, how.a, how.b))
        b[self.window.outputs :] = -1  # what lies beyond the channels is to be 0 bits
        return scale, bias, np.float32(how.floor), a, b, bool(how.fused)


def bits_of(numbers: np.ndarray, channels_first: bool) -> Bits:
    """See `kernels.bits_of`."""
    numbers = np.ascontiguousarray(numbers, np.float32)
    B, C = numbers.shape[0], numbers.shape[1 if channels_first else 4]
    D, H, W = numbers.shape[2:] if channels_first else numbers.shape[1:4]
    made, flat = empty_bits((B, D, H, W), C), numbers.reshape(-1)
    if channels_first:
        words, pixels = made.flat[:-SLACK], D * H * W
        nan = shared(lambda i, j: cpu.signs_of_planes(flat, C, pixels, words, i, j), B, flat.size * 16)
    else:
        nan = shared(
            lambda i, j: cpu.signs_of_pixels(flat, C, _halves(made), i, j), B * D * H * W, flat.size * 16
        )
    if any(nan):
        raise nan_found()
    return made


def shared(call: Callable[[int, int], bool], count: int, work: int) -> list[bool]:
    """Call with ``(first, last)`` for shares of `count`, one a thread of torch's, or at once where there is little to do."""
    threads = min(torch.get_num_threads(), count)
    if threads <= 1 or work < ALONE:
        return [bool(call(0, count))]
    each = -(-count // threads)
    return [
        bool(nan)
        for nan in _pool(threads).map(lambda i: call(i, min(i + each, count)), range(0, count, each))
    ]


def aligned(array: np.ndarray) -> np.ndarray:
    """A copy that begins with a cache line, which a vector of sixteen words then fills."""
    room = np.empty(array.size + LANES, array.dtype)
    start = -(room.ctypes.data // array.itemsize) % LANES
    found = room[start : start + array.size]
    found[:] = array
    return found


def _halves(bits: Bits) -> np.ndarray:
    return bits.flat[:-SLACK].view(np.uint16)


def _padded(values: np.ndarray, fill: Any, dtype: Any) -> np.ndarray:
    """Whole blocks of lanes."""
    room = np.full(-(-len(values) // LANES) * LANES, fill, dtype)
    room[: len(values)] = values
    return room


def transposed(numbers: np.ndarray) -> np.ndarray:
    """``(B, rows, columns)`` to ``(B, columns, rows)``, contiguous."""
    B, rows, columns = numbers.shape
    found = np.empty((B, columns, rows), np.float32)
    given = (np.ascontiguousarray(numbers).reshape(-1), rows, columns, found.reshape(-1))
    shared(lambda i, j: cpu.transposed(*given, i, j), B, numbers.size * 16)
    return found
