"""How the figures of the house look: one palette that colour-blind readers can tell apart, quiet axes, direct
labels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SOFT, LINE = "#1c2430", "#5b6573", "#d8d4ca"
# In this order, neighbours differ in lightness too, so that they also differ in grey.
TEAL, ORANGE, PLUM, SKY, OCHRE, GREY = "#0d6469", "#d9772b", "#8a3a6c", "#5b9fd0", "#c6a015", "#7d8590"
PALETTE = (TEAL, ORANGE, PLUM, SKY, OCHRE, GREY)


@contextmanager
def house_style() -> Iterator[None]:
    """matplotlib draws in the style of the house inside; the person's own settings are back afterwards."""
    import matplotlib
    from cycler import cycler

    settings: dict[Any, Any] = {
        "font.family": ["DejaVu Sans"],
        "font.size": 10,
        "text.color": INK,
        "axes.titlesize": 11,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.titlepad": 10,
        "axes.labelcolor": SOFT,
        "axes.edgecolor": SOFT,
        "axes.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.prop_cycle": cycler(color=PALETTE),
        "grid.color": LINE,
        "grid.linewidth": 0.6,
        "xtick.color": SOFT,
        "ytick.color": SOFT,
        "xtick.minor.size": 0,
        "ytick.minor.size": 0,
        "lines.linewidth": 2.0,
        "lines.markersize": 6.0,
        "lines.solid_capstyle": "round",
        "legend.frameon": False,
        "legend.fontsize": 9,
        "figure.facecolor": "white",
        "figure.constrained_layout.use": True,
        "mathtext.fontset": "dejavusans",
    }
    with matplotlib.rc_context(settings):
        yield


def new_figure(
    caption: str, *, width: float = 9.6, height: float = 4.4, columns: int = 1, rows: int = 1
) -> tuple[Figure, list[Axes]]:
    """A figure of ``width x height`` inches and its axes, row by row. No window, no global state.

    The caption is kept as the figure's label; the page sets it under the picture.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), label=caption)
    axes = figure.subplots(rows, columns, squeeze=False)
    return figure, list(axes.flat)


def label(
    ax: Axes, x: float, y: float, words: str, color: str, *, dx: float = 6, dy: float = 0, **how: str
) -> None:
    """Name a line at one of its points, in its own colour, `dx` and `dy` typographic points away."""
    ax.annotate(
        words,
        (x, y),
        xytext=(dx, dy),
        textcoords="offset points",
        color=color,
        fontsize=9,
        fontweight="bold",
        va=how.get("va", "center"),
        ha=how.get("ha", "left"),
        annotation_clip=False,
    )
