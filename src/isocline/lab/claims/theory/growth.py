"""The four-point vertex grows as depth over width, in every universality class with its own slope."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from isocline.theory import EffectiveTheory

from ...claim import Claim, Expected, Measurement, Record, Scale
from ...style import GREY, label, new_figure
from .draws import vertex
from .paper import COLORS, NAMES, PAPER

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# depth and narrower width with nu L / n = 0.2 or less, where the expansion in 1 / n holds
CRITICAL = {"relu": (7, 160), "linear": (13, 130), "gelu": (7, 160), "tanh": (31, 110), "sin": (31, 110)}
ORDERED = {"activation": "tanh", "depth": 31, "width": 110, "C_b": 0.1, "C_W": 1.0}
SLOPES = {"relu": 5.0, "linear": 2.0, "gelu": 4.904226}
SLOPE = "{}: growth of V/K² by layer"
RATIO = "{}: V at layer {}, measured over predicted"
FLAT = "tanh in the ordered phase: V/K² at layer 31 over that at layer 16"
CAPTION = (
    "The four-point vertex over K², which a width n divides: the relative variance of a layer's metric between "
    "networks. Lines: the recursion. Dots: networks of two widths each, extrapolated to leading order, with two "
    "standard errors."
)


def run(setting: dict[str, Any], seed: int, device: str) -> Measurement:
    found = [
        vertex(_theory(setting, n), setting["nets"], 2 * seed + i) for i, n in enumerate(_widths(setting))
    ]
    (small, error), (large, finer) = found
    return Measurement({}, {"V": 2 * large - small, "error": np.hypot(2 * finer, error)})


def _widths(setting: dict[str, Any]) -> tuple[int, int]:
    return setting["width"], 2 * setting["width"]


def _theory(setting: dict[str, Any], width: int) -> EffectiveTheory:
    settings = (setting.get("C_b"), setting.get("C_W"))
    return EffectiveTheory(setting["activation"], setting["depth"], width, *settings)


def measure(records: list[Record]) -> dict[str, list[float]]:
    figures: dict[str, list[float]] = {}
    for record in records:
        name, L = record.setting["activation"], record.setting["depth"]
        run = _theory(record.setting, record.setting["width"]).single_input()
        V = record.arrays["V"]
        if "C_b" in record.setting:
            middle = (L - 1) // 2
            ratio = V[-1] / run.K[-1] ** 2 / (V[middle - 1] / run.K[middle] ** 2)
            figures.setdefault(FLAT, []).append(float(ratio))
            continue
        if name in SLOPES:
            slope = float(V[-1] / run.K[-1] ** 2 / (L - 1))
            figures.setdefault(SLOPE.format(NAMES[name]), []).append(slope)
        figures.setdefault(RATIO.format(NAMES[name], L), []).append(float(V[-1] / run.V[-1]))
    return figures


def plot(records: list[Record]) -> dict[str, Figure]:
    figure, (ax,) = new_figure(CAPTION, height=5.0)
    settings: list[dict[str, Any]] = [{"activation": name, "depth": 101} for name in CRITICAL]
    for setting in (*settings, ORDERED | {"depth": 101}):
        _draw(ax, setting, [r for r in records if _same(r.setting, setting)])
    ax.set(xscale="log", yscale="log", xlabel="layer l", ylabel="V / K²", xlim=(1.8, 230), ylim=(0.2, 800))
    ax.set_title("Fluctuations grow with depth, each class at its own rate")
    return {"growth-of-the-vertex": figure}


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one["activation"] == other["activation"] and ("C_b" in one) == ("C_b" in other)


def _draw(ax: Axes, setting: dict[str, Any], records: list[Record]) -> None:
    name, ordered = setting["activation"], "C_b" in setting
    color = GREY if ordered else COLORS[name]
    run = _theory(setting, 100).single_input()
    layers, ratio = np.arange(2, 102), (run.V / run.K**2)[1:]
    ax.plot(layers, ratio, color=color, linestyle="--" if ordered else "-", linewidth=1.6)
    words = "tanh, ordered phase" if ordered else f"{NAMES[name]}"
    dy = {"relu": 5, "gelu": -6, "tanh": 5, "sin": -6}.get(name, 0) if not ordered else 0
    label(ax, 101, ratio[-1], words, color, dy=dy)
    if not records:
        return
    V = np.mean([record.arrays["V"] for record in records], axis=0)
    error = np.sqrt(np.mean([record.arrays["error"] ** 2 for record in records], axis=0) / len(records))
    at = np.unique(np.geomspace(1, len(V), 8).round().astype(int)) - 1
    unit = run.K[1 : len(V) + 1][at] ** 2
    bars = {"yerr": 2 * error[at] / unit, "fmt": "o", "markersize": 4.5, "capsize": 2.5, "linewidth": 1.2}
    ax.errorbar(at + 2, V[at] / unit, color=color, **bars)


def _scale(nets: int, seeds: int, needs: str) -> Scale:
    settings: list[dict[str, Any]] = [
        {"activation": name, "depth": L, "width": n} for name, (L, n) in CRITICAL.items()
    ]
    return Scale([setting | {"nets": nets} for setting in (*settings, ORDERED)], seeds, needs)


NOISE = 0.12  # four standard errors of one seed at tour scale: 1 figure in 10 000 fails by chance

GROWTH = Claim(
    name="theory/growth-of-the-vertex",
    paper=PAPER,
    sentence=(
        "Networks of finite width differ from one another by an amount that grows as depth over width: 5 l/n for "
        "ReLU, 2 l/n for linear, 2/3 l/n for tanh and its class, 4.9 l/n for GELU; away from criticality it stops "
        "growing or explodes."
    ),
    expected=(
        *(
            Expected(SLOPE.format(NAMES[a]), nu, "~", NOISE * nu, source="chapter 5.4: ν")
            for a, nu in SLOPES.items()
        ),
        *(
            Expected(RATIO.format(NAMES[a], CRITICAL[a][0]), 1.0, "~", NOISE, source="chapter 4.3")
            for a in ("tanh", "sin")
        ),
        Expected(FLAT, 1.0, "~", 2 * NOISE, source="chapter 5.4: off criticality a constant"),
    ),
    scales={
        "tour": _scale(20_000, 1, "10 seconds"),
        "small": _scale(100_000, 3, "2 minutes"),
        "paper": _scale(1_000_000, 5, "half an hour"),
    },
    run=run,
    measure=measure,
    plot=plot,
)
