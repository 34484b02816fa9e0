"""What a report looks at beside the scores: exponents and gradients under forcing, fixed points, false attractors."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from isocline._core.files import plain

from .alpha import critical_alpha, gradient_horizon, product_log_norms
from .analysis import SpuriousAttractorWarning, cycles_of, shallow_form, spurious_attractors
from .cycles import Cycles
from .measures.series import Array
from .members import Member
from .scores import Scores, score
from .windows import Recorded

if TYPE_CHECKING:
    from .estimator import Reconstructor

STEPS = 1000  # of a gradient followed back in time
PATHS = 8  # stretches along which it is followed
MOST_TUPLES = 400_000  # regions solved one by one for fixed points; beyond that a search


@dataclass(frozen=True, eq=False)
class Findings:
    """All that a page shows of one member."""

    member: Member
    known: Recorded  # what was scored on: the longest complete stretch, standardised
    scores: Scores
    fixed_points: Cycles
    spurious: tuple[Cycles, ...]  # stable ones where the data do not settle
    growth: dict[str, Array]  # ln of the gradient's growth, by name, (steps,)
    alpha: float  # of the forcing it was trained with

    @property
    def critical_alpha(self) -> float:
        """The least forcing under which gradients do not grow on average."""
        exponents = self.scores.lyapunov
        return math.nan if exponents is None else critical_alpha(float(exponents.exponents[0]))

    @property
    def horizon(self) -> float:
        """Steps over which a forced gradient falls to 1/e."""
        exponents = self.scores.lyapunov
        return math.nan if exponents is None else gradient_horizon(float(exponents.exponents[0]), self.alpha)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "scores": self.scores.to_dict(),
            "fixed_points": self.fixed_points.to_dict(),
            "spurious": [one.to_dict() for one in self.spurious],
            "alpha": self.alpha,
            "critical_alpha": plain(self.critical_alpha),
            "gradient_horizon": plain(self.horizon),
        }


@np.errstate(
    over="ignore", invalid="ignore"
)  # of a model that was lost: the measures say so in their own words
def examine(fitted: Reconstructor, recorded: Sequence[Recorded]) -> Findings:
    """Score the best member on standardised series and look inside it; seconds, most of them for fixed points."""
    member = fitted.member_
    known = max((one.complete() for one in recorded), key=len)
    before = max((one.complete() for one in fitted.trained_on_), key=len, default=None)
    floor = before if before is not None and len(before) >= len(known) else None
    scores = score(member, recorded, fitted.standard_, other=floor, dt=float(fitted.dt))
    states = member.signals(known.series)
    fixed = fixed_points_of(member, states)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpuriousAttractorWarning)  # the page says it in its own words
        spurious = spurious_attractors(fixed, states)
    return Findings(member, known, scores, fixed, tuple(spurious), growth_of(member, states), member.alpha)


def fixed_points_of(member: Member, states: Array) -> Cycles:
    """The fixed points of a member, inputs at their mean: all where they can be listed, else a search."""
    model = member.autonomous()
    A, W1, W2, h1, h2 = (weight.numpy() for weight in model.weights())
    mapping = shallow_form(A, W1, W2, h1, h2, clipped=model.clipped)
    around = np.concatenate([states[:: max(1, len(states) // 2000)], _orbit(member, states[0])])
    around = around[np.isfinite(around).all(1)]
    return cycles_of(mapping, 1, around=around, max_regions=MOST_TUPLES, max_tuples=MOST_TUPLES)


def _orbit(member: Member, state: Array) -> Array:
    model = member.autonomous()
    return model.generate(torch.from_numpy(state), 2000).numpy()


def growth_of(member: Member, states: Array) -> dict[str, Array]:
    """``ln |dz_t / dz_0|`` along the data, without forcing and with alpha; median over stretches."""
    steps = min(STEPS, len(states) - 1)
    firsts = np.linspace(0, len(states) - steps, PATHS).astype(int)
    along = torch.from_numpy(np.stack([states[at : at + steps] for at in firsts], 1))
    with torch.no_grad():
        free = product_log_norms(member.autonomous().jacobian(along))
        forced = free + torch.arange(1, steps + 1, dtype=free.dtype)[:, None] * math.log1p(
            -min(member.alpha, 1 - 1e-12)
        )
    found = {"without forcing": free.median(1).values.numpy()}
    if member.alpha > 0:
        found[f"forced, alpha {member.alpha:.3g}"] = forced.median(1).values.numpy()
    return found
