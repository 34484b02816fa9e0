"""The convolution of signs, compiled by numba: one instruction counts the bits of sixteen output channels.

A strip of outputs at a time. The bits that an output sees are gathered into one row, whatever stride, dilation and padding are;
then ``sums = best - 2 differing bits`` is a small product of matrices; then the sums, still in the first caches, become bits or
numbers. Weights come in blocks of sixteen channels, ``(group, block, tap, word, 16)``.
"""

from __future__ import annotations

import numpy as np

from .compiling import compiled, inlined
from .lanes import (
    BLOCK,
    LANES,
    WIDE,
    affine,
    at_least,
    differing,
    load,
    load_numbers,
    missing,
    not_negative,
    nothing,
    plus,
    store,
    store_numbers,
    store_sums,
    widen,
    with_signs,
)

SUMS, BITS, NUMBERS = 0, 1, 2  # what a convolution is to give
STRIP = 32  # outputs at a time
TOGETHER = 8 if WIDE else 2  # outputs whose counters share the registers


@inlined
def gather(acts, shape, group, fill, kinds_of, first, count, rows, pitch, kinds):
    """The bits that outputs ``first ..`` see, ``(count, taps, words)``, and each output's row of the table of best sums.

    Copies are of sixteen words: what is too much is overwritten by the next, or lies in the slack that rows and bits end with.
    """
    D, H, W, Do, Ho, Wo = shape[0], shape[1], shape[2], shape[3], shape[4], shape[5]
    Kz, Ky, Kx = shape[6], shape[7], shape[8]
    groups, words, step = shape[18], shape[19], shape[11]
    pixel, dx = groups * words, shape[17]
    together = dx == 1 and groups == 1
    p, x, line = 0, first % Wo, first // Wo
    while p < count:  # a line of outputs, or what the strip has of it
        y, plane = line % Ho, line // Ho
        z, image = plane % Do, plane // Do
        stop = min(Wo, x + count - p)
        for i in range(x, stop):
            kinds[p + i - x] = kinds_of[z] + kinds_of[Do + y] + kinds_of[Do + Ho + i]
        for kz in range(Kz):
            w = z * shape[9] - shape[12] + kz * shape[15]
            for ky in range(Ky):
                v = y * shape[10] - shape[13] + ky * shape[16]
                inside = 0 <= v < H and 0 <= w < D
                base = ((image * D + w) * H + v) * W
                at, run = p * pitch + (kz * Ky + ky) * Kx * words, Kx * words
                u = x * step - shape[14]
                i = x
                while i < stop:
                    if together and inside and u >= 0:  # as long as all columns are inside, they are one piece
                        source = (base + u) * words
                        while i < stop and u + Kx <= W:
                            store(rows, at, load(acts, source))
                            for more in range(LANES, run, LANES):
                                store(rows, at + more, load(acts, source + more))
                            source += step * words
                            at, u, i = at + pitch, u + step, i + 1
                        if i == stop:
                            break
                    for kx in range(Kx):
                        there = u + kx * dx
                        seen = inside and 0 <= there < W
                        source = (base + there) * pixel + group * words
                        for more in range(0, words, LANES):
                            to = at + kx * words + more
                            store(rows, to, load(acts, source + more) if seen else load(fill, more))
                    at, u, i = at + pitch, u + step, i + 1
        p += stop - x
        x, line = 0, line + 1


@inlined
def eight(rows, at, pitch, length, weights, w, y, to, lanes, best, kinds, p, offset):
    """Sums of eight outputs in sixteen channels."""
    c0, c1, c2, c3 = nothing(), nothing(), nothing(), nothing()
    c4, c5, c6, c7 = nothing(), nothing(), nothing(), nothing()
    for i in range(length):
        v = load(weights, (w + i) * LANES)
        c0 = differing(c0, rows, at + i, v)
        c1 = differing(c1, rows, at + pitch + i, v)
        c2 = differing(c2, rows, at + 2 * pitch + i, v)
        c3 = differing(c3, rows, at + 3 * pitch + i, v)
        c4 = differing(c4, rows, at + 4 * pitch + i, v)
        c5 = differing(c5, rows, at + 5 * pitch + i, v)
        c6 = differing(c6, rows, at + 6 * pitch + i, v)
        c7 = differing(c7, rows, at + 7 * pitch + i, v)
    store_sums(y, to, best, kinds[p] * lanes + offset, c0)
    store_sums(y, to + lanes, best, kinds[p + 1] * lanes + offset, c1)
    store_sums(y, to + 2 * lanes, best, kinds[p + 2] * lanes + offset, c2)
    store_sums(y, to + 3 * lanes, best, kinds[p + 3] * lanes + offset, c3)
    store_sums(y, to + 4 * lanes, best, kinds[p + 4] * lanes + offset, c4)
    store_sums(y, to + 5 * lanes, best, kinds[p + 5] * lanes + offset, c5)
    store_sums(y, to + 6 * lanes, best, kinds[p + 6] * lanes + offset, c6)
    store_sums(y, to + 7 * lanes, best, kinds[p + 7] * lanes + offset, c7)


@inlined
def two(rows, at, pitch, length, weights, w, y, to, lanes, best, kinds, p, offset):
    """Sums of two outputs in sixteen channels, bytes widened before they overflow."""
    t0, t1 = nothing(), nothing()
    for start in range(0, length, BLOCK):
        c0, c1 = nothing(), nothing()
        for i in range(start, min(length, start + BLOCK)):
            v = load(weights, (w + i) * LANES)
            c0 = differing(c0, rows, at + i, v)
            c1 = differing(c1, rows, at + pitch + i, v)
        t0, t1 = widen(t0, c0), widen(t1, c1)
    store_sums(y, to, best, kinds[p] * lanes + offset, t0)
    store_sums(y, to + lanes, best, kinds[p + 1] * lanes + offset, t1)


some = eight if WIDE else two


@inlined
def strip_sums(acts, weights, shape, fill, kinds_of, best, first, count, rows, pitch, kinds, y):
    """Sums ``(count, O)`` of a strip, a row of `y` every `lanes` numbers; returns `lanes`."""
    taps = shape[6] * shape[7] * shape[8]
    groups, words, outputs = shape[18], shape[19], shape[21]
    blocks, length = (outputs + LANES - 1) // LANES, taps * words
    lanes = groups * blocks * LANES
    for group in range(groups):
        gather(acts, shape, group, fill, kinds_of, first, count, rows, pitch, kinds)
        for block in range(group * blocks, (group + 1) * blocks):
            for p in range(0, count, TOGETHER):
                offset = block * LANES
                some(
                    rows, p * pitch, pitch, length, weights, block * length, y, p * lanes + offset, lanes, best, kinds, p, offset
                )
    if groups > 1 and outputs % LANES:
        for p in range(count):
            for group in range(1, groups):
                for o in range(outputs):
                    y[p * lanes + group * outputs + o] = y[p * lanes + group * blocks * LANES + o]
    return lanes


@inlined
def strip_bits(y, lanes, O, count, limits, flips, bits, at):
    """Bits of a strip: ``y >= limit``, turned over where a flip bit is set."""
    halves = 2 * ((O + 31) // 32)
    for x in range(count):
        for half in range((O + LANES - 1) // LANES):
            mask = at_least(y, x * lanes + half * LANES, limits, half * LANES)
            bits[at + x * halves + half] = mask ^ flips[half]


@inlined
def strip_numbers(y, lanes, O, count, scale, bias, floor, a, b, fused, skip, numbers, bits, first, spare):
    """``a max(scale y + bias, floor) + b`` and what is skipped, and its signs; returns whether one of these was NaN."""
    halves = 2 * ((O + 31) // 32)
    nan = np.uint16(0)
    for x in range(count):
        for half in range((O + LANES - 1) // LANES):
            o = half * LANES
            at, rest = (first + x) * O + o, min(LANES, O - o)
            value = affine(y, x * lanes + o, o, scale, bias, floor, a, b, fused)
            if skip.shape[0]:
                if rest < LANES:
                    for i in range(rest):
                        spare[i] = skip[at + i]
                    value = plus(value, load_numbers(spare, 0))
                else:
                    value = plus(value, load_numbers(skip, at))
            if rest < LANES:
                store_numbers(spare, LANES, value)
                for i in range(rest):
                    numbers[at + i] = spare[LANES + i]
            else:
                store_numbers(numbers, at, value)
            if bits.shape[0]:
                bits[(first + x) * halves + half] = not_negative(value)
                nan |= missing(value)
    return nan != 0


@compiled
def convolve(
    acts, weights, shape, fill, kinds_of, best, want, limits, flips, scale, bias, floor, a, b, fused, skip,
    sums, bits, numbers, first, last,
):  # fmt: skip
    """Outputs ``first <= p < last`` of all images. Returns whether a number that was to become a bit is NaN."""
    O, length = shape[18] * shape[21], shape[6] * shape[7] * shape[8] * shape[19]
    lanes = shape[18] * ((shape[21] + LANES - 1) // LANES) * LANES
    halves = 2 * ((O + 31) // 32)
    pitch = length + LANES
    y, kinds = np.empty(STRIP * lanes, np.int32), np.zeros(STRIP, np.int32)
    rows = np.zeros(STRIP * pitch, np.uint32)
    spare = np.zeros(2 * LANES, np.float32)
    nan = False
    for start in range(first, last, STRIP):
        count = min(STRIP, last - start)
        strip_sums(acts, weights, shape, fill, kinds_of, best, start, count, rows, pitch, kinds, y)
        if want == SUMS:
            for p in range(count):
                to, rest = (start + p) * O, O % LANES
                for o in range(0, O - rest, LANES):
                    store(sums, to + o, load(y, p * lanes + o))
                for o in range(O - rest, O):
                    sums[to + o] = y[p * lanes + o]
        elif want == BITS:
            strip_bits(y, lanes, O, count, limits, flips, bits, start * halves)
        else:
            nan |= strip_numbers(
                y, lanes, O, count, scale, bias, floor, a, b, fused, skip, numbers, bits, start, spare
            )
    return nan


@compiled
def signs_of_pixels(numbers, O, bits, first, last):
    """Channels last: ``(pixels, O)`` float32 to ``(pixels, halves)`` uint16. Returns whether one was NaN."""
    halves = 2 * ((O + 31) // 32)
    nan = np.uint16(0)
    for x in range(first, last):
        for half in range(O // LANES):
            values = load_numbers(numbers, x * O + half * LANES)
            bits[x * halves + half] = not_negative(values)
            nan |= missing(values)
        if O % LANES:
            word = 0
            half = O // LANES
            for i in range(O % LANES):
                value = numbers[x * O + half * LANES + i]
                word |= (value >= 0) << i
                nan |= np.uint16(value != value)
            bits[x * halves + half] = np.uint16(word)
    return nan != 0


@compiled
def signs_of_planes(numbers, O, pixels, bits, first, last):
    """Channels first: ``(B, O, pixels)`` float32 to ``(B, pixels, words)`` uint32, images ``first <= b < last``.

    Sixteen pixels at a time: each has its word in a lane, and a channel sets one bit of all. Returns whether one was NaN.
    """
    words = (O + 31) // 32
    spare = np.empty(LANES, np.uint32)
    nan = np.uint16(0)
    for image in range(first, last):
        for word in range(words):
            top = min(32, O - word * 32)
            at = (image * O + word * 32) * pixels
            x = 0
            while x + LANES <= pixels:
                lanes = nothing()
                for c in range(top):
                    values = load_numbers(numbers, at + c * pixels + x)
                    lanes = with_signs(lanes, values, 1 << c)
                    nan |= missing(values)
                store(spare, 0, lanes)
                for i in range(LANES):
                    bits[(image * pixels + x + i) * words + word] = spare[i]
                x += LANES
            while x < pixels:
                value = 0
                for c in range(top):
                    number = numbers[at + c * pixels + x]
                    value |= (number >= 0) << c
                    nan |= np.uint16(number != number)
                bits[(image * pixels + x) * words + word] = np.uint32(value)
                x += 1
    return nan != 0
