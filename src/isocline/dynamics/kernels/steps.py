"""One step of the shallow PLRNN and of its adjoint, for one vector of sequences; compiled, inlined by the
kernels.

A state is M vectors of lanes. The parameters of a run are one flat array, ``theta``: A (M), h1 (M), h2 (L),
W1 and W2, the units taken four at a time: W[g, i, k] belongs to unit 4g + k and state i. L is filled up to a
multiple of four with units that are zero and stay zero. Gradients have the same layout.

A clipped unit is one clamp, and so is a plain one:

    relu(u + h) - relu(u) = h clamp(u / |h| + [h > 0], 0, 1);   relu(u + h) = clamp(u + h, 0, inf).

``prepare`` writes theta in these terms, W1 times h and W2 over |h|, so that a unit costs two operations besides its
sums; ``turn_back`` brings the gradient back. For three states there is a second code that keeps them in registers.
"""

from __future__ import annotations

import numpy as np

from isocline._core.compiling import ZERO, inlined

from .blocks import entry, fill
from .simd import (
    clamp,
    everywhere,
    fma,
    load,
    number,
    pointer,
    spread,
    store,
    total,
    where_above,
    where_inside,
    zeros,
)

UNITS = 4  # units computed on together: enough independent sums to keep the arithmetic units busy


@inlined
def groups_of(L):
    """How many groups of four hold L units."""
    return (L + UNITS - 1) // UNITS


@inlined
def theta_size(M, G):
    return 2 * M + UNITS * G * (1 + 2 * M)


@inlined
def pack(parameters, r, M, L, theta):
    """Write run r of the parameters, the places of A ``(M,)``, W1 ``(M, L)``, W2 ``(L, M)``, h1 and h2, into theta."""
    A, W1, W2, h1, h2 = parameters
    a, w1, w2 = pointer(A[0], theta), pointer(W1[0], theta), pointer(W2[0], theta)
    one, two = pointer(h1[0], theta), pointer(h2[0], theta)
    G = groups_of(L)
    at_W1 = 2 * M + UNITS * G
    at_W2 = at_W1 + UNITS * G * M
    fill(theta, theta_size(M, G), 0)
    for i in range(M):
        theta[i] = a[entry(A, r, ZERO, ZERO, i)]
        theta[M + i] = one[entry(h1, r, ZERO, ZERO, i)]
        for l in range(L):
            k = (l // UNITS * M + i) * UNITS + l % UNITS
            theta[at_W1 + k] = w1[entry(W1, r, ZERO, i, l)]
            theta[at_W2 + k] = w2[entry(W2, r, ZERO, l, i)]
    for l in range(L):
        theta[2 * M + l] = two[entry(h2, r, ZERO, ZERO, l)]


@inlined
def unpack(theta, parameters, r, M, L):
    """Write theta back; the inverse of ``pack``."""
    A, W1, W2, h1, h2 = parameters
    a, w1, w2 = pointer(A[0], theta), pointer(W1[0], theta), pointer(W2[0], theta)
    one, two = pointer(h1[0], theta), pointer(h2[0], theta)
    at_W1 = 2 * M + UNITS * groups_of(L)
    at_W2 = at_W1 + UNITS * groups_of(L) * M
    for i in range(M):
        a[entry(A, r, ZERO, ZERO, i)] = theta[i]
        one[entry(h1, r, ZERO, ZERO, i)] = theta[M + i]
        for l in range(L):
            k = (l // UNITS * M + i) * UNITS + l % UNITS
            w1[entry(W1, r, ZERO, i, l)] = theta[at_W1 + k]
            w2[entry(W2, r, ZERO, l, i)] = theta[at_W2 + k]
    for l in range(L):
        two[entry(h2, r, ZERO, ZERO, l)] = theta[2 * M + l]


@inlined
def limits_of(clipped, like):
    """The upper limit of a unit, 1 or infinity; then 1 and -1 for the clipped map, 0 and 0 for the plain one."""
    on = 1.0 if clipped else 0.0
    return everywhere(like, 1.0 if clipped else np.inf), everywhere(like, on), everywhere(like, -on)


@inlined
def _size(h, like):
    """|h|, but not so small that a weight over it is infinite or times it zero."""
    return max(abs(h), number(like, 1e-19))


@inlined
def prepare(theta, M, G, clipped, prepared):
    """Theta as the steps want it: in h2's place what is added to u, W1 times h2, W2 over |h2|."""
    for k in range(theta_size(M, G)):
        prepared[k] = theta[k]
    if clipped:
        for l in range(UNITS * G):
            h = theta[2 * M + l]
            size = _size(h, theta)
            prepared[2 * M + l] = 1 if h > 0 else 0
            for i in range(M):
                k = 2 * M + UNITS * G + (l // UNITS * M + i) * UNITS + l % UNITS
                prepared[k] *= size if h > 0 else -size
                prepared[k + UNITS * G * M] /= size


@inlined
def turn_back(theta, M, G, clipped, gradient):
    """From the gradient along what ``prepare`` wrote to that along theta, in place."""
    if clipped:
        for l in range(UNITS * G):
            h = theta[2 * M + l]
            size = _size(h, theta)
            gradient[2 * M + l] /= size if h > 0 else -size
            for i in range(M):
                k = 2 * M + UNITS * G + (l // UNITS * M + i) * UNITS + l % UNITS
                gradient[k] *= size if h > 0 else -size
                gradient[k + UNITS * G * M] /= size


@inlined
def four_products(a, b, c, d, theta, at, vectors, first, M):
    """Add ``sum_i W[g, i, k] x_i`` to a .. d, k = 0 .. 3: W begins at ``at``, x is M vectors from ``first``."""
    for i in range(M):
        x = load(vectors, first + i)
        a = fma(spread(theta, at + 4 * i), x, a)
        b = fma(spread(theta, at + 4 * i + 1), x, b)
        c = fma(spread(theta, at + 4 * i + 2), x, c)
        d = fma(spread(theta, at + 4 * i + 3), x, d)
    return a, b, c, d


@inlined
def row_product(theta, at, a, b, c, d):
    """``W[g, i, 0] a + ... + W[g, i, 3] d``, W[g, i] at ``at``."""
    x = fma(spread(theta, at + 1), b, spread(theta, at) * a)
    return fma(spread(theta, at + 3), d, fma(spread(theta, at + 2), c, x))


@inlined
def add_four_products(theta, at, a, b, c, d, vectors, first, M):
    """``x_i += row_product`` for the M vectors x from ``first``: groups wait for nothing but this sum."""
    for i in range(M):
        store(vectors, first + i, load(vectors, first + i) + row_product(theta, at + 4 * i, a, b, c, d))


@inlined
def three_products(start, theta, at, x, y, z):
    """``start + W[g, 0, k] x + W[g, 1, k] y + W[g, 2, k] z``, W[g, 0, k] at ``at``."""
    return fma(spread(theta, at + 8), z, fma(spread(theta, at + 4), y, fma(spread(theta, at), x, start)))


@inlined
def predict(theta, M, G, limits, fed, here, states, there):
    """``F``, theta prepared: from the M vectors of ``fed`` at ``here`` to those of ``states`` at ``there``."""
    if M == 3:
        _predict_three(theta, G, limits, fed, here, states, there)
        return
    top = limits[0]
    for i in range(M):
        store(states, there + i, fma(spread(theta, i), load(fed, here + i), spread(theta, M + i)))
    for g in range(G):
        at = 2 * M + 4 * g
        at_W1 = 2 * M + 4 * G + 4 * M * g
        a, b = spread(theta, at), spread(theta, at + 1)
        c, d = spread(theta, at + 2), spread(theta, at + 3)
        a, b, c, d = four_products(a, b, c, d, theta, at_W1 + 4 * M * G, fed, here, M)
        a, b, c, d = clamp(a, top), clamp(b, top), clamp(c, top), clamp(d, top)
        add_four_products(theta, at_W1, a, b, c, d, states, there, M)


@inlined
def _predict_three(theta, G, limits, fed, here, states, there):
    top = limits[0]
    x, y, z = load(fed, here), load(fed, here + 1), load(fed, here + 2)
    p = fma(spread(theta, 0), x, spread(theta, 3))
    q = fma(spread(theta, 1), y, spread(theta, 4))
    r = fma(spread(theta, 2), z, spread(theta, 5))
    for g in range(G):
        at = 6 + 4 * g
        at_W1 = 6 + 4 * G + 12 * g
        at_W2 = at_W1 + 12 * G
        a = clamp(three_products(spread(theta, at), theta, at_W2, x, y, z), top)
        b = clamp(three_products(spread(theta, at + 1), theta, at_W2 + 1, x, y, z), top)
        c = clamp(three_products(spread(theta, at + 2), theta, at_W2 + 2, x, y, z), top)
        d = clamp(three_products(spread(theta, at + 3), theta, at_W2 + 3, x, y, z), top)
        p = p + row_product(theta, at_W1, a, b, c, d)
        q = q + row_product(theta, at_W1 + 4, a, b, c, d)
        r = r + row_product(theta, at_W1 + 8, a, b, c, d)
    store(states, there, p)
    store(states, there + 1, q)
    store(states, there + 2, r)


@inlined
def unit_back(u, slope, theta, unit, limits, outputs, signals, place, gradient):
    """One unit's way back: its output and its signal are kept for the weights, h2's gradient is summed.

    Clipped, a unit follows h2 where u exceeds 0 if that is positive, else where it exceeds 1.
    """
    top, on, off = limits
    signal = where_inside(u, top, slope)
    store(outputs, place, clamp(u, top))
    store(signals, place, signal)
    bottom = fma(off, spread(theta, unit), on)
    store(gradient, unit, load(gradient, unit) + where_above(u, bottom, slope))
    return signal


@inlined
def pull_back(theta, M, G, limits, fed, adjoints, here, back, outputs, signals, stride, step, gradient):
    """``back = J^T lambda`` of one step, J taken at the state fed in; the gates are computed again from it.

    Theta is prepared. fed and adjoints hold the step's M vectors from ``here`` on; outputs and signals take the
    units' vectors, four per step and ``stride`` from group to group; gradient takes A, h1 and h2, in vectors.
    """
    for i in range(M):
        slope = load(adjoints, here + i)
        store(back, i, spread(theta, i) * slope)
        store(gradient, i, fma(slope, load(fed, here + i), load(gradient, i)))
        store(gradient, M + i, load(gradient, M + i) + slope)
    if M == 3:
        _pull_back_three(
            theta, G, limits, fed, adjoints, here, back, outputs, signals, stride, step, gradient
        )
        return
    nothing = zeros(theta)
    for g in range(G):
        at = 2 * M + 4 * g
        at_W1 = 2 * M + 4 * G + 4 * M * g
        at_W2 = at_W1 + 4 * M * G
        u, v = spread(theta, at), spread(theta, at + 1)
        w, x = spread(theta, at + 2), spread(theta, at + 3)
        u, v, w, x = four_products(u, v, w, x, theta, at_W2, fed, here, M)
        a, b, c, d = four_products(nothing, nothing, nothing, nothing, theta, at_W1, adjoints, here, M)
        n = g * stride + 4 * step
        a = unit_back(u, a, theta, at, limits, outputs, signals, n, gradient)
        b = unit_back(v, b, theta, at + 1, limits, outputs, signals, n + 1, gradient)
        c = unit_back(w, c, theta, at + 2, limits, outputs, signals, n + 2, gradient)
        d = unit_back(x, d, theta, at + 3, limits, outputs, signals, n + 3, gradient)
        add_four_products(theta, at_W2, a, b, c, d, back, ZERO, M)


@inlined
def _pull_back_three(theta, G, limits, fed, adjoints, here, back, outputs, signals, stride, step, gradient):
    x, y, z = load(fed, here), load(fed, here + 1), load(fed, here + 2)
    i, j, k = load(adjoints, here), load(adjoints, here + 1), load(adjoints, here + 2)
    p, q, r = load(back, 0), load(back, 1), load(back, 2)
    nothing = zeros(theta)
    for g in range(G):
        at = 6 + 4 * g
        at_W1 = 6 + 4 * G + 12 * g
        at_W2 = at_W1 + 12 * G
        n = g * stride + 4 * step
        u = three_products(spread(theta, at), theta, at_W2, x, y, z)
        a = three_products(nothing, theta, at_W1, i, j, k)
        a = unit_back(u, a, theta, at, limits, outputs, signals, n, gradient)
        u = three_products(spread(theta, at + 1), theta, at_W2 + 1, x, y, z)
        b = three_products(nothing, theta, at_W1 + 1, i, j, k)
        b = unit_back(u, b, theta, at + 1, limits, outputs, signals, n + 1, gradient)
        u = three_products(spread(theta, at + 2), theta, at_W2 + 2, x, y, z)
        c = three_products(nothing, theta, at_W1 + 2, i, j, k)
        c = unit_back(u, c, theta, at + 2, limits, outputs, signals, n + 2, gradient)
        u = three_products(spread(theta, at + 3), theta, at_W2 + 3, x, y, z)
        d = three_products(nothing, theta, at_W1 + 3, i, j, k)
        d = unit_back(u, d, theta, at + 3, limits, outputs, signals, n + 3, gradient)
        p = p + row_product(theta, at_W2, a, b, c, d)
        q = q + row_product(theta, at_W2 + 4, a, b, c, d)
        r = r + row_product(theta, at_W2 + 8, a, b, c, d)
    store(back, 0, p)
    store(back, 1, q)
    store(back, 2, r)


@inlined
def _add_totals(gradient, at, a, b, c, d):
    gradient[at] += total(a)
    gradient[at + 1] += total(b)
    gradient[at + 2] += total(c)
    gradient[at + 3] += total(d)


@inlined
def correlate_three(units, first, states, start, M, steps, gradient, at):
    """``correlate`` for three neighbouring states at once: the units are read once for all of them."""
    a = b = c = d = e = f = g = h = i = j = k = l = zeros(states)
    for t in range(steps):
        n = first + 4 * t
        u, v, w, o = load(units, n), load(units, n + 1), load(units, n + 2), load(units, n + 3)
        x = load(states, start + t * M)
        a, b, c, d = fma(u, x, a), fma(v, x, b), fma(w, x, c), fma(o, x, d)
        x = load(states, start + t * M + 1)
        e, f, g, h = fma(u, x, e), fma(v, x, f), fma(w, x, g), fma(o, x, h)
        x = load(states, start + t * M + 2)
        i, j, k, l = fma(u, x, i), fma(v, x, j), fma(w, x, k), fma(o, x, l)
    _add_totals(gradient, at, a, b, c, d)
    _add_totals(gradient, at + 4, e, f, g, h)
    _add_totals(gradient, at + 8, i, j, k, l)


@inlined
def correlate(units, first, states, start, M, steps, gradient, at):
    """``gradient[at + k] += sum_t sum_lanes unit_k(t) x(t)``: four entries of a weight's gradient.

    The units' vectors begin at ``first``, four per step; the state's at ``start``, one per M.
    """
    a = b = c = d = zeros(states)
    for t in range(steps):
        x = load(states, start + t * M)
        n = first + 4 * t
        a = fma(load(units, n), x, a)
        b = fma(load(units, n + 1), x, b)
        c = fma(load(units, n + 2), x, c)
        d = fma(load(units, n + 3), x, d)
    _add_totals(gradient, at, a, b, c, d)


@inlined
def weight_gradients(M, G, steps, fed, adjoints, start, outputs, signals, stride, gradient):
    """Add the gradients of W1 and W2 over a block of steps to ``gradient``, laid out as theta."""
    for g in range(G):
        at_W1 = 2 * M + 4 * G + 4 * M * g
        at_W2 = at_W1 + 4 * M * G
        n = g * stride
        for i in range(0, M - 2, 3):
            correlate_three(outputs, n, adjoints, start + i, M, steps, gradient, at_W1 + 4 * i)
            correlate_three(signals, n, fed, start + i, M, steps, gradient, at_W2 + 4 * i)
        for i in range(M // 3 * 3, M):
            correlate(outputs, n, adjoints, start + i, M, steps, gradient, at_W1 + 4 * i)
            correlate(signals, n, fed, start + i, M, steps, gradient, at_W2 + 4 * i)
