"""The page of `isocline theory`: what to set, and how signal, gradients and fluctuations go through the layers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from isocline._core.files import write_atomic
from isocline._core.page import Badge, Page, drawn
from isocline.lab.style import GREY, ORANGE, PLUM, SOFT, TEAL, house_style, label, new_figure
from isocline.theory.report import COLUMNS, some_layers

from .theory import settings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from isocline.theory import EffectiveTheory, Report

DEPTH_WORDS = (
    "Left: the variance K of a preactivation; the band is one standard deviation of it between draws of the "
    "weights. Middle: the squared gradient that reaches a layer from the output. Right: both susceptibilities, "
    "one at criticality."
)
WIDTH_WORDS = (
    "Left: v = V / (n K²), the relative variance between networks of a layer's metric; up to v* the expansion in "
    "1/n holds, past 1.5 v* it does not. Right: learning rates with which every layer moves the output as much; a "
    "weight's is divided by its fan-in."
)
CODE = """from isocline.theory import EffectiveTheory, critical_init_, layerwise_lr

theory = EffectiveTheory({arguments})
critical_init_(model, sample)  # a batch of your inputs
optimizer = torch.optim.SGD(layerwise_lr(model, theory, eta=0.1))"""


def write_page(theory: EffectiveTheory, report: Report, outputs: int, folder: Path, command: str) -> Path:
    """Write ``folder/index.html`` and ``folder/pictures``; returns the page's path."""
    title = f"{theory.activation.name}, {theory.depth} layers of width {theory.widths[0]}"
    lead = f"{report.regime[0].upper()}{report.regime[1:]}."
    facts = {"depth": theory.depth, "width": theory.widths[0], "outputs": outputs}
    facts |= {"skip": theory.skip} if theory.skip else {}
    page = Page(title, lead, facts, _badge(report))
    page.section("What to set")
    page.table(["", "value", "in words"], settings(theory, report, outputs))
    given = f'"{theory.activation.name}", {theory.depth}, {theory.widths[0]}'
    page.code(CODE.format(arguments=given + (f", skip={theory.skip:g}" if theory.skip else "")))
    if report.warnings:
        page.section("Mind")
        for words in report.warnings:
            page.text(f"{words[0].upper()}{words[1:]}.")
    with house_style():
        figures = {"Through depth": through_depth(report), "At this width": at_this_width(report)}
        for heading, figure in figures.items():
            page.section(heading).figure(figure, str(figure.get_label()))
            name = heading.lower().replace(" ", "-")
            write_atomic(folder / "pictures" / f"{name}.png", drawn(figure).png)
    inside = page.section("Layer by layer").details("The numbers")
    inside.table(list(COLUMNS), [list(map(float, row)) for row in some_layers(report.table)])
    page.section("Made with").code(command)
    return page.write(folder / "index.html")


def _badge(report: Report) -> Badge:
    if not report.criticality.exists:
        return Badge("not critical", "bad")
    v, best = report.fluctuation, report.best_fluctuation
    tone: Literal["good", "info", "bad"] = "good" if v <= best else "info" if v <= 1.5 * best else "bad"
    return Badge({"good": "depth fits", "info": "at the edge", "bad": "too deep for its width"}[tone], tone)


def through_depth(report: Report) -> Figure:
    """Kernel, gradient and susceptibilities against the layer."""
    figure, (signal, gradient, chi) = new_figure(DEPTH_WORDS, columns=3, width=11.4, height=3.8)
    column = {name: report.table[:, i] for i, name in enumerate(COLUMNS)}
    layers, K, spread = column["layer"], column["K"], np.sqrt(np.maximum(column["V/nK^2"], 0.0))
    signal.fill_between(layers, K / (1 + spread), K * (1 + spread), color=TEAL, alpha=0.15, linewidth=0)
    signal.plot(layers, K, color=TEAL)
    back = np.append(np.cumprod(column["chi_perp"][:-1][::-1])[::-1], 1.0)
    gradient.plot(layers, back, color=ORANGE)
    for name, color, words, dy in (
        ("chi_par", PLUM, "χ∥, norms", -8),
        ("chi_perp", TEAL, "χ⊥, separations", 8),
    ):
        chi.plot(layers, column[name], color=color)
        label(chi, layers[-1], column[name][-1], words, color, dx=0, dy=dy, ha="right")
    for ax, title in ((signal, "Signal K"), (gradient, "Squared gradient"), (chi, "Susceptibilities")):
        ax.set(xlabel="layer")
        ax.set_title(title)
    for ax, values in ((signal, K), (gradient, back)):
        if values.max() > 30 * values.min():
            ax.set_yscale("log")
        else:
            ax.set_ylim(0, 2.2 * values.max())
    _room(chi, column["chi_par"], column["chi_perp"])
    return figure


def _room(ax: Axes, *values: np.ndarray) -> None:
    low, high = min(v.min() for v in values), max(v.max() for v in values)
    margin = max(0.15 * (high - low), 0.05)
    ax.set_ylim(low - margin, high + margin)


def at_this_width(report: Report) -> Figure:
    """Fluctuations beside v*, and learning rates, against the layer."""
    figure, (fluctuation, rates) = new_figure(WIDTH_WORDS, columns=2, width=11.4, height=3.8)
    column = {name: report.table[:, i] for i, name in enumerate(COLUMNS)}
    layers, v, best = column["layer"], column["V/nK^2"], report.best_fluctuation
    fluctuation.axhspan(0, best, color=TEAL, alpha=0.12, linewidth=0)
    fluctuation.axhspan(best, 1.5 * best, color=GREY, alpha=0.15, linewidth=0)
    fluctuation.plot(layers, v, color=ORANGE)
    label(fluctuation, layers[0], best, f"v* = {best:.3g}", SOFT, dx=2, dy=-8)
    fluctuation.set(xlabel="layer", ylabel="v", ylim=(0, 1.15 * max(float(v.max()), 1.6 * best)))
    fluctuation.set_title("How much networks differ")
    for name, color, words, dy in (
        ("lambda_b", PLUM, "biases", 9),
        ("lambda_w", TEAL, "weights × fan-in", -9),
    ):
        rates.plot(layers, column[name], color=color)
        label(rates, layers[-1], column[name][-1], words, color, dx=0, dy=dy, ha="right")
    rates.set(
        xlabel="layer",
        ylabel="learning rate / eta",
        ylim=(0, 1.15 * max(column["lambda_b"].max(), column["lambda_w"].max())),
    )
    rates.set_title("Learning rates")
    return figure
