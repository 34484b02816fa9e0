"""How far a state gets on a grid: without a rule it explodes, in P-mode its mass is kept, in D-mode every entry is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from isocline.plstm import plstm_2d

from ...claim import Claim, Expected, Measurement, Record, Scale
from ...style import ORANGE, PLUM, SOFT, TEAL, label, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAPER = "Pöppel et al., pLSTM: parallelizable Linear Source Transition Mark networks, arXiv 2506.11997"
GROWTH = "no rule, every |T| = 1: growth of the largest entry for each step, over the last half of the way"
MASS = "P-mode: largest departure of the mass on an antidiagonal from one"
POWER = "P-mode: exponent of the largest entry against distance, over the last half of the way"
ANGLE = "P-mode: largest distance of the peak from its angle, in nodes"
PATHS = "D-mode: largest departure of an entry from one"
CAPTION = (
    "What every node reads of a state that starts in the corner (logarithmic, five decades), and its largest entry on each "
    "antidiagonal. Without a rule the number of paths grows as 2^Δ. P-mode sends a beam along its angle; its width grows as "
    "the square root of the distance, so that its peak falls as Δ^-1/2, not exponentially. D-mode brings all everywhere."
)
MODES = {"no rule": ORANGE, "P-mode": TEAL, "D-mode": PLUM}


def reads(mode: str, side: int, angle: float) -> np.ndarray:
    """What each node reads of a unit written at (0, 0): the first column of the mask. Shape ``(side, side)``."""
    whole, none = torch.ones(1, side, side, dtype=torch.float64), None
    a, b = angle * whole, (1 - angle) * whole
    transitions = {
        "no rule": (whole, whole, whole, whole),
        "P-mode": (a, a, b, b),
        "D-mode": (whole, whole, none, whole),
    }[mode]
    names = ("transition_rl", "transition_ru", "transition_dl", "transition_du")
    start = torch.zeros(1, side, side, 1, dtype=torch.float64)
    start[0, 0, 0] = 1
    sources = (a, b) if mode == "P-mode" else (whole, whole)
    h = plstm_2d(
        torch.ones_like(start),
        torch.ones_like(start),
        start,
        source_r=sources[0],
        source_d=sources[1],
        mark_l=whole,
        mark_u=whole,
        scale=1.0,
        **dict(zip(names, transitions, strict=True)),
    )
    assert isinstance(h, torch.Tensor)
    return h[0, :, :, 0].numpy()


def run(setting: dict[str, Any], seed: int, device: str) -> Measurement:
    side, angle = setting["side"], setting["angle"]
    maps = {mode: reads(mode, side, angle) for mode in MODES}
    distance = np.arange(1, side)
    diagonals = {
        mode: [np.array([one[x, d - x] for x in range(d + 1)]) for d in distance]
        for mode, one in maps.items()
    }
    peak = {mode: np.array([entries.max() for entries in rows]) for mode, rows in diagonals.items()}
    half = distance >= side // 2
    slope = {
        mode: np.polyfit(np.log(distance[half]) if mode == "P-mode" else distance[half], np.log(p[half]), 1)[
            0
        ]
        for mode, p in peak.items()
    }
    mass = np.array([entries.sum() for entries in diagonals["P-mode"]])
    aim = [
        abs(int(entries.argmax()) - angle * d)
        for d, entries in zip(distance, diagonals["P-mode"], strict=True)
    ]
    beside = maps["D-mode"].ravel()[1:]
    values = {
        "growth": float(np.exp(slope["no rule"])),
        "mass": float(np.abs(mass - 1).max()),
        "power": float(slope["P-mode"]),
        "aim": float(max(aim)),
        "paths": float(np.abs(beside - 1).max()),
    }
    return Measurement(values, {**maps, **{f"peak {mode}": p for mode, p in peak.items()}})


def measure(records: list[Record]) -> dict[str, list[float]]:
    names = {GROWTH: "growth", MASS: "mass", POWER: "power", ANGLE: "aim", PATHS: "paths"}
    return {figure: [record.values[name] for record in records] for figure, name in names.items()}


def plot(records: list[Record]) -> dict[str, Figure]:
    record = max(records, key=lambda record: (record.setting["side"], -abs(record.setting["angle"] - 0.65)))
    figure, axes = new_figure(CAPTION, columns=4, width=12.4, height=3.5)
    for ax, mode in zip(axes, MODES, strict=False):
        _map(ax, record.arrays[mode], mode)
    for mode, color in MODES.items():
        peak = record.arrays[f"peak {mode}"]
        axes[3].plot(np.arange(1, len(peak) + 1), peak, color=color)
    axes[3].set(xscale="log", yscale="log", xlabel="distance Δ", ylim=(0.03, 1e6), title="largest entry")
    label(axes[3], 1.2, 3e3, r"no rule: $2^\Delta$", ORANGE, dx=0)
    label(axes[3], 11, 2.8, "D-mode: 1", PLUM, dx=0)
    label(axes[3], 1.2, 0.09, r"P-mode: $\Delta^{-1/2}$", TEAL, dx=0)
    return {"modes": figure}


def _map(ax: Axes, values: np.ndarray, title: str) -> None:
    shown = np.log10(np.maximum(values, 1e-12))
    shown[0, 0], top = np.nan, shown.max()  # the node that writes
    ax.imshow(shown, cmap="magma", vmin=top - 5, vmax=top, interpolation="nearest")
    ax.grid(False)
    ax.set(title=title, xlabel="Y", ylabel="X")
    if title == "no rule":
        ax.annotate(
            f"up to $10^{{{top:.0f}}}$", (0.06, 0.06), xycoords="axes fraction", color="white", fontsize=9
        )
    ax.tick_params(colors=SOFT)


def _settings(side: int, angles: tuple[float, ...]) -> list[dict[str, Any]]:
    return [{"side": side, "angle": angle} for angle in angles]


ANGLES = (0.2, 0.35, 0.5, 0.65, 0.8)

LONG_RANGE = Claim(
    name="plstm/long-range",
    paper=PAPER,
    sentence=(
        "On a grid, states in P-mode keep their mass and fall like a power of the distance, those of D-mode arrive "
        "whole along a single path, where transitions of size one without a rule explode."
    ),
    expected=(
        Expected(GROWTH, 2.0, "~", 0.05, source="number of paths: binom(Δ, Δ/2) ~ 2^Δ / √Δ"),
        Expected(MASS, 0.0, "~", 1e-12, source="P-mode: columns of sum one"),
        Expected(POWER, -0.5, "~", 0.03, source="P-mode: power law of exponent -1/2"),
        Expected(ANGLE, 1.0, "<=", source="P-mode: maximal along Δx / (Δx + Δy) = a"),
        Expected(PATHS, 0.0, "~", 1e-12, source="D-mode: at most one path"),
    ),
    scales={
        "tour": Scale(_settings(33, ANGLES), 1, "2 seconds"),
        "small": Scale(_settings(96, ANGLES), 1, "10 seconds"),
        "paper": Scale(_settings(192, ANGLES), 1, "a minute: the paper proves what is measured here"),
    },
    run=run,
    measure=measure,
    plot=plot,
)
