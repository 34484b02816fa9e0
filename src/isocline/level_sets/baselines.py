"""What a walk along level sets is compared with: ways to the target that do not follow them.

Each gives a `Traversal`, counts its passes, and like the walk never leaves the superlevel set.
"""

from __future__ import annotations

import torch
from torch import Tensor

from isocline._core.checks import check_choice, check_number
from isocline.level_sets.adapters import Model
from isocline.level_sets.functional import inner, tangent
from isocline.level_sets.scores import ScoreLike, find_score
from isocline.level_sets.traversal import Traversal
from isocline.level_sets.walk import Bounds, Plan, check_pair, run


def straight(target: Tensor, x: Tensor, _g: Tensor, _origin: Tensor, eta: Tensor, _draw: Tensor) -> Tensor:
    """Towards the target, whatever the gradient: ``x + eta v``."""
    return x + eta * (target - x)


def projection(target: Tensor, x: Tensor, _g: Tensor, origin: Tensor, eta: Tensor, _draw: Tensor) -> Tensor:
    """Within the tangent of the source all the way: ``x + eta v_perp(g_s)``. Exact for a linear model."""
    return x + eta * tangent(target - x, origin)


def random_orthogonal(
    target: Tensor, x: Tensor, g: Tensor, _origin: Tensor, eta: Tensor, draw: Tensor
) -> Tensor:
    """As far as a walk would go, but in a random direction at right angles to the gradient, if it leads nearer at all."""
    v = target - x
    u = tangent(draw, g)
    u = u * inner(u, v).sign()
    return x + eta * u * (inner(v, v) / inner(u, u).clamp(min=torch.finfo(u.dtype).tiny)).sqrt()


def pgd(target: Tensor, x: Tensor, g: Tensor, _origin: Tensor, eta: Tensor, _draw: Tensor) -> Tensor:
    """Descent on the distance and up the score together, each of unit length, as penalty methods search."""
    v = target - x
    tiny = torch.finfo(v.dtype).tiny
    reach = inner(v, v).sqrt()
    return x + eta * (v + 0.5 * reach * g / inner(g, g).sqrt().clamp(min=tiny))


BASELINES = {"straight": straight, "projection": projection, "random": random_orthogonal, "pgd": pgd}


def baseline(
    name: str,
    model: Model,
    source: Tensor,
    target: Tensor,
    label: Tensor | None = None,
    eta: float = 0.05,
    steps: int = 80,
    delta: float = 0.2,
    score: ScoreLike = "probability",
    bounds: Bounds = (0.0, 1.0),
    generator: torch.Generator | None = None,
    *,
    every: int | None = None,
) -> Traversal:
    """One of "straight", "projection" (the source's tangent), "random" (orthogonal to the gradient) and "pgd", by fixed steps.

    Arguments, shapes and errors as for `traverse`; "random" draws from `generator` (seed 0 by default). Source: [ours].
    """
    check_pair(source, target, bounds)
    check_choice("name", name, BASELINES)
    check_number("eta", eta, above=0, most=1)
    check_number("steps", steps, least=1, integer=True)
    check_number("delta", delta, above=0)
    every = max(1, steps // 10) if every is None else check_number("every", every, least=1, integer=True)
    generator = generator or torch.Generator(device=source.device).manual_seed(0)
    plan = Plan(eta, steps, 0.0, delta, bounds, False, eta, 1.0, 0, False, every, BASELINES[name])
    return run(plan, name, model, source, target, label, find_score(score), generator=generator)
