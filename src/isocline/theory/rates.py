"""The learning-rate equivalence principle: rates with which every layer contributes alike to the neural tangent
kernel.
"""

import numpy as np
import numpy.typing as npt

from isocline.theory.averages import Averages
from isocline.theory.critical import UniversalityClass

Array = npt.NDArray[np.float64]


def equivalence_rates(
    averages: Averages,
    K1: float,
    C_b: float,
    C_W: float,
    *,
    skip: float = 0.0,
    decays: bool = False,
    bias: float = 1.0,
    weight: float = 1.0,
) -> tuple[Array, Array]:
    """``lambda_b`` and ``lambda_w``, each ``(depth,)``: biases together contribute `bias` to Theta at the
    end, every layer as much.

    With ``m_l = prod chi_perp`` from layer l to the end, ``lb_l = bias / (L m_l)`` and
    ``lW_l = weight r / (L m_l <s^2>_(l-1))``, where ``<s^2>_0 = |x|^2 / n_0 = (K1 - C_b) / C_W``. The reference r is
    ``<s^2>`` before the last layer, so that its rate is ``weight / L``; where the kernel `decays` (K*=0) it is L
    times that, and its rate is `weight`. In the limit these are ``1 / L`` for scale-invariant activations, and
    ``lb = bias / l``, ``lW = weight`` for tanh. Source: PDLT chapter 9.4, numerically for any activation and
    variances.
    """
    depth = len(averages.K)
    chi_perp = C_W * averages.pp + skip**2
    later = np.concatenate([np.cumprod(chi_perp[:-1][::-1])[::-1], [1.0]])
    square = np.concatenate([[(K1 - C_b) / C_W], averages.ss[:-1]])
    with np.errstate(divide="ignore", over="ignore"):
        share = 1 / (depth * later)
        lambda_w = weight * square[-1] * (depth if decays else 1) * share / square
    return bias * share, lambda_w


def asymptotic_rates(
    universality_class: UniversalityClass,
    depth: int,
    *,
    p_perp: float = 1.0,
    bias: float = 1.0,
    weight: float = 1.0,
) -> tuple[Array, Array]:
    """The same for a deep critical network in closed form: ``1 / L`` for all, or ``lb = bias l^-p L^(p-1)``,
    ``lW = weight (L/l)^(p-1)`` with ``p = p_perp`` in the class K*=0. Source: PDLT chapter 9.4.
    """
    layers = np.arange(1, depth + 1)
    if universality_class == "K*=0":
        stretch = (depth / layers) ** (p_perp - 1)
        return bias * stretch / layers, weight * stretch
    return np.full(depth, bias / depth), np.full(depth, weight / depth)
