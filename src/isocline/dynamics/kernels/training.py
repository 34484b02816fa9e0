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

import numpy as np

from . import observing
from .blocks import aligned, fill, summed
from .compiling import ONE, ZERO, compiled, inlined
from .optimiser import penalise, radam
from .simd import VECTOR_BYTES, fma, load, spread, store, total, where_number, zeros
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

SPAN = 16  # steps in a block of time of the way back

Sizes = namedtuple("Sizes", "B T M L N K affine bias")
Work = namedtuple(
    "Work", "values given signal fed states slopes outputs signals small back valid sums alpha scale map"
)


@inlined
def _work(sizes, G, like):
    lanes = VECTOR_BYTES // like.itemsize
    T, M, N, K = sizes.T, sizes.M, sizes.N, sizes.K
    stride = UNITS * SPAN + UNITS
    return Work(
        aligned((T + 1) * N * lanes, like),
        aligned(T * K * lanes, like),
        aligned((T + 1) * M * lanes, like),
        aligned((T + 1) * M * lanes, like),
        aligned(T * M * lanes, like),
        aligned(T * M * lanes, like),
        aligned(G * stride * lanes, like),
        aligned(G * stride * lanes, like),
        aligned((2 * M + UNITS * G) * lanes, like),
        aligned(M * lanes, like),
        aligned(lanes, like),
        aligned((N * M + N) * lanes, like),
        aligned(ONE, like),
        aligned(ONE, like),
        aligned(theta_size(M, G), like),
    )


@inlined
def _forward(theta, sizes, G, limits, work, at_C):
    """States before and after forcing, from the state fed first."""
    M, K = sizes.M, sizes.K
    signal, D = (work.signal, M) if sizes.affine else (work.values, sizes.N)
    fed, states, given, prepared = work.fed, work.states, work.given, work.map  # once: it costs in the loop
    alpha = spread(work.alpha, 0)
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
def _back(theta, sizes, G, limits, work, at_C, gradient):
    """The adjoint over all steps; leaves dl/dz_0 in ``work.back`` and the whole slopes in ``work.slopes``."""
    M, K, T = sizes.M, sizes.K, sizes.T
    signal, D = (work.signal, M) if sizes.affine else (work.values, sizes.N)
    fed, slopes, back, small = work.fed, work.slopes, work.back, work.small
    outputs, signals, given, prepared = work.outputs, work.signals, work.given, work.map
    stride = UNITS * SPAN + UNITS
    alpha = spread(work.alpha, 0)
    fill(back, 0)
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
def _start(theta, sizes, work, at, P):
    """The forcing signal, if it is not the data, and the state fed first."""
    M, N = sizes.M, sizes.N
    if sizes.affine:
        observing.read_signal(work.values, sizes.T + 1, N, at + N * M, sizes.bias, theta, P, work.signal, M)
        for i in range(M):
            store(work.fed, i, load(work.signal, i))
    else:
        observing.start_identity(theta, at, work.values, work.fed, N, M)


@inlined
def _batch(theta, sizes, G, clipped, missing, series, inputs, rows, P, to_inverse, work, gradient):
    """The mean squared error of a batch of windows; its gradient is added to ``gradient``."""
    M, N, T = sizes.M, sizes.N, sizes.T
    at_C = theta_size(M, G)
    at = at_C + M * sizes.K
    lanes = len(work.valid)
    count = _count(series, rows, sizes) if missing else sizes.B * T * N
    work.scale[0] = 2 / count
    limits = limits_of(clipped, work.map)
    prepare(theta[:at_C], M, G, clipped, work.map)
    fill(work.small, 0)
    fill(work.sums, 0)
    squares = zeros(theta)
    for low in range(0, sizes.B, lanes):
        high = min(low + lanes, sizes.B)
        for lane in range(lanes):
            work.valid[lane] = 1 if low + lane < high else 0
        read_windows(work.values, series, rows, low, high, ZERO, T + 1, lanes)
        if sizes.K:
            read_windows(work.given, inputs, rows, low, high, ONE, T, lanes)
        _start(theta, sizes, work, at, P)
        _forward(theta, sizes, G, limits, work, at_C)
        squares = squares + _slopes(theta, sizes, work, at, spread(work.scale, 0))
        _back(theta, sizes, G, limits, work, at_C, gradient)
        if sizes.affine:
            observing.start_affine_back(
                work.back, work.values, N, M, theta, at + N * M, sizes.bias, P, to_inverse, gradient
            )
        else:
            observing.start_identity_back(work.back, work.values, N, M, gradient, at)
    for k in range(2 * M + UNITS * G):
        gradient[k] += total(load(work.small, k))
    turn_back(theta, M, G, clipped, gradient)
    return total(squares) / count


@inlined
def _observation_back(sizes, at, work, through, gradient):
    """B's gradient, through the predictions and, ``through`` ``(N, M)``, through z_0; and b's."""
    N, M = sizes.N, sizes.M
    for n in range(N):
        for i in range(M):
            gradient[at + n * M + i] += total(load(work.sums, n * M + i)) + through[n, i]
        if sizes.bias:
            gradient[at + N * M + n] += total(load(work.sums, N * M + n))


@compiled
def advance(
    sizes, clipped, missing, shrinkage, penalty, series, inputs, starts, seeds, first, rates, alphas,
    theta, moments, squares, losses, stopped, begin, end,
):  # fmt: skip
    """Do the updates ``first + 1 ..`` of the runs begin .. end, one per learning rate, in place.

    Arrays: series ``(rows, N)``, NaN = missing; inputs ``(rows, K)``; starts ``(S,)``, rows; seeds, alphas
    ``(R,)``; rates ``(updates,)``; theta, moments, squares ``(R, P)``; losses ``(R, updates)``; stopped
    ``(R,)``: -1, or the number of the update at which loss or gradient were no longer finite. Such an update
    is not made.
    """
    G = groups_of(sizes.L)
    M, N = sizes.M, sizes.N
    like = series[0]
    work = _work(sizes, G, like)
    gradient = aligned(theta.shape[1], like)
    at = theta_size(M, G) + M * sizes.K
    P = aligned(M * N, like)
    to_inverse = np.zeros((M, N))
    B, U, s, V = np.zeros((N, M)), np.zeros((N, M)), np.zeros(M), np.zeros((M, M))
    inverse = np.zeros((M, N))
    for run in range(begin, end):
        work.alpha[0] = alphas[run]
        for k in range(len(rates)):
            if stopped[run] >= 0:
                break
            rows = window_starts(seeds[run], first + k, sizes.B, starts)
            fill(gradient, 0)
            if sizes.affine:
                for n in range(N):
                    for i in range(M):
                        B[n, i] = theta[run, at + n * M + i]
                        to_inverse[i, n] = 0
                U, s, V = observing.singular_vectors(B)
                inverse = observing.inverse_of(B, U, s, V)
                for i in range(M):
                    for n in range(N):
                        P[i * N + n] = inverse[i, n]
            loss = _batch(
                theta[run], sizes, G, clipped, missing, series, inputs, rows, P, to_inverse, work, gradient
            )
            if sizes.affine:
                through = observing.pinv_gradient(B, inverse, to_inverse)
                _observation_back(sizes, at, work, through, gradient)
                if penalty > 0:
                    observing.condition_gradient(U, s, V, penalty, gradient, at)
            penalise(theta[run], gradient, M, at, shrinkage, 0.0 if sizes.affine else penalty)
            losses[run, k] = loss
            if not np.isfinite(loss + summed(gradient)):
                stopped[run] = first + k + 1
                break
            radam(theta[run], gradient, moments[run], squares[run], first + k + 1, rates[k])
