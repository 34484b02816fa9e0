"""Criticality: the variances at which a deep network's signal neither grows nor decays, and the class of its
activation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import lru_cache
from math import isnan, log10, nan
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from isocline._core.files import plain
from isocline.theory.activation import Activation, as_activation
from isocline.theory.averages import Averages, mean_square, single_averages, slope_moments
from isocline.theory.quadrature import root_between

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = npt.NDArray[np.float64]
UniversalityClass = Literal["scale-invariant", "K*=0", "half-stable", "none"]

SCAN = np.geomspace(1e-3, 1e3, 121)  # variances looked at for an interior fixed point
_NOTHING = 1e-10  # of chi_par / chi_perp - 1: tails that underflow, not a crossing
_LEAST_BAD = np.geomspace(0.1, 100.0, 121)


@dataclass(frozen=True, slots=True)
class FixedPoint:
    """Another fixed point of the kernel at the same variances."""

    kernel: float
    chi_par: float
    chi_perp: float


@dataclass(frozen=True, slots=True, repr=False)
class Criticality:
    """Where an activation is critical, how a network behaves there, and what to do where it nowhere is."""

    activation: str
    universality_class: UniversalityClass
    kernel: float  # K*; NaN for scale-invariant activations, for which every K is a fixed point
    bias_variance: float  # C_b
    weight_variance: float  # C_W; the weights have the variance C_W / fan-in
    chi_par: float  # at these variances; both are 1 at criticality
    chi_perp: float
    a1: float  # K' = K + a1 K^2 + a2 K^3 near K* (about K*, for a half-stable one, without a2)
    a2: float
    b1: float  # chi_perp = 1 + b1 K
    slope: float  # nu: growth of V / K^2 by layer
    stability: str
    nearby: tuple[FixedPoint, ...]
    note: str

    @property
    def exists(self) -> bool:
        """Whether the activation has a critical point at all."""
        return self.universality_class != "none"

    @property
    def p_par(self) -> float:
        """The exponent of a norm's deviation, ``dK ~ l^-p_par``: 2 for the class K*=0, 0 for the scale-invariant."""
        return {"scale-invariant": 0.0, "K*=0": 2.0 if not isnan(self.a1) else nan}.get(
            self.universality_class, nan
        )

    @property
    def p_perp(self) -> float:
        """The exponent of a separation, ``b1 / a1``; of no practical meaning where a1 is tiny (half-stable)."""
        return 0.0 if self.universality_class == "scale-invariant" else self.b1 / self.a1 if self.a1 else nan

    @property
    def first_kernel(self) -> float:
        """The K at layer 1 to begin with: K* where there is one above zero, else 1."""
        return self.kernel if self.kernel > 0 else 1.0

    def __repr__(self) -> str:
        where = f", {'K*' if self.exists else 'K'} = {self.kernel:.6g}" if self.kernel > 0 else ""
        setting = f"C_b = {self.bias_variance:.6g}, C_W = {self.weight_variance:.6g}"
        return f"Criticality({self.activation}: {self.universality_class}{where}, {setting})"

    def __str__(self) -> str:
        lines = [
            repr(self),
            self.stability,
            *(["nearby: " + ", ".join(f"K = {p.kernel:.6g}" for p in self.nearby)] if self.nearby else []),
        ]
        return "\n".join([*lines, *([self.note] if self.note else [])])

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types; NaN, where a number is not defined, as a word."""
        values = {field.name: plain(getattr(self, field.name)) for field in fields(self)}
        return values | {"exists": self.exists, "p_par": plain(self.p_par), "p_perp": plain(self.p_perp)}

    def plot(self, ax: Axes | None = None) -> Axes:
        """Both susceptibilities at these variances against K; returns the axes."""
        if ax is None:
            import matplotlib.pyplot as plt

            ax = plt.subplots()[1]
        K = np.geomspace(1e-2, 1e2, 200)
        averages = _averages(as_activation(self.activation), K)
        ax.plot(K, self.weight_variance * averages.g1, label="χ∥, of norms")
        ax.plot(K, self.weight_variance * averages.pp, label="χ⊥, of separations")
        ax.axhline(1.0, color="0.5", linewidth=0.8)
        if self.kernel > 0:
            ax.axvline(self.kernel, color="0.5", linestyle=":", label="K*")
        ax.set(
            xscale="log",
            xlabel="K",
            ylabel="susceptibility",
            title=f"{self.activation}: {self.universality_class}",
        )
        ax.legend()
        return ax


def criticality(activation: str | Callable[[Tensor], Tensor] | Activation) -> Criticality:
    """The critical point of an activation, ``K* = C_b + C_W <s^2>`` and ``chi_par = chi_perp = 1``, and its
    universality class.

    In this order: homogeneous functions are scale-invariant; a sign change of ``<s s''>`` with ``C_b >= 0``
    is a half-stable point; ``s(0) = 0``, ``s'(0) != 0`` and a kernel that decays is the class K*=0; for
    everything else no criticality exists, and the setting is the least bad one, said so. Source: PDLT chapter
    5.

    >>> criticality("relu")
    Criticality(relu: scale-invariant, C_b = 0, C_W = 2)
    >>> criticality("sigmoid").exists
    False
    """
    return _criticality(as_activation(activation))


@lru_cache(maxsize=128)
def _criticality(activation: Activation) -> Criticality:
    return (
        _scale_invariant(activation) or _half_stable(activation) or _at_zero(activation) or _none(activation)
    )


def _scale_invariant(activation: Activation) -> Criticality | None:
    if activation.slopes is None:
        return None
    second, fourth = slope_moments(activation.slopes)
    return Criticality(
        activation=activation.name,
        universality_class="scale-invariant",
        kernel=nan,
        bias_variance=0.0,
        weight_variance=1 / second,
        chi_par=1.0,
        chi_perp=1.0,
        a1=0.0,
        a2=0.0,
        b1=0.0,
        slope=3 * fourth / second**2 - 1,
        stability="every K is a fixed point: the kernel keeps the value of layer 1",
        nearby=(),
        note="",
    )


def _half_stable(activation: Activation) -> Criticality | None:
    K, crossing = SCAN, _crossing(activation, SCAN)
    if (
        np.nanmax(np.abs(crossing)) < _NOTHING
    ):  # s s'' vanishes: critical at every K, each with its own variances
        return _interior(
            activation, 1.0, "every K is critical, each with its own variances; these are for K = 1"
        )
    signs = np.where(np.abs(crossing) < _NOTHING, 0.0, np.sign(crossing))
    for i in np.flatnonzero(signs[:-1] * signs[1:] < 0):
        root = root_between(
            lambda x: float(_crossing(activation, np.array([10.0**x]))[0]),
            log10(K[i]),
            log10(K[i + 1]),
            1e-15,
        )
        found = _interior(activation, 10.0**root, "")
        if found is not None:
            return found
    return None


def _interior(activation: Activation, K: float, note: str) -> Criticality | None:
    a = single_averages(activation, np.array([K]))
    C_W = 1 / float(a.pp[0])
    C_b = K - C_W * float(a.ss[0])
    if C_b < -1e-12 * K:
        return None
    a1 = C_W * float(a.g2[0]) / 2
    side = "above" if a1 < 0 else "below"
    words = f"attracts from {side} only, dK' = dK {a1:+.2e} dK^2: too slowly to count on; scale layer 1 to K*"
    return Criticality(
        activation=activation.name,
        universality_class="half-stable",
        kernel=K,
        bias_variance=max(C_b, 0.0),
        weight_variance=C_W,
        chi_par=C_W * float(a.g1[0]),
        chi_perp=1.0,
        a1=a1,
        a2=nan,
        b1=C_W * float(a.dpp[0]),
        slope=C_W**2 * float(a.var_ss[0]) / K**2,
        stability=words if a1 else "neither attracts nor repels",
        nearby=_nearby(activation, K, C_b, C_W),
        note=note,
    )


def _nearby(activation: Activation, K: float, C_b: float, C_W: float) -> tuple[FixedPoint, ...]:
    """Stable fixed points of the kernel at the variances tuned to K, which is itself a double root."""

    def drift(x: float) -> float:
        return (C_b + C_W * mean_square(activation, x) - x) / (x - K) ** 2

    found = []
    away = np.geomspace(3e-3, 0.97, 40)
    for grid in (K * (1 - away[::-1]), K * (1 + away)):
        try:
            values = np.array([drift(x) for x in grid])
        except ValueError:  # the activation grows too fast for so large a variance
            continue
        for i in np.flatnonzero(values[:-1] * values[1:] < 0):
            x = root_between(drift, grid[i], grid[i + 1], 1e-14)
            a = single_averages(activation, np.array([x]))
            point = FixedPoint(x, C_W * float(a.g1[0]), C_W * float(a.pp[0]))
            found += [point] if point.chi_par < 1 else []
    return tuple(found)


def _at_zero(activation: Activation) -> Criticality | None:
    """The class K*=0: ``s(0) = 0`` with slopes ``a_-`` and ``a_+`` at zero, and a kernel that decays at
    ``C_W = 1 / A_2``.
    """
    (at_zero,) = activation.values(np.zeros(1))
    if abs(at_zero) > 1e-14:
        return None
    below, above = (float(x) for x in activation.derivatives(np.array([-1e-12, 1e-12]), 1)[1])
    second, fourth = slope_moments((below, above))
    if second < 1e-20:
        return None
    analytic = activation.smooth
    s = _taylor(activation) if analytic else np.full(6, nan)
    a1 = s[3] / s[1] + 0.75 * (s[2] / s[1]) ** 2
    a2 = s[5] / s[1] / 4 + 0.625 * s[4] * s[2] / s[1] ** 2 + 5 / 12 * (s[3] / s[1]) ** 2
    exact = analytic and a1 != 0
    small = np.geomspace(1e-4, 1e2, 13)
    growth = _averages(activation, small).ss / (second * small) - 1
    fades = np.flatnonzero(np.abs(growth) > 1e-6)  # the least of these K is where the kernel begins to move
    if (exact and a1 > 0) or not (len(fades) and growth[fades[0]] < 0):
        return None
    lines = float(small[fades[0]]) if fades[0] > 4 else 0.0  # straight from zero to here
    slope = 3 * fourth / second**2 - 1
    return Criticality(
        activation=activation.name,
        universality_class="K*=0",
        kernel=0.0,
        bias_variance=0.0,
        weight_variance=1 / second,
        chi_par=1.0,
        chi_perp=1.0,
        a1=a1 if exact else nan,
        a2=a2 if exact else nan,
        b1=s[3] / s[1] + (s[2] / s[1]) ** 2 if exact else nan,
        slope=slope if lines >= 1 else slope / 3,
        stability=f"attracts: K falls as 1 / ({-a1:g} l)"
        if exact
        else "attracts, but not as 1 / l: the function is not analytic at zero",
        nearby=(),
        note=f"straight lines near zero: scale-invariant, and K stays, while it is below about {lines:.2g}"
        if lines
        else "",
    )


def _none(activation: Activation) -> Criticality:
    """No criticality: the setting nearest to it, with ``chi_perp = 1`` where variances allow it, and what would help."""
    K = _LEAST_BAD
    a = _averages(activation, K)
    tuned, free = 1 / a.pp, K / a.ss  # chi_perp = 1 with a C_b that may be negative; no bias at all
    C_W = np.where(tuned * a.ss <= K, tuned, free)
    C_b = np.where(tuned * a.ss <= K, K - tuned * a.ss, 0.0)
    far = 0.1 * np.abs(np.log(K))  # of two as good, that with K nearer to 1
    off = np.abs(C_W * a.g1 - 1) + np.abs(C_W * a.pp - 1) + far
    best = int(np.nanargmin(off))
    par, perp = float(C_W[best] * a.g1[best]), float(C_W[best] * a.pp[best])
    setting = f"chi_par = {par:.4g} and chi_perp = {perp:.4g} at K = {K[best]:.4g}"
    note = f"no criticality exists; the nearest useful setting has {setting}"
    return Criticality(
        activation=activation.name,
        universality_class="none",
        kernel=float(K[best]),
        bias_variance=float(C_b[best]),
        weight_variance=float(C_W[best]),
        chi_par=par,
        chi_perp=perp,
        a1=nan,
        a2=nan,
        b1=nan,
        slope=nan,
        stability="attracts" if abs(par) < 1 else "repels: signals leave this K",
        nearby=(),
        note=note + _advice(activation),
    )


def _advice(activation: Activation) -> str:
    (at_zero,) = activation.values(np.zeros(1))
    shifted = Activation(
        lambda z: activation.function(z) - float(at_zero), activation.kinks, name=f"{activation.name} - s(0)"
    )
    if at_zero and (better := _half_stable(shifted) or _at_zero(shifted)) is not None:
        setting = f"{better.universality_class}, C_W = {better.weight_variance:.6g}"
        return f"; {activation.name} - {at_zero:g} is critical ({setting})"
    return "; take an activation that has a critical point, or normalisation layers"


def _averages(activation: Activation, K: Array) -> Averages:
    """Averages at every K, NaN where the function grows too fast for the Gaussian."""
    try:
        return single_averages(activation, K)
    except ValueError:
        rows: list[Averages | None] = []
        for k in K:
            try:
                rows.append(single_averages(activation, np.array([k])))
            except ValueError:
                rows.append(None)
        if not any(rows):
            raise
        names = [field.name for field in fields(Averages)]
        return Averages(
            **{
                n: np.array([nan if row is None else float(getattr(row, n)[0]) for row in rows])
                for n in names
            }
        )


def _crossing(activation: Activation, K: Array) -> Array:
    """``chi_par / chi_perp - 1 = <s s''> / <s'^2>``."""
    a = _averages(activation, K)
    slope = np.maximum(a.pp, 1e-30 * np.nanmax(a.pp))  # a dead zone at zero leaves none
    return a.sq / slope


def _taylor(activation: Activation) -> Array:
    """``s, s', .., s^(5)`` at zero, by autograd; NaN from the order on that torch does not know."""
    z = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    with torch.enable_grad():
        value, found = activation.function(z), []
        for _ in range(6):
            found.append(float(value.detach()))
            try:
                (slope,) = (
                    torch.autograd.grad(value.sum(), z, create_graph=True, allow_unused=True)
                    if value.requires_grad
                    else (None,)
                )
            except RuntimeError:
                break
            value = torch.zeros(1, dtype=torch.float64) if slope is None else slope
    return np.array(found + [nan] * (6 - len(found)))
