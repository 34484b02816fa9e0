"""What is kept along the way: a score of the model's output, and the function of the same level sets that is differentiated.

The probability of a sure model is flat: in float32 its gradient, and that of its logarithm, is zero once p = 1. Its
log-odds have the same level sets and never saturate, so their gradient gives the tangent, and the gradient of
cross-entropy is known from it without another pass: ``-(1 - p) grad log_odds``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from isocline._core.checks import check_choice, wrong
from isocline.level_sets import functional

ScoreName: TypeAlias = Literal["probability", "log_probability", "margin"]
ScoreLike: TypeAlias = "ScoreName | Callable[[Tensor, Tensor], Tensor] | Score"


@dataclass(frozen=True, slots=True)
class Score:
    """A scalar of the model's output.

    lean: ``(output (B, ...), label (B,)) -> (B,)``, what is differentiated; value: a monotone function of it, what may drop
    by less than delta. two_sided: neither may it rise by delta. of_class: the output is ``(B, K)`` of logits.
    published: lean is the log-probability, so that its gradient is cross-entropy's, as rounded as that is.
    """

    name: str
    lean: Callable[[Tensor, Tensor], Tensor]
    value: Callable[[Tensor], Tensor]
    two_sided: bool = False
    of_class: bool = True
    published: bool = False

    def holds(self, value: Tensor, level: Tensor, delta: float) -> Tensor:
        """Whether a value is within the superlevel set (two-sided: the band). False for NaN. Shapes: all ``(B,)``."""
        drop = level - value
        return (drop.abs() if self.two_sided else drop) < delta

    def pull(self, lean: Tensor, level: Tensor) -> Tensor:
        """Factor that turns grad lean into the gradient of the cost: of cross-entropy, or of ``|h - level|``. Shapes ``(B,)``."""
        if self.published:
            return -torch.ones_like(lean)
        return (lean - level).sign() if self.two_sided else -(-lean).sigmoid()

    def as_published(self) -> Score:
        """The same with the gradient of cross-entropy itself, as the paper has it: equal but for rounding where p is nearly 1."""
        if self.lean is not functional.log_odds:
            return self
        value = torch.exp if self.name == "probability" else _itself
        return Score(self.name, functional.log_probability, value, published=True)


def _itself(lean: Tensor) -> Tensor:
    return lean


SCORES = {
    "probability": Score("probability", functional.log_odds, Tensor.sigmoid),
    "log_probability": Score("log_probability", functional.log_odds, F.logsigmoid),
    "margin": Score("margin", functional.margin, _itself),
}


def find_score(score: ScoreLike) -> Score:
    """A score by its name, or from a function ``(output, label) -> (B,)`` of any output, regression say, held on both sides.

    Raises: ValueError for an unknown name, TypeError for what is no function.

    >>> find_score("margin").name
    'margin'
    """
    if isinstance(score, Score):
        return score
    if isinstance(score, str):
        return SCORES[check_choice("score", score, SCORES)]
    if callable(score):
        return Score(getattr(score, "__name__", "function"), score, _itself, two_sided=True, of_class=False)
    raise wrong(
        "score", f"one of {', '.join(SCORES)} or a function (output, label) -> (B,)", score, error=TypeError
    )
