"""Averages over up to four jointly Gaussian inputs: what the fluctuations of many inputs are made of.

A function of four inputs needs no more than four-point averages ``<s_a s_b s_c s_d>``, some of the s with a prime;
everything else is an average over two. Derivatives with respect to the covariance K_ab are ``(1/2) <d_a d_b f>``
(Price's theorem), with K_ab and K_ba apart.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isocline._core.checks import wrong
from isocline.theory.activation import Activation
from isocline.theory.averages import single_averages
from isocline.theory.plane import plane_rule
from isocline.theory.quadrature import gaussian_density

Array = npt.NDArray[np.float64]

MOST = 4  # inputs
_STEP = {3: 0.18, 4: 0.3}  # of the trapezoid rule in each direction, in standard deviations
_REACH = 8.5
_AT_ONCE = 1 << 18


@dataclass(frozen=True, slots=True)
class JointAverages:
    """Averages over N inputs. A curvature table ``(3, N, N)`` holds ``D_ii, D_ij + D_ji, D_jj`` of
    ``f(z_i, z_j)``, ``D_ab = <d_a d_b f> / 2``.
    """

    ss: Array  # (N, N) <s_i s_j>
    pp: Array  # (N, N) <s'_i s'_j>
    sq: Array  # (N, N) <s_i s''_j>
    D_ss: Array  # (3, N, N) of s_i s_j
    D_pp: Array  # (3, N, N) of s'_i s'_j
    fourth: Array  # (5, N, N) <d_i^(4-k) d_j^k s_i s_j>
    ssss: Array  # (N, N, N, N)
    sspp: Array  # (N, N, N, N) <s_a s_b s'_c s'_d>
    pppp: Array  # (N, N, N, N)


def joint_averages(activation: Activation, K: Array) -> JointAverages:
    """All of them for one covariance `K (N, N)`, N <= 4, or <= 2 where a derivative jumps.

    Raises ValueError for more inputs, or where three or four of them are so nearly dependent that the
    quadrature fails.
    """
    N = len(K)
    if (MOST if activation.smooth else 2) < N:
        most = (
            f"at most {MOST} inputs"
            if activation.smooth
            else f"at most 2 inputs for {activation.name}, which is not smooth"
        )
        raise wrong(
            "K1", most, f"{N}", "the vertices of any two, or four, inputs do not depend on the others"
        )
    sums: dict[str, Array] = {}
    for z, w in _nodes(activation, K):
        for name, value in (_smooth if activation.smooth else _with_kinks)(activation, K, z, w):
            sums[name] = sums.get(name, 0.0) + value
    four = {name: sums.pop(name).reshape((N,) * 4) for name in ("ssss", "sspp", "pppp")}
    averages = sums if activation.smooth else _on_the_diagonal(activation, K, sums)
    return JointAverages(**averages, **four)


def _nodes(activation: Activation, K: Array) -> Iterator[tuple[Array, Array]]:
    """Nodes ``z (N, n)`` and weights ``(n,)``, some at a time."""
    N = len(K)
    if N == 1:
        z, w = activation.line(K[0])
        yield z, w[0]
    elif N == 2:
        z1, z2, w = plane_rule(K[:1, 0], K[1:, 1], K[:1, 1], activation.kinks)
        yield np.stack([np.broadcast_to(z1, w.shape).ravel(), z2.ravel()]), w.ravel()
    else:
        yield from _many_nodes(activation, K)


def _many_nodes(activation: Activation, K: Array) -> Iterator[tuple[Array, Array]]:
    N = len(K)
    try:
        root = np.linalg.cholesky(K)
    except np.linalg.LinAlgError as error:
        raise wrong(
            "K1", "inputs of which none follows from the others", f"a kernel of rank < {N}", "leave one out"
        ) from error
    x = np.arange(-round(_REACH / _STEP[N]), round(_REACH / _STEP[N]) + 1, dtype=np.float64) * _STEP[N]
    w = _STEP[N] * gaussian_density(x)
    grid = np.stack(np.meshgrid(*[x] * N, indexing="ij")).reshape(N, -1)
    weight = np.prod(np.stack(np.meshgrid(*[w] * N, indexing="ij")).reshape(N, -1), axis=0)
    kept = weight > 1e-20
    grid, weight = grid[:, kept], weight[kept]
    _check_rule(activation, K, x, w)
    for begin in range(0, len(weight), _AT_ONCE):
        part = slice(begin, begin + _AT_ONCE)
        yield root @ grid[:, part], weight[part]


def _check_rule(activation: Activation, K: Array, x: Array, w: Array) -> None:
    """The trapezoid rule, exact for entire functions and good for analytic ones, must give what the panels give for
    one input.
    """
    variance = K.diagonal()
    s = activation.values(np.sqrt(variance)[:, None] * x)
    z, panel = activation.line(variance)
    exact = (panel * activation.values(z) ** 4).sum(1)
    off = float(np.abs((w * s**4).sum(1) / exact - 1).max())
    if off > 1e-7:
        raise wrong(
            "K1",
            f"variances small enough for {len(K)} inputs at once",
            f"an error of {off:.0e}",
            "take two inputs at a time",
        )


def _four_point(s: Array, p: Array, w: Array) -> Iterator[tuple[str, Array]]:
    N = len(s)
    ss, pp = (np.einsum("an,bn->abn", f, f).reshape(N * N, -1) for f in (s, p))
    yield "ssss", (w * ss) @ ss.T
    yield "sspp", (w * ss) @ pp.T
    yield "pppp", (w * pp) @ pp.T


def _smooth(activation: Activation, K: Array, z: Array, w: Array) -> Iterator[tuple[str, Array]]:
    """Derivatives inside the average; the fourth by Stein's identity ``<z_i f> = sum_j K_ij <d_j f>``."""
    s, p, q, r = activation.derivatives(z, 3)
    ws, wp = w * s, w * p
    pp, sq, rp, qq = wp @ p.T, ws @ q.T, (w * r) @ p.T, (w * q) @ q.T
    rs = ((w * z * r) @ s.T - K * rp) / K.diagonal()[:, None]  # <s''''_i s_j>
    yield "ss", ws @ s.T
    yield "pp", pp
    yield "sq", sq
    yield "D_ss", np.stack([sq.T / 2, pp, sq / 2])
    yield "D_pp", np.stack([rp / 2, qq, rp.T / 2])
    yield "fourth", np.stack([rs, rp, qq, rp.T, rs.T])
    yield from _four_point(s, p, w)


def _with_kinks(activation: Activation, K: Array, z: Array, w: Array) -> Iterator[tuple[str, Array]]:
    """Hermite weights in ``u = K^-1 z`` carry the derivatives of two inputs; the diagonal, where they
    diverge, is put in afterwards.
    """
    s, p = activation.derivatives(z, 1)
    yield "ss", (w * s) @ s.T
    yield "pp", (w * p) @ p.T
    yield from _four_point(s, p, w)
    if len(K) == 1:
        for name, rows in (("sq", ()), ("D_ss", (3,)), ("D_pp", (3,)), ("fourth", (5,))):
            yield name, np.zeros((*rows, 1, 1))
        return
    inverse = np.linalg.inv(K)
    u = inverse @ z
    (a, c), b = inverse.diagonal(), inverse[0, 1]
    x, y = u
    second = np.stack([x * x - a, x * y - b, y * y - c])
    fourth = np.stack([
        x**4 - 6 * a * x**2 + 3 * a * a,
        x**3 * y - 3 * a * x * y - 3 * b * x * x + 3 * a * b,
        (x * y) ** 2 - a * y * y - c * x * x - 4 * b * x * y + a * c + 2 * b * b,
        x * y**3 - 3 * c * x * y - 3 * b * y * y + 3 * b * c,
        y**4 - 6 * c * y**2 + 3 * c * c,
    ])  # fmt: skip
    bends_ss, bends_pp, quartic = (
        second @ (w * s[0] * s[1]),
        second @ (w * p[0] * p[1]),
        fourth @ (w * s[0] * s[1]),
    )
    yield "sq", np.array([[0.0, bends_ss[2]], [bends_ss[0], 0.0]])
    yield "D_ss", _table(bends_ss * np.array([0.5, 1.0, 0.5]))
    yield "D_pp", _table(bends_pp * np.array([0.5, 1.0, 0.5]))
    yield "fourth", _table(quartic)


def _table(values: Array) -> Array:
    """Values for the pair (0, 1) by order in the first input, and in the other order for (1, 0)."""
    table = np.zeros((len(values), 2, 2))
    table[:, 0, 1], table[:, 1, 0] = values, values[::-1]
    return table


def _on_the_diagonal(activation: Activation, K: Array, sums: dict[str, Array]) -> dict[str, Array]:
    """Only sums over a row of the tables count where both inputs are one: they go to the first and the last place."""
    one = single_averages(activation, K.diagonal().copy())
    i = np.arange(len(K))
    sums["sq"][i, i] = one.sq
    for name, total in (("D_ss", one.g1), ("D_pp", one.dpp)):
        sums[name][:, i, i] = np.stack([total / 2, np.zeros_like(total), total / 2])
    sums["fourth"][:, i, i] = 0.0
    sums["fourth"][0, i, i] = sums["fourth"][4, i, i] = 2 * one.g2
    return sums
