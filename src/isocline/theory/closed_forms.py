"""Averages over two correlated Gaussian inputs that have a closed form: ``<s(z1) s(z2)>`` and ``<s'(z1) s'(z2)>``.

Every function takes the covariance as three arrays ``K11, K22, K12`` of one shape (variances > 0,
``K12^2 <= K11 K22``) and returns the two averages in that shape. With ``K11 = K22 = K12`` they are the averages of
one input.
"""

from collections.abc import Callable, Mapping
from functools import partial
from math import pi

import numpy as np
import numpy.typing as npt

from isocline.theory.activation import Activation

Array = npt.NDArray[np.float64]
PairForm = Callable[[Array, Array, Array], tuple[Array, Array]]


def scale_invariant(K11: Array, K22: Array, K12: Array, slopes: tuple[float, float]) -> tuple[Array, Array]:
    """``s = a_- z`` below and ``a_+ z`` above zero, ``s = e z + o |z|``: with ``sin u = K12 / sqrt(K11 K22)``,
    ``<s s> = e^2 K12 + (2 o^2 / pi) (sqrt(K11 K22 - K12^2) + u K12)`` and ``<s' s'> = e^2 + 2 o^2 u / pi``.

    Source: Cho & Saul 2009 (arc-cosine kernels of order 1 and 0), turned to the arc sine.
    """
    e, o = (slopes[1] + slopes[0]) / 2, (slopes[1] - slopes[0]) / 2
    if o == 0:
        return e * e * K12, np.full_like(K12, e * e)
    across = np.sqrt(np.maximum(K11 * K22 - K12 * K12, 0.0))
    u = np.arctan2(K12, across)
    share = 2 * o * o / pi
    return e * e * K12 + share * (across + u * K12), e * e + share * u


def erf_pair(K11: Array, K22: Array, K12: Array) -> tuple[Array, Array]:
    """``s = erf z``: ``<s s> = (2/pi) asin(2 K12 / sqrt((1 + 2 K11)(1 + 2 K22)))`` and its derivative in K12.

    Source: Williams 1997, eq. (11).
    """
    product, twice = (1 + 2 * K11) * (1 + 2 * K22), 2 * K12
    across = np.sqrt(product - twice * twice)
    return (2 / pi) * np.arctan2(twice, across), (4 / pi) / across


def sin_pair(K11: Array, K22: Array, K12: Array) -> tuple[Array, Array]:
    """``s = sin z``: ``exp(-(K11 + K22) / 2)`` times ``sinh K12`` and ``cosh K12``, without overflow or cancellation."""
    size = np.abs(K12)
    half = np.exp(size - (K11 + K22) / 2) / 2
    fall = np.expm1(-2 * size)
    return -np.sign(K12) * half * fall, half * (2 + fall)


def gelu_pair(K11: Array, K22: Array, K12: Array) -> tuple[Array, Array]:
    """``s = z Phi(z)``, by Wick's theorem on ``<z1 z2 Phi(z1) Phi(z2)>``: with ``a = 1 + K11``, ``b = 1 + K22``,
    ``d = a b - K12^2`` and ``E = <Phi Phi> = 1/4 + asin(K12 / sqrt(a b)) / 2 pi``,
    ``<s s> = K12 E + (K11 K22 + K12^2 - K12^2 (K11 / a + K22 / b)) / (2 pi sqrt d)``; its derivative in K12 is
    ``<s' s'>``.

    Source: as in Tsuchida et al. 2021, GELU kernel.
    """
    a, b = 1 + K11, 1 + K22
    square = K12 * K12
    d = a * b - square
    root = np.sqrt(d)
    E = 0.25 + np.arctan2(K12, root) / (2 * pi)
    bend = 1 / a + 1 / b - 1  # = 1 - K11 / a - K22 / b
    top = K11 * K22 + square * bend
    scale = 1 / (2 * pi * root)
    return K12 * E + top * scale, E + K12 * scale * (1 + 2 * bend + top / d)


FORMS: Mapping[str, PairForm] = {"erf": erf_pair, "sin": sin_pair, "gelu": gelu_pair}


def pair_form(activation: Activation) -> PairForm | None:
    """The closed form of `activation`, or None."""
    if activation.slopes is not None:
        return partial(scale_invariant, slopes=activation.slopes)
    return FORMS.get(activation.family)
