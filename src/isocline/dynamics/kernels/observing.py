"""The observation models inside the compiled training loop, on vectors of lanes.

identity: ``x`` is the first N states, the signal is x, and z_0 = [x_0; lift x_0] with ``lift`` ``(M - N,
N)``. affine:   ``x = B z + b``, the signal is ``pinv(B) (x - b)`` and z_0 the signal at 0, differentiated
through pinv. Parameters, after those of the map: lift, or B ``(N, M)`` and b ``(N,)``.
"""

from __future__ import annotations

import numpy as np

from .compiling import inlined
from .simd import fma, load, spread, store, total, where_number, zeros


@inlined
def singular_vectors(B):
    """``U (N, k), s (k,), V (M, k)`` of B ``(N, M)``, k = min(N, M), s descending: one-sided Jacobi
    rotations.

    Columns are turned until they are orthogonal to rounding (Hestenes 1958): exact, and fast for small
    matrices.
    """
    wide = B.shape[0] < B.shape[1]
    columns = transposed(B) if wide else B.copy()
    k = columns.shape[1]
    turned = np.zeros((k, k))
    for p in range(k):
        turned[p, p] = 1
    for _ in range(60):
        rest = 0.0
        for p in range(k - 1):
            for q in range(p + 1, k):
                rest = max(rest, _turn(columns, turned, p, q))
        if rest < 1e-15:
            break
    s = np.zeros(k)
    for p in range(k):
        for n in range(len(columns)):
            s[p] += columns[n, p] ** 2
        s[p] = np.sqrt(s[p])
        for n in range(len(columns)):
            columns[n, p] /= s[p] if s[p] > 0 else 1
    _sort(s, columns, turned)
    return (turned, s, columns) if wide else (columns, s, turned)


@inlined
def _sort(s, columns, turned):
    """Put s in descending order, and the columns of both arrays with it."""
    for p in range(len(s)):
        q = p
        for other in range(p + 1, len(s)):
            if s[other] > s[q]:
                q = other
        if q != p:
            s[p], s[q] = s[q], s[p]
            for array in (columns, turned):
                for n in range(len(array)):
                    array[n, p], array[n, q] = array[n, q], array[n, p]


@inlined
def _turn(columns, turned, p, q):
    """Rotate columns p and q until they are orthogonal; returns the cosine between them before."""
    a = b = c = 0.0
    for n in range(len(columns)):
        a += columns[n, p] * columns[n, p]
        b += columns[n, q] * columns[n, q]
        c += columns[n, p] * columns[n, q]
    if c == 0 or c * c < 1e-32 * a * b:
        return 0.0
    ratio = (b - a) / (2 * c)
    tangent = (1 if ratio >= 0 else -1) / (abs(ratio) + np.sqrt(1 + ratio * ratio))
    cosine = 1 / np.sqrt(1 + tangent * tangent)
    sine = cosine * tangent
    for array in (columns, turned):
        for n in range(len(array)):
            left, right = array[n, p], array[n, q]
            array[n, p] = cosine * left - sine * right
            array[n, q] = sine * left + cosine * right
    return abs(c) / np.sqrt(a * b)


@inlined
def inverse_of(B, U, s, V):
    """``pinv(B)`` ``(M, N)`` from B's singular vectors; values below ``s_1 max(N, M) eps`` count as 0."""
    least = s[0] * max(len(U), len(V)) * 2.220446049250313e-16
    inverse = np.zeros((len(V), len(U)))
    for p in range(len(s)):
        if s[p] > least:
            for i in range(len(V)):
                for n in range(len(U)):
                    inverse[i, n] += V[i, p] * U[n, p] / s[p]
    return inverse


@inlined
def product(X, Y):
    """The matrix product of two small arrays."""
    Z = np.zeros((X.shape[0], Y.shape[1]))
    for i in range(X.shape[0]):
        for k in range(X.shape[1]):
            for j in range(Y.shape[1]):
                Z[i, j] += X[i, k] * Y[k, j]
    return Z


@inlined
def transposed(X):
    Y = np.empty((X.shape[1], X.shape[0]))
    for i in range(X.shape[0]):
        for j in range(X.shape[1]):
            Y[j, i] = X[i, j]
    return Y


@inlined
def pinv_gradient(B, P, slope):
    """dl/dB ``(N, M)`` from dl/dP, P = pinv(B) ``(M, N)`` (Golub and Pereyra 1973, equation 4.12,
    transposed).
    """
    Pt, slope_t = transposed(P), transposed(slope)
    left = product(product(slope_t, P), Pt)
    right = product(product(Pt, P), slope_t)
    found = product(product(Pt, slope), Pt)
    onto, along = product(B, product(P, left)), product(product(right, P), B)
    for n in range(B.shape[0]):
        for i in range(B.shape[1]):
            found[n, i] = left[n, i] - onto[n, i] + right[n, i] - along[n, i] - found[n, i]
    return found


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
def start_affine_back(back, values, N, M, theta, at_b, has_bias, P, to_inverse, gradient):
    """Add to dl/dP ``(M, N)`` and to b's gradient what z_0 = P (x_0 - b) brings."""
    for n in range(N):
        seen = load(values, n)
        if has_bias:
            seen = seen - spread(theta, at_b + n)
        for i in range(M):
            slope = load(back, i)
            to_inverse[i, n] += total(slope * seen)
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
def condition_gradient(U, s, V, factor, gradient, at):
    """Add ``factor`` times the gradient of ``(1 - s_max / (s_min + 1e-8))^2`` with respect to B."""
    last = len(s) - 1
    low = s[last] + 1e-8
    ratio = s[0] / low
    outer = -2 * factor * (1 - ratio) / low
    N, M = len(U), len(V)
    for n in range(N):
        for i in range(M):
            top, bottom = U[n, 0] * V[i, 0], U[n, last] * V[i, last]
            gradient[at + n * M + i] += outer * (top - ratio * bottom)
