"""Fixed points and cycles of a piecewise-linear map: all of them where its regions can be listed, a search
otherwise.

Notation: a k-cycle visits regions 1..k; with ``P = P_k ... P_1`` and c the offset gathered on the way its
first point solves ``(I - P) z = c``. It is *real* if iterating the map from z visits just those regions, else
*virtual*. Source: Hess, Monfared, Brenner and Durstewitz 2023; the search: Eisenmann et al. 2023 (SCYFI).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from isocline._core.files import plain

from .orbit import Array
from .piecewise import Gates, PiecewiseLinear
from .regions import linear_regions, region_bound

_EDGE = 1e-10  # how far outside its region a point may lie, by rounding, and still be real
_SAME = 1e-8  # relative distance of two points of neighbouring regions that are one point on the edge
_SINGULAR = 1e-13  # |det(I - P)| relative to that of a generic matrix with rows as long
_TOGETHER = 2**16  # tuples of regions solved together


@dataclass(frozen=True, slots=True, eq=False)
class Cycles:
    """The cycles of one order, order 1 being fixed points; each once, whichever point it starts from."""

    orbits: Array  # (n, order, M)
    multipliers: npt.NDArray[
        np.complex128
    ]  # (n, M) eigenvalues of the product of Jacobians, largest modulus first
    residual: Array  # (n,) |F^k(z) - z|, absolute
    complete: bool  # these are all isolated ones
    how: str

    @property
    def order(self) -> int:
        return self.orbits.shape[1]

    @property
    def points(self) -> Array:
        """``(n, M)`` one point of each cycle: the fixed points themselves for order 1."""
        return self.orbits[:, 0]

    @property
    def stable(self) -> Gates:
        """``(n,)`` whether all multipliers lie inside the unit circle: the cycle attracts."""
        return np.abs(self.multipliers).max(1, initial=0.0) < 1.0

    @property
    def kinds(self) -> tuple[str, ...]:
        """``(n,)`` "stable", "unstable" or "neutral" "node" or "spiral", "saddle" or "spiral saddle"."""
        return tuple(_kind(one) for one in self.multipliers)

    def only(self, chosen: Gates) -> Cycles:
        """Those of a mask ``(n,)``."""
        return replace(
            self,
            orbits=self.orbits[chosen],
            multipliers=self.multipliers[chosen],
            residual=self.residual[chosen],
        )

    def __len__(self) -> int:
        return len(self.orbits)

    def __str__(self) -> str:
        name = "fixed point" if self.order == 1 else f"{self.order}-cycle"
        kinds = "".join(f"\n  {kind} at {point}" for kind, point in zip(self.kinds, self.points, strict=True))
        known = "all there are" if self.complete else "there may be more"
        return f"{len(self)} {name}{'s' * (len(self) != 1)} ({known}: {self.how}){kinds}"

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types; multipliers as [real, imaginary]."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values["multipliers"] = np.stack([self.multipliers.real, self.multipliers.imag], -1)
        return plain({**values, "order": self.order, "kinds": self.kinds, "stable": self.stable})


def _kind(multipliers: npt.NDArray[np.complex128]) -> str:
    modulus = np.abs(multipliers)
    turns = bool(np.any(np.abs(multipliers.imag) > 1e-12 * modulus.max()))
    if modulus.min() < 1.0 < modulus.max() and not np.any(np.abs(modulus - 1.0) < 1e-9):
        return "spiral saddle" if turns else "saddle"
    side = (
        "neutral" if np.any(np.abs(modulus - 1.0) < 1e-9) else "stable" if modulus.max() < 1.0 else "unstable"
    )
    return f"{side} {'spiral' if turns else 'node'}"


def affordable(mapping: PiecewiseLinear, order: int, max_regions: int, max_tuples: int) -> bool:
    """Whether all cycles of this order can be listed within the limits."""
    most = region_bound(len(mapping.h2), len(mapping.h1))
    return most <= max_regions and most**order <= order * max_tuples


def all_cycles(mapping: PiecewiseLinear, order: int) -> Cycles:
    """Every isolated cycle of this order: one linear system per tuple of regions, up to rotation of the
    tuple.

    Not complete if the list of regions is not, or where ``I - P`` is singular and yet solvable: a continuum
    may pass there.
    """
    regions = linear_regions(mapping.W2, mapping.h2)
    found, continua, tuples = [], 0, 0
    for chosen in _tuples(len(regions), order):
        gates = regions.gates[chosen]
        z, singular, solvable = solve(mapping, gates)
        found.append(trace(mapping, z, order)[real(mapping, z, gates) & ~singular])
        continua += int(solvable.sum())
        tuples += len(chosen)
    how = f"{len(regions)} regions, {tuples} tuples"
    if continua:
        how += f", {continua} of them with a multiplier 1 and possibly a continuum"
    if not regions.complete:
        how += f"; the list of regions is doubtful: {regions.how}"
    return describe(mapping, np.concatenate(found), regions.complete and not continua, how)


def _tuples(regions: int, order: int) -> Iterator[npt.NDArray[np.int64]]:
    """All tuples ``(n, order)`` of regions whose first is the least, block by block."""
    if order == 1:
        for begin in range(0, regions, _TOGETHER):
            yield np.arange(begin, min(begin + _TOGETHER, regions))[:, None]
        return
    for first in range(regions):
        shape = (regions - first,) * (order - 1)
        total = shape[0] ** (order - 1)
        for begin in range(0, total, _TOGETHER):
            rest = np.unravel_index(np.arange(begin, min(begin + _TOGETHER, total)), shape)
            yield np.stack([np.full(len(rest[0]), first), *(first + one for one in rest)], axis=1)


def solve(mapping: PiecewiseLinear, gates: Gates) -> tuple[Array, Gates, Gates]:
    """First points ``(n, M)`` of the cycles through regions ``(n, k, L)``, which are singular, and which of
    those solvable.
    """
    each_P, each_c = mapping.pieces(gates)
    P, c = each_P[:, 0], each_c[:, 0]
    for i in range(1, gates.shape[1]):
        P, c = each_P[:, i] @ P, np.einsum("nij,nj->ni", each_P[:, i], c) + each_c[:, i]
    system = np.eye(P.shape[-1]) - P
    with np.errstate(
        all="ignore"
    ):  # a generic determinant is about exp(-M / 2) of the product of its row lengths
        share = np.linalg.slogdet(system)[1] - np.log(np.linalg.norm(system, axis=2)).sum(1)
        singular = ~(share > np.log(_SINGULAR) - 0.5 * P.shape[-1])
    solvable = np.zeros(len(c), np.bool_)
    for i in np.flatnonzero(singular & np.isfinite(system).all((1, 2)) & np.isfinite(c).all(1)):
        nearest = np.linalg.lstsq(system[i], c[i], rcond=1e-12)[0]
        solvable[i] = np.linalg.norm(system[i] @ nearest - c[i]) <= 1e-9 * (1.0 + np.linalg.norm(c[i]))
    system[singular], c[singular] = np.eye(P.shape[-1]), 0.0
    z: Array = np.linalg.solve(system, c[..., None])[..., 0].astype(np.float64, copy=False)
    return z, singular, solvable


def real(mapping: PiecewiseLinear, z: Array, gates: Gates) -> Gates:
    """``(n,)`` whether the orbits from z ``(n, M)`` visit the regions ``(n, k, L)``, edges included."""
    agrees = np.ones(len(z), np.bool_)
    for i in range(gates.shape[1]):
        with np.errstate(over="ignore", invalid="ignore"):
            value, edge = z @ mapping.W2.T + mapping.h2, _edges(mapping, z)
            agrees &= np.where(gates[:, i], value >= -edge, value <= edge).all(1)
            z = mapping.step(z)
    return agrees


class _Candidate(NamedTuple):
    """A real orbit ``(k, M)``, its regions ``(k, L)``, and whether a point of it lies on an edge."""

    orbit: Array
    gates: Gates
    on_edge: bool

    def turned(self, steps: int) -> _Candidate:
        return self._replace(
            orbit=np.roll(self.orbit, -steps, axis=0), gates=np.roll(self.gates, -steps, axis=0)
        )

    def same(self, other: _Candidate) -> bool:
        """Regions have one orbit each; only on an edge do neighbours share theirs, up to rounding."""
        if np.array_equal(self.gates, other.gates):
            return True
        near = _SAME * (1.0 + np.linalg.norm(self.orbit, axis=1).max())
        close = np.linalg.norm(self.orbit - other.orbit, axis=1).max() <= near
        return bool(close and (self.on_edge or other.on_edge))


def _edges(mapping: PiecewiseLinear, z: Array) -> Array:
    """How large a unit's input ``(n, L)`` may be by rounding alone, at states z ``(n, M)``."""
    size = np.linalg.norm(mapping.W2, axis=1) + np.abs(mapping.h2)
    return _EDGE * size * (1.0 + np.linalg.norm(z, axis=1, keepdims=True))


def _on_edge(mapping: PiecewiseLinear, z: Array) -> np.bool_:
    return np.any(np.abs(z @ mapping.W2.T + mapping.h2) <= _edges(mapping, z))


def describe(mapping: PiecewiseLinear, orbits: Array, complete: bool, how: str) -> Cycles:
    """The result for real orbits ``(n, k, M)``: repeats and lower orders left out, the rest in order of their
    points.
    """
    kept: list[_Candidate] = []
    for orbit in orbits:
        new = _Candidate(orbit, mapping.gates(orbit), bool(_on_edge(mapping, orbit)))
        turns = [new.turned(i) for i in range(len(orbit))]
        if not any(new.same(turn) for turn in turns[1:]) and not any(
            one.same(turn) for one in kept for turn in turns
        ):
            kept.append(min(turns, key=lambda turn: tuple(turn.orbit[0])))
    kept.sort(key=lambda one: tuple(one.orbit[0]))
    result = np.array([one.orbit for one in kept]).reshape(len(kept), *orbits.shape[1:])
    P = np.broadcast_to(np.eye(len(mapping.h1)), (len(kept), *mapping.A.shape))
    for i in range(result.shape[1]):
        P = mapping.jacobian(result[:, i]) @ P
    values = np.linalg.eigvals(P).astype(np.complex128)
    values = np.take_along_axis(values, np.argsort(-np.abs(values), axis=1, kind="stable"), axis=1)
    back = mapping.step(result[:, -1]) - result[:, 0]
    return Cycles(result, values, np.linalg.norm(back, axis=1), complete, how)


def trace(mapping: PiecewiseLinear, z: Array, order: int) -> Array:
    """The orbits ``(n, order, M)`` that start at z ``(n, M)``."""
    visited = [z]
    for _ in range(order - 1):
        with np.errstate(over="ignore", invalid="ignore"):
            visited.append(mapping.step(visited[-1]))
    return np.stack(visited, axis=1)
