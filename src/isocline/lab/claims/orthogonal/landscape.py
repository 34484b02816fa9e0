"""Minimising L_orth alone: as many outputs as inputs fails from Glorot weights, and never from an orthogonal start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from isocline._core.seeds import torch_generator
from isocline.orthogonal import ConvShape
from isocline.orthogonal.frequencies import block_values
from isocline.orthogonal.functional import lorth_each
from isocline.orthogonal.initial import block_kernel

from ...claim import Claim, Expected, Measurement, Record, Scale
from ...style import ORANGE, TEAL, new_figure
from .layers import glorot
from .paper import PAPER

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STARTS = {
    "Glorot, 8 → 8": {"M": 8, "C": 8, "exact": False},
    "exact + noise, 8 → 8": {"M": 8, "C": 8, "exact": True},
    "Glorot, 8 → 10": {"M": 10, "C": 8, "exact": False},
    "Glorot, 10 → 8": {"M": 8, "C": 10, "exact": False},
}
SUCCESS = "{}: runs that end orthogonal, of {}"
NOISE = 0.3  # of a Glorot draw
CAPTION = (
    "L_orth of a 3 × 3 layer under Adam (rate 0.01), nothing else to learn; one line a run. With as many outputs as inputs "
    "most Glorot starts are stuck with a few singular values near 0 or above 1. The exact kernel plus 0.3 of a Glorot draw, "
    "and layers of unequal widths, always arrive."
)


def run(setting: dict[str, Any], seed: int, device: str) -> Measurement:
    generator = torch_generator(seed)
    shape = ConvShape(setting["M"], setting["C"], 3)
    K = torch.stack([_start(shape, setting["exact"], generator) for _ in range(setting["runs"])]).float()
    K.requires_grad_()
    optimizer = torch.optim.Adam([K], lr=0.01)  # elementwise: every run has its own
    losses = []
    for step in range(setting["steps"] + 1):
        each = lorth_each(K)
        if step % 25 == 0:
            losses.append(each.detach().numpy().astype(np.float64))
        if step < setting["steps"]:
            optimizer.zero_grad(set_to_none=True)
            each.sum().backward()
            optimizer.step()
    ends = [block_values(k.double(), shape, (8, 8))[0] for k in K.detach()]
    low, high = (np.array([float(value(v)) for v in ends]) for value in (torch.min, torch.max))
    success = (losses[-1] < 1e-3) & (low > 0.98) & (high < 1.02)
    arrays = {"losses": np.array(losses).T, "low": low, "high": high}
    return Measurement({"successes": int(success.sum())}, arrays)


def _start(shape: ConvShape, exact: bool, generator: torch.Generator) -> Tensor:
    random = glorot(shape.weight_shape, generator)
    return block_kernel(shape, generator) + NOISE * random if exact else random


def measure(records: list[Record]) -> dict[str, list[float]]:
    figures: dict[str, list[float]] = {}
    for record in records:
        name = SUCCESS.format(record.setting["start"], record.setting["runs"])
        figures.setdefault(name, []).append(float(record.values["successes"]))
    return figures


def plot(records: list[Record]) -> dict[str, Figure]:
    figure, axes = new_figure(CAPTION, columns=len(STARTS), width=12.0, height=3.5)
    for ax, name in zip(axes, STARTS, strict=True):
        own = [r for r in records if r.setting["start"] == name]
        ax.set(xlabel="step", yscale="log", ylim=(1e-8, 60), title=name)
        for record in own:
            losses = np.maximum(record.arrays["losses"], 1e-14)
            steps = 25 * np.arange(losses.shape[1])
            for line in losses:
                ax.plot(steps, line, color=ORANGE if line[-1] > 1e-3 else TEAL, linewidth=0.9, alpha=0.8)
        if own:
            runs = sum(r.setting["runs"] for r in own)
            words = f"{sum(r.values['successes'] for r in own)} of {runs} arrive"
            ax.annotate(
                words, (0.96, 0.9), xycoords="axes fraction", ha="right", fontsize=9, fontweight="bold"
            )
    axes[0].set_ylabel("L_orth")
    return {"landscape": figure}


def _scale(runs: int, steps: int, seeds: int, needs: str) -> Scale:
    extra = {"runs": runs, "steps": steps}
    return Scale([{"start": name, **start, **extra} for name, start in STARTS.items()], seeds, needs)


def _expected() -> tuple[Expected, ...]:
    source = "landscape experiment: 14 % of runs where M = C S², all elsewhere"
    found = []
    for runs, scales in ((20, ("tour",)), (100, ("small", "paper"))):
        for name, start in STARTS.items():
            figure = SUCCESS.format(name, runs)
            if start["M"] == start["C"] and not start["exact"]:
                found.append(Expected(figure, runs / 2, "<=", source=source, scales=scales))
            else:
                own = "not in the paper: an orthogonal start" if start["exact"] else source
                found.append(Expected(figure, runs, "==", source=own, scales=scales))
    return tuple(found)


LANDSCAPE = Claim(
    name="orthogonal/landscape",
    paper=PAPER,
    sentence=(
        "Minimising L_orth from Glorot weights always ends at an orthogonal layer when M ≠ C S², and mostly not when M = C S²; "
        "from an exact orthogonal kernel plus noise it always does."
    ),
    expected=_expected(),
    scales={
        "tour": _scale(20, 1000, 1, "6 seconds"),
        "small": _scale(100, 3000, 1, "a minute"),
        "paper": _scale(100, 3000, 10, "10 minutes: the paper has 100 runs of each of 44 924 layers"),
    },
    run=run,
    measure=measure,
    plot=plot,
)
