"""The loops of `reference`, compiled by Numba: one thread, kept on disk, dense and CSR rows from one source.

What a loop does with one row comes first, for dense and for CSR rows; Numba picks the version by the types.
Sums over dense rows may be reordered (they fill vector registers), but NaN and infinities are honoured: a
margin that is finite proves its row finite. CSR rows are summed four at a time, for vector gathers are slower
than plain loads. While one dense row is worked on, the next is fetched: the processor's own prefetching stops at
every page of 4 KiB.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from isocline.linear_model.kernels.reference import (
    COUNT,
    DRIFT_MINUS,
    DRIFT_PLUS,
    DRIFT_SHIFT,
    MINUS,
    PLUS,
    SHIFT,
)

__all__ = ["cycle", "margins", "relax"]

FAST = {"reassoc", "contract", "nsz", "arcp"}
LINE = 64  # bytes of a cache line


@intrinsic
def fetch_line(typing, table, i, j):
    """Ask for the cache line of ``table[i, j]``, to be read soon (`llvm.prefetch`)."""

    def generate(context, builder, signature, args):
        kind, byte, word = signature.args[0], ir.IntType(8).as_pointer(), ir.IntType(32)
        array = context.make_array(kind)(context, builder, args[0])
        place = cgutils.get_item_pointer(context, builder, kind, array, list(args[1:]), wraparound=False)
        shape = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        function = builder.module.declare_intrinsic("llvm.prefetch", [byte], shape)
        read, keep, data = word(0), word(3), word(1)
        builder.call(function, [builder.bitcast(place, byte), read, keep, data])
        return context.get_dummy_value()

    return types.void(table, i, j), generate


@njit
def dense_fetch(table, i):
    for j in range(0, table.shape[1], max(1, LINE // table.itemsize)):
        fetch_line(table, i, np.uintp(j))  # pyright: ignore[reportCallIssue]  # the first parameter is Numba's


@njit(fastmath=FAST)
def dense_dot(table, i, w):
    total = w.dtype.type(0)
    for j in range(w.shape[0]):
        total += table[i, j] * w[j]
    return total


@njit(fastmath=FAST)
def dense_dot_and_square(table, i, w):
    total, squares = w.dtype.type(0), w.dtype.type(0)
    for j in range(w.shape[0]):
        x = table[i, j]
        total += x * w[j]
        squares += x * x
    return total, squares


@njit(fastmath=FAST)
def dense_square(table, i, w, center, metric):
    total = w.dtype.type(0)
    for j in range(w.shape[0]):
        z = table[i, j] - center[j]
        total += metric[j] * z * z
    return total


@njit(fastmath=FAST)
def dense_add(table, i, g, w, center, metric):
    turn = w.dtype.type(0)
    for j in range(w.shape[0]):
        change = g * (metric[j] * (table[i, j] - center[j]))
        w[j] += change
        turn += change * center[j]
    return turn


@njit(fastmath=FAST)
def dense_add_plain(table, i, g, w):
    for j in range(w.shape[0]):
        w[j] += g * table[i, j]
    return w.dtype.type(0)


@njit
def compressed_dot(table, i, w):
    data, indices, indptr = table
    one, four = np.uintp(1), np.uintp(4)
    k, stop = np.uintp(indptr[i]), np.uintp(indptr[i + one])
    a = b = c = d = w.dtype.type(0)
    while k + four <= stop:
        a += data[k] * w[np.uintp(indices[k])]
        b += data[k + one] * w[np.uintp(indices[k + one])]
        c += data[k + np.uintp(2)] * w[np.uintp(indices[k + np.uintp(2)])]
        d += data[k + np.uintp(3)] * w[np.uintp(indices[k + np.uintp(3)])]
        k += four
    while k < stop:
        a += data[k] * w[np.uintp(indices[k])]
        k += one
    return (a + b) + (c + d)


@njit(fastmath=FAST)
def compressed_square(table, i, w):
    data, _, indptr = table
    total = w.dtype.type(0)
    for k in range(indptr[i], indptr[i + np.uintp(1)]):
        total += data[k] * data[k]
    return total


@njit
def compressed_add(table, i, g, w):
    data, indices, indptr = table
    for k in range(indptr[i], indptr[i + np.uintp(1)]):
        w[np.uintp(indices[k])] += g * data[k]
    return w.dtype.type(0)


def dot(table: Any, i: Any, w: Any) -> Any:
    """``x_i . w``."""
    raise NotImplementedError


def dot_and_square(table: Any, i: Any, w: Any) -> Any:
    """``x_i . w`` and ``x_i . x_i``."""
    raise NotImplementedError


def square(table: Any, i: Any, w: Any, center: Any, metric: Any) -> Any:
    """``sum_j metric_j (x_ij - center_j)^2``; center and metric may be None."""
    raise NotImplementedError


def add(table: Any, i: Any, g: Any, w: Any, center: Any, metric: Any) -> Any:
    """``w += g metric (x_i - center)``; returns by how much ``center . w`` grew."""
    raise NotImplementedError


def fetch(table: Any, i: Any) -> None:
    """Row i is read next."""
    raise NotImplementedError


@overload(fetch, inline="always")
def _fetch(table, i):
    if isinstance(table, types.Array):
        return lambda table, i: dense_fetch(table, i)
    return lambda table, i: None


@overload(dot, inline="always")
def _dot(table, i, w):
    if isinstance(table, types.Array):
        return lambda table, i, w: dense_dot(table, i, w)
    return lambda table, i, w: compressed_dot(table, i, w)


@overload(dot_and_square, inline="always")
def _dot_and_square(table, i, w):
    if isinstance(table, types.Array):
        return lambda table, i, w: dense_dot_and_square(table, i, w)
    return lambda table, i, w: (compressed_dot(table, i, w), compressed_square(table, i, w))


@overload(square, inline="always")
def _square(table, i, w, center, metric):
    if not isinstance(table, types.Array):
        return lambda table, i, w, center, metric: compressed_square(table, i, w)
    if isinstance(metric, types.NoneType):
        return lambda table, i, w, center, metric: dense_dot_and_square(table, i, w)[1]
    return lambda table, i, w, center, metric: dense_square(table, i, w, center, metric)


@overload(add, inline="always")
def _add(table, i, g, w, center, metric):
    if not isinstance(table, types.Array):
        return lambda table, i, g, w, center, metric: compressed_add(table, i, g, w)
    if isinstance(metric, types.NoneType):
        return lambda table, i, g, w, center, metric: dense_add_plain(table, i, g, w)
    return lambda table, i, g, w, center, metric: dense_add(table, i, g, w, center, metric)


@njit(cache=True, nogil=True)
def relax(table, sign, order, w, drift, state, center, metric, level, pull, target, burn):
    """See `reference.relax`."""
    real = w.dtype.type
    mistakes = 0
    for visit in range(len(order)):
        i = np.uintp(order[visit])
        fetch(table, np.uintp(order[min(visit + 1, len(order) - 1)]))
        y = sign[i]
        m = y * (dot(table, i, w) + (level * (state[PLUS] - state[MINUS]) - state[SHIFT]))
        if not m > 0:
            mistakes += 1
        averaging = visit >= burn
        if averaging:
            state[COUNT] += 1
        if m >= target:
            continue
        length = square(table, i, w, center, metric) + level
        if length <= 0:
            continue
        g = pull * (target - m) / length
        turn = add(table, i, real(g * y), w, center, metric)
        state[SHIFT] += turn
        later = 0.0
        if averaging:
            later = state[COUNT]
            state[DRIFT_SHIFT] += add(table, i, real(later * g * y), drift, center, metric)
        if y > 0:
            state[PLUS] += g
            state[DRIFT_PLUS] += later * g
        else:
            state[MINUS] += g
            state[DRIFT_MINUS] += later * g
    return mistakes


@njit(cache=True, nogil=True)
def margins(table, sign, rows, w, level, out, squares):
    """See `reference.margins`."""
    wrong, last = 0, len(out) - 1
    for k in range(len(out)):
        i = np.uintp(k) if rows is None else np.uintp(rows[k])
        fetch(table, np.uintp(min(k + 1, last)) if rows is None else np.uintp(rows[min(k + 1, last)]))
        total, length = dot_and_square(table, i, w)
        m = sign[i] * (total + level)
        out[k] = m
        squares[k] = length
        if not m > 0:
            wrong += 1
    return wrong


@njit(cache=True, nogil=True)
def cycle(table, sign, start, stop, theta, bias, counts):
    """See `reference.cycle`."""
    updates = 0
    w = theta[:-1]
    for row in range(start, stop):
        i = np.uintp(row)
        fetch(table, np.uintp(min(row + 1, stop - 1)))
        y = float(sign[i])
        if not y * (dot(table, i, w) + bias * theta[-1]) > 0:
            add(table, i, y, w, None, None)
            theta[-1] += y * bias
            counts[i] += 1
            updates += 1
    return updates
