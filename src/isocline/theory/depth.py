"""How deep a network of a given width may be: fluctuations, the information that outputs share, and the best aspect
ratio.

``v = V / (n K^2)`` at the output measures how far the finite network is from its infinite-width limit. For
``v << v*`` it is kernel-like, near ``v*`` the outputs for one input share most information, beyond ``1.5 v*``
draws differ chaotically. This is a criterion at initialisation, kept to the order v^3: the scale of a good
depth, not a law.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf, log, pi
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from torch import Tensor

from isocline._core.checks import check_choice, check_number, wrong
from isocline._core.files import plain
from isocline.theory.activation import Activation, as_activation
from isocline.theory.critical import Criticality, criticality
from isocline.theory.residual import ORDERS, square_coefficients
from isocline.theory.single import single_input

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = npt.NDArray[np.float64]

DEEPEST = 20_000  # layers; a V / K^2 that has not reached v* by then is taken never to reach it


def best_fluctuation(outputs: int = 10) -> float:
    """``v* = 4 / (20 + 3 n_L)``: the v at which two parts of `outputs` neurons share most information. Source: PDLT
    appendix A.

    >>> best_fluctuation(10)
    0.08
    """
    return 4 / (20 + 3 * int(check_number("outputs", outputs, least=2, integer=True)))


def mutual_information(v: npt.ArrayLike, first: int, second: int) -> Array:
    """``I = (m1 m2 / 48) v^2 (6 - (20 + 3 (m1 + m2)) v)`` in nats, between `first` and `second` output neurons for
    one input.

    To order v^3 of the quartic action; negative beyond ``1.5 v*``, where the expansion has ended. Source:
    PDLT appendix A.
    """
    m, k = (
        int(check_number(name, n, least=1, integer=True))
        for name, n in (("first", first), ("second", second))
    )
    v = np.asarray(v, np.float64)
    return m * k / 48 * v**2 * (6 - (20 + 3 * (m + k)) * v)


def entropy(outputs: int, variance: float, v: float) -> float:
    """Entropy in nats of `outputs` neurons for one input: Gaussian, less
    ``v^2 m (m + 2) / 16 - v^3 m (m + 2) (m + 8) / 48``.

    `variance` is ``K + G1 / n``. Source: PDLT appendix A, quartic vertex only.
    """
    m = int(check_number("outputs", outputs, least=1, integer=True))
    check_number("variance", variance, above=0)
    return m / 2 * log(2 * pi * np.e * variance) - (
        v**2 * m * (m + 2) / 16 - v**3 * m * (m + 2) * (m + 8) / 48
    )


@dataclass(frozen=True, slots=True)
class AspectRatio:
    """The depth over width at which the outputs of a critical network share most information."""

    ratio: float  # r* = v* / nu
    slope: float  # nu, growth of V / K^2 by layer at criticality
    fluctuation: float  # v*
    outputs: int
    skip: float
    note: str
    activation: Activation = field(repr=False, compare=False)

    def __float__(self) -> float:
        return self.ratio

    def largest_depth(self, width: int) -> float:
        """The exact L*(width), see `largest_depth`."""
        return largest_depth(self.activation, width, outputs=self.outputs, skip=self.skip)

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        names = ("ratio", "slope", "fluctuation", "outputs", "skip", "note")
        return {"activation": self.activation.name, **{name: plain(getattr(self, name)) for name in names}}

    def plot(self, ax: Axes | None = None) -> Axes:
        """The information shared by two halves of the outputs against depth over width; returns the axes."""
        if ax is None:
            import matplotlib.pyplot as plt

            ax = plt.subplots()[1]
        r = np.linspace(0, 1.6 * self.ratio, 200)
        half = self.outputs // 2
        ax.plot(r, mutual_information(self.slope * r, half, self.outputs - half))
        ax.axvline(self.ratio, color="0.5", linestyle=":")
        ax.set(
            xlabel="depth / width",
            ylabel="shared information (nats)",
            title=f"{self.activation.name}: r* = {self.ratio:.3g}",
        )
        return ax


def optimal_aspect_ratio(
    activation: str | Callable[[Tensor], Tensor] | Activation,
    outputs: int = 10,
    skip: float = 0.0,
    *,
    residual_vertex: str = "full",
) -> AspectRatio:
    """``r* = v* / nu`` at criticality, where the slope nu comes from the vertex with residual connections of strength
    `skip`.

    Source: PDLT appendices A and B. Raises ValueError for an activation without criticality, or ``skip >= 1``.

    >>> round(optimal_aspect_ratio("relu").ratio, 4), round(optimal_aspect_ratio("tanh").ratio, 4)
    (0.016, 0.12)
    """
    activation = as_activation(activation)
    skip = float(check_number("skip", skip, least=0, below=1))
    check_choice("residual_vertex", residual_vertex, ("full", "quartic"))
    found = criticality(activation)
    if not found.exists:
        raise wrong("activation", "one that can be critical", activation.name, found.note)
    slope = vertex_slope(activation, skip, full=residual_vertex == "full", critical=found)
    best = best_fluctuation(outputs)
    odd = skip > 0 and residual_vertex == "full" and found.universality_class != "K*=0"
    note = "the skip also makes odd vertices, whose information is not counted" if odd else ""
    return AspectRatio(best / slope, slope, best, int(outputs), skip, note, activation)


def vertex_slope(
    activation: Activation,
    skip: float,
    *,
    full: bool,
    critical: Criticality | None = None,
    orders: int = 4 * ORDERS,
) -> float:
    """``nu(gamma)``: the growth of ``V / K^2`` by layer far from the input, at criticality, widths equal.

    Quartic only: ``(1 - g^2) ((1 - g^2) nu_0 + 4 g^2)`` where K stays. To it the full vertex adds
    ``2 (C_W / K)^2 sum_q t_q^2 g^q / (1 - g^q)`` over the Hermite orders q != 2 of ``s^2``, the fixed point of the
    recursion in `residual.full_step`. In the class K*=0 both are ``nu_0 (1 - g^4)``. Source: PDLT appendix B; the sum
    is the recursion there, solved.
    """
    c = critical or criticality(activation)
    square = skip * skip
    if c.universality_class == "K*=0":
        return c.slope * (1 - square * square)
    quartic = (1 - square) * ((1 - square) * c.slope + 4 * square)
    if not full or not skip:
        return quartic
    K = c.first_kernel
    t = square_coefficients(activation, np.array([K]), orders)[0]
    kept = skip ** np.arange(1, orders + 1)
    kept[1] = 0.0
    echo = float((t[1:] ** 2 * kept / (1 - kept)).sum())
    return quartic + 2 * ((1 - square) * c.weight_variance / K) ** 2 * echo


def largest_depth(
    activation: str | Callable[[Tensor], Tensor] | Activation,
    width: int,
    *,
    outputs: int = 10,
    skip: float = 0.0,
    K1: float | None = None,
    bias_variance: float | None = None,
    weight_variance: float | None = None,
    residual_vertex: str = "full",
) -> float:
    """L*(n): the last layer with ``V / (n K^2) <= v*``, from the recursion itself; inf when V / K^2 never gets there.

    At criticality where no variances are given; `K1` is K* or 1 where it is not. Source: PDLT appendix A.

    >>> largest_depth("tanh", 128)
    17
    """
    activation = as_activation(activation)
    n = int(check_number("width", width, least=1, integer=True))
    limit = best_fluctuation(outputs) * n
    critical = criticality(activation)
    keep = 1 - float(check_number("skip", skip, least=0, below=1)) ** 2
    C_b = keep * critical.bias_variance if bias_variance is None else bias_variance
    C_W = keep * critical.weight_variance if weight_variance is None else weight_variance
    depth = 64
    while True:
        run = single_input(
            activation,
            depth,
            critical.first_kernel if K1 is None else K1,
            C_b,
            C_W,
            skip=skip,
            residual_vertex=residual_vertex,
        )
        ratio = run.V / run.K**2
        beyond = np.flatnonzero(~(ratio <= limit))
        if len(beyond):
            return int(beyond[0])
        if depth >= DEEPEST or ratio[-1] - ratio[depth // 2] < 1e-9 * ratio[-1]:
            return inf
        depth *= 4
