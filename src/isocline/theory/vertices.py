"""Fluctuations of many inputs at the first order of one over width: vertex V, metric G1, and the tensors
D, F, B, A of the NTK.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
from torch import Tensor

from isocline._core.files import plain
from isocline.theory.activation import Activation, as_activation
from isocline.theory.joint import JointAverages, joint_averages
from isocline.theory.kernel import checked_kernel
from isocline.theory.single import checked_setting, per_layer

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, repr=False)
class Fluctuations:
    """The tensors of N inputs by layer; index 0 is layer 1. Indices stand in the order of the subscripts.

    ``E[z z z z]_connected`` is V over the width, with neurons paired (12)(34); ``Cov(z_1 z_2, H_34)`` is D
    (same neurons 12 and 34) and F (13 and 24); ``Cov(H_12, H_34)`` is A and B alike.
    """

    K: Array  # (depth, N, N)
    Theta: Array  # (depth, N, N)
    G1: Array  # (depth, N, N)
    V: Array  # (depth, N, N, N, N)  V_(12)(34)
    D: Array  # (depth, N, N, N, N)  D_1234
    F: Array  # (depth, N, N, N, N)  F_1324
    B: Array  # (depth, N, N, N, N)  B_1324
    A: Array  # (depth, N, N, N, N)  A_(12)(34)

    def __repr__(self) -> str:
        return f"Fluctuations({self.K.shape[-1]} inputs, {len(self.K)} layers)"

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        return {field.name: plain(getattr(self, field.name)) for field in fields(self)}


def many_fluctuations(
    activation: str | Callable[[Tensor], Tensor] | Activation,
    depth: int,
    K1: npt.ArrayLike,
    C_b: float,
    C_W: float,
    lambda_b: float | npt.ArrayLike = 1.0,
    lambda_w: float | npt.ArrayLike = 1.0,
    *,
    width_ratio: float | npt.ArrayLike = 1.0,
) -> Fluctuations:
    """Kernel, NTK and their fluctuations for up to four inputs (two where s' jumps), without residual connections.

    `K1 (N, N)`, the rest as in `single_input`. Source: PDLT chapters 4 (V, G1) and 8 (D, F, B, A), in the
    form with derivatives, which needs no inverse of K. Raises ValueError for more inputs, or for settings
    that are none.
    """
    activation = as_activation(activation)
    K = checked_kernel(K1)
    depth, _, C_b, C_W, _ = checked_setting(depth, float(K.diagonal().min()), C_b, C_W, 0.0)
    rate_b, rate_w = per_layer("lambda_b", lambda_b, depth), per_layer("lambda_w", lambda_w, depth)
    ratio = per_layer("width_ratio", width_ratio, depth, above=True)
    N = len(K)
    layer = {"K": K, "Theta": rate_b[0] + rate_w[0] * (K - C_b) / C_W, "G1": np.zeros((N, N))}
    layer |= {name: np.zeros((N,) * 4) for name in "VDFBA"}
    layers = [layer]
    for i in range(depth - 1):
        layers.append(
            _next(
                layers[-1],
                joint_averages(activation, layers[-1]["K"]),
                C_b,
                C_W,
                rate_b[i + 1],
                rate_w[i + 1],
                ratio[i],
            )
        )
    return Fluctuations(**{name: np.stack([layer[name] for layer in layers]) for name in layer})


def _next(
    x: dict[str, Array], a: JointAverages, C_b: float, C_W: float, lb: float, lW: float, rho: float
) -> dict[str, Array]:
    """All tensors one layer on. Letters in einsum are the subscripts 1 to 4 as i, j, k, l."""
    Theta, V = x["Theta"], x["V"]
    CC, pp, sq = C_W**2, a.pp, a.sq
    mean_omega = lW * a.ss + C_W * Theta * pp
    D_omega = lW * a.D_ss + C_W * Theta * a.D_pp
    ss_omega = lW * a.ssss + C_W * Theta * a.sspp  # <s1 s2 Omega34>
    omega_omega = lW * ss_omega + C_W * Theta[:, :, None, None] * (
        lW * a.sspp.transpose(2, 3, 0, 1) + C_W * Theta * a.pppp
    )
    V_omega = _right(V, D_omega)
    inherited_D = V_omega + C_W * pp * x["D"]
    cross = C_W * pp * _left(D_omega, x["D"])  # D(Omega12) . D_..34 C_W <s'3 s'4>
    return {
        "K": C_b + C_W * a.ss,
        "Theta": lb + mean_omega,
        "G1": rho * C_W * (_left(a.D_ss, x["G1"]) + _quartic(a.fourth, V) / 8),
        "V": CC * (a.ssss - _outer(a.ss, a.ss)) + rho * CC * _left(a.D_ss, _right(V, a.D_ss)),
        "D": C_W * (ss_omega - _outer(a.ss, mean_omega)) + rho * C_W * _left(a.D_ss, inherited_D),
        "F": CC * np.einsum("ijkl,kl->ikjl", a.sspp, Theta) + rho * CC * _inherited_F(pp, sq, x["F"]),
        "B": CC * np.einsum("ijkl,ij,kl->ikjl", a.pppp, Theta, Theta) + rho * CC * _outer(pp, pp) * x["B"],
        "A": omega_omega
        - _outer(mean_omega, mean_omega)
        + rho
        * (_left(D_omega, V_omega) + cross + cross.transpose(2, 3, 0, 1) + CC * _outer(pp, pp) * x["A"]),
    }


def _outer(x: Array, y: Array) -> Array:
    return x[:, :, None, None] * y


def _left(D: Array, X: Array) -> Array:
    """``sum_bc D_bc(f_12) X_(bc)..``, b and c in {1, 2}; D ``(3, N, N)``, X ``(N, N, ...)``."""
    first, both, second = (table.reshape(table.shape + (1,) * (X.ndim - 2)) for table in D)
    own = np.einsum("ii...->i...", X)
    return first * own[:, None] + both * X + second * own[None, :]


def _right(X: Array, D: Array) -> Array:
    """``sum_de X_(..)(de) D_de(f_34)``."""
    return _left(D, X.transpose(2, 3, 0, 1)).transpose(2, 3, 0, 1)


def _inherited_F(pp: Array, sq: Array, F: Array) -> Array:
    """``sum <d_b(s1 s'3)> <d_c(s2 s'4)> F_b3c4``, b in {1, 3}, c in {2, 4}: F and the result are indexed [1, 3, 2,
    4].
    """
    by_third = np.einsum("kkjl->kjl", F)  # b = 3: F_3324
    half = np.einsum("ik,ikjl->ikjl", pp, F) + np.einsum("ik,kjl->ikjl", sq, by_third)
    return np.einsum("jl,ikjl->ikjl", pp, half) + np.einsum("jl,ikl->ikjl", sq, np.einsum("ikll->ikl", half))


def _quartic(fourth: Array, V: Array) -> Array:
    """``sum <d_b d_c d_d d_e (s1 s2)> V_(bc)(de)``, every index in {1, 2}: ``(N, N)``."""
    own = np.einsum("iiii->i", V)
    thrice = np.einsum("iiij->ij", V)  # V_(11)(12)
    twice = 2 * np.einsum("iijj->ij", V) + 4 * np.einsum("ijij->ij", V)
    return (
        fourth[0] * own[:, None]
        + 4 * fourth[1] * thrice
        + fourth[2] * twice
        + 4 * fourth[3] * thrice.T
        + fourth[4] * own[None, :]
    )
