"""The convolution of signs, compiled by numba: one instruction counts the bits of sixteen output channels.

A strip of outputs at a time. The bits that an output sees are gathered into one row, whatever stride, dilation and padding are;
then ``sums = best - 2 differing bits`` is a small product of matrices; then the sums, still in the first caches, become bits or
numbers. Weights come in blocks of sixteen channels, ``(group, block, tap, word, 16)``.
"""

from __future__ import annotations

import numpy as np

from isocline._core.compiling import compiled, inlined

from .lanes import (
    BLOCK,
    LANES,
    WIDE,
    affine,
    at_most,
    differing,
    load,
    load_numbers,
    missing,
    not_negative,
    nothing,
    plus,
    pointer,
    store,
    store_numbers,
    store_sums,
    transpose_tile,
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
                    if (
                        together and inside and u >= 0 and u + Kx <= W
                    ):  # all columns are inside: one piece an output
                        many = min(stop - i, (W - Kx - u) // step + 1)
                        source = (base + u) * words
                        if run <= LANES:
                            for _ in range(many):
                                store(rows, at, load(acts, source))
                                at, source = at + pitch, source + step * words
                        else:
                            for _ in range(many):
                                for more in range(0, run, LANES):
                                    store(rows, at + more, load(acts, source + more))
                                at, source = at + pitch, source + step * words
                        u, i = u + many * step, i + many
                        continue
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
def end(want, count, table, kind, y, to, masks, half, flip):
    """What becomes of the differing bits of an output: sixteen bits, or sixteen sums."""
    if want == BITS:
        masks[half] = at_most(count, table, kind) ^ flip
    else:
        store_sums(y, to, table, kind, count)


@inlined
def eight(rows, at, pitch, length, weights, w, want, table, kinds, p, lane, lanes, y, masks, halves, flip):
    """Eight outputs in sixteen channels from `lane` on."""
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
    to, half = p * lanes + lane, p * halves + lane // LANES
    end(want, c0, table, kinds[p] + lane, y, to, masks, half, flip)
    end(want, c1, table, kinds[p + 1] + lane, y, to + lanes, masks, half + halves, flip)
    end(want, c2, table, kinds[p + 2] + lane, y, to + 2 * lanes, masks, half + 2 * halves, flip)
    end(want, c3, table, kinds[p + 3] + lane, y, to + 3 * lanes, masks, half + 3 * halves, flip)
    end(want, c4, table, kinds[p + 4] + lane, y, to + 4 * lanes, masks, half + 4 * halves, flip)
    end(want, c5, table, kinds[p + 5] + lane, y, to + 5 * lanes, masks, half + 5 * halves, flip)
    end(want, c6, table, kinds[p + 6] + lane, y, to + 6 * lanes, masks, half + 6 * halves, flip)
    end(want, c7, table, kinds[p + 7] + lane, y, to + 7 * lanes, masks, half + 7 * halves, flip)


@inlined
def two(rows, at, pitch, length, weights, w, want, table, kinds, p, lane, lanes, y, masks, halves, flip):
    """Two outputs in sixteen channels from `lane` on, bytes widened before they overflow."""
    t0, t1 = nothing(), nothing()
    for start in range(0, length, BLOCK):
        c0, c1 = nothing(), nothing()
        for i in range(start, min(length, start + BLOCK)):
            v = load(weights, (w + i) * LANES)
            c0 = differing(c0, rows, at + i, v)
            c1 = differing(c1, rows, at + pitch + i, v)
        t0, t1 = widen(t0, c0), widen(t1, c1)
    to, half = p * lanes + lane, p * halves + lane // LANES
    end(want, t0, table, kinds[p] + lane, y, to, masks, half, flip)
    end(want, t1, table, kinds[p + 1] + lane, y, to + lanes, masks, half + halves, flip)


some = eight if WIDE else two


@inlined
def strip(
    acts, weights, shape, fill, kinds_of, table, flips, want, first, count, rows, pitch, kinds, y, masks
):
    """All channels of a strip: sums ``(count, lanes)`` in `y`, or bits ``(count, halves)`` in `masks`."""
    taps = shape[6] * shape[7] * shape[8]
    groups, words, outputs = shape[18], shape[19], shape[21]
    blocks, length = (outputs + LANES - 1) // LANES, taps * words
    lanes, halves = groups * blocks * LANES, 2 * ((groups * outputs + 31) // 32)
    for group in range(groups):
        gather(acts, shape, group, fill, kinds_of, first, count, rows, pitch, kinds)
        for block in range(group * blocks, (group + 1) * blocks):
            flip = flips[block] if want == BITS else np.uint16(0)
            for p in range(0, count, TOGETHER):
                w, lane = block * length, block * LANES
                some(
                    rows,
                    p * pitch,
                    pitch,
                    length,
                    weights,
                    w,
                    want,
                    table,
                    kinds,
                    p,
                    lane,
                    lanes,
                    y,
                    masks,
                    halves,
                    flip,
                )
    if groups > 1 and outputs % LANES:
        for p in range(count):
            for group in range(1, groups):
                for o in range(outputs):
                    y[p * lanes + group * outputs + o] = y[p * lanes + group * blocks * LANES + o]


@inlined
def strip_numbers(
    y, lanes, O, count, scale, bias, floor, a, b, fused, skip, has_skip, numbers, bits, has_bits, first, spare
):
    """``a max(scale y + bias, floor) + b`` and what is skipped, and its signs; returns whether one of these was NaN."""
    halves = 2 * ((O + 31) // 32)
    nan = np.uint16(0)
    for x in range(count):
        for half in range((O + LANES - 1) // LANES):
            o = half * LANES
            at, rest = (first + x) * O + o, min(LANES, O - o)
            value = affine(y, x * lanes + o, o, scale, bias, floor, a, b, fused)
            if has_skip:
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
            if has_bits:
                bits[(first + x) * halves + half] = not_negative(value)
                nan |= missing(value)
    return nan != 0


@compiled
def convolve(
    acts, weights, shape, fill, kinds_of, table, flips, want, scale, bias, floor, a, b, fused, skip,
    sums, bits, numbers, y, kinds, rows, masks, spare, first, last,
):  # fmt: skip
    """Outputs ``first <= p < last`` of all images. Returns whether a number that was to become a bit is NaN.

    table: of sums if no bit differed, or for BITS of the most bits that may differ; bits begin at whole blocks of channels.
    y, kinds, rows, masks, spare: room for a strip (`room`).
    """
    O, length = shape[18] * shape[21], shape[6] * shape[7] * shape[8] * shape[19]
    lanes = shape[18] * ((shape[21] + LANES - 1) // LANES) * LANES
    halves, pitch = 2 * ((O + 31) // 32), length + LANES
    has_skip, has_bits = skip.shape[0] > 0, bits.shape[0] > 0
    there = (
        pointer(acts),
        pointer(weights),
        pointer(shape),
        pointer(fill),
        pointer(kinds_of),
        pointer(table),
        pointer(flips),
    )
    y_, kinds_, rows_, masks_, spare_ = (
        pointer(y),
        pointer(kinds),
        pointer(rows),
        pointer(masks),
        pointer(spare),
    )
    maps = (pointer(scale), pointer(bias), floor, pointer(a), pointer(b), fused, pointer(skip), has_skip)
    sums_, bits_, numbers_ = pointer(sums), pointer(bits), pointer(numbers)
    nan = False
    for start in range(first, last, STRIP):
        count = min(STRIP, last - start)
        strip(*there, want, start, count, rows_, pitch, kinds_, y_, masks_)
        if want == SUMS:
            for p in range(count):
                to, rest = (start + p) * O, O % LANES
                for o in range(0, O - rest, LANES):
                    store(sums_, to + o, load(y_, p * lanes + o))
                for o in range(O - rest, O):
                    sums_[to + o] = y_[p * lanes + o]
        elif want == BITS:
            for half in range(count * halves):
                bits_[start * halves + half] = masks_[half]
        else:
            nan |= strip_numbers(y_, lanes, O, count, *maps, numbers_, bits_, has_bits, start, spare_)
    return nan


def room(taps_words: int, lanes: int, halves: int) -> tuple[np.ndarray, ...]:
    """What `convolve` works in."""
    rows = np.zeros(STRIP * (taps_words + LANES), np.uint32)
    masks, spare = np.zeros(STRIP * halves, np.uint16), np.zeros(2 * LANES, np.float32)
    return np.empty(STRIP * lanes, np.int32), np.zeros(STRIP, np.int64), rows, masks, spare


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


@compiled
def transposed(numbers, rows, columns, found, first, last):
    """``(B, rows, columns)`` to ``(B, columns, rows)``, images ``first <= b < last``."""
    for image in range(first, last):
        start = image * rows * columns
        for r in range(0, rows, LANES):
            for c in range(0, columns, LANES):
                at, to = start + r * columns + c, start + c * rows + r
                if r + LANES <= rows and c + LANES <= columns:
                    transpose_tile(numbers, at, columns, found, to, rows)
                else:
                    for j in range(min(LANES, columns - c)):
                        for i in range(min(LANES, rows - r)):
                            found[to + j * rows + i] = numbers[at + i * columns + j]
    return False
