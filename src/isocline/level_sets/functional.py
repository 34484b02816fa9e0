"""The formulas of level set traversal, as pure functions of tensors.

A walk goes from a source ``x_s`` towards a target ``x_t`` along the level sets of a score ``h``: at every point x it takes
the part of ``v = x_t - x`` that the gradient g of h does not see. The first axis of every tensor is the batch; all
others together are the input, of any shape. Symbols: eta the share of the way a step takes, eps the bound of the
accumulated gradients, delta the drop of the score that is allowed.

Source: Balasubramanian, Sriramanan, Sadasivan, Feizi, *Exploring Geometry of Blind Spots in Vision Models*, NeurIPS 2023,
arXiv 2310.19889 ("BSSF"). What is marked [ours] is not in the paper.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = [
    "accumulate",
    "clip",
    "corrected",
    "hull_grid",
    "inner",
    "largest",
    "log_odds",
    "log_probability",
    "margin",
    "schedule_bound",
    "spendable",
    "start",
    "tangent",
]


def inner(a: Tensor, b: Tensor) -> Tensor:
    """Inner product of every sample: ``<a, b>``, kept broadcastable. Shapes: a, b ``(B, ...)``; returns ``(B, 1, ..., 1)``."""
    return (a * b).sum(_each(a), keepdim=True)


def largest(g: Tensor) -> Tensor:
    """``max |g|`` of every sample, NaN where one is, kept broadcastable. Shapes: g ``(B, ...)``; returns ``(B, 1, ..., 1)``."""
    return _norm(g, torch.inf)


def tangent(v: Tensor, g: Tensor) -> Tensor:
    """The part of a step that stays on the level set, to first order: ``v - g <g, v> / <g, g>``.

    A gradient of exactly zero is no constraint and gives v. g is divided by its largest magnitude first: in float32
    ``<g, g>`` is zero long before g is. Shapes: v, g ``(B, ...)``; returns the same. Source: BSSF, Algorithm 1.

    >>> tangent(torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 1e-30]]))
    tensor([[3., 0.]])
    """
    unit, squared = _scaled(g)
    return torch.addcmul(v, unit, inner(unit, v) / squared, value=-1)


def accumulate(a: Tensor, g: Tensor, eps: float, weight: Tensor | float = 1.0) -> Tensor:
    """The memory of gradients, clipped element by element: ``clip(a + (eps / 2) weight g, -eps, eps)``.

    weight g is the gradient of the cost (cross-entropy), so that ``x - a`` goes back up. Shapes: a, g ``(B, ...)``; weight
    broadcasts to them; returns the same. Source: BSSF, Algorithm 1.
    """
    factor = torch.as_tensor(weight, dtype=g.dtype, device=g.device) * (eps / 2)
    return torch.addcmul(a, g, factor).clamp_(-eps, eps)


def clip(x: Tensor, bounds: tuple[float, float]) -> Tensor:
    """Into the box of valid inputs. Shapes: x any; returns the same."""
    return x.clamp(*bounds)


def corrected(x: Tensor, g: Tensor, excess: Tensor) -> Tensor:
    """One Newton step along the gradient back to the level: ``x - g excess / <g, g>``.

    excess: the score minus the level, h(x) - c. Where g is zero x stays. Shapes: x, g ``(B, ...)``; excess ``(B,)``; returns
    as x. Source: [ours], Newton's method for h(x + t g) = c in t.

    >>> corrected(torch.tensor([[3.0, 1.0]]), torch.tensor([[2.0, 0.0]]), torch.tensor([4.0]))
    tensor([[1., 1.]])
    """
    unit, squared = _scaled(g)
    top = largest(g)
    length = excess.reshape(top.shape) / (torch.where(top == 0, 1, top) * squared)
    return torch.addcmul(x, unit, length, value=-1)


def start(source: Tensor, u: Tensor, bounds: tuple[float, float]) -> Tensor:
    """Leave the source by noise of at most 2/255 of the range: ``clip(x_s + (4/255) (u - 1/2), bounds)``.

    An unbounded range counts as 1. Shapes: source, u ``(B, ...)`` with u in [0, 1]; returns the same. Source: BSSF, appendix.
    """
    width = bounds[1] - bounds[0]
    scale = 4 / 255 * (width if width < float("inf") else 1.0)
    return clip(source + scale * (u - 0.5), bounds)


def spendable(v: Tensor, g: Tensor, excess: Tensor, eta: Tensor) -> Tensor:
    """How much of a score above the level a step may give back to come nearer: ``min(cos^2 excess, eta <-g, v>)``, 0 if negative.

    cos is that of the angle between v and g. Where the tangent leads on (cos near 0, as in thousands of pixels) nothing is
    spent; where it is used up (cos near 1) what the gathered gradients gained is, but never more than a step of eta v would.
    Shapes: v, g ``(B, ...)``; excess, eta ``(B,)``; returns ``(B,)``. Source: [ours]; the level set is a superlevel set.

    >>> v, g = torch.tensor([[-2.0, 0.0]]), torch.tensor([[3.0, 0.0]])
    >>> spendable(v, g, torch.tensor([1.0]), torch.tensor([0.5]))
    tensor([1.])
    """
    unit, squared = _scaled(g)
    length = inner(v, v)
    cos2 = inner(unit, v).square() / (squared * torch.where(length == 0, torch.ones_like(length), length))
    along = (-inner(g, v)).clamp(min=0).reshape(-1)
    return torch.minimum(cos2.reshape(-1) * excess.clamp(min=0), eta * along)


def schedule_bound(eta: float | Tensor, accepted: Tensor) -> Tensor:
    """What accepted steps leave of the distance to the target at best: ``prod (1 - eta_i)``.

    With no clipping and no gradient step ``||x_t - x|| >= prod (1 - eta_i) ||x_t - x_0||``, with equality where the score
    never stands in the way. Shapes: eta a number or ``(B, steps)``; accepted ``(B, steps)`` booleans; returns ``(B,)``.

    >>> schedule_bound(0.5, torch.tensor([[True, True, False]]))
    tensor([0.2500])
    """
    rates = torch.as_tensor(eta, device=accepted.device).expand(accepted.shape)
    return torch.where(accepted, 1 - rates, torch.ones_like(rates)).prod(1)


def log_odds(logits: Tensor, label: Tensor) -> Tensor:
    """``log p_y / (1 - p_y) = z_y - log sum_{j != y} exp z_j``, a margin that never saturates.

    It is a monotone function of the probability: same level sets, same tangent, ``grad log p = (1 - p) grad log_odds``.
    Shapes: logits ``(B, K)``, K >= 2; label ``(B,)``; returns ``(B,)``. Source: the logistic function's inverse.
    """
    return _own(logits, label) - _others(logits, label).logsumexp(1)


def log_probability(logits: Tensor, label: Tensor) -> Tensor:
    """``log p_y``, minus the cross-entropy. Shapes: logits ``(B, K)``; label ``(B,)``; returns ``(B,)``. Source: softmax."""
    return _own(logits.log_softmax(1), label)


def margin(logits: Tensor, label: Tensor) -> Tensor:
    """``z_y - max_{j != y} z_j``. Shapes: logits ``(B, K)``, K >= 2; label ``(B,)``; returns ``(B,)``."""
    return _own(logits, label) - _others(logits, label).amax(1)


def hull_grid(n: int) -> Tensor:
    """Every ``(n - i - j, i, j) / n``: weights of source and two blind spots on an even grid of their triangle.

    From whole numbers, so that none is lost and none is negative. Shapes: returns ``((n + 1) (n + 2) / 2, 3)``, float64.
    Source: BSSF, appendix, on hull scores.

    >>> hull_grid(1).tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]
    """
    whole: Sequence[tuple[int, int, int]] = [
        (n - i - j, i, j) for i in range(n + 1) for j in range(n + 1 - i)
    ]
    return torch.tensor(whole, dtype=torch.float64) / n


def _scaled(g: Tensor) -> tuple[Tensor, Tensor]:
    """g over its largest magnitude, and the squared norm of that (1 where g is zero)."""
    top = largest(g)
    unit = g / torch.where(top == 0, torch.ones_like(top), top)
    squared = _norm(unit, 2).square()
    return unit, torch.where(squared == 0, torch.ones_like(squared), squared)


def _norm(x: Tensor, order: float) -> Tensor:
    return torch.linalg.vector_norm(x, order, _each(x), keepdim=True)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def _each(x: Tensor) -> tuple[int, ...]:
    """All axes but the batch."""
    return tuple(range(1, x.dim()))


def _own(logits: Tensor, label: Tensor) -> Tensor:
    return logits.gather(1, label[:, None]).squeeze(1)


def _others(logits: Tensor, label: Tensor) -> Tensor:
    return logits.scatter(1, label[:, None], -float("inf"))
