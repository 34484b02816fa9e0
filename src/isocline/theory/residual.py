"""Fluctuations with residual connections ``z' = b + W s(z) + gamma z``, exact at the first order of one over width.

A skip keeps each preactivation correlated with the metric it was drawn from, through every Hermite order of
``s^2`` and not only the second: without ``z -> -z`` symmetry even a three-point function appears. The
quartic-only vertex misses this and underestimates the fluctuations of ReLU networks up to 3.6 times.
"""

from math import sqrt

import numpy as np
import numpy.typing as npt

from isocline.theory.activation import Activation
from isocline.theory.averages import Averages
from isocline.theory.pairs import hermite

Array = npt.NDArray[np.float64]

ORDERS = (
    64  # Hermite orders kept; for a ReLU skip of 0.9, 28 leave out 7e-8 of the slope of V / K^2, these 1e-10
)


def residual_fluctuations(
    activation: Activation,
    averages: Averages,
    C_W: float,
    skip: float,
    *,
    full: bool = True,
    orders: int = ORDERS,
) -> dict[str, Array]:
    """``V`` and ``G1``, each ``(depth,)``, for equal widths.

    Source: PDLT appendix B for the quartic-only vertex, whose G1 keeps the even orders 2 and 4 alone; the
    full one from the covariances of Hermite polynomials of two neurons, see `full_step`.
    """
    if not full:
        return _quartic(averages, C_W, skip)
    t = square_coefficients(activation, averages.K, orders)  # (depth, orders + 1)
    corrections, covariance = np.zeros(orders + 1), np.zeros((orders + 1, orders + 1))
    V, G1 = np.zeros(len(averages.K)), np.zeros(len(averages.K))
    for i, K in enumerate(averages.K[:-1]):
        after = averages.K[i + 1]
        corrections, covariance = full_step(
            corrections, covariance, t[i], averages.var_ss[i], C_W, skip * sqrt(K / after), after
        )
        V[i + 1], G1[i + 1] = 2 * after**2 * covariance[2, 2], sqrt(2) * after * corrections[2]
    return {"V": V, "G1": G1}


def full_step(
    m: Array, psi: Array, t: Array, var_ss: float, C_W: float, c: float, after: float
) -> tuple[Array, Array]:
    """One layer of the mean and the covariance of normalised Hermite polynomials ``h_p = He_p / sqrt(p!)`` of
    ``z / sqrt K``.

    ``m_p = n E[h_p(z_j)]`` and ``psi_pq = n Cov(h_p(z_j), h_q(z_k))``, ``j != k``, shapes ``(P,)`` and ``(P, P)``;
    ``t_p = <h_p s^2>``; c is the correlation ``gamma sqrt(K / K')`` of a neuron with itself one layer on; `after` is
    K'. With ``X_p = n Cov(h_p, G)`` and ``G_v = n Var(G)`` for the metric ``G = C_b + C_W mean s^2``:
    ``psi'_pq = c^(p+q) psi_pq + [q = 2] c^p X_p / (sqrt 2 K') + [p = 2] ... + [p = q = 2] G_v / (2 K'^2)``, and m'
    likewise from ``E exp(t z' - t^2 K' / 2)``.
    """
    orders = np.arange(len(t))
    s = t.copy()
    s[0] = 0.0
    x = C_W * (s + psi @ s)
    metric_variance = C_W**2 * (var_ss + s @ psi @ s)
    powers = c**orders
    new = powers[:, None] * powers * psi
    new[2] += powers * x / (sqrt(2) * after)
    new[:, 2] += powers * x / (sqrt(2) * after)
    new[2, 2] += metric_variance / (2 * after**2)
    mean = powers * m
    mean[2] += C_W * (s @ m) / (sqrt(2) * after)
    mean[3:] += np.sqrt(orders[3:] * (orders[3:] - 1)) * powers[1:-2] * x[1:-2] / (2 * after)
    mean[4] += sqrt(24) * metric_variance / (8 * after**2)
    return mean, new


def square_coefficients(activation: Activation, K: Array, orders: int = ORDERS) -> Array:
    """``t_p = <h_p(z / sqrt K) s^2>`` for p = 0 .. orders and every K of ``(L,)``: ``(L, orders + 1)``."""
    z, w = activation.line(K)
    weighted = w * activation.values(z) ** 2
    return np.stack([(weighted * h).sum(1) for h in hermite(z / np.sqrt(K)[:, None], orders + 1)], axis=1)


def _quartic(a: Averages, C_W: float, skip: float) -> dict[str, Array]:
    """``V' = C_W^2 Var s^2 + 4 gamma^2 C_W K^2 g' + chi_par^2 V``; ``G1' = chi_par G1 + C_W g'' (V + ...) / 2`` as
    without a skip.
    """
    V, G1 = np.zeros(len(a.K)), np.zeros(len(a.K))
    for i, K in enumerate(a.K[:-1]):
        chi_par = C_W * a.g1[i] + skip**2
        V[i + 1] = C_W**2 * a.var_ss[i] + 4 * skip**2 * C_W * K**2 * a.g1[i] + chi_par**2 * V[i]
        G1[i + 1] = chi_par * G1[i] + C_W * a.g2[i] * V[i] / 2
    return {"V": V, "G1": G1}
