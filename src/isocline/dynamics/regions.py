"""The linear regions of a ReLU layer: the cells into which hyperplanes cut the space, all of them.

Notation: n hyperplanes ``{z : g_l . z + b_l = 0}`` in R^d; a cell is known by its signs, ``gate_l = [g_l . z
+ b_l > 0]``, and by a witness, a point inside. Every cell has a facet, a facet in hyperplane k is a cell of
the arrangement that the others cut out of hyperplane k, and on a line the cells are the intervals between
sorted breakpoints. So witnesses rise from lines to planes to space, each by a step small enough to cross
nothing, whatever is parallel, coincident or meets in one point. A second, independent count (deletion and
restriction) says whether all were found. Source of the count: Zaslavsky 1975; Hess et al. 2023 give fixed
points region by region.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isocline._core.checks import check_finite, wrong

Array = npt.NDArray[np.float64]
Gates = npt.NDArray[np.bool_]

_ROUNDING = 64 * np.finfo(np.float64).eps  # of a unit row, and of its value at a point of unit size
_PARALLEL = 1e-11  # sine of the angle below which two hyperplanes are parallel


@dataclass(frozen=True, slots=True, eq=False)
class Regions:
    """The cells of an arrangement."""

    gates: Gates  # (R, n) on which side of each hyperplane, in the order given; each row once
    witnesses: Array  # (R, d) a point inside each
    complete: bool  # the second count agrees: these are all
    how: str

    def __len__(self) -> int:
        return len(self.gates)


def region_bound(hyperplanes: int, dimension: int) -> int:
    """The most cells that many hyperplanes can cut the space into: ``sum_{i <= d} C(n, i)``, reached in
    general position.

    >>> region_bound(10, 2), region_bound(50, 3)
    (56, 20876)
    """
    return sum(math.comb(hyperplanes, i) for i in range(dimension + 1))


def linear_regions(normals: npt.ArrayLike, offsets: npt.ArrayLike) -> Regions:
    """All cells of the arrangement ``normals @ z + offsets = 0``; of a ReLU layer W z + h:
    ``linear_regions(W, h)``.

    Shapes: normals ``(n, d)``, offsets ``(n,)``. Costs about n^d; cells thinner than rounding (1e-14 of their
    distance from the origin, more between nearly parallel hyperplanes) count as empty. Zero rows keep one
    side. Raises ValueError.
    """
    g, b = np.asarray(normals, np.float64), np.asarray(offsets, np.float64)
    if g.ndim != 2 or g.shape[1] == 0 or b.shape != (len(g),):
        raise wrong("normals", "shape (n, d) with offsets (n,)", f"{g.shape} with {b.shape}")
    check_finite("normals", g)
    check_finite("offsets", b)
    length = np.linalg.norm(g, axis=1)
    real = length > 0
    unit, shift = g[real] / length[real, None], b[real] / length[real]
    scale = np.abs(shift).max(initial=0.0) or 1.0
    planes = _distinct(_Planes(unit, shift / scale, np.full(len(unit), _ROUNDING)))
    witnesses = scale * _witnesses(planes)
    gates = np.empty((len(witnesses), len(g)), np.bool_)
    gates[:, real] = witnesses @ unit.T + shift > 0
    gates[:, ~real] = b[~real] > 0
    counted = _count(planes)
    how = f"{len(witnesses)} cells found, {counted} counted, {len(planes.b)} hyperplanes in R^{g.shape[1]}"
    return Regions(gates, witnesses, len(witnesses) == counted, how)


@dataclass(frozen=True, slots=True, eq=False)
class _Planes:
    """n hyperplanes in R^d with unit normals; `doubt` is the rounding error of ``g . z + b`` at points of
    unit size.
    """

    g: Array  # (n, d)
    b: Array  # (n,)
    doubt: Array  # (n,)

    def only(self, chosen: Gates | npt.NDArray[np.int64]) -> _Planes:
        return _Planes(self.g[chosen], self.b[chosen], self.doubt[chosen])


def _distinct(planes: _Planes) -> _Planes:
    """Each hyperplane once, whichever way its normal points. O(n^2)."""
    sign = np.where(planes.g @ planes.g.T < 0, -1.0, 1.0)
    near = np.abs(sign * planes.b[:, None] - planes.b) <= (planes.doubt[:, None] + planes.doubt) * (
        1.0 + np.abs(planes.b)
    )
    near &= np.abs(planes.g @ planes.g.T) > 0.999
    again = np.zeros(len(planes.b), np.bool_)
    for i, j in np.argwhere(np.tril(near, -1)):
        apart = np.linalg.norm(planes.g[i] - sign[i, j] * planes.g[j])
        again[i] |= apart <= _PARALLEL and not again[j]
    return planes.only(~again)


def _restrict(planes: _Planes, k: int, others: Gates) -> tuple[Array, Array, _Planes]:
    """Hyperplane k from within: a point on it, an orthonormal basis ``(d, d - 1)``, and what ``others`` cut
    out of it.
    """
    normal, point = planes.g[k], -planes.b[k] * planes.g[k]
    mirror = normal.copy()
    mirror[0] += math.copysign(1.0, normal[0])
    basis = (np.eye(len(normal)) - 2.0 * np.outer(mirror, mirror) / (mirror @ mirror))[:, 1:]
    cutting = planes.only(others)
    g = cutting.g @ basis
    length = np.sqrt(np.einsum("ij,ij->i", g, g))
    met = length > _PARALLEL
    length = length[met]
    b = (cutting.g[met] @ point + cutting.b[met]) / length
    doubt = (cutting.doubt[met] + planes.doubt[k]) * (1.0 + abs(planes.b[k])) / length
    return point, basis, _Planes(g[met] / length[:, None], b, doubt)


def _breakpoints(line: _Planes) -> tuple[Array, Gates]:
    """Sorted points of a line, and which gaps between neighbours are wider than rounding."""
    points = -line.b * line.g[:, 0]
    order = np.argsort(points)
    points = points[order]
    doubt = (line.doubt * (1.0 + np.abs(line.b)))[order]
    return points, np.diff(points) > doubt[1:] + doubt[:-1]


def _witnesses(planes: _Planes) -> Array:
    """A point inside each cell ``(R, d)``, each cell once."""
    n, d = planes.g.shape
    if n == 0:
        return np.zeros((1, d))
    if d == 1:
        points, open_ = _breakpoints(planes)
        ends = [points[0] - 1.0 - abs(points[0]), points[-1] + 1.0 + abs(points[-1])]
        return np.concatenate([ends, 0.5 * (points[1:] + points[:-1])[open_]])[:, None]
    found, sides, own_bit = [], [], _packed(np.eye(n, dtype=np.bool_))
    for k in range(n):
        others = np.arange(n) != k
        point, basis, inside = _restrict(planes, k, others)
        facets = point + _witnesses(_distinct(inside) if d > 2 else inside) @ basis.T
        values = facets @ planes.g.T + planes.b
        room = 0.5 * np.abs(values[:, others]).min(1, initial=2.0)[:, None] * planes.g[k]
        values[:, k] = -1.0
        below = _packed(values > 0)
        found += [facets - room, facets + room]
        sides += [below, below | own_bit[k]]
    return np.concatenate(found)[_first_of_each(np.concatenate(sides))]


def _packed(gates: Gates) -> npt.NDArray[np.uint64]:
    """``(R, n)`` bits as ``(R, n / 64)`` whole numbers, equal for equal rows."""
    rows, n = gates.shape
    padded = np.zeros((rows, -(-n // 64) * 8), np.uint8)
    padded[:, : -(-n // 8)] = np.packbits(gates, axis=1)
    return padded.view(np.uint64)


def _first_of_each(rows: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Where each distinct row stands first."""
    order = np.lexsort(rows.T)
    changed = (rows[order[1:]] != rows[order[:-1]]).any(1)
    return order[np.concatenate([[True], changed])]


def _count(planes: _Planes) -> int:
    """How many cells there are: each hyperplane adds as many as those before it cut out of it."""
    n, d = planes.g.shape
    if d == 1:
        return 2 + int(_breakpoints(planes)[1].sum()) if n else 1
    total = 1
    for k in range(n):
        _, _, inside = _restrict(planes, k, np.arange(n) < k)
        total += _count(_distinct(inside) if d > 2 else inside)
    return total
