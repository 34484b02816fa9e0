"""The formulas of latent controls: which way to step so that one attribute moves and the others stay.

Symbols: w a latent code, D its width, B codes at once; p_t the target's probability, E attributes that must stay. Source: Chen,
Jiang, Duke, Zhao, Aarabi, *Exploring Gradient-based Multi-directional Controls in GANs*, ECCV 2022, unless said otherwise.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

__all__ = [
    "class_score",
    "conditional",
    "orthonormal",
    "project_out",
    "relative_leakage",
    "squared_mahalanobis",
    "step",
    "style_directions",
    "surviving_channels",
    "two_way_score",
    "unit",
]

SCORES = ("logit", "log_prob", "prob")


def two_way_score(logit: Tensor, score: str) -> Tensor:
    """What is climbed of a two-way attribute: the logit, ``log sigmoid`` or ``sigmoid`` of it, ``(B,)``.

    All three have one normalised gradient; the logit's alone never underflows. Source: section 3.2 of the paper.
    """
    if score == "logit":
        return logit
    return logsigmoid(logit) if score == "log_prob" else torch.sigmoid(logit)


def class_score(logits: Tensor, label: Tensor, score: str) -> Tensor:
    """What is climbed towards class ``label (B,)`` of ``logits (B, K)``: its logit, log-probability or probability, ``(B,)``.

    The three have different gradients: the probability's is the log-probability's times p, but the logit's ignores the other
    classes. Source: section 3.2 of the paper (the probability).
    """
    if score != "logit":
        logits = torch.log_softmax(logits, -1) if score == "log_prob" else torch.softmax(logits, -1)
    return logits.gather(-1, label[:, None])[:, 0]


def unit(g: Tensor) -> Tensor:
    """Rows of ``(..., D)`` at length 1; a row of zeros stays. Neither overflows nor underflows on the way."""
    largest = g.abs().amax(-1, keepdim=True)
    scaled = g / largest.where(largest > 0, 1.0)
    length = scaled.square().sum(-1, keepdim=True).sqrt()
    return scaled / length.where(length > 0, 1.0)


def surviving_channels(saliency: Tensor, counts: list[int] | tuple[int, ...]) -> Tensor:
    """The mask M: channels that are not among the ``counts[e]`` most salient of any kept attribute e.

    Shapes: saliency ``(E, B, D)``, ``|grad p_e|``; returns ``(B, D)`` booleans, true where a channel may move. A count of 0
    excludes nothing. Source: section 3.3 of the paper.
    """
    stays = torch.ones(saliency.shape[1:], dtype=torch.bool, device=saliency.device)
    for r, k in zip(saliency, counts, strict=True):
        if k:
            stays &= _below_the_first(r, k)
    return stays


def orthonormal(rows: Tensor) -> Tensor:
    """An orthonormal basis of the span of each sample's E gradients ``(E, B, D)``; a row without a direction of its own is 0.

    Gram-Schmidt, each row twice ("twice is enough"). What is left of a unit row below the square root of the precision
    counts as nothing. Source: Giraud, Langou & Rozložník 2005.
    """
    basis: list[Tensor] = []
    tiny = torch.finfo(rows.dtype).eps ** 0.5
    for row in unit(rows):
        left = _without(_without(row, basis), basis)
        basis.append(unit(left) * (left.square().sum(-1, keepdim=True).sqrt() > tiny))
    return torch.stack(basis) if basis else rows


def project_out(g: Tensor, kept: Tensor) -> Tensor:
    """``g (B, D)`` without its components along the kept attributes' gradients ``(E, B, D)``: to first order they stay.

    Unlike the exclusion of channels it does not depend on the axes of the latent space. What is left below the square root of
    the precision of g's length is rounding, and zero here. Source: ours.
    """
    basis = list(orthonormal(kept))
    direction = unit(g)
    left = _without(_without(direction, basis), basis)
    return left * (left.square().sum(-1, keepdim=True).sqrt() > torch.finfo(g.dtype).eps ** 0.5)


def step(w: Tensor, g: Tensor, length: float) -> Tensor:
    """``w + length g / |g|``; a code whose g is zero stays. Shapes: w, g ``(B, D)``. Source: equation 4 of the paper."""
    return w + length * unit(g)


def relative_leakage(g: Tensor, kept: Tensor) -> Tensor:
    """What a step along ``g`` changes of each kept attribute, to first order, for each unit that it changes the target.

    ``|grad s_e . d| / (grad s_t . d)`` with d = g, for every number k of channels excluded for that attribute alone. Shapes: g
    ``(B, D)`` and kept ``(E, B, D)``, gradients of scores in units of their spread; returns ``(E, B, D)``, entry k for k
    excluded channels; infinite where nothing of g is left. Source: ours, section 8 of the specification.
    """
    order = kept.abs().argsort(-1, descending=True)
    sorted_g = g.expand_as(kept).gather(-1, order)
    leaked = _tail_sums(kept.gather(-1, order) * sorted_g).abs()
    moved = _tail_sums(sorted_g.square())
    return torch.where(moved > 0, leaked / moved.where(moved > 0, 1.0), torch.inf)


def squared_mahalanobis(w: Tensor, mean: Tensor, precision: Tensor) -> Tensor:
    """``(w - mean)^T P (w - mean)`` of ``w (..., D)``: minus twice a normal log-density, up to a constant."""
    away = w - mean
    return ((away @ precision) * away).sum(-1)


def style_directions(weights: list[Tensor]) -> tuple[Tensor, Tensor]:
    """SeFa: eigenvectors of ``A^T A`` by decreasing eigenvalue, of stacked style weights A whose rows have length 1.

    Shapes: weights ``(out_l, D)``, returns directions ``(D, D)`` in rows and eigenvalues ``(D,)``. Source: Shen & Zhou 2021.
    """
    A = unit(torch.cat(weights))
    values, vectors = cast("tuple[Tensor, Tensor]", torch.linalg.eigh(A.T @ A))  # pyright: ignore[reportUnknownMemberType]
    return vectors.T.flip(0), values.flip(0)


def conditional(normal: Tensor, others: Tensor) -> Tensor:
    """A boundary's ``normal (D,)`` without the span of the ``others (E, D)``, at length 1.

    Source: Shen et al. 2020, section 3.3.
    """
    return unit(project_out(normal[None], others[:, None]))[0]


def _below_the_first(r: Tensor, k: int) -> Tensor:
    """Where ``r (B, D)`` is not among its row's k largest; NumPy's partition takes a tenth of topk's time on a CPU."""
    if r.is_cpu and r.dtype in (torch.float32, torch.float64):
        place = r.shape[-1] - k
        edge = np.partition(r.numpy(), place, axis=-1)[..., place, None]
        below = r < torch.as_tensor(edge)
        if int(below.sum()) == place * r.shape[:-1].numel():  # no ties at the edge
            return below
    return torch.ones_like(r, dtype=torch.bool).scatter_(-1, r.topk(k, dim=-1, sorted=False).indices, False)


def _without(g: Tensor, basis: list[Tensor]) -> Tensor:
    for q in basis:
        g = g - (g * q).sum(-1, keepdim=True) * q
    return g


def _tail_sums(x: Tensor) -> Tensor:
    """Entry k: the sum of what is left without the first k."""
    return x.flip(-1).cumsum(-1).flip(-1)
