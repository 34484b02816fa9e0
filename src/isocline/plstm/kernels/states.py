"""The recursion itself on a CPU, compiled: states are carried from node to node, so time and memory grow with the nodes.

Columns of a state belong to the values and do not see each other: a state is held as its transpose ``(dv, dk)``, and a few
of its rows are carried over the whole grid at a time, few enough that those of all columns of the grid stay in the cache.

Each function does the heads begin .. end - 1. Shapes: q, k ``(B, N, dk)``; v, y ``(B, N, dv)``; nodes are numbered
``n = x Y + y``; gates ``(8, B, O, N)`` in the order of `reference.plstm_2d`, or S, T, M, D ``(4, B, N)`` of a sequence.
"""

from __future__ import annotations

import numpy as np

from .compiling import M_L, M_U, S_D, S_R, T_DL, T_DU, T_RL, T_RU, ZERO, compiled, gates_at, inlined, place

# Indices inside the innermost loops are unsigned: none can count from the end, which would have to be looked at every time.
CARRIED = 1 << 17  # numbers of a row of states that are carried together: half the second cache in float32
KEPT = 1 << 22  # numbers of states that the way back keeps at once: half the last cache in float32


@compiled
def read_line(gates, q, k, v, states, y, begin, end):
    """Write y, and put the last states in place of the first; states ``(B, dv, dk)``. Four tokens at a time.

    A token reads the state before the four through the product of the transitions between, and those of the four before it
    by itself.
    """
    _, N, dk = q.shape
    dv = v.shape[2]
    for b in range(begin, end):
        for t in range(0, N, 4):
            if t + 4 > N:
                for rest in range(t, N):
                    _read_token(q, k, v, gates, states, y, b, rest)
                continue
            T0, T1, T2, T3 = gates[1, b, t], gates[1, b, t + 1], gates[1, b, t + 2], gates[1, b, t + 3]
            M0, M1, M2, M3 = gates[2, b, t], gates[2, b, t + 1], gates[2, b, t + 2], gates[2, b, t + 3]
            S0, S1, S2, S3 = gates[0, b, t], gates[0, b, t + 1], gates[0, b, t + 2], gates[0, b, t + 3]
            for u in range(4):
                weight = gates[3, b, t + u] * _inner(q, k, b, t + u, t + u)
                for j in range(dv):
                    y[b, t + u, j] = weight * v[b, t + u, j]
                weight = gates[2, b, t + u]
                for back in range(1, u + 1):
                    s = t + u - back
                    near = weight * gates[0, b, s] * _inner(q, k, b, t + u, s)
                    weight *= gates[1, b, s]
                    for j in range(dv):
                        y[b, t + u, j] += near * v[b, s, j]
            M1, M2, M3 = M1 * T0, M2 * T1 * T0, M3 * T2 * T1 * T0
            S0, S1, S2 = S0 * T1 * T2 * T3, S1 * T2 * T3, S2 * T3
            T = T0 * T1 * T2 * T3
            for j in range(dv):
                w0, w1, w2, w3 = (
                    S0 * v[b, t, j],
                    S1 * v[b, t + 1, j],
                    S2 * v[b, t + 2, j],
                    S3 * v[b, t + 3, j],
                )
                zero = q.dtype.type(0)
                r0, r1, r2, r3 = zero, zero, zero, zero
                for i in range(dk):
                    C = states[b, j, i]
                    r0 += C * q[b, t, i]
                    r1 += C * q[b, t + 1, i]
                    r2 += C * q[b, t + 2, i]
                    r3 += C * q[b, t + 3, i]
                    first, last = (
                        w0 * k[b, t, i] + w1 * k[b, t + 1, i],
                        w2 * k[b, t + 2, i] + w3 * k[b, t + 3, i],
                    )
                    states[b, j, i] = T * C + (first + last)
                y[b, t, j] += M0 * r0
                y[b, t + 1, j] += M1 * r1
                y[b, t + 2, j] += M2 * r2
                y[b, t + 3, j] += M3 * r3


@inlined
def _read_token(q, k, v, gates, states, y, b, t):
    S, T, M = gates[0, b, t], gates[1, b, t], gates[2, b, t]
    near = gates[3, b, t] * _inner(q, k, b, t, t)
    for j in range(v.shape[2]):
        w, r = S * v[b, t, j], q.dtype.type(0)
        for i in range(q.shape[2]):
            C = states[b, j, i]
            r += C * q[b, t, i]
            states[b, j, i] = T * C + w * k[b, t, i]
        y[b, t, j] = M * r + near * v[b, t, j]


@inlined
def _inner(q, k, b, t, s):
    total = q.dtype.type(0)
    for i in range(q.shape[2]):
        total += q[b, t, i] * k[b, s, i]
    return total


@compiled
def read_grid(gates, flips, X, Y, q, k, v, states, right, down, y, begin, end):
    """Add what all directions read to y.

    With `states` the states that leave take the place of those that enter: right ``(B, O, Y, dv, dk)`` and down
    ``(B, O, X, dv, dk)``, by the index along the border in the grid's own order.
    """
    dk, dv = q.shape[2], v.shape[2]
    width = max(1, min(dv, CARRIED // (Y * dk)))
    R, border = np.empty((Y, width * dk), q.dtype), np.empty((1, width * dk), q.dtype)
    U = border[0]
    for b in range(begin, end):
        for o in range(flips.size):
            for first in range(0, dv, width):
                some = min(width, dv - first)
                _enter(states, right, R, b, o, ZERO, first, some)
                for i in range(X):
                    x = place(i, X, flips[o] & 1)
                    _enter(states, down, border, b, o, x, first, some)
                    for c in range(Y):
                        at = place(c, Y, flips[o] & 2)
                        _read_node(gates, q, k, v, R, U, y, b, o, x * Y + at, at, first, some)
                    _leave(states, down, border, b, o, x, first, some)
                _leave(states, right, R, b, o, ZERO, first, some)


@inlined
def _read_node(gates, q, k, v, R, U, y, b, o, n, at, first, some):
    """One node: what it reads, and what leaves it in place of what entered."""
    S_r, S_d, rl, ru, dl, du, ml, mu = gates_at(gates, b, o, n)
    dk, first = np.uintp(q.shape[2]), np.uintp(first)
    for j in range(np.uintp(some)):
        value, row, read = v[b, n, first + j], j * dk, q.dtype.type(0)
        to_right, to_down = S_r * value, S_d * value
        for i in range(dk):
            r, u = R[at, row + i], U[row + i]
            read += (ml * r + mu * u) * q[b, n, i]
            R[at, row + i] = rl * r + ru * u + to_right * k[b, n, i]
            U[row + i] = dl * r + du * u + to_down * k[b, n, i]
        y[b, n, first + j] += read


@compiled
def grid_gradients(
    gates, flips, X, Y, q, k, v, slope, states, right, down, to_right, to_down, to_q, to_k, to_v, to_gates, begin, end
):  # fmt: skip
    """Add dl/dq, dl/dk, dl/dv and dl/dgates for slope = dl/dy.

    With `states`, right and down are the states that enter, and the slopes of those that leave, to_right and to_down, are
    replaced by the slopes of those that enter. All states are made once more, and kept for the way back.
    """
    dk, dv = q.shape[2], v.shape[2]
    width = max(1, min(dv, CARRIED // (Y * dk), KEPT // (2 * X * Y * dk)))
    kept = np.empty((X * Y, 2, width * dk), q.dtype)
    R, border = np.empty((Y, width * dk), q.dtype), np.empty((1, width * dk), q.dtype)
    U = border[0]
    for b in range(begin, end):
        for o in range(flips.size):
            for first in range(0, dv, width):
                some = min(width, dv - first)
                _enter(states, right, R, b, o, ZERO, first, some)
                for i in range(X):
                    x = place(i, X, flips[o] & 1)
                    _enter(states, down, border, b, o, x, first, some)
                    for c in range(Y):
                        at = place(c, Y, flips[o] & 2)
                        _once_more(
                            gates, q, k, v, slope, R, U, kept, to_q, to_gates, b, o, x * Y + at, at, first, some
                        )  # fmt: skip
                _enter(states, to_right, R, b, o, ZERO, first, some)
                for i in range(X - 1, -1, -1):
                    x = place(i, X, flips[o] & 1)
                    _enter(states, to_down, border, b, o, x, first, some)
                    for c in range(Y - 1, -1, -1):
                        at = place(c, Y, flips[o] & 2)
                        _back(
                            gates, q, k, v, slope, R, U, kept, to_k, to_v, to_gates, b, o, x * Y + at, at, first, some
                        )  # fmt: skip
                    _leave(states, to_down, border, b, o, x, first, some)
                _leave(states, to_right, R, b, o, ZERO, first, some)


@inlined
def _once_more(gates, q, k, v, slope, R, U, kept, to_q, to_gates, b, o, n, at, first, some):
    """One node on the way there: its query's and marks' gradients; what enters is kept, then replaced by what leaves."""
    S_r, S_d, rl, ru, dl, du, ml, mu = gates_at(gates, b, o, n)
    dk, first, zero = np.uintp(q.shape[2]), np.uintp(first), q.dtype.type(0)
    for s in range(np.uintp(some) * dk):
        kept[n, 0, s] = R[at, s]
    for s in range(np.uintp(some) * dk):
        kept[n, 1, s] = U[s]
    to_ml, to_mu = zero, zero
    for j in range(np.uintp(some)):
        g, row = slope[b, n, first + j], j * dk
        by_r, by_u, read_r, read_u = g * ml, g * mu, zero, zero
        for i in range(dk):
            r, u = R[at, row + i], U[row + i]
            read_r += r * q[b, n, i]
            read_u += u * q[b, n, i]
            to_q[b, n, i] += by_r * r + by_u * u
        to_ml += g * read_r
        to_mu += g * read_u
        to_right, to_down = S_r * v[b, n, first + j], S_d * v[b, n, first + j]
        for i in range(dk):
            r, u = R[at, row + i], U[row + i]
            R[at, row + i] = rl * r + ru * u + to_right * k[b, n, i]
            U[row + i] = dl * r + du * u + to_down * k[b, n, i]
    to_gates[M_L, b, o, n] += to_ml
    to_gates[M_U, b, o, n] += to_mu


@inlined
def _back(gates, q, k, v, slope, A, V, kept, to_k, to_v, to_gates, b, o, n, at, first, some):
    """One node on the way back: A, V are the adjoints of what leaves to the right and down, then of what entered."""
    S_r, S_d, rl, ru, dl, du, ml, mu = gates_at(gates, b, o, n)
    dk, first, zero = np.uintp(q.shape[2]), np.uintp(first), q.dtype.type(0)
    to_rl, to_ru, to_dl, to_du = zero, zero, zero, zero
    for s in range(np.uintp(some) * dk):
        a, w, r, u = A[at, s], V[s], kept[n, 0, s], kept[n, 1, s]
        to_rl += a * r
        to_ru += a * u
        to_dl += w * r
        to_du += w * u
    to_sr, to_sd = zero, zero
    for j in range(np.uintp(some)):
        value, row = v[b, n, first + j], j * dk
        by_a, by_v, read_a, read_v = value * S_r, value * S_d, zero, zero
        for i in range(dk):
            a, w = A[at, row + i], V[row + i]
            read_a += a * k[b, n, i]
            read_v += w * k[b, n, i]
            to_k[b, n, i] += by_a * a + by_v * w
        to_v[b, n, first + j] += S_r * read_a + S_d * read_v
        to_sr += value * read_a
        to_sd += value * read_v
        of_r, of_u = ml * slope[b, n, first + j], mu * slope[b, n, first + j]
        for i in range(dk):
            a, w = A[at, row + i], V[row + i]
            A[at, row + i] = rl * a + dl * w + of_r * q[b, n, i]
            V[row + i] = ru * a + du * w + of_u * q[b, n, i]
    to_gates[S_R, b, o, n] += to_sr
    to_gates[S_D, b, o, n] += to_sd
    to_gates[T_RL, b, o, n] += to_rl
    to_gates[T_RU, b, o, n] += to_ru
    to_gates[T_DL, b, o, n] += to_dl
    to_gates[T_DU, b, o, n] += to_du


@inlined
def _enter(states, given, held, b, o, start, first, some):
    """Columns first, first + 1, ... of the states that enter rows start, start + 1, ...; zero where none are given."""
    for row in range(held.shape[0]):
        for s in range(held.shape[1]):
            held[row, s] = 0
        if states:
            for j in range(some):
                for i in range(given.shape[4]):
                    held[row, j * given.shape[4] + i] = given[b, o, start + row, first + j, i]


@inlined
def _leave(states, taken, held, b, o, start, first, some):
    if states:
        for row in range(held.shape[0]):
            for j in range(some):
                for i in range(taken.shape[4]):
                    taken[b, o, start + row, first + j, i] = held[row, j * taken.shape[4] + i]
