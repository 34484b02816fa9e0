"""The line and the flat line: iterations against the number of samples on the worst-case data."""

from __future__ import annotations

from math import floor, inf
from typing import TYPE_CHECKING, Any

import numpy as np

from isocline.linear_model.functional import WEIGHTS, iteration_bound

from ...claim import Claim, Expected, Measurement, Record, Scale
from ...style import GREY, label, new_figure
from .paper import COLORS, NAMES, PAPER

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TWO_ROWS = np.array([[0.5, -1.0], [0.5, 1.0]])  # the worst-case data without its n - 2 copies
SLOPE = "Batch Perceptron: slope of log iterations over log n, n ≥ 100"
OFF = "Batch Perceptron: largest distance from ⌊0.3 n + 0.2⌋ + 1, iterations"
FLAT = "Normalized Batch Perceptron: most iterations at any n"
FLAT_GD = "Normalized LR+GD, step 100: most iterations at any n"
CAPTION = "Iterations on the worst-case data, both axes logarithmic; R and μ are the same for every n."


def iterations(n: int, method: str, step_size: float = inf) -> int:
    """Iterations to the first separator on the worst-case data of n samples, in time that does not depend on
    n.

    The n - 1 equal samples are one row whose share of the mean is (n - 1) / n. Source: paper, Theorem 5.1.
    """
    share = np.array([1 / n, (n - 1) / n])
    theta, tie = np.zeros(2), 0.5  # sigma(0) = 1/2 at the start, as in functional.iterate
    for t in range(n + 1):
        margins = TWO_ROWS @ theta
        if margins.min() > 0:
            return t
        theta = theta + WEIGHTS[method](margins, step_size, tie=tie, share=share) @ TWO_ROWS
        tie = 1.0
    raise RuntimeError(
        f"{method} at n = {n} has no separator after {n} iterations, which the theorem excludes"
    )


def run(setting: dict[str, Any], seed: int, device: str) -> Measurement:
    return Measurement({"iterations": iterations(setting["n"], setting["method"], setting.get("step", inf))})


def measure(records: list[Record]) -> dict[str, list[float]]:
    n, counts = np.array(_points(records, "batch_perceptron"), float).T
    far = n >= 100
    return {
        SLOPE: [float(np.polyfit(np.log(n[far]), np.log(counts[far]), 1)[0])],
        OFF: [max(abs(count - floor(0.3 * size + 0.2) - 1) for size, count in zip(n, counts, strict=True))],
        FLAT: [max(count for _, count in _points(records, "normalized_batch_perceptron"))],
        FLAT_GD: [max(count for _, count in _points(records, "normalized_lr_gd"))],
    }


def plot(records: list[Record]) -> dict[str, Figure]:
    figure, (ax,) = new_figure(CAPTION)
    sizes = sorted({record.setting["n"] for record in records})
    novikoff = iteration_bound("normalized_batch_perceptron", 5**0.5 / 2, 0.5, 10)
    ax.plot(sizes, [novikoff] * len(sizes), color=GREY, linestyle=(0, (4, 3)), linewidth=1.4)
    label(ax, sizes[-1], novikoff, "R²/μ² = 5: the bound of Theorem 5.3", GREY, dx=0, dy=9, ha="right")
    for method, marker in (
        ("batch_perceptron", "o"),
        ("normalized_batch_perceptron", "s"),
        ("normalized_lr_gd", "x"),
    ):
        points = _points(records, method)
        ax.plot(*zip(*points, strict=True), f"{marker}-", color=COLORS[method])
        words = NAMES[method] + (", γ = 100" if method == "normalized_lr_gd" else "")
        label(ax, *points[-1], words, COLORS[method], dx=10, dy={"s": 8, "x": -8}.get(marker, 0))
    ax.set(xscale="log", yscale="log", xlabel="samples n", ylabel="iterations to the first separator")
    ax.set_ylim(bottom=1)
    ax.set_title("The price of the mean: a thousand times the samples, a thousand times the steps")
    return {"iterations-against-samples": figure}


def _points(records: list[Record], method: str) -> list[tuple[int, int]]:
    return sorted((r.setting["n"], r.values["iterations"]) for r in records if r.setting["method"] == method)


def _scale(sizes: list[int], needs: str) -> Scale:
    methods: list[dict[str, Any]] = [
        {"method": "batch_perceptron"},
        {"method": "normalized_batch_perceptron"},
        {"method": "normalized_lr_gd", "step": 100},
    ]
    return Scale([{**method, "n": n} for method in methods for n in sizes], 1, needs)


TO_100_000 = [10, 30, 100, 300, 1000, 3000, 10_000, 30_000, 100_000]

LINEAR_IN_N = Claim(
    name="linear_model/linear-in-n",
    paper=PAPER,
    sentence=(
        "With margin and radius fixed, the batch perceptron can need a number of iterations proportional to "
        "the number of samples; the normalized methods never need more than R²/μ² and a logarithm."
    ),
    expected=(
        Expected(SLOPE, 1.0, "~", 0.02, source="Theorem 5.1: Ω(n)"),
        Expected(OFF, 0, source="proof of Theorem 5.1"),
        Expected(FLAT, 5, "<=", source="Theorem 5.3: R²/μ² = 5"),
        Expected(FLAT_GD, 6, "<=", source="Theorem 6.1: 5 + 2 log(2n − 1) / 25, below 6 up to n = 10⁵"),
    ),
    scales={
        "tour": _scale(TO_100_000, "2 seconds"),
        "small": _scale([*TO_100_000, 300_000], "5 seconds"),
        "paper": _scale(TO_100_000, "2 seconds: the data are two rows and a count"),
    },
    run=run,
    measure=measure,
    plot=plot,
)
