"""The observation models inside the compiled training loop, on vectors of lanes.

identity: ``x`` is the first N states, the signal is x, and z_0 = [x_0; lift x_0] with ``lift`` ``(M - N,
N)``. affine:   ``x = B z + b``, the signal is ``pinv(B) (x - b)`` and z_0 the signal at 0, differentiated
through pinv. Parameters, after those of the map: lift, or B ``(N, M)`` and b ``(N,)``.
"""

from __future__ import annotations

from collections import namedtuple

import numpy as np

from isocline._core.compiling import ONE, ZERO, inlined

from .blocks import fill
from .simd import fma, load, pieces, spread, store, total, where_number, zeros

Matrices = namedtuple("Matrices", "B U s V P to_P to_B F K R X")


def needed(N, M):
    """Values of float64 memory for B ``(N, M)``: the pieces of ``Matrices``."""
    k = min(N, M)
    return N * M, N * k, k, M * k, M * N, M * N, N * M, M * M, M * M, M * M, N * M


_pieces = inlined(needed)


@inlined
def matrices_of(N, M, memory, like):
    """B and what belongs to it, row after row in float64.

    U ``(N, k)``, s ``(k,)``, V ``(M, k)``: its singular vectors and values, k = min(N, M); P = pinv(B) ``(M, N)``;
    to_P and to_B: slopes along P and, through P, along B; the rest is for ``pinv_gradient``.
    """
    a, b, c, d, e, f, g, h, i, j, k = pieces(memory, _pieces(N, M), like)
    return Matrices(a, b, c, d, e, f, g, h, i, j, k)


@inlined
def singular_vectors(B, N, M, U, s, V):
    """``B = U diag(s) V^T``, s descending: one-sided Jacobi rotations.

    Columns are turned until they are orthogonal to rounding (Hestenes 1958): exact, and fast for small
    matrices.
    """
    wide, k = N < M, min(N, M)
    columns, rows, turned = (V, M, U) if wide else (U, N, V)
    for n in range(N):
        for i in range(M):
            columns[i * k + n if wide else n * k + i] = B[n * M + i]
    for p in range(k):
        for q in range(k):
            turned[p * k + q] = 1 if p == q else 0
    for _ in range(60):
        rest = 0.0
        for p in range(k - 1):
            for q in range(p + 1, k):
                rest = max(rest, _turn(columns, rows, turned, k, p, q))
        if rest < 1e-15:
            break
    for p in range(k):
        square = 0.0
        for n in range(rows):
            square += columns[n * k + p] ** 2
        s[p] = np.sqrt(square)
        for n in range(rows):
            columns[n * k + p] /= s[p] if s[p] > 0 else 1
    _sort(s, columns, rows, turned, k)


@inlined
def _sort(s, columns, rows, turned, k):
    """Put s in descending order, and the columns of both matrices with it."""
    for p in range(k):
        q = p
        for other in range(p + 1, k):
            if s[other] > s[q]:
                q = other
        if q != p:
            s[p], s[q] = s[q], s[p]
            _rotate(columns, rows, k, p, q, 0.0, 1.0)
            _rotate(turned, k, k, p, q, 0.0, 1.0)


@inlined
def _turn(columns, rows, turned, k, p, q):
    """Rotate columns p and q until they are orthogonal; returns the cosine between them before."""
    a = b = c = 0.0
    for n in range(rows):
        left, right = columns[n * k + p], columns[n * k + q]
        a += left * left
        b += right * right
        c += left * right
    if c == 0 or c * c < 1e-32 * a * b:
        return 0.0
    ratio = (b - a) / (2 * c)
    tangent = (1 if ratio >= 0 else -1) / (abs(ratio) + np.sqrt(1 + ratio * ratio))
    cosine = 1 / np.sqrt(1 + tangent * tangent)
    _rotate(columns, rows, k, p, q, cosine, cosine * tangent)
    _rotate(turned, k, k, p, q, cosine, cosine * tangent)
    return abs(c) / np.sqrt(a * b)


@inlined
def _rotate(columns, rows, k, p, q, cosine, sine):
    """Turn columns p and q of ``(rows, k)`` in their plane."""
    for n in range(rows):
        left, right = columns[n * k + p], columns[n * k + q]
        columns[n * k + p] = cosine * left - sine * right
        columns[n * k + q] = sine * left + cosine * right


@inlined
def inverse_of(U, s, V, N, M, P):
    """``P = pinv(B)`` from B's singular vectors; values below ``s_1 max(N, M) eps`` count as 0."""
    k = min(N, M)
    least = s[0] * max(N, M) * 2.220446049250313e-16
    fill(P, M * N, ZERO)
    for p in range(k):
        if s[p] > least:
            for i in range(M):
                for n in range(N):
                    P[i * N + n] += V[i * k + p] * U[n * k + p] / s[p]


@inlined
def add_product(X, x, x_on, Y, y, y_on, rows, inner, columns, sign, Z):
    """``Z += sign X Y`` ``(rows, columns)``; from row to row of X lie ``x`` values, along it ``x_on``; so for Y."""
    for i in range(rows):
        for k in range(inner):
            factor = sign * X[i * x + k * x_on]
            for j in range(columns):
                Z[i * columns + j] += factor * Y[k * y + j * y_on]


@inlined
def pinv_gradient(B, P, to_P, N, M, F, K, R, X, to_B):
    """The slope along B from that along P = pinv(B) (Golub and Pereyra 1973, equation 4.12, transposed).

    ``(S^T - B F) K + P^T (F - F R - F^T)`` with S = to_P ``(M, N)``, F = P S^T, K = P P^T, R = P B, all three ``(M, M)``.
    """
    for matrix, size in ((F, M * M), (K, M * M), (R, M * M), (to_B, N * M)):
        fill(matrix, size, ZERO)
    add_product(P, N, ONE, to_P, ONE, N, M, N, M, 1.0, F)
    add_product(P, N, ONE, P, ONE, N, M, N, M, 1.0, K)
    add_product(P, N, ONE, B, M, ONE, M, N, M, 1.0, R)
    for n in range(N):
        for i in range(M):
            X[n * M + i] = to_P[i * N + n]
    add_product(B, M, ONE, F, M, ONE, N, M, M, -1.0, X)
    add_product(X, M, ONE, K, M, ONE, N, M, M, 1.0, to_B)
    for i in range(M):
        for j in range(M):
            K[i * M + j] = F[i * M + j] - F[j * M + i]
    add_product(F, M, ONE, R, M, ONE, M, M, M, -1.0, K)
    add_product(P, ONE, N, K, M, ONE, N, M, M, 1.0, to_B)


@inlined
def read_signal(values, count, N, at_b, has_bias, theta, P, signal, M):
    """The affine signal ``pinv(B) (x - b)`` of ``count`` steps: M vectors a step from N."""
    for t in range(count):
        for i in range(M):
            x = zeros(values)
            for n in range(N):
                seen = load(values, t * N + n)
                if has_bias:
                    seen = seen - spread(theta, at_b + n)
                x = fma(spread(P, i * N + n), seen, x)
            store(signal, t * M + i, x)


@inlined
def start_identity(theta, at, values, fed, N, M):
    """``z_0 = [x_0; lift x_0]``."""
    for i in range(M):
        if i < N:
            store(fed, i, load(values, i))
        else:
            z = zeros(values)
            for n in range(N):
                z = fma(spread(theta, at + (i - N) * N + n), load(values, n), z)
            store(fed, i, z)


@inlined
def start_identity_back(back, values, N, M, gradient, at):
    """The gradient of ``lift``, from dl/dz_0 in ``back``."""
    for i in range(N, M):
        for n in range(N):
            gradient[at + (i - N) * N + n] += total(load(back, i) * load(values, n))


@inlined
def start_affine_back(back, values, N, M, theta, at_b, has_bias, P, to_P, gradient):
    """Add to dl/dP ``(M, N)`` and to b's gradient what z_0 = P (x_0 - b) brings."""
    for n in range(N):
        seen = load(values, n)
        if has_bias:
            seen = seen - spread(theta, at_b + n)
        for i in range(M):
            slope = load(back, i)
            to_P[i * N + n] += total(slope * seen)
            if has_bias:
                gradient[at_b + n] -= P[i * N + n] * total(slope)


@inlined
def error_identity(states, here, values, there, valid, scale, N, M, slopes):
    """Slopes of the squared error at one step; returns the squared error, summed over channels."""
    squares = zeros(states)
    for i in range(M):
        if i < N:
            x = load(values, there + i)
            error = where_number(x, load(states, here + i) - x) * valid
            squares = fma(error, error, squares)
            store(slopes, here + i, error * scale)
        else:
            store(slopes, here + i, zeros(states))
    return squares


@inlined
def error_affine(states, here, values, there, valid, scale, N, M, slopes, theta, at, at_b, has_bias, sums):
    """As ``error_identity`` for ``x = B z + b``; ``sums`` gathers B's gradient and b's, in vectors."""
    squares = zeros(states)
    for i in range(M):
        store(slopes, here + i, zeros(states))
    for n in range(N):
        x = load(values, there + n)
        guess = zeros(states)
        if has_bias:
            guess = spread(theta, at_b + n)
        for i in range(M):
            guess = fma(spread(theta, at + n * M + i), load(states, here + i), guess)
        error = where_number(x, guess - x) * valid
        squares = fma(error, error, squares)
        error = error * scale
        for i in range(M):
            place = n * M + i
            store(slopes, here + i, fma(spread(theta, at + place), error, load(slopes, here + i)))
            store(sums, place, fma(error, load(states, here + i), load(sums, place)))
        if has_bias:
            store(sums, N * M + n, load(sums, N * M + n) + error)
    return squares


@inlined
def condition_gradient(U, s, V, N, M, factor, gradient, at):
    """Add ``factor`` times the gradient of ``(1 - s_max / (s_min + 1e-8))^2`` with respect to B."""
    k = min(N, M)
    last = k - 1
    low = s[last] + 1e-8
    ratio = s[0] / low
    outer = -2 * factor * (1 - ratio) / low
    for n in range(N):
        for i in range(M):
            top, bottom = U[n * k] * V[i * k], U[n * k + last] * V[i * k + last]
            gradient[at + n * M + i] += outer * (top - ratio * bottom)
