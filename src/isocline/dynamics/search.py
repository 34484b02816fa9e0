"""The search for cycles where there are too many regions to list: guess the regions, solve, correct the
guess.

Draw an orbit's regions, solve for the cycle through them; if it visits other regions, take those as the next
guess. Most guesses find their way in a few corrections. Source: Eisenmann et al. 2023 (SCYFI), here on many
guesses at once.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .cycles import Cycles, describe, real, solve, trace
from .orbit import Array
from .piecewise import Gates, PiecewiseLinear

_GUESSES = 64  # corrected side by side: one round


def effort(order: int) -> tuple[int, int]:
    """Rounds without a discovery before giving up, and corrections of a guess, as published."""
    outer = 10 if order < 8 else 40 if order < 30 else 100
    inner = next((most for limit, most in ((3, 20), (6, 60), (8, 300), (20, 1080)) if order < limit), 1115)
    return outer, inner


def search_cycles(
    mapping: PiecewiseLinear,
    order: int,
    *,
    around: Array | None,
    reach: float,
    rounds: int | None,
    corrections: int | None,
    seed: int,
) -> Cycles:
    """Cycles found by rounds of guesses, until ``rounds`` in a row found nothing new. Never known to be
    complete.
    """
    outer, inner = effort(order)
    outer, inner = rounds or outer, corrections or inner
    generator = np.random.default_rng(seed)
    found = np.zeros((0, order, len(mapping.h1)))
    idle = total = 0
    while idle < outer:
        points = _draw(generator, (order, len(mapping.h1)), around, reach)
        points[::2] = trace(
            mapping, points[::2, 0], order
        )  # half the guesses are orbits, half any regions at all
        hits = _correct(mapping, mapping.gates(points), inner)
        known = len(found)
        found = describe(mapping, np.concatenate([found, hits]), False, "").orbits
        idle, total = (0 if len(found) > known else idle + 1), total + 1
    how = (
        f"self-consistent search, {total} rounds of {_GUESSES} guesses, {inner} corrections each, seed {seed}"
    )
    return describe(mapping, found, False, how)


def _draw(
    generator: np.random.Generator, shape: tuple[int, int], around: Array | None, reach: float
) -> Array:
    """Points ``(G, k, M)``: uniform in [-reach, reach]^M, or, half of the guesses, near the points
    ``around``.
    """
    points = generator.uniform(-reach, reach, (_GUESSES, *shape))
    if around is not None:
        half = _GUESSES // 2
        near = around[generator.integers(len(around), size=(half, shape[0]))]
        points[:half] = near + 0.3 * around.std(0) * generator.standard_normal(near.shape)
    return points


def _correct(mapping: PiecewiseLinear, gates: Gates, corrections: int) -> Array:
    """The real orbits ``(n, k, M)`` that guesses ``(G, k, L)`` lead to."""
    order = gates.shape[1]
    hits = [np.zeros((0, order, mapping.W2.shape[1]))]
    marks = _fingerprint(
        gates
    )  # of an earlier guess: to meet it again is to go round in a circle (Brent 1980)
    for attempt in range(1, corrections + 1):
        z, singular, _ = solve(mapping, gates)
        orbits = trace(mapping, z, order)
        sound = ~singular & np.isfinite(orbits).all((1, 2))
        there = sound & real(mapping, z, gates)
        hits.append(orbits[there])
        after = mapping.gates(np.where(sound[:, None, None], orbits, 0.0))
        seen = _fingerprint(after)
        open_ = sound & ~there & (seen != marks)
        if not open_.any():
            break
        gates, marks = after[open_], marks[open_] if attempt & (attempt - 1) else seen[open_]
    return np.concatenate(hits)


def _fingerprint(gates: Gates) -> npt.NDArray[np.void]:
    """One value per guess ``(G, k, L)``, equal for equal guesses."""
    packed = np.ascontiguousarray(np.packbits(gates.reshape(len(gates), -1), axis=1))
    return packed.view(np.dtype((np.void, packed.shape[1])))[:, 0]
