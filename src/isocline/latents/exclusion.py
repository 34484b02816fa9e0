"""How many channels to exclude for an attribute that must stay: the trade-off between what leaks and what still moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from isocline._core.files import plain
from isocline.latents.functional import relative_leakage

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BOUND = 0.1  # spreads of a kept attribute for each spread of the target


@dataclass(frozen=True, slots=True, eq=False)
class TradeOff:
    """First-order leakage of each kept attribute against the number k of channels excluded for it alone.

    An estimate: mean over codes at the start of their paths, in spreads of the kept attribute for each spread of the target.
    effect: what is left of the target's gradient, as a share of its length.
    """

    names: tuple[str, ...]  # (E,)
    leakage: Tensor  # (E, D), entry k for k channels
    effect: Tensor  # (E, D)
    bound: float
    chosen: dict[str, int]
    reached: dict[str, bool]  # whether the bound is met at the chosen k

    def plot(self, ax: Axes | None = None) -> Axes:
        """Leakage (lines) and what is left of the effect (dashed) against k; dots at the chosen ones. Returns the axes."""
        if ax is None:
            import matplotlib.pyplot as plt

            ax = plt.subplots()[1]
        for e, name in enumerate(self.names):
            (line,) = ax.plot(self.leakage[e].cpu().numpy(), label=name)
            color, k = line.get_color(), self.chosen[name]
            ax.plot(self.effect[e].cpu().numpy(), "--", color=color, linewidth=1, alpha=0.7)
            ax.plot(k, float(self.leakage[e, k]), "o", color=color)
        ax.axhline(self.bound, color="0.5", linewidth=0.8)
        finite = self.leakage[self.leakage.isfinite()]
        top = float(finite.quantile(0.95)) if len(finite) else 1.0
        ax.set(
            xlabel="channels excluded", ylabel="leakage (dashed: effect left)", ylim=(0, max(1.05, 1.1 * top))
        )
        ax.legend()
        return ax

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "names": list(self.names),
            "leakage": plain(self.leakage.double()),
            "effect": plain(self.effect.double()),
            "bound": self.bound,
            "chosen": self.chosen,
            "reached": self.reached,
        }


def choose_exclusion(g: Tensor, kept: Tensor, names: tuple[str, ...], bound: float = BOUND) -> TradeOff:
    """The smallest k for each kept attribute whose first-order leakage is at most `bound`; where there is none, the least leaky.

    Shapes: g ``(B, D)``, kept ``(E, B, D)``: gradients in units of each score's spread. At least one channel in eight is left
    by every choice, or nothing would move.
    """
    each = relative_leakage(g, kept)
    leakage = torch.where(each.isfinite(), each, each.new_tensor(1e3)).mean(1)
    order = kept.abs().argsort(-1, descending=True)
    left = g.expand_as(kept).gather(-1, order).square().flip(-1).cumsum(-1).flip(-1)
    total = left[..., :1]
    effect = (left / total.where(total > 0, 1.0)).sqrt().mean(1)
    most = max(1, g.shape[-1] - max(1, g.shape[-1] // 8))
    chosen, reached = {}, {}
    for name, curve in zip(names, leakage[:, :most], strict=True):
        good = (curve <= bound).nonzero().flatten()
        reached[name] = len(good) > 0
        chosen[name] = int(good[0]) if len(good) else int(curve.argmin())
    return TradeOff(names, leakage, effect, bound, chosen, reached)
