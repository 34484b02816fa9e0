"""Training steps as one compiled call: windows, forced recursion, adjoint, penalties and RAdam, K updates at
once.

At three states the recursion takes less time than anything around it, so all of it is compiled. Seeds,
strengths of forcing and other runs of an ensemble are independent runs of one call, shared among threads. A
run is continued exactly from its parameters, its two moments, its seed and the number of updates done. The
eager equivalent, step by step: windows of ``windows.window_starts``, ``dynamics.forced_rollout``,
``observed_loss`` plus ``shrinkage`` plus the observation's penalty, ``torch.optim.RAdam``.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from isocline._core.compiling import ONE, ZERO, compiled, inlined, merged

from . import observing
from .blocks import fill, summed
from .optimiser import penalise, radam
from .simd import (
    VECTOR_BYTES,
    ahead,
    everywhere,
    fma,
    load,
    pieces,
    pointer,
    spread,
    store,
    total,
    where_number,
    zeros,
)
from .steps import (
    UNITS,
    groups_of,
    limits_of,
    predict,
    prepare,
    pull_back,
    theta_size,
    turn_back,
    weight_gradients,
)
from .windows import read_windows, window_starts

Array = npt.NDArray[Any]
SPAN = 16  # steps in a block of time of the way back

Sizes = namedtuple("Sizes", "B T M L N K affine bias")
Work = namedtuple(
    "Work", "values given signal fed states slopes outputs signals small back valid sums map gradient inverse"
)


def _needed(sizes, count, lanes):
    """Values of memory that a run of ``count`` parameters takes: the pieces of ``Work``."""
    T, M, N, K = sizes.T, sizes.M, sizes.N, sizes.K
    G = (sizes.L + UNITS - 1) // UNITS
    states, units = T * M * lanes, G * (UNITS * SPAN + UNITS) * lanes
    begun = states + M * lanes
    return (
        (T + 1) * N * lanes, T * K * lanes, begun, begun, states, states, units, units,
        (2 * M + UNITS * G) * lanes, M * lanes, lanes, (N * M + N) * lanes, count, count, M * N,
    )  # fmt: skip


_pieces = inlined(_needed)


@inlined
def _work(sizes, count, lanes, memory, like):
    a, b, c, d, e, f, g, h, i, j, k, l, m, n, o = pieces(memory, _pieces(sizes, count, lanes), like)
    return Work(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o)


@inlined
def _forward(theta, sizes, G, limits, alpha, work, at_C):
    """States before and after forcing, from the state fed first."""
    M, K = sizes.M, sizes.K
    signal, D = (work.signal, M) if sizes.affine else (work.values, sizes.N)
    fed, states, given, prepared = work.fed, work.states, work.given, work.map  # once: it costs in the loop
    for t in range(sizes.T):
        predict(prepared, M, G, limits, fed, t * M, states, t * M)
        for i in range(M):
            z = load(states, t * M + i)
            for k in range(K):
                z = fma(spread(theta, at_C + i * K + k), load(given, t * K + k), z)
            store(states, t * M + i, z)
            if i < D:
                target = load(signal, (t + 1) * D + i)
                w = where_number(target, alpha)
                z = fma(w, where_number(target, target), z - w * z)
            store(fed, (t + 1) * M + i, z)


@inlined
def _back(theta, sizes, G, limits, alpha, work, at_C):
    """The adjoint over all steps, from ``work.back`` = 0: leaves dl/dz_0 there, the whole slopes in ``work.slopes``."""
    M, K, T = sizes.M, sizes.K, sizes.T
    signal, D = (work.signal, M) if sizes.affine else (work.values, sizes.N)
    fed, slopes, back, small = work.fed, work.slopes, work.back, work.small
    outputs, signals, given, prepared = work.outputs, work.signals, work.given, work.map
    gradient, stride = work.gradient, UNITS * SPAN + UNITS
    for first in range((T - 1) // SPAN * SPAN, -1, -SPAN):
        steps = min(SPAN, T - first)
        for step in range(steps - 1, -1, -1):
            here = (first + step) * M
            for i in range(M):
                store(slopes, here + i, load(slopes, here + i) + load(back, i))
            pull_back(prepared, M, G, limits, fed, slopes, here, back, outputs, signals, stride, step, small)
            if first + step > 0:
                for i in range(D):
                    slope, target = load(back, i), load(signal, (first + step) * D + i)
                    store(back, i, slope - where_number(target, alpha) * slope)
        weight_gradients(M, G, steps, fed, slopes, first * M, outputs, signals, stride, gradient)
    for i in range(M):
        for k in range(K):
            sums = zeros(theta)
            for t in range(T):
                sums = fma(load(slopes, t * M + i), load(given, t * K + k), sums)
            gradient[at_C + i * K + k] += total(sums)


@inlined
def _count(series, rows, sizes):
    """How many entries of the windows, their first step apart, are observed."""
    count = 0
    for b in range(sizes.B):
        for t in range(1, sizes.T + 1):
            for n in range(sizes.N):
                if not np.isnan(series[rows[b] + t, n]):
                    count += 1
    return max(count, 1)


@inlined
def _slopes(theta, sizes, work, at, scale):
    """dl/dz of the mean squared error into ``work.slopes``; returns the squared errors, in vectors."""
    M, N = sizes.M, sizes.N
    states, values, slopes, sums = work.states, work.values, work.slopes, work.sums
    at_b, bias = at + N * M, sizes.bias
    valid = load(work.valid, 0)
    squares = zeros(theta)
    for t in range(sizes.T):
        here, there = t * M, (t + 1) * N
        if sizes.affine:
            error = observing.error_affine(
                states, here, values, there, valid, scale, N, M, slopes, theta, at, at_b, bias, sums
            )
        else:
            error = observing.error_identity(states, here, values, there, valid, scale, N, M, slopes)
        squares = squares + error
    return squares


@inlined
def _start(theta, sizes, work, at):
    """The forcing signal, if it is not the data, and the state fed first."""
    M, N = sizes.M, sizes.N
    if sizes.affine:
        observing.read_signal(
            work.values, sizes.T + 1, N, at + N * M, sizes.bias, theta, work.inverse, work.signal, M
        )
        for i in range(M):
            store(work.fed, i, load(work.signal, i))
    else:
        observing.start_identity(theta, at, work.values, work.fed, N, M)


@merged
def _batch(theta, sizes, lanes, clipped, missing, alpha, series, inputs, rows, to_P, work):
    """The mean squared error of a batch of windows; its gradient is added to ``work.gradient``."""
    M, N, T, G = sizes.M, sizes.N, sizes.T, groups_of(sizes.L)
    gradient = work.gradient
    at_C = theta_size(M, G)
    at = at_C + M * sizes.K
    count = _count(series, rows, sizes) if missing else sizes.B * T * N
    limits, alpha, scale = limits_of(clipped, theta), everywhere(theta, alpha), everywhere(theta, 2 / count)
    prepare(theta, M, G, clipped, work.map)
    fill(work.small, (2 * M + UNITS * G) * lanes, ZERO)
    fill(work.sums, (N * M + N) * lanes, ZERO)
    squares = zeros(theta)
    for low in range(0, sizes.B, lanes):
        high = min(low + lanes, sizes.B)
        for lane in range(lanes):
            work.valid[lane] = 1 if low + lane < high else 0
        read_windows(work.values, series, rows, low, high, ZERO, T + 1, lanes)
        if sizes.K:
            read_windows(work.given, inputs, rows, low, high, ONE, T, lanes)
        _start(theta, sizes, work, at)
        _forward(theta, sizes, G, limits, alpha, work, at_C)
        squares = squares + _slopes(theta, sizes, work, at, scale)
        fill(work.back, M * lanes, ZERO)
        _back(theta, sizes, G, limits, alpha, work, at_C)
        if sizes.affine:
            observing.start_affine_back(
                work.back,
                work.values,
                N,
                M,
                theta,
                at + N * M,
                sizes.bias,
                work.inverse,
                to_P,
                gradient,
            )
        else:
            observing.start_identity_back(work.back, work.values, N, M, gradient, at)
    for k in range(2 * M + UNITS * G):
        gradient[k] += total(load(work.small, k))
    turn_back(theta, M, G, clipped, gradient)
    return total(squares) / count


@inlined
def _observation_back(sizes, at, work, through):
    """B's gradient, through the predictions and, ``through``, through z_0; and b's."""
    N, M, gradient = sizes.N, sizes.M, work.gradient
    for n in range(N):
        for i in range(M):
            gradient[at + n * M + i] += total(load(work.sums, n * M + i)) + through[n * M + i]
        if sizes.bias:
            gradient[at + N * M + n] += total(load(work.sums, N * M + n))


@compiled
def _advance(
    sizes, clipped, missing, shrinkage, penalty, series, inputs, starts, seeds, first, rates, alphas,
    state, count, losses, stopped, memory, begin, end,
):  # fmt: skip
    """As ``advance``; state: the addresses of theta, moments and squares, of ``count`` values a run; memory: of enough
    for the work, and for matrices.
    """
    M, N = sizes.M, sizes.N
    lanes = VECTOR_BYTES // series.itemsize
    work = _work(sizes, count, lanes, memory[0], series)
    gradient = work.gradient
    at = theta_size(M, groups_of(sizes.L)) + M * sizes.K
    B, U, s, V, P, to_P, to_B, F, K, R, X = observing.matrices_of(N, M, memory[1], rates)
    for run in range(begin, end):
        theta = ahead(pointer(state[0], series), run * count)
        moments = ahead(pointer(state[1], series), run * count)
        squares = ahead(pointer(state[2], series), run * count)
        for k in range(len(rates)):
            if stopped[run] >= 0:
                break
            rows = window_starts(seeds[run], first + k, sizes.B, starts)
            fill(gradient, count, ZERO)
            if sizes.affine:
                for n in range(N * M):
                    B[n] = theta[at + n]
                observing.singular_vectors(B, N, M, U, s, V)
                observing.inverse_of(U, s, V, N, M, P)
                for n in range(N * M):
                    work.inverse[n] = P[n]
                fill(to_P, N * M, ZERO)
            loss = _batch(
                theta, sizes, lanes, clipped, missing, alphas[run], series, inputs, rows, to_P, work
            )
            if sizes.affine:
                observing.pinv_gradient(B, P, to_P, N, M, F, K, R, X, to_B)
                _observation_back(sizes, at, work, to_B)
                if penalty > 0:
                    observing.condition_gradient(U, s, V, N, M, penalty, gradient, at)
            penalise(theta, gradient, M, at, count, shrinkage, 0.0 if sizes.affine else penalty)
            losses[run, k] = loss
            if not np.isfinite(loss + summed(gradient, count)):
                stopped[run] = first + k + 1
                break
            radam(theta, gradient, moments, squares, count, first + k + 1, rates[k])


def advance(
    sizes: Sizes, clipped: bool, missing: bool, shrinkage: float, penalty: float, series: Array, inputs: Array,
    starts: Array, seeds: Array, first: int, rates: Array, alphas: Array,
    theta: Tensor, moments: Tensor, squares: Tensor, losses: Array, stopped: Array, begin: int, end: int,
) -> None:  # fmt: skip
    """Do the updates ``first + 1 ..`` of the runs begin .. end, one per learning rate, in place.

    Arrays: series ``(rows, N)``, NaN = missing; inputs ``(rows, K)``; starts ``(S,)``, rows; seeds, alphas
    ``(R,)``; rates ``(updates,)``; theta, moments, squares ``(R, P)``, contiguous; losses ``(R, updates)``; stopped
    ``(R,)``: -1, or the number of the update at which loss or gradient were no longer finite. Such an update
    is not made.
    """
    count = theta.shape[1]
    memory = torch.empty(sum(_needed(sizes, count, VECTOR_BYTES // series.itemsize)), dtype=theta.dtype)
    matrices = torch.empty(sum(observing.needed(sizes.N, sizes.M)), dtype=torch.float64)
    state = (theta.data_ptr(), moments.data_ptr(), squares.data_ptr())
    _advance(
        sizes, clipped, missing, shrinkage, penalty, series, inputs, starts, seeds, first, rates, alphas,
        state, count, losses, stopped, (memory.data_ptr(), matrices.data_ptr()), begin, end,
    )  # fmt: skip
