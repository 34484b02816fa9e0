"""Between arrays ``(R, T, B, columns)`` of any strides and vectors of lanes: a lane is a sequence b.

``[r, first:last, low:high]`` of an array becomes a flat run of vectors, step by step and column by column;
lanes past ``high`` are 0. Indices are cast to unsigned, which spares the compiled code a test for negative
ones.
"""

from __future__ import annotations

import numpy as np
from numba.np.numpy_support import carray
from numpy.lib.stride_tricks import as_strided

from .compiling import inlined
from .simd import fma, load, pointer, spread, store, where_number


@inlined
def strided(place, shape, like):
    """The array of like's dtype at ``place = (address, run, time, sequence, column)``; it owns no memory.

    ``place`` holds an address and, for each axis, how many values lie between neighbours.
    """
    size = like.itemsize
    strides = (place[1] * size, place[2] * size, place[3] * size, place[4] * size)
    return as_strided(carray(pointer(place[0], like), 1), shape, strides)


@inlined
def aligned(count, like):
    """Fresh memory for ``count`` values of like's dtype, from a vector's boundary on; not initialised."""
    size = like.itemsize
    memory = np.empty(count + 64 // size, like.dtype)
    first = (-memory.ctypes.data) % 64 // size
    return memory[first : first + count]


@inlined
def fill(array, value):
    for n in range(len(array)):
        array[n] = value


@inlined
def summed(array):
    result = array.dtype.type(0)
    for n in range(len(array)):
        result += array[n]
    return result


@inlined
def read(vectors, place, array, r, first, last, low, high, lanes):
    """Into the vectors from ``place`` on."""
    columns = array.shape[3]
    for t in range(first, last):
        for i in range(columns):
            start = (place + (t - first) * columns + i) * lanes
            for b in range(high - low):
                value = array[np.uintp(r), np.uintp(t), np.uintp(low + b), np.uintp(i)]
                vectors[np.uintp(start + b)] = value
            for b in range(high - low, lanes):
                vectors[np.uintp(start + b)] = 0


@inlined
def write(vectors, place, array, r, first, last, low, high, lanes):
    """The way back, from the vector ``place`` on."""
    columns = array.shape[3]
    for t in range(first, last):
        for i in range(columns):
            start = (place + (t - first) * columns + i) * lanes
            for b in range(high - low):
                value = vectors[np.uintp(start + b)]
                array[np.uintp(r), np.uintp(t), np.uintp(low + b), np.uintp(i)] = value


@inlined
def read_forcing(targets, weights, place, forcing, weight, r, first, last, low, high, lanes):
    """Targets and weights of the steps first .. last; a missing target, NaN, becomes 0 with weight 0."""
    columns = forcing.shape[3]
    read(targets, place, forcing, r, first, last, low, high, lanes)
    constant = weight.strides == (0, 0, 0, 0)
    if not constant:
        read(weights, place, weight, r, first, last, low, high, lanes)
    everywhere = spread(weight, 0)
    for n in range(place, place + (last - first) * columns):
        target = load(targets, n)
        w = everywhere if constant else load(weights, n)
        store(weights, n, where_number(target, w))
        store(targets, n, where_number(target, target))


@inlined
def force(states, here, targets, weights, place, columns):
    """``z~ = (1 - w) z + w target`` for the first ``columns`` vectors of the state at ``here``, in place.

    Leaves ``target - z`` in the target's place, for ``force_back``.
    """
    for i in range(columns):
        z, w, target = load(states, here + i), load(weights, place + i), load(targets, place + i)
        store(states, here + i, fma(w, target, z - w * z))
        store(targets, place + i, target - z)


@inlined
def force_back(back, gaps, weights, place, columns):
    """The adjoint of ``force``: back times ``1 - w`` in place, and the slope along w in the gap's place."""
    for i in range(columns):
        slope, w = load(back, i), load(weights, place + i)
        store(gaps, place + i, slope * load(gaps, place + i))
        store(back, i, slope - w * slope)
