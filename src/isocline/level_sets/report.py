"""Blind spots of a set of pairs, measured, in two tables, and as one page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from isocline._core.checks import check_number, wrong
from isocline._core.files import plain, write_json
from isocline.level_sets import measures
from isocline.level_sets.adapters import Model
from isocline.level_sets.traversal import Traversal
from isocline.level_sets.walk import traverse

DROPS = (0.0, 0.1, 0.2, 0.3)


@dataclass(frozen=True, slots=True)
class Hull:
    """Confidence all over the triangle of a source and two of its blind spots."""

    pairs: tuple[int, int]  # which two of the report's pairs
    values: Tensor  # (66,) on functional.hull_grid(10)

    def fractions(self, level: float) -> list[float]:
        """The share of points that are at most 0, 0.1, 0.2, 0.3 below `level`."""
        return [float((self.values >= level - drop).double().mean()) for drop in DROPS]


@dataclass(frozen=True, slots=True, eq=False)
class BlindSpotReport:
    """What `report_pairs` has measured of B pairs; only pairs that were walked have a place in the means."""

    walk: Traversal
    sources: tuple[str, ...]  # (B,) names
    targets: tuple[str, ...]
    labels: tuple[str, ...]  # (B,) the source's class in words
    rmse: Tensor  # (B,) of the blind spot to its target
    linf: Tensor
    ssim: Tensor | None  # None where the inputs are no images of 7 x 7 or more
    segment: Tensor  # (B, 21) confidence from the source straight to the blind spot
    control: Tensor  # (B, 21) and straight to the target itself
    hulls: tuple[Hull, ...]

    def table_a(self) -> tuple[list[str], list[list[object]]]:
        """How near: columns, and a row a pair with the mean and the standard deviation at the end."""
        walk = self.walk
        columns = {"RMSE": self.rmse, "l∞": self.linf}
        columns |= {} if self.ssim is None else {"SSIM": self.ssim}
        columns |= {
            "p source": walk.source_confidence,
            "p blind spot": walk.end_confidence,
            "segment min": self.segment.amin(1),
        }
        columns |= {"p target": self.control[:, -1], "passes": walk.evaluations.double()}
        names = [f"{a} → {b}" for a, b in zip(self.sources, self.targets, strict=True)]
        rows: list[list[object]] = [
            [name, *(round(float(v[i]), 4) for v in columns.values())] for i, name in enumerate(names)
        ]
        kept = [v[walk.kept].double() for v in columns.values()]
        if int(walk.kept.sum()) > 1:
            rows.append(["mean", *(round(float(v.mean()), 4) for v in kept)])
            rows.append(["standard deviation", *(round(float(v.std()), 4) for v in kept)])
        return ["pair", *columns], rows

    def table_b(self) -> tuple[list[str], list[list[object]]]:
        """How wide: a row a source with two blind spots or more, means over their triangles."""
        rows: list[list[object]] = []
        by_source: dict[str, list[Hull]] = {}
        for hull in self.hulls:
            by_source.setdefault(self.sources[hull.pairs[0]], []).append(hull)
        for name, hulls in by_source.items():
            i = hulls[0].pairs[0]
            p = float(self.walk.source_confidence[i])
            shares = torch.tensor([hull.fractions(p) for hull in hulls]).mean(0).tolist()
            mean = float(torch.stack([hull.values for hull in hulls]).double().mean())
            walked = [self.segment[j] for j in sorted({j for hull in hulls for j in hull.pairs})]
            edges = torch.stack(walked)
            cells = [p, mean, *shares, float(edges.double().mean()), float(edges.min()) - p]
            rows.append([name, len(hulls), *(round(cell, 4) for cell in cells)])
        columns = ["source", "triangles", "p source", "mean", *(f"≤ {drop:g}" for drop in DROPS)]
        return [*columns, "edges, mean", "worst"], rows

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, without the images."""
        numbers = {name: getattr(self, name) for name in ("rmse", "linf", "ssim", "segment", "control")}
        return {
            "sources": list(self.sources),
            "targets": list(self.targets),
            "labels": list(self.labels),
            **{name: None if v is None else plain(v.detach().cpu().numpy()) for name, v in numbers.items()},
            "hulls": [{"pairs": list(h.pairs), "values": h.values.tolist()} for h in self.hulls],
            "walk": self.walk.to_dict(),
        }

    def write(self, folder: str | os.PathLike[str], *, model: str = "the model", command: str = "") -> Path:
        """Write ``index.html``, ``report.json``, ``pictures/`` and ``blind_spots/`` into `folder`; returns the page's path."""
        from isocline.level_sets.page import write_page

        write_json(Path(folder) / "report.json", self.to_dict())
        return write_page(self, Path(folder), model, command)


def report_pairs(
    model: Model,
    source: Tensor,
    target: Tensor,
    label: Tensor | None = None,
    *,
    sources: Sequence[str] | None = None,
    targets: Sequence[str] | None = None,
    classes: dict[int, str] | None = None,
    hulls_per_source: int = 10,
    batch: int = 16,
    **settings: Any,
) -> BlindSpotReport:
    """Walk every pair and measure what came out: distances, segments, and triangles of blind spots that share a source.

    Shapes: source, target ``(B, ...)``; label ``(B,)``. sources, targets: names of the images; equal names are equal
    images. classes: names of the model's classes. settings: of `traverse`, which raises for what it does not know.
    """
    check_number("hulls_per_source", hulls_per_source, least=0, integer=True)
    B = len(source)
    sources = [f"source {i}" for i in range(B)] if sources is None else list(sources)
    targets = [f"target {i}" for i in range(B)] if targets is None else list(targets)
    for name, given in (("sources", sources), ("targets", targets)):
        if len(given) != B:
            raise wrong(name, f"{B} names, one a pair", f"{len(given)}")
    walk = traverse(model, source, target, label, **settings)
    y = walk.label
    named = tuple((classes or {}).get(int(one), f"class {int(one)}") for one in y)
    images = source.ndim == 4 and min(source.shape[2:]) >= 7
    groups: dict[str, list[int]] = {}
    for i, name in enumerate(sources):
        if bool(walk.kept[i]):
            groups.setdefault(name, []).append(i)
    chosen = [pair for group in groups.values() for pair in list(combinations(group, 2))[:hulls_per_source]]
    hulls = tuple(
        Hull((i, j), measures.hull_confidence(model, source[i], walk.end[i], walk.end[j], y[i]))
        for i, j in chosen
    )
    return BlindSpotReport(
        walk,
        tuple(sources),
        tuple(targets),
        named,
        measures.rmse(walk.end, target),
        measures.largest_difference(walk.end, target),
        measures.ssim(walk.end, target) if images else None,
        measures.segment_confidence(model, source, walk.end, y),
        measures.segment_confidence(model, source, target, y),
        hulls,
    )
