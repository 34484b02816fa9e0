"""One step of the shallow PLRNN and of its adjoint, for one vector of sequences; compiled, inlined by the
kernels.

A state is M vectors of lanes. The parameters of a run are one flat array, ``theta``: A (M), h1 (M), h2 (L),
W1 and W2, the units taken four at a time: W[g, i, k] belongs to unit 4g + k and state i. L is filled up to a
multiple of four with units that are zero and stay zero. Gradients have the same layout.
"""

from __future__ import annotations

from .blocks import aligned
from .compiling import inlined
from .simd import fma, load, relu, spread, store, total, where_positive, zeros

UNITS = 4  # units computed on together: enough independent sums to keep the arithmetic units busy


@inlined
def groups_of(L):
    """How many groups of four hold L units."""
    return (L + UNITS - 1) // UNITS


@inlined
def theta_size(M, G):
    return 2 * M + UNITS * G * (1 + 2 * M)


@inlined
def pack(A, W1, W2, h1, h2, theta):
    """Write the parameters A ``(M,)``, W1 ``(M, L)``, W2 ``(L, M)``, h1 ``(M,)``, h2 ``(L,)`` into theta."""
    M, L = W1.shape
    G = groups_of(L)
    at_W1 = 2 * M + UNITS * G
    at_W2 = at_W1 + UNITS * G * M
    for k in range(len(theta)):
        theta[k] = 0
    for i in range(M):
        theta[i] = A[i]
        theta[M + i] = h1[i]
        for l in range(L):
            k = (l // UNITS * M + i) * UNITS + l % UNITS
            theta[at_W1 + k] = W1[i, l]
            theta[at_W2 + k] = W2[l, i]
    for l in range(L):
        theta[2 * M + l] = h2[l]


@inlined
def unpack(theta, A, W1, W2, h1, h2):
    """Write theta back into A, W1, W2, h1, h2; the inverse of ``pack``."""
    M, L = W1.shape
    at_W1 = 2 * M + UNITS * groups_of(L)
    at_W2 = at_W1 + UNITS * groups_of(L) * M
    for i in range(M):
        A[i] = theta[i]
        h1[i] = theta[M + i]
        for l in range(L):
            k = (l // UNITS * M + i) * UNITS + l % UNITS
            W1[i, l] = theta[at_W1 + k]
            W2[l, i] = theta[at_W2 + k]
    for l in range(L):
        h2[l] = theta[2 * M + l]


@inlined
def four_products(theta, at, vectors, first, M):
    """``sum_i W[g, i, k] x_i`` for k = 0 .. 3: W begins at ``at``, x is M vectors from ``first``."""
    a = b = c = d = zeros(theta)
    for i in range(M):
        x = load(vectors, first + i)
        a = fma(spread(theta, at + 4 * i), x, a)
        b = fma(spread(theta, at + 4 * i + 1), x, b)
        c = fma(spread(theta, at + 4 * i + 2), x, c)
        d = fma(spread(theta, at + 4 * i + 3), x, d)
    return a, b, c, d


@inlined
def add_four_products(theta, at, a, b, c, d, vectors, first, M):
    """``x_i += W[g, i, 0] a + ... + W[g, i, 3] d`` for the M vectors x from ``first``."""
    for i in range(M):
        x = fma(spread(theta, at + 4 * i + 1), b, spread(theta, at + 4 * i) * a)
        y = fma(spread(theta, at + 4 * i + 3), d, spread(theta, at + 4 * i + 2) * c)
        store(vectors, first + i, load(vectors, first + i) + (x + y))  # last: groups wait only for this sum


@inlined
def cut_of(clipped, like):
    """-1 in every lane for the clipped map, 0 for the plain one: what ``relu(u)`` is multiplied with."""
    flag = aligned(1, like)
    flag[0] = -1 if clipped else 0
    return spread(flag, 0)


@inlined
def hidden(u, threshold, cut):
    """``relu(u + h2)``, clipped minus ``relu(u)``."""
    return fma(cut, relu(u), relu(u + threshold))


@inlined
def predict(theta, M, G, cut, fed, here, states, there):
    """``F``: from the M vectors of ``fed`` at ``here`` to those of ``states`` at ``there``."""
    for i in range(M):
        store(states, there + i, fma(spread(theta, i), load(fed, here + i), spread(theta, M + i)))
    for g in range(G):
        at_h2 = 2 * M + 4 * g
        at_W1 = 2 * M + 4 * G + 4 * M * g
        a, b, c, d = four_products(theta, at_W1 + 4 * M * G, fed, here, M)
        a = hidden(a, spread(theta, at_h2), cut)
        b = hidden(b, spread(theta, at_h2 + 1), cut)
        c = hidden(c, spread(theta, at_h2 + 2), cut)
        d = hidden(d, spread(theta, at_h2 + 3), cut)
        add_four_products(theta, at_W1, a, b, c, d, states, there, M)


@inlined
def unit_back(u, threshold, slope, cut, outputs, signals, place, gradient, unit):
    """One unit's way back: its output and its signal are kept for the weights, h2's gradient is summed."""
    above = where_positive(u + threshold, slope)
    signal = fma(cut, where_positive(u, slope), above)
    store(outputs, place, hidden(u, threshold, cut))
    store(signals, place, signal)
    store(gradient, unit, load(gradient, unit) + above)
    return signal


@inlined
def pull_back(theta, M, G, cut, fed, adjoints, here, back, outputs, signals, stride, step, gradient):
    """``back = J^T lambda`` of one step, J taken at the state fed in; the gates are computed again from it.

    fed and adjoints hold the step's M vectors from ``here`` on; outputs and signals take the units' vectors,
    four per step and ``stride`` from group to group; gradient takes A, h1 and h2, in vectors.
    """
    for i in range(M):
        slope = load(adjoints, here + i)
        store(back, i, spread(theta, i) * slope)
        store(gradient, i, fma(slope, load(fed, here + i), load(gradient, i)))
        store(gradient, M + i, load(gradient, M + i) + slope)
    for g in range(G):
        at = 2 * M + 4 * g
        at_W1 = 2 * M + 4 * G + 4 * M * g
        at_W2 = at_W1 + 4 * M * G
        u, v, w, x = four_products(theta, at_W2, fed, here, M)
        a, b, c, d = four_products(theta, at_W1, adjoints, here, M)
        n = g * stride + 4 * step
        a = unit_back(u, spread(theta, at), a, cut, outputs, signals, n, gradient, at)
        b = unit_back(v, spread(theta, at + 1), b, cut, outputs, signals, n + 1, gradient, at + 1)
        c = unit_back(w, spread(theta, at + 2), c, cut, outputs, signals, n + 2, gradient, at + 2)
        d = unit_back(x, spread(theta, at + 3), d, cut, outputs, signals, n + 3, gradient, at + 3)
        add_four_products(theta, at_W2, a, b, c, d, back, 0, M)


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
    gradient[at] += total(a)
    gradient[at + 1] += total(b)
    gradient[at + 2] += total(c)
    gradient[at + 3] += total(d)


@inlined
def weight_gradients(M, G, steps, fed, adjoints, start, outputs, signals, stride, gradient):
    """Add the gradients of W1 and W2 over a block of steps to ``gradient``, laid out as theta."""
    for g in range(G):
        at_W1 = 2 * M + 4 * G + 4 * M * g
        at_W2 = at_W1 + 4 * M * G
        for i in range(M):
            correlate(outputs, g * stride, adjoints, start + i, M, steps, gradient, at_W1 + 4 * i)
            correlate(signals, g * stride, fed, start + i, M, steps, gradient, at_W2 + 4 * i)
