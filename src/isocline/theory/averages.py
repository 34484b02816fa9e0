"""Everything that is averaged over one Gaussian input, and nothing else.

Which form an average takes depends on smoothness. Where the function is smooth, derivatives with respect to K
go inside the average, at most one of them as ``z / K`` (Stein's identity ``<z f> = K <f'>``): little is lost
at small K. Where s'' jumps (ELU), the third derivative holds a delta that no quadrature sees, and Stein's
identity takes its place. Where s' jumps (ReLU), the Hermite weights ``(z^2 - K) / 2K^2`` carry every
derivative with respect to K.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isocline.theory.activation import Activation
from isocline.theory.quadrature import gaussian_density

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Averages:
    """Averages over ``z ~ N(0, K)``, each ``(L,)``, one for every K; s, s', s'', s''' are the activation and its
    derivatives.

    ``q2, rp, q2p2, rp3`` are NaN where s' jumps: they hold the square of a delta.
    """

    K: Array
    ss: Array  # <s^2> = g(K)
    s4: Array  # <s^4>
    pp: Array  # <s'^2>
    p4: Array  # <s'^4>
    s2p2: Array  # <s^2 s'^2>
    var_ss: Array  # Var(s^2), centred before it is squared
    var_pp: Array  # Var(s'^2)
    cov_sp: Array  # Cov(s^2, s'^2)
    sq: Array  # <s s''>
    g1: Array  # dg/dK = <s'^2 + s s''>
    g2: Array  # d^2 g/dK^2
    dpp: Array  # d<s'^2>/dK
    d2pp: Array  # d^2 <s'^2>/dK^2
    spp2: Array  # <s s'^2 s''>
    q2: Array  # <s''^2>
    rp: Array  # <s''' s'>
    q2p2: Array  # <s''^2 s'^2>
    rp3: Array  # <s''' s'^3>


def single_averages(activation: Activation, K: Array) -> Averages:
    """All averages of `activation` at every variance of `K (L,)` > 0.

    Scale-invariant functions have closed forms; the rest is quadrature, exact to about 1e-13 relative. Source: the
    averages named in PDLT, chapters 4, 5, 8 and 11; closed forms from ``A_2 = (a_+^2 + a_-^2) / 2`` and A_4 alike.
    """
    if activation.slopes is not None:
        return _scale_invariant(activation.slopes, K)
    z, w = activation.line(K)
    s, p, q, r = activation.derivatives(z, 3)
    wss, wpp = w * s * s, w * p * p
    ss, pp = wss.sum(1), wpp.sum(1)
    off_ss, off_pp = s * s - ss[:, None], p * p - pp[:, None]
    if activation.kinked:
        rest = _by_weights(activation, K, z, w, s, p, q)
    else:
        rest = _by_derivatives(K, z, w, s, p, q, r) if activation.smooth else _by_parts(K, z, w, s, p, q)
        wqq = w * q * q
        rest |= {
            "sq": (w * s * q).sum(1),
            "spp2": (wpp * s * q).sum(1),
            "q2": wqq.sum(1),
            "q2p2": (wqq * p * p).sum(1),
        }
    return Averages(
        K=K,
        ss=ss,
        s4=(wss * s * s).sum(1),
        pp=pp,
        p4=(wpp * p * p).sum(1),
        s2p2=(wss * p * p).sum(1),
        var_ss=(w * off_ss**2).sum(1),
        var_pp=(w * off_pp**2).sum(1),
        cov_sp=(w * off_ss * off_pp).sum(1),
        **rest,
    )


def _by_derivatives(K: Array, z: Array, w: Array, s: Array, p: Array, q: Array, r: Array) -> dict[str, Array]:
    """Smooth functions: ``g'' = <z (s^2)^(3)> / 4K`` and ``d^2 <s'^2> / dK^2 = <(z^2 - K) (s'^2)^(2)> / 4K^2``."""
    k, wp, turn = K[:, None], w * p, q * q + p * r
    return {
        "g1": (wp * p + w * s * q).sum(1),
        "g2": (w * z * (3 * p * q + s * r)).sum(1) / (2 * K),
        "dpp": (w * turn).sum(1),
        "d2pp": (w * turn * (z * z - k)).sum(1) / (2 * K**2),
        "rp": (wp * r).sum(1),
        "rp3": (wp * p * p * r).sum(1),
    }


def _by_parts(K: Array, z: Array, w: Array, s: Array, p: Array, q: Array) -> dict[str, Array]:
    """Functions whose second derivative jumps: the same without the third, by Stein's identity."""
    wpq, cubic = w * p * q, z * (z * z - 3 * K[:, None])
    return {
        "g1": (w * z * s * p).sum(1) / K,
        "g2": (w * s * p * cubic).sum(1) / (2 * K**3),
        "dpp": (z * wpq).sum(1) / K,
        "d2pp": (wpq * cubic).sum(1) / (2 * K**3),
        "rp": (z * wpq).sum(1) / K - (w * q * q).sum(1),
        "rp3": (z * wpq * p * p).sum(1) / K - 3 * (wpq * p * q).sum(1),
    }


def _by_weights(
    activation: Activation, K: Array, z: Array, w: Array, s: Array, p: Array, q: Array
) -> dict[str, Array]:
    """Functions whose slope jumps: one delta is put in at its place or integrated by parts, two deltas are not
    defined.
    """
    k, wpp = K[:, None], w * p * p
    places, heights = activation.jumps
    deltas = activation.values(places) * heights * gaussian_density(places / np.sqrt(k)) / np.sqrt(k)
    sq = (w * s * q).sum(1) + deltas.sum(1)
    return {
        "g1": wpp.sum(1) + sq,
        "g2": (w * s * p * z * (z * z - 3 * k)).sum(1) / (2 * K**3),
        "dpp": (wpp * (z * z - k)).sum(1) / (2 * K**2),
        "d2pp": (wpp * ((z * z - 6 * k) * z * z + 3 * k * k)).sum(1) / (4 * K**4),
        "sq": sq,
        "spp2": ((wpp * s * p * z).sum(1) / K - (wpp * p * p).sum(1)) / 3,
        **dict.fromkeys(("q2", "rp", "q2p2", "rp3"), np.full_like(K, np.nan)),
    }


def _scale_invariant(slopes: tuple[float, float], K: Array) -> Averages:
    second, fourth = slope_moments(slopes)
    one, none = np.ones_like(K), np.zeros_like(K)
    bends = none if slopes[0] == slopes[1] else np.full_like(K, np.nan)
    return Averages(
        K=K,
        ss=second * K,
        s4=3 * fourth * K**2,
        pp=second * one,
        p4=fourth * one,
        s2p2=fourth * K,
        var_ss=(3 * fourth - second**2) * K**2,
        var_pp=(fourth - second**2) * one,
        cov_sp=(fourth - second**2) * K,
        sq=none,
        g1=second * one,
        g2=none,
        dpp=none,
        d2pp=none,
        spp2=none,
        q2=bends,
        rp=bends,
        q2p2=bends,
        rp3=bends,
    )


def slope_moments(slopes: tuple[float, float]) -> tuple[float, float]:
    """``A_2`` and ``A_4``: the mean square and mean fourth power of the slopes below and above zero."""
    below, above = slopes
    return (below**2 + above**2) / 2, (below**4 + above**4) / 2


def mean_square(activation: Activation, K: float) -> float:
    """``g(K) = <s^2>`` at one variance, the only average that the kernel itself needs."""
    if activation.slopes is not None:
        return slope_moments(activation.slopes)[0] * K
    z, w = activation.line(np.array([K]))
    s = activation.values(z)
    return float((w * s * s).sum())
