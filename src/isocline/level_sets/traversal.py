"""What a walk has found: the blind spot, the way there, and why it stopped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from isocline._core.files import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CLASS_SCORES = ("probability", "log_probability", "margin")  # a walk of these keeps the label's probability


@dataclass(frozen=True, slots=True)
class Traversal:
    """Walks from B sources to their targets. A sample that was not walked stays at its source, and `stopped` says why.

    confidences: the probability of the label (a function's score: its value) at the start and after every step. score: what
    must not drop by delta, named in `score`; end_score is evaluated again, at the end. bound: what the accepted steps leave of
    the distance at best, `functional.schedule_bound`. evaluations: passes through the model for each sample, forward and
    backward ones alike, from the first look at the source to the last at the end.
    """

    source: Tensor  # (B, ...)
    target: Tensor  # (B, ...)
    label: Tensor  # (B,)
    end: Tensor  # (B, ...)
    path: Tensor  # (B, T, ...) iterates after `path_steps` steps, thinned
    path_steps: Tensor  # (T,)
    confidences: Tensor  # (B, steps + 1)
    accepted: Tensor  # (B, steps)
    etas: Tensor  # (B, steps) share of the way each proposal took, 0 where none was made
    kept: Tensor  # (B,) whether the sample was walked at all
    stopped: tuple[str, ...]  # (B,)
    source_score: Tensor  # (B,) of the clean source
    end_score: Tensor  # (B,)
    source_confidence: Tensor  # (B,)
    end_confidence: Tensor  # (B,)
    bound: Tensor  # (B,)
    forwards: Tensor  # (B,)
    backwards: Tensor  # (B,)
    method: str
    score: str
    delta: float
    notes: tuple[str, ...] = ()

    @property
    def evaluations(self) -> Tensor:
        """Passes through the model, forwards and backwards, ``(B,)``."""
        return self.forwards + self.backwards

    @property
    def ratio(self) -> Tensor:
        """Distance of the end to the target over that of the source, ``(B,)``; 1 where source and target are one."""
        before = (self.target - self.source).flatten(1).norm(dim=1)
        after = (self.target - self.end).flatten(1).norm(dim=1)
        return (after / before).where(before > 0, 1.0)

    def __len__(self) -> int:
        return len(self.end)

    def __str__(self) -> str:
        width = max(len(reason) for reason in ("stopped", *self.stopped))
        lines = [
            f"{'':4} {'label':>6} {'p source':>9} {'p end':>9} {'way left':>9} {'bound':>9} {'passes':>7}  {'stopped':{width}}"
        ]
        rows = zip(
            self.label.tolist(), self.source_confidence.tolist(), self.end_confidence.tolist(), self.ratio.tolist(),
            self.bound.tolist(), self.evaluations.tolist(), self.stopped, strict=True,
        )  # fmt: skip
        for i, (label, before, after, left, bound, passes, why) in enumerate(rows):
            lines.append(
                f"{i:4} {label:6} {before:9.4f} {after:9.4f} {left:9.4f} {bound:9.4f} {passes:7}  {why:{width}}"
            )
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def plot(self, ax: Axes | None = None) -> Axes:
        """Confidence against steps, a line for each sample that was walked; dots mark refused steps. Returns the axes."""
        if ax is None:
            import matplotlib.pyplot as plt

            ax = plt.subplots()[1]
        for i in self.kept.nonzero().flatten().tolist():
            proposed = self.etas[i].cpu() > 0
            values = self.confidences[i, : int(proposed.sum()) + 1].detach().cpu()
            (line,) = ax.plot(values.numpy(), label=f"{i}: {float(self.ratio[i]):.1%} of the way left")
            refused = (proposed & ~self.accepted[i].cpu()).nonzero().flatten() + 1
            ax.plot(refused.numpy(), values[refused].numpy(), ".", color=line.get_color())
        ax.set(xlabel="step", ylabel="confidence" if self.score in CLASS_SCORES else self.score)
        if self.kept.any():
            ax.legend()
        return ax

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, without the images."""
        numbers = (
            "label", "kept", "source_score", "end_score", "source_confidence", "end_confidence", "ratio", "bound", "forwards",
            "backwards", "confidences", "accepted", "etas", "path_steps",
        )  # fmt: skip
        found = {name: plain(getattr(self, name).detach().cpu().numpy()) for name in numbers}
        return {
            "method": self.method,
            "score": self.score,
            "delta": self.delta,
            "stopped": list(self.stopped),
            "notes": list(self.notes),
            **found,
        }
