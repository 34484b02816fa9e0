"""What a trained model has in it: Lyapunov exponents, fixed points and cycles, and attractors the data do not
know.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from isocline._core.checks import check_choice, check_finite, check_number, wrong

from .cycles import Cycles, affordable, all_cycles
from .lyapunov import LyapunovSpectrum, exponents_along, kaplan_yorke_dimension, lyapunov_spectrum
from .orbit import as_array
from .piecewise import PiecewiseLinear, almost_linear_form, dendritic_form, plrnn_form, shallow_form
from .regions import Regions, linear_regions, region_bound
from .search import search_cycles

__all__ = [
    "Cycles",
    "LyapunovSpectrum",
    "PiecewiseLinear",
    "Regions",
    "SpuriousAttractorWarning",
    "almost_linear_form",
    "cycles",
    "cycles_of",
    "dendritic_form",
    "exponents_along",
    "fixed_points",
    "kaplan_yorke_dimension",
    "linear_regions",
    "lyapunov_spectrum",
    "plrnn_form",
    "region_bound",
    "shallow_form",
    "spurious_attractors",
]


class SpuriousAttractorWarning(UserWarning):
    """The model has a stable fixed point or cycle which the data do not settle on."""


def fixed_points(
    A: npt.ArrayLike,
    W1: npt.ArrayLike,
    W2: npt.ArrayLike,
    h1: npt.ArrayLike,
    h2: npt.ArrayLike,
    *,
    clipped: bool = True,
    method: str = "auto",
    around: npt.ArrayLike | None = None,
    max_regions: int = 250_000,
    seed: int = 0,
) -> Cycles:
    """The fixed points of a shallow PLRNN, with their stability.

    Shapes: A, h1 ``(M,)``; W1 ``(M, L)``; W2 ``(L, M)``; h2 ``(L,)``. Arguments as in ``cycles_of``. Raises
    ValueError.
    """
    mapping = shallow_form(A, W1, W2, h1, h2, clipped=clipped)
    return cycles_of(mapping, 1, method=method, around=around, max_regions=max_regions, seed=seed)


def cycles(
    A: npt.ArrayLike,
    W1: npt.ArrayLike,
    W2: npt.ArrayLike,
    h1: npt.ArrayLike,
    h2: npt.ArrayLike,
    order: int,
    *,
    clipped: bool = True,
    method: str = "auto",
    around: npt.ArrayLike | None = None,
    max_regions: int = 250_000,
    max_tuples: int = 2_000_000,
    seed: int = 0,
) -> Cycles:
    """The cycles of ``order`` of a shallow PLRNN, lower orders left out. Shapes as in ``fixed_points``.
    Raises ValueError.
    """
    mapping = shallow_form(A, W1, W2, h1, h2, clipped=clipped)
    limits = {"max_regions": max_regions, "max_tuples": max_tuples}
    return cycles_of(mapping, order, method=method, around=around, seed=seed, **limits)


def cycles_of(
    mapping: PiecewiseLinear,
    order: int = 1,
    *,
    method: str = "auto",
    around: npt.ArrayLike | None = None,
    reach: float = 10.0,
    rounds: int | None = None,
    corrections: int | None = None,
    max_regions: int = 250_000,
    max_tuples: int = 2_000_000,
    seed: int = 0,
) -> Cycles:
    """The cycles of ``order`` of any map in plain form; order 1 are its fixed points.

    "exact" lists all regions and solves every tuple of them up to rotation: `complete` says that nothing
    isolated is missing. "search" starts from random points in [-reach, reach]^M and near the points
    ``around`` ``(n, M)``, an orbit, say, and stops after ``rounds`` without a discovery. "auto" lists where
    at most ``max_regions`` regions and ``max_tuples`` tuples can exist, which holds for 3 states and 50
    clipped units. Raises ValueError.
    """
    order = int(check_number("order", order, least=1, integer=True))
    check_choice("method", method, ["auto", "exact", "search"])
    lists = affordable(mapping, order, max_regions, max_tuples)
    if method == "exact" and not lists:
        units, size = mapping.W2.shape
        most = region_bound(units, size)
        do = "raise max_regions or max_tuples, or use method='search'"
        raise wrong(
            "method", "a map whose regions can be listed", f"up to {most} regions in {size} dimensions", do
        )
    if lists and method != "search":
        return all_cycles(mapping, order)
    near = None if around is None else as_array(around)
    if near is not None:
        if near.ndim != 2 or near.shape[1] != len(mapping.h1) or not len(near):
            raise wrong("around", f"states of shape (n, {len(mapping.h1)})", f"{near.shape}")
        check_finite("around", near)
    reach = float(check_number("reach", reach, above=0))
    for name, value in (("rounds", rounds), ("corrections", corrections)):
        if value is not None:
            check_number(name, value, least=1, integer=True)
    return search_cycles(
        mapping, order, around=near, reach=reach, rounds=rounds, corrections=corrections, seed=seed
    )


def spurious_attractors(
    found: Cycles | Sequence[Cycles], states: npt.ArrayLike, *, near: float = 0.1
) -> list[Cycles]:
    """Those stable fixed points and cycles which the data do not settle on; warns if there are any.

    ``states`` ``(T, M)`` is the true series in the model's state space. It settles on a cycle if all of its
    last tenth lies within ``near`` times its spread of the cycle's points. Scores of a free run can be good
    while such an attractor waits for other initial states. Raises ValueError.
    """
    orbit = as_array(states)
    groups = [found] if isinstance(found, Cycles) else list(found)
    for group in groups:
        if orbit.ndim != 2 or not len(orbit) or orbit.shape[1] != group.orbits.shape[2]:
            raise wrong(
                "states", f"shape (T, {group.orbits.shape[2]}), as the fixed points", f"{orbit.shape}"
            )
    check_finite("states", orbit)
    radius = near * np.sqrt(np.sum(orbit.var(0)))
    spurious = [
        group.only(group.stable & ~np.array([_settles(orbit, one, radius) for one in group.orbits], np.bool_))
        for group in groups
    ]
    spurious = [group for group in spurious if len(group)]
    if spurious:
        listed = "; ".join(
            f"{kind} of order {group.order} at {np.round(point, 3).tolist()}, modulus {abs(rate[0]):.4g}"
            for group in spurious
            for kind, point, rate in zip(group.kinds, group.points, group.multipliers, strict=True)
        )
        message = (
            f"the model attracts where the data do not stay: {listed}. Start generation from several states, "
            "and train longer or choose another seed"
        )
        warnings.warn(message, SpuriousAttractorWarning, stacklevel=2)
    return spurious


def _settles(orbit: np.ndarray, cycle: np.ndarray, radius: float) -> bool:
    tail = orbit[-max(1, len(orbit) // 10) :]
    distance = np.linalg.norm(tail[:, None, :] - cycle, axis=2).min(1)
    return bool(distance.max() <= radius)
