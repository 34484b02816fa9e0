"""Pictures of gradient reports: where a node's state goes, how much is left of it, and what an output sees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from isocline.plstm.report import Array, GradientReport

DECADES = 2  # of a map or a curve that are told apart
MAP = "magma"


def draw_report(report: GradientReport) -> Figure:
    """The four panels of one report."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.4, 7.4), layout="constrained")
    (first, second), (third, fourth) = figure.subplots(2, 2)
    draw_map(first, report.path_sums, report, "how much of its state each node reads")
    draw_travel(second, report)
    draw_columns(third, report)
    draw_map(fourth, report.field, report, "what the output sees")
    return figure


def draw_modes(reports: Mapping[str, GradientReport]) -> Figure:
    """One row for each report, such as P-mode and D-mode of one layer: path sums, mass and peak, receptive field."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.4, 3.7 * len(reports)), layout="constrained")
    rows = figure.subplots(len(reports), 3, squeeze=False)
    for (name, report), (left, middle, right) in zip(reports.items(), rows, strict=True):
        draw_map(left, report.path_sums, report, f"{name}: where a state goes")
        draw_travel(middle, report, title=f"{name}: what is left of it")
        draw_map(right, report.field, report, f"{name}: what an output sees")
    top = max(ax.get_ylim()[1] for ax in rows[:, 1])
    low = min(ax.get_ylim()[0] for ax in rows[:, 1])
    for ax in rows[:, 1]:
        ax.set_ylim(low, top)
    return figure


def draw_map(ax: Axes, values: Array, report: GradientReport, title: str) -> Axes:
    """Values at the nodes, relative to the largest beside the origin: a map of a grid, a curve along a sequence, dots against
    the distance on a graph.
    """
    shown = np.array(values, dtype=np.float64)
    shown[report.origin] = np.nan  # what a node does to itself is of another size
    top = np.nanmax(shown, initial=0.0)
    shown /= top if top > 0 else 1.0
    draw = {1: _curve, 2: _map}[shown.ndim] if not report.layer.startswith("PLSTMGraph") else _dots
    draw(ax, shown, report)
    ax.set_title(title)
    return ax


def _map(ax: Axes, shown: Array, report: GradientReport) -> None:
    from matplotlib import colormaps

    colours = colormaps[MAP].with_extremes(bad="white")
    decades = np.log10(np.maximum(shown, 10.0 ** (-2 * DECADES)))
    image = ax.imshow(decades, vmin=-DECADES, vmax=0, cmap=colours, interpolation="nearest")
    ax.set(xlabel="Y", ylabel="X")
    ax.xaxis.get_major_locator().set_params(integer=True)  # type: ignore[attr-defined]
    ax.yaxis.get_major_locator().set_params(integer=True)  # type: ignore[attr-defined]
    ax.grid(False)
    ticks = list(range(-DECADES, 1))
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.85, pad=0.02, ticks=ticks)
    bar.ax.set_yticklabels([f"$10^{{{tick}}}$" if tick else "1" for tick in ticks])
    bar.outline.set_visible(False)  # type: ignore[operator]


def _curve(ax: Axes, shown: Array, report: GradientReport) -> None:
    floor = 10.0 ** (-2 * DECADES)
    ax.plot(np.where(shown > floor, shown, np.nan), color="C0", linewidth=1.6)
    ax.axvline(report.origin[0], color="0.45", linewidth=0.9, linestyle="--")
    ax.set(yscale="log", ylim=(floor, 3), xlim=(-0.5, len(shown) - 0.5), xlabel="token", ylabel="relative")


def _dots(ax: Axes, shown: Array, report: GradientReport) -> None:
    floor = 10.0 ** (-3 * DECADES)
    spread = np.random.default_rng(0).uniform(-0.18, 0.18, shown.size)  # so that dots do not hide one another
    ax.plot(
        report.hops + spread,
        np.where(shown > floor, shown, np.nan),
        "o",
        color="C0",
        markersize=5,
        alpha=0.75,
    )
    silent = (shown <= floor) & np.isfinite(report.hops)
    ax.plot(
        (report.hops + spread)[silent],
        np.full(silent.sum(), 2 * floor),
        "o",
        color="0.6",
        markersize=4,
        fillstyle="none",
    )
    ax.annotate(
        f"○ {silent.sum()} nodes not reached",
        (0.98, 0.96),
        xycoords="axes fraction",
        color="0.4",
        fontsize=9,
        ha="right",
    )
    ax.set(yscale="log", ylim=(floor, 30), xlabel="edges from the origin", ylabel="relative")


def draw_travel(ax: Axes, report: GradientReport, title: str = "what is left of a unit") -> Axes:
    """L1 norm and largest entry of a state against the arcs it has travelled, with the band of 5 % to 95 %."""
    d, floor = report.distance, 1e-12
    if len(d):
        low, high = np.maximum(report.mass_low, floor), np.maximum(report.mass_high, floor)
        ax.fill_between(d, low, high, color="C0", alpha=0.18, linewidth=0)
        for values, color, name, side in (
            (report.mass, "C0", "all of it", 6),
            (report.peak, "C1", "largest entry", -6),
        ):
            ax.plot(d, np.maximum(values, floor), color=color)
            at = 2 * len(d) // 3
            ax.annotate(
                name,
                (d[at], max(values[at], floor)),
                xytext=(0, side),
                textcoords="offset points",
                color=color,
                fontsize=9,
                fontweight="bold",
                ha="right" if (values[-1] > values[at]) == (side > 0) else "left",
                va="bottom" if side > 0 else "top",
            )
        bottom, top = min(report.peak.min(), 0.1), max(report.mass_high.max(), 2.0)
        ax.set_ylim(max(bottom / 2, 1e-6), 2 * top)
    ax.set(yscale="log", xlabel="distance, arcs", title=title)
    return ax


def draw_columns(ax: Axes, report: GradientReport) -> Axes:
    """The sums of |T| over what follows an edge, smallest to largest, with the line that P-mode may not cross."""
    share = np.linspace(0, 100, len(report.columns))
    ax.plot(share, report.columns, color="C0")
    ax.axhline(1.0, color="0.45", linewidth=0.9, linestyle="--")
    ax.set_ylim(0, max(1.15, 1.1 * report.largest_column))
    ax.set(xlabel="edges, %", ylabel="sum of |T|", title="columns of the transition, in order")
    return ax
