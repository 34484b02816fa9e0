"""The worst case: one sample against n - 1, where every iteration count of the paper is exact."""

from __future__ import annotations

from math import inf, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from isocline.linear_model import functional as F

from ...claim import SCALES, Claim, Expected, Measurement, Record, Scale
from ...style import GREY, INK, label, new_figure
from .paper import COLORS, NAMES, PAPER

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# (method, step) -> iterations at n = 1000, and n -> iterations of the batch perceptron.
TABLE_1 = {
    ("normalized_lr_gd", 100): 2,
    ("normalized_lr_gd", 10): 2,
    ("normalized_lr_gd", 1): 16,
    ("normalized_lr_gd", 0.1): 157,
    ("lr_gd", 100): 308,
}
COUNTED = {100: 31, 1000: 301, 10_000: 3001, 100_000: 30_001}
STEPS = [0.1, 0.3, 1, 3, 10, 30, 100, 1000]
CAPTION = "Iterations until all 1000 margins are positive. Ringed: the five counts of the paper's Table 1."


def worst_case_rows(n: int) -> np.ndarray:
    """Signed rows (0.5, -1) once and (0.5, 1) n - 1 times: ``R^2 / mu^2 = 5`` whatever n. Source: paper,
    Theorem 5.1."""
    rows = np.tile([0.5, 1.0], (n, 1))
    rows[0, 1] = -1.0
    return rows


def run(setting: dict[str, Any], seed: int, device: str) -> Measurement:
    """Iterations to the first separator; None when there was none within the limit."""
    rows, step = worst_case_rows(setting["n"]), setting.get("step", inf)
    path = F.iterate(rows, setting["method"], step, setting["at_most"], stop=True)
    return Measurement({"iterations": path.separated_at})


def measure(records: list[Record]) -> dict[str, list[float]]:
    return {name_of(record.setting): [_count(record)] for record in records}


def plot(records: list[Record]) -> dict[str, Figure]:
    figure, (ax,) = new_figure(CAPTION)
    steps = np.geomspace(0.08, 1500, 100)
    bound = [F.iteration_bound("normalized_lr_gd", sqrt(5) / 2, 0.5, 1000, float(step)) for step in steps]
    ax.plot(steps, bound, color=GREY, linestyle=(0, (4, 3)), linewidth=1.4)
    label(ax, steps[-1], bound[-1], "Theorem 6.1:\nat most this many", GREY)
    for method in ("lr_gd", "normalized_lr_gd"):
        points = sorted((r.setting["step"], _count(r)) for r in records if r.setting["method"] == method)
        ax.plot(*zip(*points, strict=True), "o-", color=COLORS[method])
        label(ax, *points[-1], NAMES[method], COLORS[method], dx=12)
        for step, count in points:
            if (method, step) in TABLE_1:
                ax.plot(step, count, "o", ms=13, mfc="none", mec=INK, mew=1)
                label(ax, step, count, f"{count:g}", INK, dx=0, dy=16, ha="center")
    ax.set(xscale="log", yscale="log", xlabel="step size γ", ylabel="iterations to the first separator")
    ax.set_title("One sample against 999: LR+GD walks, the normalized step jumps")
    return {"iterations-against-step": figure}


def name_of(setting: dict[str, Any]) -> str:
    step = f", step {setting['step']:g}" if "step" in setting else ""
    return f"{NAMES[setting['method']]}{step}, n = {setting['n']}: iterations"


def _count(record: Record) -> float:
    count = record.values["iterations"]
    return inf if count is None else float(count)


def _settings(steps: dict[str, list[float]], sizes: list[int]) -> list[dict[str, Any]]:
    stepped = [
        {"method": method, "step": step, "n": 1000, "at_most": 100_000}
        for method, many in steps.items()
        for step in many
    ]
    return stepped + [{"method": "batch_perceptron", "n": n, "at_most": n} for n in sizes]


def _expected() -> list[Expected]:
    table = [
        Expected(
            name_of({"method": method, "step": step, "n": 1000}), count, source="Table 1, worst-case data"
        )
        for (method, step), count in TABLE_1.items()
    ]
    counted = [
        Expected(
            name_of({"method": "batch_perceptron", "n": n}),
            count,
            source="proof of Theorem 5.1: the smallest k > 0.3 n + 0.2",
            scales=("small",) if n > 10_000 else SCALES,
        )
        for n, count in COUNTED.items()
    ]
    return table + counted


QUICK = _settings({"normalized_lr_gd": STEPS, "lr_gd": STEPS[2:]}, [100, 1000, 10_000])

WORST_CASE = Claim(
    name="linear_model/worst-case",
    paper=PAPER,
    sentence=(
        "One sample against n − 1: LR+GD at a large step, like the batch perceptron, needs about 0.3 n "
        "iterations; Normalized LR+GD needs two."
    ),
    expected=_expected(),
    scales={
        "tour": Scale(QUICK, 1, "3 seconds"),
        "small": Scale(_settings({"normalized_lr_gd": STEPS, "lr_gd": STEPS}, list(COUNTED)), 1, "a minute"),
        "paper": Scale(QUICK, 1, "3 seconds: the paper's own size is this small"),
    },
    run=run,
    measure=measure,
    plot=plot,
)
