"""Triangles of blind spots, and how to compare two networks' at one size: their blind spots lie in different places."""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

from isocline.level_sets.adapters import Model
from isocline.level_sets.functional import hull_grid
from isocline.level_sets.measures import confidence


def at_distance(path: Tensor, target: Tensor, distance: Tensor) -> Tensor:
    """Where each path comes as near to its target as `distance` (RMSE): between the first iterate as near and the one before.

    A path that starts nearer gives its start, one that never comes as near its nearest iterate. Shapes: path ``(B, T, ...)``,
    target ``(B, ...)``, distance ``(B,)``; returns ``(B, ...)``. Source: ``|u + t w| = d``, solved for its smaller t.
    """
    u = (path - target[:, None]).flatten(2).double()
    lengths, d = u.norm(dim=2), distance.double() * u.shape[2] ** 0.5
    near = lengths <= torch.maximum(d, lengths.amin(1))[:, None]
    rows, after = torch.arange(len(path), device=path.device), near.long().argmax(1)
    start = u[rows, (after - 1).clamp(min=0)]
    w = u[rows, after] - start
    along, squared = (start * w).sum(1), w.square().sum(1)
    under = along.square() - squared * (start.square().sum(1) - d.square())
    t = (-along - under.clamp(min=0).sqrt()) / torch.where(squared > 0, squared, 1.0)
    t = torch.where(lengths[rows, after] >= d, 1.0, t.clamp(0, 1))  # never nearer, or there exactly
    t = torch.where(after == 0, 0.0, t)
    return torch.lerp(path[rows, (after - 1).clamp(min=0)], path[rows, after], _spread(t, target))


def no_longer(source: Tensor, ends: Tensor, other: Tensor) -> Tensor:
    """`ends`, drawn straight towards the source until no farther from it than `other`.

    Shapes: source, ends, other ``(B, ...)``; returns the same.
    """
    here, there = ((x - source).flatten(1).norm(dim=1) for x in (ends, other))
    share = (there / here.clamp(min=torch.finfo(here.dtype).tiny)).clamp(max=1)
    return torch.lerp(source, ends, _spread(share, source))


def triangle_confidences(model: Model, source: Tensor, ends: Tensor, label: Tensor, n: int = 10) -> Tensor:
    """The confidence on an even grid of every triangle of a source and two of its k ends; each grid begins at the source.

    Shapes: source ``(S, ...)``, ends ``(S, k, ...)``, label ``(S,)``; returns ``(S, k (k - 1) / 2, (n + 1) (n + 2) / 2)``.
    Source: BSSF, section 4 (hull scores).
    """
    first, second = (list(side) for side in zip(*combinations(range(ends.shape[1]), 2), strict=True))
    grid = hull_grid(n).to(source)
    found = []
    for x, others, y in zip(source, ends, label, strict=True):
        corners = torch.stack([x.expand_as(others[first]), others[first], others[second]], 1).flatten(2)
        points = (grid @ corners).reshape(-1, *x.shape)
        found.append(confidence(model, points, y.expand(len(points)), 330).reshape(len(first), len(grid)))
    return torch.stack(found)


def fractions(values: Tensor, drops: tuple[float, ...]) -> Tensor:
    """Per source, the share of its triangles' points with ``p >= p_src - d``, d one of `drops`, as Table B has it.

    Shapes: values ``(S, pairs, points)``; returns ``(S, len(drops))``, float64. Source: BSSF, section 4.
    """
    least = values[:, :, :1]
    return torch.stack([(values >= least - d).flatten(1).double().mean(1) for d in drops], 1)


def _spread(value: Tensor, like: Tensor) -> Tensor:
    """A number for each sample, as broadcast to ``(B, ...)``."""
    return value.to(like).reshape(-1, *[1] * (like.dim() - 1))
