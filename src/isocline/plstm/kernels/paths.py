"""The mask of a grid on a CPU, compiled: sums over all paths, gathered node by node for all sources at once.

At a node the states that enter are rows of numbers, one for each source: how much of the source's ``k v^T`` they hold. The
recursion of ``reference.plstm_2d`` then runs on these rows, in place, a few values a source, and the way back gathers the
gates' gradients as inner products of such rows. Nothing but the gates is kept between the two ways.

Each function does the heads begin .. end - 1. Gates come as one array ``(8, B, O, N)``, in the order of
``reference.plstm_2d``; nodes are numbered ``n = x Y + y``. With borders there are ``Y + X`` further sources, the states that
enter at x = 0 and at y = 0, and as many further targets, those that leave; then there is one direction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

S_R, S_D, T_RL, T_RU, T_DL, T_DU, M_L, M_U = range(8)

# Sums may be reordered, so that they run in SIMD lanes; NaN and infinity keep their meaning.
_compiled: Callable[..., Any] = njit(
    nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"}
)


@_compiled
def _onward(right, down, row, rl, ru, dl, du, ml, mu):
    """One node: add what it reads to the mask's row, and replace what enters by what leaves."""
    for s in range(right.size):
        R, U = right[s], down[s]
        row[s] += ml * R + mu * U
        right[s] = rl * R + ru * U
        down[s] = dl * R + du * U


@_compiled
def _back(right, down, row, R, U, rl, ru, dl, du, ml, mu):
    """One node on the way back: the six inner products, and the adjoint of what enters for that of what leaves."""
    zero = right.dtype.type(0)
    to_rl, to_ru, to_dl, to_du, to_ml, to_mu = zero, zero, zero, zero, zero, zero
    for s in range(right.size):
        A, V, g, r, u = right[s], down[s], row[s], R[s], U[s]
        to_rl += A * r
        to_ru += A * u
        to_dl += V * r
        to_du += V * u
        to_ml += g * r
        to_mu += g * u
        right[s] = ml * g + rl * A + dl * V
        down[s] = mu * g + ru * A + du * V
    return to_rl, to_ru, to_dl, to_du, to_ml, to_mu


@_compiled
def fill_masks(gates, flips, X, Y, borders, masks, begin, end):
    """Add the paths of all directions to masks ``(B, N [+ Y + X], N [+ Y + X])``."""
    N = X * Y
    S = masks.shape[2]
    right, down = np.empty((Y, S), masks.dtype), np.empty(S, masks.dtype)
    for b in range(begin, end):
        for o in range(flips.size):
            right[:] = 0
            if borders:
                for y in range(Y):
                    right[y, N + y] = 1
            for i in range(X):
                x = X - 1 - i if flips[o] & 1 else i
                first, last = _sources(x, X, Y, flips[o], S)
                down[first:last] = 0
                if borders:
                    down[N + Y + x] = 1
                for j in range(Y):
                    y = Y - 1 - j if flips[o] & 2 else j
                    n = x * Y + y
                    g = gates[:, b, o, n]
                    _onward(
                        right[y, first:last], down[first:last], masks[b, n, first:last],
                        g[T_RL], g[T_RU], g[T_DL], g[T_DU], g[M_L], g[M_U],
                    )  # fmt: skip
                    right[y, n] += g[S_R]
                    down[n] += g[S_D]
                if borders:
                    masks[b, N + Y + x] += down
            if borders:
                for y in range(Y):
                    masks[b, N + y] += right[y]


@_compiled
def _sources(x, X, Y, flip, S):
    """The range of sources that a direction's paths have met by row x."""
    if S > X * Y:
        return 0, S
    if flip & 1:
        return x * Y, S
    return 0, (x + 1) * Y


@_compiled
def gate_gradients(gates, flips, X, Y, borders, slopes, gradients, begin, end):
    """Write dl/dgates ``(8, B, O, N)`` for slopes = dl/dmask."""
    N = X * Y
    S = slopes.shape[2]
    kept_right, kept_down = np.empty((N, S), slopes.dtype), np.empty((N, S), slopes.dtype)
    right, down = np.empty((Y, S), slopes.dtype), np.empty(S, slopes.dtype)
    nowhere = np.empty(S, slopes.dtype)
    for b in range(begin, end):
        for o in range(flips.size):
            right[:] = 0
            if borders:
                for y in range(Y):
                    right[y, N + y] = 1
            for i in range(X):  # once more on the way there, keeping what enters each node
                x = X - 1 - i if flips[o] & 1 else i
                first, last = _sources(x, X, Y, flips[o], S)
                down[first:last] = 0
                if borders:
                    down[N + Y + x] = 1
                for j in range(Y):
                    y = Y - 1 - j if flips[o] & 2 else j
                    n = x * Y + y
                    g = gates[:, b, o, n]
                    kept_right[n, first:last] = right[y, first:last]
                    kept_down[n, first:last] = down[first:last]
                    _onward(
                        right[y, first:last], down[first:last], nowhere[first:last],
                        g[T_RL], g[T_RU], g[T_DL], g[T_DU], g[M_L], g[M_U],
                    )  # fmt: skip
                    right[y, n] += g[S_R]
                    down[n] += g[S_D]
            if borders:
                for y in range(Y):
                    right[y] = slopes[b, N + y]
            else:
                right[:] = 0
            for i in range(X):
                x = i if flips[o] & 1 else X - 1 - i
                first, last = _sources(x, X, Y, flips[o], S)
                if borders:
                    down[:] = slopes[b, N + Y + x]
                else:
                    down[first:last] = 0
                for j in range(Y):
                    y = j if flips[o] & 2 else Y - 1 - j
                    n = x * Y + y
                    g = gates[:, b, o, n]
                    gradients[S_R, b, o, n] = right[y, n]
                    gradients[S_D, b, o, n] = down[n]
                    found = _back(
                        right[y, first:last], down[first:last], slopes[b, n, first:last],
                        kept_right[n, first:last], kept_down[n, first:last],
                        g[T_RL], g[T_RU], g[T_DL], g[T_DU], g[M_L], g[M_U],
                    )  # fmt: skip
                    for which in range(6):
                        gradients[T_RL + which, b, o, n] = found[which]


@_compiled
def fill_lines(gates, masks, begin, end):
    """Masks ``(P, C + 1, C + 1)`` of P chunks, gates S, T, M, D ``(4, P, C)``; masks come in as zeros.

    The last source is the state that enters, the last target the state that leaves.
    """
    C = gates.shape[2]
    held = np.empty(C + 1, masks.dtype)
    for p in range(begin, end):
        held[:] = 0
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
        masks[p, C] = held


@_compiled
def line_gradients(gates, slopes, gradients, begin, end):
    """Write dl/dgates ``(4, P, C)`` for slopes = dl/dmasks."""
    C = gates.shape[2]
    held, back = np.zeros((C + 1, C + 1), slopes.dtype), np.empty(C + 1, slopes.dtype)
    for p in range(begin, end):
        held[0, C] = 1
        for t in range(C):
            T = gates[1, p, t]
            for s in range(t):
                held[t + 1, s] = T * held[t, s]
            held[t + 1, C] = T * held[t, C]
            held[t + 1, t] = gates[0, p, t]
        back[:] = slopes[p, C]
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
