"""Between tensors ``(R, T, B, columns)`` of any strides and vectors of lanes: a lane is a sequence b.

A tensor is a place, ``(address, run, time, sequence, column)``: where it begins, and for each axis how many values lie
between neighbours. ``[r, first:last, low:high]`` of it becomes a flat run of vectors, step by step and column by
column; lanes past ``high`` are 0.
"""

from __future__ import annotations

from isocline._core.compiling import inlined

from .simd import everywhere, fma, load, number, pointer, store, where_number


@inlined
def entry(place, r, t, b, i):
    """How many values lie before ``[r, t, b, i]``."""
    return r * place[1] + t * place[2] + b * place[3] + i * place[4]


@inlined
def fill(memory, count, value):
    for n in range(count):
        memory[n] = value


@inlined
def summed(memory, count):
    result = number(memory, 0)
    for n in range(count):
        result += memory[n]
    return result


@inlined
def read(vectors, at, place, columns, r, first, last, low, high, lanes):
    """Into the vectors from ``at`` on."""
    values = pointer(place[0], vectors)
    for t in range(first, last):
        for i in range(columns):
            start = (at + (t - first) * columns + i) * lanes
            source = entry(place, r, t, low, i)
            for b in range(high - low):
                vectors[start + b] = values[source + b * place[3]]
            for b in range(high - low, lanes):
                vectors[start + b] = 0


@inlined
def write(vectors, at, place, columns, r, first, last, low, high, lanes):
    """The way back, from the vector ``at`` on."""
    values = pointer(place[0], vectors)
    for t in range(first, last):
        for i in range(columns):
            start = (at + (t - first) * columns + i) * lanes
            target = entry(place, r, t, low, i)
            for b in range(high - low):
                values[target + b * place[3]] = vectors[start + b]


@inlined
def read_forcing(targets, weights, at, forcing, weight, columns, r, first, last, low, high, lanes):
    """Targets and weights of the steps first .. last; a missing target, NaN, becomes 0 with weight 0."""
    read(targets, at, forcing, columns, r, first, last, low, high, lanes)
    constant = weight[1] == 0 and weight[2] == 0 and weight[3] == 0 and weight[4] == 0
    if not constant:
        read(weights, at, weight, columns, r, first, last, low, high, lanes)
    all_of_them = everywhere(weights, pointer(weight[0], weights)[0])
    for n in range(at, at + (last - first) * columns):
        target = load(targets, n)
        w = all_of_them if constant else load(weights, n)
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
