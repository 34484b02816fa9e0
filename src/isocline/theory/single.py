"""One input through a deep network: every coefficient of the effective theory up to the order one over width."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from math import isfinite
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from torch import Tensor

from isocline._core.checks import check_choice, check_number, wrong
from isocline._core.files import plain
from isocline.theory.activation import Activation, as_activation
from isocline.theory.averages import Averages, mean_square, single_averages
from isocline.theory.residual import residual_fluctuations

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = npt.NDArray[np.float64]

NTK_FLUCTUATIONS = ("H1", "A", "B", "D", "F", "P", "Q", "R", "S", "T", "U")


@dataclass(frozen=True, slots=True, repr=False)
class SingleInput:
    """The coefficients of one input, each ``(depth,)``; index 0 is layer 1.

    A coefficient X of the second and third line below enters an observable of layer l as ``X / n_(l-1)``, the width
    before it. With a residual connection the fluctuations of the NTK are not known and are NaN; ``R, S, T, U`` are
    NaN where s' jumps.
    """

    K: Array  # kernel: variance of a preactivation at infinite width
    Theta: Array  # neural tangent kernel at infinite width
    chi_par: Array  # susceptibility of the norm, of layer l to l + 1
    chi_perp: Array  # susceptibility of a separation
    h: Array  # half of d chi_perp / dK
    G1: Array  # correction of the kernel
    V: Array  # four-point vertex
    H1: Array  # correction of the NTK
    A: Array  # variance of the NTK, diagonal part
    B: Array  # and its off-diagonal part
    D: Array  # covariance of z z with the NTK, diagonal part
    F: Array  # and its off-diagonal part
    P: Array  # covariance of z with the differential of the NTK
    Q: Array
    R: Array  # mean of the second differentials of the NTK
    S: Array
    T: Array
    U: Array
    why_nan: str = ""

    def __len__(self) -> int:
        return len(self.K)

    def __repr__(self) -> str:
        K, Theta, v = self.K[-1], self.Theta[-1], self.V[-1] / self.K[-1] ** 2
        return (
            f"SingleInput({len(self)} layers; at the end K = {K:.6g}, Theta = {Theta:.6g}, V/K^2 = {v:.6g})"
        )

    def ratios(self) -> dict[str, Array]:
        """The coefficients without units, as multiples of powers of K and Theta: what is to be compared with the
        width.
        """
        K, Theta = self.K, self.Theta
        units = {"G1": K, "V": K**2, "H1": Theta, "D": K * Theta, "F": K * Theta}
        units |= dict.fromkeys(("A", "B", "P", "Q"), Theta**2) | dict.fromkeys(
            ("R", "S", "T", "U"), Theta**3 / K
        )
        return {name: getattr(self, name) / unit for name, unit in units.items()}

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types; NaN as a word."""
        return {field.name: plain(getattr(self, field.name)) for field in fields(self)}

    def plot(self, ax: Axes | None = None) -> Axes:
        """The coefficients without units against depth, on logarithmic axes; returns the axes."""
        if ax is None:
            import matplotlib.pyplot as plt

            ax = plt.subplots()[1]
        layers = np.arange(1, len(self) + 1)
        for name, unit in (("V", "K²"), ("A", "Θ²"), ("B", "Θ²"), ("D", "KΘ"), ("F", "KΘ"), ("Q", "Θ²")):
            size = np.abs(self.ratios()[name])
            if np.isfinite(size[1:]).any() and size[1:].any():
                ax.plot(layers[1:], size[1:], label=f"{name} / {unit}")
        ax.set(
            xscale="log",
            yscale="log",
            xlabel="layer",
            ylabel="coefficient of 1/width",
            title="Fluctuations against depth",
        )
        ax.legend()
        return ax


def kernel_sequence(
    activation: Activation, depth: int, K1: float, C_b: float, C_W: float, skip: float
) -> Array:
    """``K`` of layers 1 to `depth`: ``K' = C_b + C_W <s^2>_K + gamma^2 K``.

    Source: PDLT chapter 4 (kernel recursion), appendix B (residual). Raises ValueError where K leaves
    float64.
    """
    values = [K1]
    for layer in range(2, depth + 1):
        K = C_b + C_W * mean_square(activation, values[-1]) + skip**2 * values[-1]
        if not (isfinite(K) and 1e-290 < K < 1e290):
            raise wrong(
                "C_W",
                "a value that keeps the kernel within float64",
                f"K = {K:.3g} at layer {layer}",
                "take fewer layers, or the critical variances",
            )
        values.append(K)
    return np.array(values)


def ntk_sequence(
    averages: Averages, first: float, C_W: float, lambda_b: Array, lambda_w: Array, skip: float
) -> Array:
    """``Theta' = lb' + lW' <s^2> + (C_W <s'^2> + gamma^2) Theta`` from layer 1's. Source: PDLT chapter 9."""
    chi_perp = C_W * averages.pp + skip**2
    Theta = [first]
    for i in range(len(averages.K) - 1):
        Theta.append(lambda_b[i + 1] + lambda_w[i + 1] * averages.ss[i] + chi_perp[i] * Theta[i])
    return np.array(Theta)


def fluctuations(
    a: Averages, Theta: Array, C_W: float, lambda_w: Array, width_ratio: Array
) -> dict[str, Array]:
    """Every coefficient of one over width without residual connections, zero at layer 1.

    Shapes: all ``(depth,)``; `width_ratio` is ``rho_l = n_l / n_(l-1)``, which multiplies what is inherited
    by layer l + 1. Source: PDLT chapters 4 (V, G1), 8 (H1, A, B, D, F) and 11 (P to U), for one input.
    """
    names = ("V", "G1", *NTK_FLUCTUATIONS)
    X = {name: np.zeros(len(a.K)) for name in names}
    with np.errstate(over="ignore", invalid="ignore"):
        for i in range(len(a.K) - 1):
            for name, value in _step(
                {name: X[name][i] for name in names}, a, i, Theta[i], C_W, lambda_w[i + 1], width_ratio[i]
            ):
                X[name][i + 1] = value
    return X


def _step(
    x: dict[str, float], a: Averages, i: int, Theta: float, C_W: float, lW: float, rho: float
) -> Iterator[tuple[str, float]]:
    """The coefficients of layer i + 2 from those `x` of layer i + 1 (whose averages stand at index i)."""
    par, perp, h = C_W * a.g1[i], C_W * a.pp[i], C_W * a.dpp[i] / 2
    apart = C_W * a.sq[i]  # chi_par - chi_perp
    V, G1, A, B, D, F, P, Q = (x[name] for name in ("V", "G1", "A", "B", "D", "F", "P", "Q"))
    omega = lW * a.g1[i] + 2 * h * Theta  # d Omega / dK with Omega = lW <s^2> + C_W Theta <s'^2>
    CC, s2p2, p4, spp2, q2p2 = C_W**2, a.s2p2[i], a.p4[i], a.spp2[i], a.q2p2[i]
    var_ss, cov_sp, var_pp = a.var_ss[i], a.cov_sp[i], a.var_pp[i]
    new_F = CC * s2p2 * Theta + rho * par**2 * F

    yield "V", CC * var_ss + rho * par**2 * V
    yield "G1", rho * (par * G1 + C_W * a.g2[i] * V / 2)
    yield "D", C_W * lW * var_ss + CC * Theta * cov_sp + rho * par * (omega * V + perp * D)
    yield "F", new_F
    yield "B", CC * p4 * Theta**2 + rho * perp**2 * B
    noise = lW**2 * var_ss + 2 * lW * C_W * Theta * cov_sp + CC * Theta**2 * var_pp
    yield "A", noise + rho * (omega**2 * V + 2 * perp * omega * D + perp**2 * A)
    curvature = (lW * a.g2[i] + C_W * Theta * a.d2pp[i]) / 2
    yield "H1", rho * (perp * x["H1"] + omega * G1 + curvature * V + 2 * h * (D + 2 * F))

    source = CC * spp2 * Theta**2
    yield "P", source + rho * (apart * perp * B + par * perp * P)
    yield "Q", source + lW / C_W * new_F + rho * (2 * h * par * Theta * F + par * perp * Q)
    yield "R", (
        CC * a.rp3[i] * Theta**3 + lW * C_W * spp2 * Theta**2
        + rho * perp * (C_W * a.rp[i] * Theta * B + lW / C_W * apart * B + omega * P + perp * x["R"])
    )  # fmt: skip
    yield "S", (
        CC * q2p2 * Theta**3 + lW * C_W * p4 * Theta**2
        + rho * (C_W * a.q2[i] * perp * Theta * B + lW / C_W * perp**2 * B + perp**2 * x["S"])
    )  # fmt: skip
    yield "T", (
        CC * q2p2 * Theta**3 + 2 * lW * C_W * spp2 * Theta**2 + lW**2 * s2p2 * Theta
        + rho * (omega**2 * F + 2 * perp * omega * Q + perp**2 * x["T"])
    )  # fmt: skip
    yield "U", CC * q2p2 * Theta**3 + rho * perp**2 * x["U"]


def single_input(
    activation: str | Callable[[Tensor], Tensor] | Activation,
    depth: int,
    K1: float,
    C_b: float,
    C_W: float,
    lambda_b: float | npt.ArrayLike = 1.0,
    lambda_w: float | npt.ArrayLike = 1.0,
    *,
    skip: float = 0.0,
    width_ratio: float | npt.ArrayLike = 1.0,
    residual_vertex: str = "full",
) -> SingleInput:
    """Every coefficient of the effective theory for one input, layer by layer.

    `K1` is the variance of a preactivation of layer 1, ``C_b + C_W |x|^2 / n_0``; `C_b` and ``C_W / fan-in`` are the
    variances of the biases and weights; `lambda_b` and ``lambda_w / fan-in`` their learning rates, one number or
    ``(depth,)``; `skip` is gamma in ``z' = b + W s(z) + gamma z``; `width_ratio` is ``n_l / n_(l-1)``, one number or
    ``(depth,)``. `residual_vertex` is "full" or, for comparison only, "quartic", the four-point vertex without the
    odd and higher Hermite orders that a skip keeps alive. Source: PDLT chapters 4, 5, 8, 11 and appendix B. Raises
    ValueError or TypeError for settings that are none.

    >>> single_input("relu", depth=3, K1=1.0, C_b=0.0, C_W=2.0).V
    array([ 0.,  5., 10.])
    """
    activation = as_activation(activation)
    depth, K1, C_b, C_W, skip = checked_setting(depth, K1, C_b, C_W, skip)
    rate_b, rate_w = per_layer("lambda_b", lambda_b, depth), per_layer("lambda_w", lambda_w, depth)
    ratio = per_layer("width_ratio", width_ratio, depth, above=True)
    check_choice("residual_vertex", residual_vertex, ("full", "quartic"))
    if C_b > K1:
        raise wrong("K1", f"at least C_b = {C_b:g}", K1, "K1 = C_b + C_W |x|^2 / n_0")
    if skip and not np.all(ratio == 1):
        raise wrong("width_ratio", "1 with a residual connection", width_ratio, "a skip needs equal widths")
    K = kernel_sequence(activation, depth, K1, C_b, C_W, skip)
    averages = single_averages(activation, K)
    Theta = ntk_sequence(averages, rate_b[0] + rate_w[0] * (K1 - C_b) / C_W, C_W, rate_b, rate_w, skip)
    if skip:
        unknown = dict.fromkeys(NTK_FLUCTUATIONS, np.full(depth, np.nan))
        X = unknown | residual_fluctuations(activation, averages, C_W, skip, full=residual_vertex == "full")
        why = "the fluctuations of the NTK with residual connections are not known"
    else:
        X = fluctuations(averages, Theta, C_W, rate_w, ratio)
        why = (
            "R, S, T, U hold the square of a delta function where s' jumps"
            if np.isnan(averages.q2).any()
            else ""
        )
    return SingleInput(
        K=K,
        Theta=Theta,
        chi_par=C_W * averages.g1 + skip**2,
        chi_perp=C_W * averages.pp + skip**2,
        h=C_W * averages.dpp / 2,
        why_nan=why,
        **X,
    )


def checked_setting(
    depth: int, K1: float, C_b: float, C_W: float, skip: float
) -> tuple[int, float, float, float, float]:
    """The door of every recursion: a depth of at least one layer, a kernel and variances that are ones."""
    return (
        int(check_number("depth", depth, least=1, integer=True)),
        float(check_number("K1", K1, above=0)),
        float(check_number("C_b", C_b, least=0)),
        float(check_number("C_W", C_W, above=0)),
        float(check_number("skip", skip, least=0, most=1)),
    )


def per_layer(argument: str, value: float | npt.ArrayLike, depth: int, *, above: bool = False) -> Array:
    """One number for all layers or one for each, as ``(depth,)``, none negative."""
    array = np.asarray(value, np.float64)
    if array.shape not in ((), (depth,)):
        raise wrong(argument, f"one number, or {depth} of them, one a layer", array)
    low = array.min() if array.size else 0.0
    if not np.isfinite(array).all() or low < 0 or (above and low == 0):
        raise wrong(
            argument,
            f"finite numbers {'>' if above else '>='} 0",
            float(array[~(array > 0)].flat[0]) if array.ndim else float(array),
        )
    return np.broadcast_to(array, (depth,)).copy()
