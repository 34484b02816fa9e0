"""The inner loops of the graph kernels on a CPU, compiled: rows of numbers, added and multiplied arc after arc.

Nothing is gathered first and no level is waited for: arcs come in topological order, so that one pass is the recursion.
"""

from __future__ import annotations

from .compiling import compiled


@compiled
def add_rows(out, x, t, before, after):
    """``out[h, after_i] += t[h, i] x[h, before_i]`` in the order of i; out may be x itself.

    Shapes: out ``(H, R, F)``; x ``(H, R', F)``; t ``(H, L)``; before, after ``(L,)``.
    """
    for h in range(out.shape[0]):
        for i in range(before.size):
            a, b, weight = after[i], before[i], t[h, i]
            for f in range(out.shape[2]):
                out[h, a, f] += weight * x[h, b, f]


@compiled
def products(out, a, b, rows_a, rows_b):
    """``out[h, i] = sum over f of a[h, rows_a_i, f] b[h, rows_b_i, f]``. Shapes: out ``(H, L)``; a, b ``(H, R, F)``."""
    for h in range(out.shape[0]):
        for i in range(rows_a.size):
            at_a, at_b = rows_a[i], rows_b[i]
            total = out.dtype.type(0)
            for f in range(a.shape[2]):
                total += a[h, at_a, f] * b[h, at_b, f]
            out[h, i] = total
