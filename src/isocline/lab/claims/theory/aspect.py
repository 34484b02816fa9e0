"""The best depth for a width: where the expansion says that outputs share most information, and what they really share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from isocline.theory import EffectiveTheory, criticality, largest_depth, optimal_aspect_ratio
from isocline.theory.functional import mutual_information

from ...claim import Claim, Expected, Measurement, Record, Scale
from ...style import INK, LINE, SOFT, TEAL, label, new_figure
from .draws import metrics
from .paper import COLORS, NAMES, PAPER

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACTIVATIONS = ("tanh", "sin", "linear", "gelu", "swish", "relu")
OUTPUTS, WIDTH = 10, 128
PUBLISHED = {  # nu, r* for 10 outputs, L*(128)
    "tanh": (2 / 3, 0.12, 17),
    "sin": (2 / 3, 0.12, 16),
    "linear": (2.0, 0.04, 6),
    "gelu": (4.904, 0.0163, 3),
    "swish": (4.923, 0.0162, 3),
    "relu": (5.0, 0.016, 3),
}
SLOPE, BEST, DEPTH = "{}: ν, growth of V/K² by layer", "{}: best depth / width, 10 outputs", "{}: L*(128)"
SHARED = "{}: information that networks share at twice r*, over that at r*"
CAPTIONS = {
    "aspect-ratios": (
        "The depth over width at which a critical network's ten outputs share most information, r* = 0.08 / ν, "
        "and the last layer L* below that point, from the recursion itself. Past 1.5 r* two draws of the weights "
        "behave differently."
    ),
    "shared-information": (
        "Information in nats that five outputs have about five others, for one input, over draws of the weights. "
        "The expansion to third order (line) has its maximum at r*. The networks' own (dots, from the drawn "
        "metrics, without an expansion) agree with it for small depth over width and then go on rising: r* is "
        "where the expansion ends, a scale, not a peak."
    ),
}


def run(setting: dict[str, Any], seed: int, device: str) -> Measurement:
    name = setting["activation"]
    best = optimal_aspect_ratio(name, OUTPUTS)
    deepest = {str(n): largest_depth(name, n, outputs=OUTPUTS) for n in (32, WIDTH, 512)}
    values = {"slope": best.slope, "ratio": best.ratio, "deepest": deepest}
    if not setting["nets"]:
        return Measurement(values)
    n = setting["width"]
    layers = np.unique(np.geomspace(2, max(3, 3 * best.ratio * n), 12).round().astype(int))
    G = metrics(EffectiveTheory(name, int(layers[-1]), n), setting["nets"], seed)
    shared = [shared_information(G[:, layer - 2], OUTPUTS // 2, OUTPUTS // 2) for layer in layers]
    return Measurement(values, {"layers": layers, "shared": np.array(shared)})


def shared_information(G: torch.Tensor, first: int, second: int, bins: int = 250, points: int = 240) -> float:
    """Mutual information in nats of two groups of outputs for one input, over networks with the metrics `G (nets,)`.

    Given G all outputs are independent Gaussians of variance G, so that the squared lengths r of the two groups say everything:
    ``p(r1, r2)`` is the mean over G of two scaled chi-squared densities, here on a grid of log r. No expansion in 1 / n.
    """
    groups = G.sort().values[: len(G) // bins * bins].reshape(bins, -1).mean(1)
    low, high = float(groups.min().log()) - 9.0, float(groups.max().log()) + 5.0
    grid = torch.linspace(low, high, points, dtype=torch.float64)

    def density(m: int) -> torch.Tensor:
        ratio = grid.exp() / groups[:, None]
        p = (m / 2 * ratio.log() - ratio / 2).exp()  # of log r, without the constant
        return p / p.sum(1, keepdim=True)

    one, two = density(first), density(second)
    joint = one.mT @ two / len(groups)
    apart = one.mean(0)[:, None] * two.mean(0)
    return float(torch.where(joint > 1e-300, joint * (joint / apart.clamp(min=1e-300)).log(), 0.0).sum())


def measure(records: list[Record]) -> dict[str, list[float]]:
    figures: dict[str, list[float]] = {}
    for record in records:
        name, values = NAMES[record.setting["activation"]], record.values
        figures.setdefault(SLOPE.format(name), [values["slope"]])
        figures.setdefault(BEST.format(name), [values["ratio"]])
        figures.setdefault(DEPTH.format(name), [values["deepest"][str(WIDTH)]])
        if "shared" in record.arrays:
            r = record.arrays["layers"] / record.setting["width"] / values["ratio"]
            at, twice = np.interp([1.0, 2.0], r, record.arrays["shared"])
            figures.setdefault(SHARED.format(name), []).append(float(twice / at))
    return figures


def plot(records: list[Record]) -> dict[str, Figure]:
    table, (ax,) = new_figure(CAPTIONS["aspect-ratios"], height=4.2)
    _table(ax, {record.setting["activation"]: record.values for record in records})
    curves = [record for record in records if "shared" in record.arrays and record.seed == 0]
    figure, axes = new_figure(CAPTIONS["shared-information"], columns=max(1, len(curves)), height=4.0)
    for ax, record in zip(axes, curves, strict=False):
        _curve(ax, record)
    return {"aspect-ratios": table} | ({"shared-information": figure} if curves else {})


def _table(ax: Axes, found: dict[str, dict[str, Any]]) -> None:
    """A row for each activation: its class, nu, a bar as long as r*, and how deep three widths may be."""
    names = [name for name in ACTIVATIONS if name in found]
    heads = {0.0: "activation", 0.13: "class", 0.31: "ν", 0.37: "r* = best depth / width"}
    depths = {0.79: "32", 0.88: "128", 0.97: "512"}
    y0 = len(names)
    for x, word in (heads | {x: f"n = {n}" for x, n in depths.items()}).items():
        ax.text(
            x, y0, word, color=SOFT, fontsize=9, ha="right" if x > 0.5 or word == "ν" else "left", va="center"
        )
    ax.text(0.97, y0 + 0.55, "deepest network L* of width n", color=SOFT, fontsize=9, ha="right", va="center")
    longest = max(values["ratio"] for values in found.values())
    for i, name in enumerate(names):
        y, values = y0 - 1 - i, found[name]
        ax.axhline(y + 0.5, color=LINE, linewidth=0.8)
        ax.text(0.0, y, NAMES[name], color=COLORS[name], fontsize=11, fontweight="bold", va="center")
        ax.text(0.13, y, criticality(name).universality_class, va="center", fontsize=10)
        ax.text(0.31, y, f"{values['slope']:.3g}", ha="right", va="center", fontsize=10)
        ax.barh(y, 0.25 * values["ratio"] / longest, left=0.37, height=0.42, color=COLORS[name])
        ax.text(
            0.38 + 0.25 * values["ratio"] / longest, y, f"{values['ratio']:.3g}", va="center", fontsize=10
        )
        for x, n in depths.items():
            ax.text(x, y, f"{values['deepest'][n]:g}", ha="right", va="center", fontsize=10, color=INK)
    ax.set(xlim=(-0.01, 1.0), ylim=(-0.6, y0 + 0.9), yticks=[], xticks=[], xlabel=" ")
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.set_title("How deep may it be?")


def _curve(ax: Axes, record: Record) -> None:
    name, n, ratio = record.setting["activation"], record.setting["width"], record.values["ratio"]
    layers = np.arange(2, 1 + int(record.arrays["layers"][-1]))
    run = EffectiveTheory(name, int(layers[-1]), n).single_input()
    v = (run.V / (n * run.K**2))[layers - 1]
    half = OUTPUTS // 2
    ax.plot(layers / n, mutual_information(v, half, half), color=TEAL, label="expansion, third order")
    ax.plot(layers / n, half * half / 8 * v**2, color=TEAL, linestyle=":", label="its leading order")
    ax.plot(
        record.arrays["layers"] / n,
        record.arrays["shared"],
        "o",
        color=COLORS["relu"],
        label="networks, exact",
    )
    ax.axvline(ratio, color=SOFT, linewidth=0.9, linestyle="--")
    top = 1.25 * float(record.arrays["shared"].max())
    label(ax, ratio, 0.93 * top, f"r* = {ratio:.3g}", SOFT, dx=4)
    ax.set(ylim=(-0.004, top), xlim=(0, None), xlabel="depth / width", ylabel="shared information (nats)")
    ax.set_title(f"{NAMES[name]}, width {n}")
    ax.legend(loc="upper left", bbox_to_anchor=(0.0, 0.9), frameon=True, edgecolor="none", framealpha=0.9)


def _scale(nets: int, seeds: int, needs: str) -> Scale:
    drawn = {"tanh": 100, "relu": 600}
    settings = [
        {"activation": a, "nets": nets if a in drawn else 0, "width": drawn.get(a, 0)} for a in ACTIVATIONS
    ]
    return Scale(settings, seeds, needs)


ASPECT = Claim(
    name="theory/aspect-ratio",
    paper=PAPER,
    sentence=(
        "Every activation has a depth over width, set by ν alone, up to which a network is near its "
        "infinite-width limit and near which the expansion in 1/n ends: tanh may be seven times as deep as ReLU "
        "at the same width."
    ),
    expected=[
        promise
        for a, (nu, r, deepest) in PUBLISHED.items()
        for promise in (
            Expected(SLOPE.format(NAMES[a]), nu, "==", 6e-4, source="chapter 5.4"),
            Expected(BEST.format(NAMES[a]), r, "==", 6e-5, source="appendix A: r* = 4 / (20 + 3 · 10) / ν"),
            Expected(DEPTH.format(NAMES[a]), deepest, source="the recursion"),
        )
    ],
    scales={
        "tour": _scale(5000, 1, "3 seconds"),
        "small": _scale(50_000, 3, "a minute"),
        "paper": _scale(500_000, 3, "10 minutes; 2 GB"),
    },
    run=run,
    measure=measure,
    plot=plot,
)
