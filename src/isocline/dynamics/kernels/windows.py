"""Windows cut from a series at random, the same for the same seed: the batches of the compiled training loop.

Which window comes where is a pure function of (seed, update, sequence), so that nothing but the number of
updates done has to be kept to continue a run exactly.
"""

from __future__ import annotations

import numpy as np

from isocline._core.compiling import compiled, inlined

_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


@inlined
def mixed(seed, counter):
    """64 random bits for a counter: the splitmix64 generator (Steele, Lea and Flood 2014)."""
    x = np.uint64(seed) + (np.uint64(counter) + np.uint64(1)) * _STEP
    x = (x ^ (x >> np.uint64(30))) * _MIX_1
    x = (x ^ (x >> np.uint64(27))) * _MIX_2
    return x ^ (x >> np.uint64(31))


@inlined
def chosen(seed, update, sequence, batch_size, choices):
    """A whole number in [0, choices) for one sequence of one update; choices below 2^32."""
    bits = mixed(seed, np.uint64(update) * np.uint64(batch_size) + np.uint64(sequence))
    return np.int64(((bits >> np.uint64(32)) * np.uint64(choices)) >> np.uint64(32))


@compiled
def window_starts(seed, update, batch_size, starts):
    """First rows of the windows of one update, drawn from ``starts`` with replacement: ``(batch_size,)``."""
    rows = np.empty(batch_size, np.int64)
    for b in range(batch_size):
        rows[b] = starts[chosen(seed, update, b, batch_size, len(starts))]
    return rows


@inlined
def read_windows(vectors, series, rows, low, high, first, steps, lanes):
    """Steps ``first`` .. ``first + steps`` of the windows low .. high into vectors, column by column."""
    columns = series.shape[1]
    for t in range(steps):
        for i in range(columns):
            start = (t * columns + i) * lanes
            for b in range(high - low):
                vectors[start + b] = series[np.uintp(rows[np.uintp(low + b)] + first + t), np.uintp(i)]
            for b in range(high - low, lanes):
                vectors[start + b] = 0
