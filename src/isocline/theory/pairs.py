"""``<s(z_i) s(z_j)>`` and ``<s'(z_i) s'(z_j)>`` for every pair of many inputs: closed form, Mehler's series,
or a plane of panels.

Mehler's series ``<s_i s_j> = sum_k a_k(K_ii) a_k(K_jj) rho^k`` with ``a_k(K) = <s(sqrt(K) x) h_k(x)>`` (h_k
the normalised Hermite polynomials) needs N times M averages over one input for all N^2 pairs. What is cut off
after M terms is at most ``|rho|^M sqrt(r_i r_j)`` with ``r = <s^2> - sum a_k^2``, so the series knows which
pairs it has not reached; those few, kinked or nearly parallel ones go to the plane.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, sqrt

import numpy as np
import numpy.typing as npt

from isocline.theory.activation import Activation
from isocline.theory.closed_forms import pair_form
from isocline.theory.plane import plane_pairs
from isocline.theory.quadrature import gradings, line_rule, unit_rule

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]

CUT = 1e-12  # what the series may leave out, relative to sqrt(<s_i^2> <s_j^2>)
LONGEST = 512  # terms of the series
_FIRST = 32


class Pairs:
    """The pairs ``i <= j`` of N inputs, kept as vectors ``(N (N + 1) / 2,)`` of the upper triangle, row by row."""

    def __init__(self, activation: Activation, N: int) -> None:
        self.activation = activation
        self.i, self.j = np.triu_indices(N)
        self.diagonal = np.flatnonzero(self.i == self.j)
        self.form = pair_form(activation)
        self._terms = _FIRST

    def averages(self, K: Array) -> tuple[Array, Array]:
        """``<s_i s_j>`` and ``<s'_i s'_j>`` for covariances `K` of the pairs."""
        variance = K[self.diagonal]
        K11, K22 = variance[self.i], variance[self.j]
        if self.form is not None:
            return self.form(K11, K22, K)
        return self._series(variance, K11, K22, K)

    def matrix(self, values: Array) -> Array:
        """The symmetric ``(N, N)`` matrix of a vector over the pairs."""
        N = len(self.diagonal)
        full = np.empty((N, N))
        full[self.i, self.j] = values
        full[self.j, self.i] = values
        return full

    def _series(self, variance: Array, K11: Array, K22: Array, K: Array) -> tuple[Array, Array]:
        scale = np.sqrt(K11 * K22)
        rho = np.clip(K / scale, -1.0, 1.0)
        size = np.abs(rho)
        size[self.diagonal] = 0.0
        series = self._expand(variance, float(size.max()))
        ss, pp = series.sum(self.i, self.j, rho)
        pp /= scale
        short = np.zeros(len(K), bool)
        if series.short:
            fall = size ** (len(series.a) - 1)
            for left in (series.left_ss, series.left_pp):
                short |= fall * np.sqrt(left[self.i] * left[self.j]) > CUT
            ss[short], pp[short] = plane_pairs(self.activation, K11[short], K22[short], K[short])
        ss[self.diagonal], pp[self.diagonal] = series.ss, series.pp
        return ss, pp

    def _expand(self, variance: Array, largest: float) -> Series:
        """The series for inputs of `variance (N,)`, with as many terms as the largest correlation wants, up to
        `LONGEST`.
        """
        while True:
            series = expand(self.activation, variance, self._terms, largest)
            if not series.short or self._terms == LONGEST:
                return series
            self._terms = min(LONGEST, 32 * ceil(max(self._terms + 32, 1.2 * self._terms) / 32))


@dataclass(frozen=True, slots=True)
class Series:
    """Mehler's series of one activation at N variances."""

    a: Array  # (M, N) coefficients
    ss: Array  # (N,) <s^2>, by quadrature
    pp: Array  # (N,) <s'^2>
    left_ss: Array  # (N,) share of <s^2> beyond the M terms
    left_pp: Array  # (N,)
    short: bool  # whether more terms are wanted

    def sum(self, i: Index, j: Index, rho: Array) -> tuple[Array, Array]:
        """``sum_k a_k(i) a_k(j) rho^k`` and its derivative in rho, even and odd orders apart: one of them is often
        empty.
        """
        square = rho * rho
        even, even_slope = _horner(self.a[0::2], i, j, square)
        odd, odd_slope = _horner(self.a[1::2], i, j, square)
        return even + rho * odd, odd + 2 * (rho * even_slope + square * odd_slope)


def expand(activation: Activation, variance: Array, terms: int, largest: float) -> Series:
    """Mehler's series to `terms` orders, without those at its end that no pair of correlation up to `largest` needs."""
    refine = activation.refinement(float(variance.max()))
    refine += int(terms > 192)  # h_k turns sqrt(2 k) times a standard deviation
    z, w = line_rule(variance, activation.kinks, refine=refine)
    s, p = activation.derivatives(z, 1)
    if len(w) == 1:
        ss, pp = np.square(s) @ w[0], np.square(p) @ w[0]
        a = _hermite_rule(gradings(float(variance.max())), refine, terms) @ s.T
    else:
        ss, pp = (w * s * s).sum(1), (w * p * p).sum(1)
        a = np.stack([(w * s * h).sum(1) for h in hermite(z / np.sqrt(variance)[:, None], terms)])
    squares = a * a
    slopes = np.arange(terms)[:, None] * squares / variance  # a_k(s')^2 = (k + 1) a_(k+1)(s)^2 / K
    left_ss = np.maximum(1 - squares.cumsum(0) / ss, 0.0)
    left_pp = np.maximum(1 - slopes.cumsum(0) / pp, 0.0)
    worst = largest ** np.arange(terms) * np.maximum(left_ss.max(1), left_pp.max(1))
    enough = np.flatnonzero(worst <= CUT)
    last = int(enough[0]) if len(enough) else terms - 1
    return Series(a[: last + 1], ss, pp, left_ss[last], left_pp[last], short=not len(enough))


def _horner(a: Array, i: Index, j: Index, x: Array) -> tuple[Array, Array]:
    """``sum_k a_k(i) a_k(j) x^k`` and its derivative in x; orders at the end that are rounding are left out."""
    kept = np.flatnonzero(np.abs(a).max(axis=1, initial=0.0) > 1e-16 * np.abs(a).max(initial=0.0))
    total, slope = np.zeros_like(x), np.zeros_like(x)
    for row in a[: kept[-1] + 1][::-1] if len(kept) else ():
        slope *= x
        slope += total
        total *= x
        total += row[i] * row[j]
    return total, slope


def hermite(x: Array, terms: int) -> Iterator[Array]:
    """The normalised Hermite polynomials ``h_k = He_k / sqrt(k!)`` at `x`, for k = 0 .. terms - 1."""
    before, now = np.zeros_like(x), np.ones_like(x)
    for k in range(terms):
        yield now
        before, now = now, (x * now - sqrt(k) * before) / sqrt(k + 1)


@lru_cache(maxsize=8)
def _hermite_rule(graded: int, refine: int, terms: int) -> Array:
    """``w h_k(x)`` on the rule shared by all inputs, ``(terms, n)``."""
    x, w = unit_rule(graded, refine)
    return w * np.stack(list(hermite(x, terms)))
