"""Drawings of blind spots: strips of images, confidence along ways, and all over a triangle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from isocline.level_sets.functional import hull_grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from isocline.level_sets.report import BlindSpotReport

TEAL, ORANGE, SOFT, LINE = "#0d6469", "#d9772b", "#5b6573", "#d8d4ca"


def as_picture(image: Tensor) -> np.ndarray:
    """``(C, H, W)`` in [0, 1] as ``(H, W, 3)`` or, of one channel, ``(H, W)``."""
    pixels = image.detach().cpu().float().clamp(0, 1).numpy()
    return pixels.transpose(1, 2, 0) if len(pixels) == 3 else pixels[0]


def strip(report: BlindSpotReport, i: int, between: int = 3) -> Figure:
    """Source, `between` images of the way, blind spot, and the target it looks like, each with the model's confidence."""
    from matplotlib.figure import Figure

    walk = report.walk
    moved = walk.accepted[i].nonzero().flatten()
    last = int(moved[-1]) + 1 if len(moved) else 0
    inner = [k for k, step in enumerate(walk.path_steps.tolist()) if 0 < step < last]
    # the way closes in on its target quickly: early images differ, late ones look alike
    picked = [inner[round(j)] for j in np.linspace(0, max(0, len(inner) - 1) * 0.6, between)] if inner else []
    picked = list(dict.fromkeys(picked))
    label = report.labels[i]
    shown = [(walk.source[i], f"source: {report.sources[i]}", float(walk.source_confidence[i]), TEAL)]
    for k in picked:
        step = int(walk.path_steps[k])
        shown.append((walk.path[i, k], f"step {step}", float(walk.confidences[i, step]), SOFT))
    shown.append((walk.end[i], "blind spot", float(walk.end_confidence[i]), ORANGE))
    shown.append((walk.target[i], f"target: {report.targets[i]}", float(report.control[i, -1]), SOFT))
    figure = Figure(figsize=(1.75 * len(shown), 2.35), layout="constrained")
    axes = figure.subplots(1, len(shown), squeeze=False)[0]
    for ax, (image, words, p, color) in zip(axes, shown, strict=True):
        ax.imshow(as_picture(image), cmap="gray", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
        for side in ax.spines.values():
            side.set(color=color, linewidth=2.2 if color != SOFT else 0.8)
        ax.set_title(words, fontsize=9, color=color, fontweight="bold" if color != SOFT else "normal")
        ax.set_xlabel(f"{label}\n{_percent(p)}", fontsize=9, color="#1c2430")
    return figure


def _percent(p: float) -> str:
    return f"{100 * p:.1f} %" if p >= 0.001 else "< 0.1 %"


def curves(report: BlindSpotReport, rows: Sequence[int]) -> Figure:
    """Confidence in the source's class: along the walk, straight to the blind spot, straight to the target."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    walk = report.walk
    for i in rows:
        p = walk.confidences[i].cpu().double().numpy()
        moved = walk.accepted[i].nonzero().flatten()
        stop = int(moved[-1]) + 2 if len(moved) else 1
        left.plot(np.arange(stop), p[:stop], color=TEAL, linewidth=1.4, alpha=0.8)
        t = np.linspace(0, 1, report.segment.shape[1])
        right.plot(t, report.segment[i].cpu().numpy(), color=ORANGE, linewidth=1.6, alpha=0.85)
        right.plot(t, report.control[i].cpu().numpy(), color=SOFT, linewidth=1.1, alpha=0.6)
    left.set_title("Along the walk", loc="left", fontweight="bold", fontsize=11)
    right.set_title("Straight from the source", loc="left", fontweight="bold", fontsize=11)
    left.set(xlabel="step", ylabel="confidence in the source's class")
    right.set(xlabel="share of the way")
    right.text(
        0.98,
        0.80,
        "to the blind spot",
        color=ORANGE,
        fontweight="bold",
        fontsize=9,
        transform=right.transAxes,
        ha="right",
    )
    right.text(
        0.98,
        0.10,
        "to the target itself",
        color=SOFT,
        fontweight="bold",
        fontsize=9,
        transform=right.transAxes,
        ha="right",
    )
    for ax in (left, right):
        ax.set_ylim(-0.02, 1.03)
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(color=LINE, linewidth=0.6)
    return figure


def triangles(report: BlindSpotReport, which: Sequence[int]) -> Figure:
    """The model's confidence all over triangles of a source and two blind spots."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.5 * len(which) + 0.7, 3.5), layout="constrained")
    axes = figure.subplots(1, len(which), squeeze=False)[0]
    image: Any = None
    for ax, h in zip(axes, which, strict=True):
        hull = report.hulls[h]
        a, b = (report.targets[i] for i in hull.pairs)
        image = draw_triangle(
            ax, hull.values, report.sources[hull.pairs[0]], f"looks like\n{a}", f"looks like\n{b}"
        )
    bar = figure.colorbar(image, ax=list(axes), shrink=0.8, pad=0.02)
    bar.set_label("confidence in the source's class", fontsize=9)
    bar.outline.set_visible(False)  # type: ignore[operator]
    return figure


def draw_triangle(ax: Axes, values: Tensor, top: str, left: str, right: str) -> object:
    """Values ``(66,)`` of `functional.hull_grid` as a heat map, the source on top. Returns what a colour bar needs."""
    n = round((8 * len(values) + 1) ** 0.5 - 3) // 2
    w = hull_grid(n).numpy()
    x, y = w[:, 2] + w[:, 0] / 2, w[:, 0] * 3**0.5 / 2
    image = ax.tripcolor(
        x, y, values.cpu().double().numpy(), shading="gouraud", cmap="cividis", vmin=0, vmax=1
    )
    ax.plot([0, 1, 0.5, 0], [0, 0, 3**0.5 / 2, 0], color=SOFT, linewidth=0.8)
    ax.text(0.5, 0.9, top, ha="center", va="bottom", fontsize=9, fontweight="bold", color=TEAL)
    ax.text(-0.02, -0.04, left, ha="center", va="top", fontsize=9, color=ORANGE)
    ax.text(1.02, -0.04, right, ha="center", va="top", fontsize=9, color=ORANGE)
    ax.set(xlim=(-0.2, 1.2), ylim=(-0.22, 1.02), aspect="equal")
    ax.axis("off")
    return image
