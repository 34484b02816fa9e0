"""How far training moves the neural tangent kernel: the feature learning of a finite network, at the order one over
width.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, isinf, isnan, nan

from isocline._core.files import plain
from isocline.theory.single import SingleInput

LARGEST = 0.3  # relative change up to which the first order may be believed


@dataclass(frozen=True, slots=True)
class KernelChange:
    """The expected change of the NTK by gradient flow on one example, relative to Theta. Zero means a lazy,
    kernel-like network.
    """

    relative: float  # (E[H(t)] - Theta) / Theta, mean over output neurons
    first: float  # the part of the first differential dH: P and Q
    second: float  # the part of the second differentials: R, S, T, U
    spread: float  # sqrt(A / n) / Theta, how much the NTK differs between networks before training
    note: str = ""

    def __float__(self) -> float:
        return self.relative

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types; NaN, where a part is not defined, as a word."""
        return {
            name: plain(getattr(self, name)) for name in ("relative", "first", "second", "spread", "note")
        }


def kernel_change(run: SingleInput, width: float, *, outputs: int, target: float, t: float) -> KernelChange:
    """Gradient flow for a time `t` on one example, quadratic loss ``(1/2) |z - y|^2`` with
    ``|y|^2 = outputs target^2``.

    With the frozen ``eps(t) = exp(-Theta t) (z(0) - y)``, ``tau = (1 - exp(-Theta t)) / Theta``, m outputs and
    ``M = K + target^2``, the truncated hierarchy ``dH/dt = -2 dH eps``, ``d dH/dt = -(ddI + 2 ddII) eps`` gives on
    average ``n E[H(t) - H(0)] = -2 tau (P + (m + 1) Q) + tau^2 M (m (R + S + T) + 2 R + S + T + 2 U)``. Source: PDLT
    chapters 11 and infinity, one input, averaged over initial weights.
    """
    m, n, Theta = outputs, float(width), float(run.Theta[-1])
    K, P, Q, R, S, T, U = (float(getattr(run, name)[-1]) for name in ("K", "P", "Q", "R", "S", "T", "U"))
    tau = 1 / Theta if isinf(t) else (1 - exp(-Theta * t)) / Theta
    first = -2 * tau * (P + (m + 1) * Q) / (n * Theta)
    second = tau**2 * (K + target**2) * (m * (R + S + T) + 2 * R + S + T + 2 * U) / (n * Theta)
    spread = (float(run.A[-1]) / n) ** 0.5 / Theta if run.A[-1] >= 0 else nan
    known = first if isnan(second) else first + second
    notes = [f"{run.why_nan}: the first part alone"] if isnan(second) else []
    notes += ["so large a change is beyond the first order of 1 / n"] if abs(known) > LARGEST else []
    return KernelChange(known, first, second, spread, "; ".join(notes))
