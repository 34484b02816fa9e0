"""The limit: divided by its step size, gradient descent on the logistic loss becomes the batch perceptron."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from isocline.linear_model import functional as F

from ...claim import Claim, Expected, Measurement, Record, Scale
from ...style import label, new_figure
from .data import image_rows
from .paper import COLORS, NAMES, PAPER

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LIMITS = {"lr_gd": "batch_perceptron", "normalized_lr_gd": "normalized_batch_perceptron"}
STEPS = [10.0**power for power in range(-1, 10)]
SHOWN = [1.0, 1e2, 1e4, 1e8]  # step sizes of the overlay
CAPTION = (
    "Left: wrong samples on one data set; at γ = 10⁸ LR+GD lies on the batch perceptron. Right: "
    "the largest distance between θ/γ and its limit over the whole path, relative to the limit's length, "
    "median and range over data sets (10⁻¹⁷ stands for zero). The normalized path is chaotic: it coincides "
    "with its limit once no margin on the way is within rounding of the sigmoid."
)


def run(setting: dict[str, Any], seed: int, device: str) -> Measurement:
    """For every step size, the largest distance of ``theta_t / gamma`` from its limit, over the length of the
    limit.

    The path is followed until the limit separates: after that the limit rests and gradient descent need not.
    """
    T = setting["iterations"]
    rows = (
        gaussian_rows(setting["n"], setting["d"], seed)
        if setting["data"] == "gaussian"
        else image_rows(setting["data"], setting["n"])
    )
    limit = F.iterate(rows, LIMITS[setting["method"]], max_iter=T)
    end = T if limit.separated_at is None else limit.separated_at
    gaps, wrong = [], []
    for step in STEPS:
        path = F.iterate(rows, setting["method"], step, T)
        gaps.append(np.abs(path.direction[: end + 1] - limit.direction[: end + 1]).max())
        wrong.append(path.errors)
    unit = np.linalg.norm(limit.direction[: end + 1], axis=1).max()
    arrays = {"wrong": np.array(wrong), "limit_wrong": limit.errors}
    return Measurement({"gaps": list(np.array(gaps) / unit), "separated_at": limit.separated_at}, arrays)


def gaussian_rows(n: int, d: int, seed: int) -> np.ndarray:
    """About n signed standard normal rows in d dimensions, without the 2 % nearest to the true plane; radius
    one."""
    random = np.random.default_rng(seed)
    X, plane = random.normal(size=(n, d)), random.normal(size=d)
    score = X @ plane
    keep = np.abs(score) > np.quantile(np.abs(score), 0.02)
    rows = X[keep] * np.sign(score[keep])[:, None]
    return rows / np.linalg.norm(rows, axis=1).max()


def measure(records: list[Record]) -> dict[str, list[float]]:
    figures: dict[str, list[float]] = {}
    for record in records:
        figures.setdefault(_name(record.setting["method"], STEPS[-1]), []).append(record.values["gaps"][-1])
        figures.setdefault(_name(record.setting["method"], 1.0), []).append(
            record.values["gaps"][STEPS.index(1.0)]
        )
    return figures


def plot(records: list[Record]) -> dict[str, Figure]:
    figure, (left, right) = new_figure(CAPTION, columns=2)
    _draw_overlay(left, next(record for record in records if record.setting["method"] == "lr_gd"))
    for method in LIMITS:
        gaps = np.array([r.values["gaps"] for r in records if r.setting["method"] == method])
        gaps = np.maximum(gaps, 1e-17)
        right.fill_between(STEPS, gaps.min(0), gaps.max(0), color=COLORS[method], alpha=0.15, linewidth=0)
        right.plot(STEPS, np.median(gaps, 0), "o-", color=COLORS[method])
    label(right, 0.1, 10.0, NAMES["lr_gd"], COLORS["lr_gd"], dx=-4, dy=12)
    label(right, 1e5, 0.1, NAMES["normalized_lr_gd"], COLORS["normalized_lr_gd"], dx=0, dy=14)
    right.set(xscale="log", yscale="log", ylim=(None, 1e3))
    right.set(xlabel="step size γ", ylabel="distance of θ/γ from the perceptron's path")
    right.set_title("Closer, or all at once")
    return {"limit": figure}


def _draw_overlay(ax: Axes, record: Record) -> None:
    """Wrong samples against iterations, logarithmic; none is drawn at one half."""
    time = np.arange(record.setting["iterations"] + 1)
    limit = np.maximum(record.arrays["limit_wrong"], 0.5)
    ax.plot(time, limit, color=COLORS["batch_perceptron"], linewidth=9, alpha=0.35)
    label(ax, time[-1], limit[-1], "Batch Perceptron", COLORS["batch_perceptron"], dx=0, dy=14, ha="right")
    for step, shade in zip(SHOWN, ("0.72", "0.55", "0.35", "0.0"), strict=True):
        wrong = np.maximum(record.arrays["wrong"][STEPS.index(step)], 0.5)
        ax.plot(time, wrong, color=shade, linewidth=1.8, label=f"γ = $10^{{{np.log10(step):.0f}}}$")
    ax.set(yscale="log", xlabel="iteration", ylabel="wrong samples", ylim=(0.35, None))
    ax.set_yticks([0.5, 1, 10, 100, 1000], ["0", "1", "10", "100", "1000"])
    ax.set_title("LR+GD lies down on the perceptron")
    ax.legend(loc="upper right")


def _name(method: str, step: float) -> str:
    return f"{NAMES[method]}, step {step:g}: distance from its perceptron"


def _gaussian(n: int, d: int, iterations: int) -> list[dict[str, Any]]:
    about = {"data": "gaussian", "n": n, "d": d, "iterations": iterations}
    return [{"method": method, **about} for method in LIMITS]


def _images(pairs: list[str], n: int, iterations: int) -> list[dict[str, Any]]:
    return [
        {"method": method, "data": pair, "n": n, "iterations": iterations}
        for method in LIMITS
        for pair in pairs
    ]


PERCEPTRON_LIMIT = Claim(
    name="linear_model/perceptron-limit",
    paper=PAPER,
    sentence=(
        "Divided by its step size, LR+GD becomes the batch perceptron as the step grows, and Normalized "
        "LR+GD the normalized batch perceptron."
    ),
    expected=[
        Expected(_name("lr_gd", STEPS[-1]), 0.0, "~", 1e-6, source="Theorem 3.2"),
        Expected(_name("normalized_lr_gd", STEPS[-1]), 0.0, "~", 1e-6, source="as Theorem 3.2"),
    ],
    scales={
        "tour": Scale(_gaussian(1000, 100, 30), 6, "5 seconds"),
        "small": Scale(_gaussian(4000, 100, 60), 20, "a minute"),
        "paper": Scale(
            _images(["fashion-mnist 1/8", "fashion-mnist 5/9"], 5000, 100),
            1,
            "a minute, 1 GiB and Fashion-MNIST: two classes, 5000 samples, as in the paper's figures",
        ),
    },
    run=run,
    measure=measure,
    plot=plot,
)
