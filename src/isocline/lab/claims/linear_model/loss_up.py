"""Loss up, steps down: two samples on which a larger step makes the loss worse and the separator nearer."""

from __future__ import annotations

from math import inf, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from isocline.linear_model import functional as F

from ...claim import Claim, Expected, Measurement, Record, Scale
from ...style import GREY, INK, ORANGE, PLUM, SOFT, TEAL, label, new_figure
from .paper import PAPER

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TWO_POINTS = np.array([[1.0, -1.0], [1.0, 4.0]])  # a = (1, -1), y = 1 and a = (-1, -4), y = -1
LARGE = 1e6
LOSS_1 = "loss after one step, divided by the step, step 1e6"
GRADIENT_1 = "gradient norm after one step, step 1e6"
LOSS_2 = "loss after two steps, step 1e6"
COUNT = "iterations to the separator, largest over steps 1 to 1e6"
CAPTION = (
    "Left: LR+GD at γ = 10⁶ in the plane θ/γ; only the shaded cone separates both samples. The first step "
    "leaves it (loss ≈ γ/8), the second enters it. Right: the larger the step, the worse the loss after one "
    "step, and the fewer iterations to the separator."
)


def run(setting: dict[str, Any], seed: int, device: str) -> Measurement:
    step = setting["step"]
    path = F.iterate(TWO_POINTS, "lr_gd", step, 100_000, stop=True)
    three = F.iterate(TWO_POINTS, "lr_gd", step, 3)
    values = {
        "iterations": path.separated_at,
        "loss": list(three.loss * three.unit),
        "gradient": list(three.step_length),
    }
    return Measurement(values, {"direction": three.direction})


def measure(records: list[Record]) -> dict[str, list[float]]:
    large = next(record for record in records if record.setting["step"] == LARGE)
    counts = [_count(record) for record in records if record.setting["step"] >= 1]
    return {
        LOSS_1: [large.values["loss"][1] / LARGE],
        GRADIENT_1: [large.values["gradient"][1]],
        LOSS_2: [large.values["loss"][2]],
        COUNT: [max(counts)],
    }


def plot(records: list[Record]) -> dict[str, Figure]:
    figure, (plane, race) = new_figure(CAPTION, columns=2)
    _draw_plane(plane, next(record for record in records if record.setting["step"] == LARGE))
    ordered = sorted(records, key=lambda record: record.setting["step"])
    steps = [record.setting["step"] for record in ordered]
    losses, counts = [record.values["loss"][1] for record in ordered], [_count(record) for record in ordered]
    race.plot(steps, losses, "o-", color=ORANGE)
    race.plot(steps, counts, "s-", color=TEAL)
    race.set(xscale="log", yscale="log", xlabel="step size γ", ylim=(0.3, None))
    label(race, steps[-1], losses[-1], "loss after\none step", ORANGE, dx=-14, ha="right", dy=0)
    label(race, steps[-1], counts[-1], "iterations to the separator", TEAL, dx=0, dy=12, ha="right")
    race.set_title("Loss up, steps down")
    return {"two-steps": figure}


def _draw_plane(ax: Axes, record: Record) -> None:
    """The iterates, and the cone of separators between the lines on which a margin is zero."""
    far = 1.6
    ax.fill([0, far, far], [0, far, -far / 4], color=TEAL, alpha=0.13, linewidth=0)
    for a, b in TWO_POINTS:
        ax.plot([0, far], [0, -far * a / b], color=GREY, linewidth=1)
    label(ax, 1.2, 0.62, "both samples\ncorrect", TEAL, dx=0, ha="center")
    label(ax, 1.2, 1.45, "first wrong", SOFT, dx=-8, ha="right")
    label(ax, 1.2, -0.3, "second wrong", SOFT, dx=-8, dy=-9, ha="right")
    path = record.arrays["direction"][:3]
    ax.plot(*path.T, "o-", color=PLUM, zorder=3)
    for t, (x, y) in enumerate(path):
        label(ax, x, y, f"θ{'₀₁₂'[t]}", INK, dx=8, dy=10 if t == 1 else -8)
    ax.set(xlabel="θ¹ / γ", ylabel="θ² / γ", xlim=(-0.12, far), ylim=(-0.6, 1.6), aspect="equal")
    ax.set_title("Two steps in the plane")


def _count(record: Record) -> float:
    count = record.values["iterations"]
    return inf if count is None else float(count)


def _scale(exponents: np.ndarray, needs: str) -> Scale:
    return Scale([{"step": float(f"{10.0**power:.6g}")} for power in exponents], 1, needs)


LOSS_UP = Claim(
    name="linear_model/loss-up-steps-down",
    paper=PAPER,
    sentence=(
        "Loss and gradient norm do not tell how near a separator is: after one large step the loss is as "
        "bad as one likes, and the next step separates."
    ),
    expected=(
        Expected(LOSS_1, 0.125, "~", 1e-9, source="Theorem 4.1: γ/8"),
        Expected(GRADIENT_1, sqrt(0.5), "~", 1e-9, source="Theorem 4.1: √2/2"),
        Expected(LOSS_2, 0.0, "~", 1e-9, source="Theorem 4.1: f(θ₂) → 0"),
        Expected(COUNT, 2, source="Theorem 4.1"),
    ),
    scales={
        "tour": _scale(np.arange(-3, 7), "1 second"),
        "small": _scale(np.arange(-16, 25) / 4, "10 seconds"),
        "paper": _scale(np.arange(-3, 7), "1 second: the paper's own example has two samples"),
    },
    run=run,
    measure=measure,
    plot=plot,
)
