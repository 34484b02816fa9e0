"""Averages over one Gaussian: composite Gauss-Legendre panels whose edges lie where the function is not smooth.

Gauss-Hermite rules of low order are not used: the poles of tanh at ``+-i pi/2`` slow them down as the
variance grows, and a kink stops them. Panels of one standard deviation with 16 nodes, halved near zero as the
variance grows, are exact to rounding for every activation here, and two halvings that disagree say so when
they are not.
"""

from collections.abc import Callable, Sequence
from functools import cache
from math import ceil, log2, pi, sqrt

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

Array = npt.NDArray[np.float64]

REACH = 13.0  # standard deviations; exp(-13**2 / 2) = 2e-37
PANEL = 1.0  # standard deviations
NODES = 16  # in each panel


@cache
def legendre(nodes: int) -> tuple[Array, Array]:
    """Gauss-Legendre nodes in (0, 1) and weights that sum to one, ``(nodes,)`` each."""
    x, w = np.polynomial.legendre.leggauss(nodes)
    return (1 + x) / 2, w / 2


def gradings(largest: float) -> int:
    """How often the panel beside zero is halved, so that ``sqrt(largest) x`` moves by one at most in it."""
    return max(0, ceil(log2(max(1.0, sqrt(largest)))))


def symmetric_edges(graded: int, panel: float = PANEL, reach: float = REACH) -> Array:
    """Panel edges in ``[-reach, reach]`` standard deviations: steps of `panel`, halved towards zero `graded` times."""
    half = np.union1d(np.arange(0.0, reach + panel / 2, panel), panel * 2.0 ** -np.arange(1, graded + 1))
    return np.concatenate([-half[:0:-1], half])


def root_between(function: Callable[[float], float], low: float, high: float, tolerance: float) -> float:
    """The root of `function` between two places where its signs differ, by Brent's method."""
    return float(brentq(function, low, high, xtol=tolerance))  # pyright: ignore[reportArgumentType]


def panel_rule(edges: Array, nodes: int = NODES) -> tuple[Array, Array]:
    """Nodes and weights of every panel between neighbouring `edges (..., E)`, ``(..., (E - 1) nodes)`` each."""
    x, w = legendre(nodes)
    width = np.diff(edges, axis=-1)[..., None]
    points = edges[..., :-1, None] + width * x
    return points.reshape(*edges.shape[:-1], -1), (width * w).reshape(*edges.shape[:-1], -1)


def gaussian_density(x: Array) -> Array:
    """``exp(-x^2 / 2) / sqrt(2 pi)``, elementwise."""
    return np.exp(-0.5 * x * x) / sqrt(2 * pi)


@cache
def unit_rule(graded: int, refine: int) -> tuple[Array, Array]:
    """Nodes and weights for the standard Gaussian, ``(n,)`` each; `refine` halves every panel that many times."""
    x, w = panel_rule(_halved(symmetric_edges(graded), refine))
    return x, w * gaussian_density(x)


def line_rule(variance: Array, kinks: Sequence[float] = (), *, refine: int = 0) -> tuple[Array, Array]:
    """Nodes ``z`` and weights ``w`` with ``<f>_K = (w f(z)).sum(-1)`` for every ``K`` of `variance`.

    Shapes: variance ``(L,)`` > 0; z ``(L, n)``; w ``(L, n)``, or ``(1, n)`` where one rule serves all. Zero
    is always an edge of a panel, and so is every one of `kinks` (in units of z). `refine` halves every panel
    that many times.
    """
    deviation = np.sqrt(variance)[:, None]
    graded = gradings(float(variance.max()))
    away = [kink for kink in kinks if kink != 0.0]
    if not away:
        x, w = unit_rule(graded, refine)
        return deviation * x, w[None, :]
    at = np.clip(np.array(away) / deviation, -REACH, REACH)
    common = symmetric_edges(graded)
    edges = np.sort(
        np.concatenate([np.broadcast_to(common, (len(variance), len(common))), at], axis=1), axis=1
    )
    x, w = panel_rule(_halved(edges, refine))
    return deviation * x, w * gaussian_density(x)


def _halved(edges: Array, times: int) -> Array:
    for _ in range(times):
        middle = (edges[..., 1:] + edges[..., :-1]) / 2
        pairs = np.stack([edges[..., :-1], middle], axis=-1).reshape(*edges.shape[:-1], -1)
        edges = np.concatenate([pairs, edges[..., -1:]], axis=-1)
    return edges
