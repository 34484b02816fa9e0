"""The mask of a grid on a CPU, compiled: sums over all paths, gathered node by node for all sources at once.

At a node the states that enter are rows of numbers, one for each source: how much of the source's ``k v^T`` they hold. The
recursion of ``reference.plstm_2d`` then runs on these rows, in place, a few values a source, and the way back gathers the
gates' gradients as inner products of such rows. Nothing but the gates is kept between the two ways.

Each function does the heads begin .. end - 1. Gates come as one array ``(8, B, O, N)``, in the order of
``reference.plstm_2d``; nodes are numbered ``n = x Y + y``. With borders there are ``Y + X`` further sources, the states that
enter at x = 0 and at y = 0, and as many further targets, those that leave; then there is one direction.
"""

from __future__ import annotations

import numpy as np

from .compiling import M_L, M_U, S_D, S_R, T_DL, T_DU, T_RL, T_RU, compiled, gates_at, inlined, place


@compiled
def fill_masks(gates, flips, X, Y, borders, masks, begin, end):
    """Add the paths of all directions to masks ``(B, N [+ Y + X], N [+ Y + X])``."""
    N, S = X * Y, masks.shape[2]
    right, down = np.empty((Y, S), masks.dtype), np.empty(S, masks.dtype)
    for b in range(begin, end):
        for o in range(flips.size):
            _enter_right(right, borders, N)
            for i in range(X):
                x = place(i, X, flips[o] & 1)
                first, last = _sources(x, X, Y, flips[o], S)
                _enter_down(down, borders, first, last, N + Y + x)
                for j in range(Y):
                    y = place(j, Y, flips[o] & 2)
                    n = x * Y + y
                    S_r, S_d, rl, ru, dl, du, ml, mu = gates_at(gates, b, o, n)
                    for s in range(first, last):  # add what the node reads; what enters becomes what leaves
                        R, U = right[y, s], down[s]
                        masks[b, n, s] += ml * R + mu * U
                        right[y, s] = rl * R + ru * U
                        down[s] = dl * R + du * U
                    right[y, n] += S_r
                    down[n] += S_d
                if borders:
                    for s in range(S):
                        masks[b, N + Y + x, s] += down[s]
            if borders:
                for y in range(Y):
                    for s in range(S):
                        masks[b, N + y, s] += right[y, s]


@inlined
def _sources(x, X, Y, flip, S):
    """The range of sources that a direction's paths have met by row x; unsigned, so that no index can count from the end."""
    if S > X * Y:
        return np.uintp(0), np.uintp(S)
    if flip & 1:
        return np.uintp(x * Y), np.uintp(S)
    return np.uintp(0), np.uintp((x + 1) * Y)


@inlined
def _enter_right(right, borders, N):
    """Nothing enters at x = 0 but, with borders, one source each."""
    for y in range(right.shape[0]):
        for s in range(right.shape[1]):
            right[y, s] = 0
        if borders:
            right[y, N + y] = 1


@inlined
def _enter_down(down, borders, first, last, source):
    for s in range(first, last):
        down[s] = 0
    if borders:
        down[source] = 1


@compiled
def gate_gradients(gates, flips, X, Y, borders, slopes, gradients, begin, end):
    """Write dl/dgates ``(8, B, O, N)`` for slopes = dl/dmask."""
    N, S = X * Y, slopes.shape[2]
    kept_right, kept_down = np.empty((N, S), slopes.dtype), np.empty((N, S), slopes.dtype)
    right, down = np.empty((Y, S), slopes.dtype), np.empty(S, slopes.dtype)
    for b in range(begin, end):
        for o in range(flips.size):
            _keep_rows(gates, flips[o], b, o, X, Y, borders, right, down, kept_right, kept_down)
            for y in range(Y):
                for s in range(S):
                    right[y, s] = slopes[b, N + y, s] if borders else 0
            for i in range(X - 1, -1, -1):
                x = place(i, X, flips[o] & 1)
                first, last = _sources(x, X, Y, flips[o], S)
                for s in range(first, last):
                    down[s] = slopes[b, N + Y + x, s] if borders else 0
                for j in range(Y - 1, -1, -1):
                    y = place(j, Y, flips[o] & 2)
                    n = x * Y + y
                    gradients[S_R, b, o, n] = right[y, n]
                    gradients[S_D, b, o, n] = down[n]
                    _S_r, _S_d, rl, ru, dl, du, ml, mu = gates_at(gates, b, o, n)
                    zero = slopes.dtype.type(0)
                    to_rl, to_ru, to_dl, to_du, to_ml, to_mu = zero, zero, zero, zero, zero, zero
                    for s in range(first, last):  # the adjoint of what leaves becomes that of what enters
                        A, V, g = right[y, s], down[s], slopes[b, n, s]
                        r, u = kept_right[n, s], kept_down[n, s]
                        to_rl += A * r
                        to_ru += A * u
                        to_dl += V * r
                        to_du += V * u
                        to_ml += g * r
                        to_mu += g * u
                        right[y, s] = ml * g + rl * A + dl * V
                        down[s] = mu * g + ru * A + du * V
                    gradients[T_RL, b, o, n], gradients[T_RU, b, o, n] = to_rl, to_ru
                    gradients[T_DL, b, o, n], gradients[T_DU, b, o, n] = to_dl, to_du
                    gradients[M_L, b, o, n], gradients[M_U, b, o, n] = to_ml, to_mu


@inlined
def _keep_rows(gates, flip, b, o, X, Y, borders, right, down, kept_right, kept_down):
    """Once more on the way there, keeping what enters each node."""
    N = X * Y
    _enter_right(right, borders, N)
    for i in range(X):
        x = place(i, X, flip & 1)
        first, last = _sources(x, X, Y, flip, down.size)
        _enter_down(down, borders, first, last, N + Y + x)
        for j in range(Y):
            y = place(j, Y, flip & 2)
            n = x * Y + y
            S_r, S_d, rl, ru, dl, du, _ml, _mu = gates_at(gates, b, o, n)
            for s in range(first, last):
                R, U = right[y, s], down[s]
                kept_right[n, s] = R
                kept_down[n, s] = U
                right[y, s] = rl * R + ru * U
                down[s] = dl * R + du * U
            right[y, n] += S_r
            down[n] += S_d


@compiled
def fill_lines(gates, masks, begin, end):
    """Masks ``(P, C + 1, C + 1)`` of P chunks, gates S, T, M, D ``(4, P, C)``; masks come in as zeros.

    The last source is the state that enters, the last target the state that leaves.
    """
    C = gates.shape[2]
    held = np.empty(C + 1, masks.dtype)
    for p in range(begin, end):
        held[C] = 1
        for t in range(C):
            S, T, M, D = gates[0, p, t], gates[1, p, t], gates[2, p, t], gates[3, p, t]
            row = masks[p, t]
            for s in range(t):
                row[s] = M * held[s]
                held[s] *= T
            row[t] = D
            row[C] = M * held[C]
            held[C] *= T
            held[t] = S
        for s in range(C + 1):
            masks[p, C, s] = held[s]


@compiled
def line_gradients(gates, slopes, gradients, begin, end):
    """Write dl/dgates ``(4, P, C)`` for slopes = dl/dmasks."""
    C = gates.shape[2]
    held, back = np.empty((C + 1, C + 1), slopes.dtype), np.empty(C + 1, slopes.dtype)
    for p in range(begin, end):
        held[0, C] = 1
        for t in range(C):
            T = gates[1, p, t]
            for s in range(t):
                held[t + 1, s] = T * held[t, s]
            held[t + 1, C] = T * held[t, C]
            held[t + 1, t] = gates[0, p, t]
        for s in range(C + 1):
            back[s] = slopes[p, C, s]
        for i in range(C):
            t = C - 1 - i
            T, M, row, here = gates[1, p, t], gates[2, p, t], slopes[p, t], held[t]
            gradients[0, p, t] = back[t]
            gradients[3, p, t] = row[t]
            to_T, to_M = back[C] * here[C], row[C] * here[C]
            back[C] = T * back[C] + M * row[C]
            for s in range(t):
                to_T += back[s] * here[s]
                to_M += row[s] * here[s]
                back[s] = T * back[s] + M * row[s]
            gradients[1, p, t] = to_T
            gradients[2, p, t] = to_M
