"""What lies between: the straight way to a blind spot, the triangle of two of them, and how wide a path is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from isocline._core.checks import check_number, wrong
from isocline._core.files import plain
from isocline.level_sets import functional
from isocline.level_sets.adapters import Model
from isocline.level_sets.measures import confidence, hull_confidence, segment_confidence
from isocline.level_sets.oracle import Oracle
from isocline.level_sets.traversal import Traversal


@dataclass(frozen=True, slots=True)
class HullScan:
    """Confidence on the triangle of a source and two blind spots.

    fractions: share of the grid within each threshold's drop of the source. edge_mean, edge_drop: over the two edges that leave
    the source, the mean confidence and the least of ``p - p_src``.
    """

    values: Tensor  # ((n + 1) (n + 2) / 2,)
    grid: Tensor  # (.., 3) weights of source, first and second blind spot
    thresholds: tuple[float, ...]
    fractions: tuple[float, ...]
    source_confidence: float
    mean: float
    edge_mean: float
    edge_drop: float

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        numbers = ("thresholds", "fractions", "source_confidence", "mean", "edge_mean", "edge_drop")
        return {name: plain(getattr(self, name)) for name in numbers} | {"values": self.values.tolist()}


def segment_scan(model: Model, source: Tensor, end: Tensor, label: Tensor, points: int = 21) -> Tensor:
    """Confidence at `points` even steps of the straight way from each source to its end, both included.

    Shapes: source, end ``(B, ...)``; label ``(B,)``; returns ``(B, points)``. Raises: ValueError for shapes that differ.
    Source: BSSF, section 4 (star-likeness).
    """
    check_number("points", points, least=2, integer=True)
    _check_same("end", end, source)
    return segment_confidence(model, source, end, label, points)


def hull_scan(
    model: Model,
    source: Tensor,
    first: Tensor,
    second: Tensor,
    label: Tensor,
    n: int = 10,
    thresholds: Sequence[float] = (0.0, 0.1, 0.2, 0.3),
    *,
    strict: bool = False,
) -> HullScan:
    """Confidence on an even grid of the triangle of a source and two blind spots.

    A point counts for a threshold d if ``p >= p_src - d``; with `strict`, as published, if ``p > p_src - d``, and the source
    itself never counts at d = 0. Shapes: three images ``(...)`` without a batch; label ``()``. Raises: ValueError.
    Source: BSSF, section 4 (hull scores); the grid is of whole numbers, so that no point is lost to rounding.
    """
    check_number("n", n, least=1, integer=True)
    _check_same("first", first, source)
    _check_same("second", second, source)
    label = torch.as_tensor(label, device=source.device).reshape(())
    values, grid = hull_confidence(model, source, first, second, label, n), functional.hull_grid(n)
    p = values[0]  # the grid begins at the source
    edges = torch.cat([values[(grid[:, other] == 0).to(values.device)] for other in (1, 2)])
    within = [values > p - d if strict else values >= p - d for d in thresholds]
    return HullScan(
        values=values,
        grid=grid,
        thresholds=tuple(thresholds),
        fractions=tuple(float(mask.double().mean()) for mask in within),
        source_confidence=float(p),
        mean=float(values.mean()),
        edge_mean=float(edges.mean()),
        edge_drop=float((edges - p).min()),
    )


def path_width(
    model: Model,
    found: Traversal,
    step: int = -1,
    radii: Sequence[float] = (0.5, 1.0, 1.5, 2.0),
    directions: int = 256,
    generator: torch.Generator | None = None,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Tensor:
    """The 5 % and 95 % quantiles of the confidence around a point of the path, at right angles to where it goes next.

    Random unit directions u orthogonal to the tangent step, probed at ``clip(x + r u)``. step: which of `found.path`. radii:
    Euclidean, in units of the input. Shapes: returns ``(B, len(radii), 2)``. An estimate from `directions` draws.
    Source: BSSF, appendix (path width).
    """
    check_number("directions", directions, least=1, integer=True)
    generator = generator or torch.Generator(device=found.end.device).manual_seed(0)
    x = found.path[:, step]
    oracle = Oracle(model, "probability", found.label, x)
    rows = torch.arange(len(x), device=x.device)
    g = oracle.gradient(oracle.first(x), torch.ones_like(rows, dtype=torch.bool), rows)
    ahead = functional.tangent(found.target - x, g)
    shape = (directions, *x.shape[1:])
    widths = []
    for here, along, label in zip(x, ahead, found.label, strict=True):
        u = torch.randn(shape, generator=generator, dtype=x.dtype, device=x.device)
        u = functional.tangent(u, along.expand(shape))
        u = u / u.flatten(1).norm(dim=1).reshape(-1, *[1] * here.dim())
        quantiles = torch.tensor([0.05, 0.95], dtype=x.dtype, device=x.device)
        rings = [confidence(model, (here + r * u).clamp(*bounds), label.expand(directions)) for r in radii]
        widths.append(torch.stack([ring.quantile(quantiles) for ring in rings]))
    return torch.stack(widths)


def star_report(model: Model, found: Traversal, points: int = 21) -> dict[str, Any]:
    """Whether the straight way to each blind spot stays in the superlevel set, beside the straight way to the raw target.

    holds: the least confidence is at least ``p_src - delta`` at `points` even points, which is evidence and no proof. Lists over
    samples. Source: BSSF, section 4 (star-likeness).
    """
    to_end = segment_scan(model, found.source, found.end, found.label, points)
    to_target = segment_scan(model, found.source, found.target, found.label, points)
    least = found.source_confidence - found.delta
    return {
        "points": points,
        "mean": to_end.mean(1).tolist(),
        "min": to_end.amin(1).tolist(),
        "holds": (to_end.amin(1) >= least).tolist(),
        "control_mean": to_target.mean(1).tolist(),
        "control_min": to_target.amin(1).tolist(),
    }


def _check_same(name: str, given: Tensor, source: Tensor) -> None:
    if given.shape != source.shape:
        raise wrong(name, f"the shape of the source, {tuple(source.shape)}", given)
