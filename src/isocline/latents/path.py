"""What an edit gives: codes along a path, what the attribute nets say of them, and images of those that are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from isocline._core.checks import wrong
from isocline._core.files import plain
from isocline.latents.generators import Generator

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, slots=True, eq=False)
class EditPath:
    """B codes on their way, S steps each. A sample that stopped stays where it is, and `stopped` says why."""

    codes: Tensor  # (S + 1, B, D), the first are the given ones
    masks: Tensor  # (S, B, D) booleans, true where a channel could move
    scores: dict[str, Tensor]  # by attribute: logits (S + 1, B) or (S + 1, B, K)
    moved: Tensor  # (S, B) whether the step was made
    stopped: tuple[str, ...]  # (B,)
    target: str
    to: Tensor  # (B,) +1 or -1, or the class
    keep: tuple[str, ...]
    method: str
    excluded: dict[str, int]  # channels excluded for each kept attribute
    space: str = "w"
    layers: tuple[int, int] | None = None
    notes: tuple[str, ...] = ()

    @property
    def surviving(self) -> Tensor:
        """How many channels could move at every step, ``(S, B)``."""
        return self.masks.sum(-1)

    @property
    def end(self) -> Tensor:
        """The last codes, ``(B, D)``."""
        return self.codes[-1]

    @property
    def walked(self) -> Tensor:
        """The length of the path up to every step, ``(S + 1, B)``."""
        steps = (self.codes[1:] - self.codes[:-1]).norm(dim=-1)
        return torch.cat([torch.zeros_like(steps[:1]), steps.cumsum(0)])

    def __len__(self) -> int:
        return self.codes.shape[1]

    def frames(
        self, generator: Generator, steps: Sequence[int] | None = None, *, rows: Sequence[int] | None = None
    ) -> Tensor:
        """Images of the codes after `steps` (all of them; -1 is the last), ``(len(steps), B, C, H, W)`` in [0, 1].

        The generator is called for these alone, once. rows: only those samples.
        """
        picked = list(range(len(self.codes))) if steps is None else list(steps)
        if any(not -len(self.codes) <= s < len(self.codes) for s in picked):
            raise wrong("steps", f"numbers from 0 to {len(self.codes) - 1}", f"{picked}")
        codes = self.codes[picked]
        original = self.codes[:1].expand_as(codes)
        if rows is not None:
            codes, original = codes[:, list(rows)], original[:, list(rows)]
        kept = original.flatten(0, 1) if self.layers is not None else None
        images = generator.render(codes.flatten(0, 1), original=kept, layers=self.layers)
        return images.unflatten(0, codes.shape[:2])

    def plot(self, ax: Axes | None = None) -> Axes:
        """Every attribute's logit along the path, mean over samples in units of the start's spread. Returns the axes."""
        if ax is None:
            import matplotlib.pyplot as plt

            ax = plt.subplots()[1]
        for name, values in self.scores.items():
            if values.ndim == 3:
                label = self.to if name == self.target else values[0].argmax(-1)
                values = values.softmax(-1).gather(-1, label.expand(len(values), -1)[..., None])[..., 0]
                words, line = f"{name}: probability", values.mean(1)
            else:
                spread = values[0].std() if values.shape[1] > 1 else values.new_ones(())
                words, line = name, ((values - values[0]) / spread.where(spread > 0, 1.0)).mean(1)
            ax.plot(line.cpu().numpy(), label=words, linewidth=2.5 if name == self.target else 1.2)
        ax.set(xlabel="step", ylabel="change, in spreads of the start")
        ax.legend()
        return ax

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, without the codes."""
        return {
            "target": self.target,
            "to": self.to.tolist(),
            "keep": list(self.keep),
            "method": self.method,
            "excluded": self.excluded,
            "space": self.space,
            "layers": None if self.layers is None else list(self.layers),
            "stopped": list(self.stopped),
            "notes": list(self.notes),
            "surviving": plain(self.surviving),
            "walked": plain(self.walked),
            "scores": {name: plain(values) for name, values in self.scores.items()},
        }
