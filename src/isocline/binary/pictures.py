"""Drawings of a diagnosis and of the equilibrium along training: on the axes they are given, or on a figure of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from isocline._core.checks import wrong

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from isocline.binary.diagnosis import Diagnosis
    from isocline.binary.equilibrium import Equilibrium


def draw_diagnosis(found: Diagnosis, ax: Axes | None = None) -> Axes:
    """A line a layer: a typical weight's error, and where there are gradients the spread of their sizes. Returns the axes."""
    if ax is None:
        import matplotlib.pyplot as plt

        ax = plt.subplots(figsize=(8.6, 1.4 + 0.3 * len(found.layers)), layout="constrained")[1]
    y = np.arange(len(found.layers))
    errors = [row.weight.error_rms for row in found.layers]
    spreads = np.array([row.weight.stability_scale_free for row in found.layers])
    ax.hlines(y, 0, errors, color="C0", linewidth=1.2, alpha=0.4)
    ax.plot(errors, y, "o", color="C0", label="error of a typical weight, rms of f(w) − sign(w)")
    if np.isfinite(spreads).any():
        ax.plot(spreads, y, "D", color="C1", label="spread of gradients, var |g| / mean² |g|")
    ax.set_yticks(y, [row.name for row in found.layers])
    ax.set(ylim=(len(y) - 0.4, -0.6), xlim=(0, None), xlabel="dimensionless")
    ax.grid(axis="y", visible=False)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
    return ax


def draw_equilibrium(found: Equilibrium, ax: Axes | None = None) -> Any:
    """The path of training from error to spread, dark where it ends; without `ax` also both, and flips, over the steps."""
    if not found.rows:
        raise wrong("equilibrium", "at least one measured step", "none", "train, or lower `every`")
    if ax is not None:
        return _path(found, ax)
    import matplotlib.pyplot as plt

    _figure, axes = plt.subplots(1, 3, figsize=(12.2, 3.8), layout="constrained")
    return _panels(found, list(axes))


def equilibrium_figure(found: Equilibrium) -> Figure:
    """`draw_equilibrium` on a figure of its own, without a window."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.2, 3.8), layout="constrained")
    _panels(found, list(figure.subplots(1, 3)))
    return figure


def _panels(found: Equilibrium, axes: list[Axes]) -> list[Axes]:
    steps = [row.step for row in found.rows]
    path, over, moves = axes
    _path(found, path)
    over.plot(steps, [row.error_rms for row in found.rows], color="C0", label="error, rms")
    over.plot(
        steps, [row.stability_scale_free for row in found.rows], color="C1", label="spread of gradients"
    )
    over.set(title="Both along training", xlabel="step", ylim=(0, None))
    moves.plot(
        steps, [100 * row.flips for row in found.rows], color="C2", label="signs that change in a step"
    )
    moves.plot(steps, [100 * row.dead for row in found.rows], color="C3", label="weights without gradient")
    moves.set(title="What the weights do", xlabel="step", ylabel="% of the weights", ylim=(0, None))
    for ax in (over, moves):
        ax.legend(frameon=False)
    return axes


def _path(found: Equilibrium, ax: Axes) -> Axes:
    x = [row.error_rms for row in found.rows]
    y = [row.stability_scale_free for row in found.rows]
    ax.plot(x, y, color="0.75", linewidth=0.9, zorder=1)
    ax.scatter(x, y, c=[row.step for row in found.rows], cmap="viridis_r", s=26, zorder=2)
    for i, words, height in ((0, "start", 14), (-1, "end", -20)):
        o = found.rows[i].sharpness
        at = words if o != o else f"{words}, o = {o:.3g}"
        side = "right" if x[i] > sum(x) / len(x) else "left"  # into the panel
        ax.annotate(at, (x[i], y[i]), xytext=(0, height), textcoords="offset points", ha=side)
    ax.set(
        title="The equilibrium",
        xlabel="error of a typical weight",
        ylabel="spread of gradients, var |g| / mean² |g|",
    )
    return ax
