"""Residual connections move the best depth, and a weak one moves a ReLU network's the wrong way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from isocline.theory import EffectiveTheory, optimal_aspect_ratio

from ...claim import Claim, Expected, Measurement, Record, Scale
from ...style import PLUM, SKY, SOFT, TEAL, label, new_figure
from .draws import vertex
from .paper import COLORS, NAMES, PAPER

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SKIPS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
DRAWN = {("relu", 0.5): SKY, ("relu", 0.9): PLUM, ("tanh", 0.5): TEAL}
DEPTH = 12
HEADLINE = "ReLU: most that the quartic vertex underestimates ν, times"
WEAK = "ReLU: ν with a skip of 0.5, full vertex"
MEASURED = "{}, skip {:g}: V at layer 12, networks over full vertex"
QUARTIC = "{}, skip {:g}: V at layer 12, networks over quartic vertex"
CAPTION = (
    "Left: networks (dots, two standard errors) follow the full vertex (solid), which keeps every Hermite order "
    "that a skip keeps alive, not the quartic one (dashed). Middle: a weak ReLU skip raises the slope ν of the "
    "fluctuations before a strong one lowers it. Right: the best depth over width for ten outputs."
)


def run(setting: dict[str, Any], seed: int, device: str) -> Measurement:
    name = setting["activation"]
    if "nets" not in setting:
        full = [optimal_aspect_ratio(name, skip=g) for g in SKIPS]
        quartic = [optimal_aspect_ratio(name, skip=g, residual_vertex="quartic") for g in SKIPS]
        slopes = [np.array([one.slope for one in both]) for both in (full, quartic)]
        return Measurement({"v*": full[0].fluctuation}, {"full": slopes[0], "quartic": slopes[1]})
    theories = [_theory(setting, n) for n in (setting["width"], 2 * setting["width"])]
    (small, error), (large, finer) = (
        vertex(t, setting["nets"], 2 * seed + i) for i, t in enumerate(theories)
    )
    return Measurement({}, {"V": 2 * large - small, "error": np.hypot(2 * finer, error)})


def _theory(setting: dict[str, Any], width: int = 1, residual_vertex: str = "full") -> EffectiveTheory:
    return EffectiveTheory(
        setting["activation"], DEPTH, width, skip=setting["skip"], residual_vertex=residual_vertex
    )


def measure(records: list[Record]) -> dict[str, list[float]]:
    figures: dict[str, list[float]] = {}
    for record in records:
        name = record.setting["activation"]
        if "V" not in record.arrays:
            if name == "relu":
                figures[HEADLINE] = [float((record.arrays["full"] / record.arrays["quartic"]).max())]
                figures[WEAK] = [float(record.arrays["full"][SKIPS.index(0.5)])]
            continue
        words = (NAMES[name], record.setting["skip"])
        for figure, kind in ((MEASURED, "full"), (QUARTIC, "quartic")):
            V = _theory(record.setting, residual_vertex=kind).single_input().V[-1]
            figures.setdefault(figure.format(*words), []).append(float(record.arrays["V"][-1] / V))
    return figures


def plot(records: list[Record]) -> dict[str, Figure]:
    figure, (growth, slopes, ratios) = new_figure(CAPTION, columns=3, width=11.4, height=4.2)
    drawn = [record for record in records if "V" in record.arrays]
    for (name, skip), color in DRAWN.items():
        own = [r for r in drawn if (r.setting["activation"], r.setting["skip"]) == (name, skip)]
        _growth(growth, own, color)
    growth.set(
        xlabel="layer", ylabel="V / K²", xlim=(1, DEPTH + 3.4), ylim=(0, None), xticks=range(2, DEPTH + 1, 2)
    )
    growth.set_title("Networks decide")
    for record in (record for record in records if "V" not in record.arrays):
        name, skips = record.setting["activation"], np.array(SKIPS)
        color = COLORS[name]
        for what, style in (("full", "-"), ("quartic", (0, (4, 2)))):
            nu = record.arrays[what]
            slopes.plot(skips, nu, color=color, linestyle=style)
            ratios.plot(skips, record.values["v*"] / nu, color=color, linestyle=style)
        dy = {"relu": 9, "gelu": -12, "tanh": 8}[name]
        label(slopes, 0.5, record.arrays["full"][6], NAMES[name], color, dx=0, dy=dy, ha="center")
        label(
            ratios,
            0.0,
            record.values["v*"] / record.arrays["full"][0],
            NAMES[name],
            color,
            dx=4,
            dy={"relu": -13}.get(name, 11),
        )
    slopes.set(xlabel="skip γ", ylabel="ν", ylim=(0, 8.2))
    slopes.set_title("Solid: full. Dashed: quartic")
    ratios.set(xlabel="skip γ", ylabel="best depth / width r*", yscale="log", ylim=(0.008, 9))
    ratios.set_title("Strong skips buy depth")
    return {"skips": figure}


def _growth(ax: Axes, records: list[Record], color: str) -> None:
    if not records:
        return
    setting, layers = records[0].setting, np.arange(1, DEPTH + 1)
    for kind, style in (("full", "-"), ("quartic", (0, (4, 2)))):
        run = _theory(setting, residual_vertex=kind).single_input()
        ax.plot(layers, run.V / run.K**2, color=color, linestyle=style, linewidth=1.6)
    run = _theory(setting).single_input()
    V = np.mean([record.arrays["V"] for record in records], axis=0) / run.K[1:] ** 2
    error = (
        np.mean([record.arrays["error"] for record in records], axis=0) / len(records) ** 0.5 / run.K[1:] ** 2
    )
    ax.errorbar(
        layers[1::2], V[::2], 2 * error[::2], color=color, fmt="o", markersize=4.5, capsize=2.5, linewidth=1.2
    )
    words = f"{NAMES[setting['activation']]}\nγ = {setting['skip']:g}"
    label(ax, DEPTH, V[-1], words, color, dx=8)
    ax.tick_params(colors=SOFT)


def _scale(nets: int, seeds: int, needs: str) -> Scale:
    settings: list[dict[str, Any]] = [{"activation": a} for a in ("relu", "gelu", "tanh")]
    widths = {"relu": 400, "tanh": 100}
    settings += [{"activation": a, "skip": g, "nets": nets, "width": widths[a]} for a, g in DRAWN]
    return Scale(settings, seeds, needs)


SKIP = Claim(
    name="theory/skips",
    paper=PAPER,
    sentence=(
        "A residual connection changes how deep a network may be. The quartic vertex that is quoted from "
        "the textbook leaves out fluctuations that a skip keeps alive and underestimates a ReLU network's up to "
        "3.6 times; a weak ReLU skip makes things worse, a strong one much better."
    ),
    expected=(
        Expected(
            HEADLINE,
            3.6,
            "==",
            0.06,
            source="not in the book: every Hermite order of σ² kept, appendix B completed",
        ),
        Expected(WEAK, 6.496, "==", 5e-3, source="the same"),
        *(
            Expected(
                MEASURED.format(NAMES[a], g),
                1.0,
                "~",
                0.12,
                source="the same; by Monte Carlo, 4 standard errors",
            )
            for a, g in DRAWN
        ),
        Expected(QUARTIC.format("ReLU", 0.5), 1.25, ">=", source="the form quoted from appendix B: too low"),
        Expected(QUARTIC.format("ReLU", 0.9), 1.5, ">=", source="the form quoted from appendix B: too low"),
    ),
    scales={
        "tour": _scale(12_000, 1, "6 seconds"),
        "small": _scale(30_000, 5, "2 minutes"),
        "paper": _scale(400_000, 5, "half an hour"),
    },
    run=run,
    measure=measure,
    plot=plot,
)
