"""The equilibrium: how far to sharpen. Error falls and spread rises with ReSTE's last power; accuracy lies between."""

from __future__ import annotations

from statistics import median, variance
from typing import TYPE_CHECKING, Any

import numpy as np

from ...claim import Claim, Expected, Record, Scale
from ...style import GREY, ORANGE, PLUM, TEAL, label, new_figure
from .estimators import FULL, NETWORKS, QUICK
from .paper import PAPER
from .runs import TITLES, run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ERROR = "runs whose published error e rises from one power to the next, share"
SPREAD = "spread of gradients at the largest power over that at 1, same seed"
PUBLISHED = "published s at the largest power over that at 1, same seed"
INSIDE = "best median accuracy over the powers, above that of both ends"
AT_THREE = "accuracy at o_end = 3 above that at 1, same seed"
FAR_OVER_SPREAD = "best median accuracy above that at the largest power, over the spread of seeds"
THREE_OVER_SPREAD = "median accuracy at o_end = 3 above that at 1, over the spread of seeds"
AT_TEN = "accuracy at o_end = 10, CIFAR-10, ResNet-20"
CAPTION = (
    "The same network trained with ReSTE's power growing from 1 to o_end. Left: the equilibrium, error of a typical weight at "
    "o_end against the spread of the gradients' sizes in training (both free of scale); dots are seeds, the line joins medians. "
    "Middle: accuracy on test images. Right: the published indicators e and s, over their values at o_end = 1."
)


def measure(records: list[Record]) -> dict[str, list[float]]:
    table = {(r.setting["o_end"], r.seed): r.values for r in records}
    powers, seeds = sorted({o for o, _ in table}), sorted({seed for _, seed in table})
    whole = [seed for seed in seeds if all((o, seed) in table for o in powers)]
    if not whole or len(powers) < 3:
        return {}
    first, last = powers[0], powers[-1]
    errors = np.array([[table[o, seed]["error"] for o in powers] for seed in whole])
    middle = {o: median(table[o, seed]["accuracy"] for seed in whole) for o in powers}
    figures = {
        ERROR: [float((np.diff(row) > 0).mean()) for row in errors],
        SPREAD: [_ratio(table, last, first, seed, "stability_scale_free") for seed in whole],
        PUBLISHED: [_ratio(table, last, first, seed, "stability") for seed in whole],
        INSIDE: [max(middle[o] for o in powers[1:-1]) - max(middle[first], middle[last])],
    }
    if len(whole) > 1:
        best = max(powers, key=lambda o: middle[o])
        figures[FAR_OVER_SPREAD] = [_over_spread(table, best, last, whole)]
    if {1.0, 3.0} <= set(powers):
        if len(whole) > 1:
            figures[THREE_OVER_SPREAD] = [_over_spread(table, 3.0, 1.0, whole)]
        figures[AT_THREE] = [table[3.0, s]["accuracy"] - table[1.0, s]["accuracy"] for s in whole]
    if 10.0 in powers and records[0].setting["data"] == "cifar-10":
        figures[AT_TEN] = [table[10.0, seed]["accuracy"] for seed in whole]
    return figures


def _ratio(table: dict[Any, Any], last: float, first: float, seed: int, what: str) -> float:
    return table[last, seed][what] / table[first, seed][what]


def _over_spread(table: dict[Any, Any], here: float, there: float, seeds: list[int]) -> float:
    """The difference of two medians over the seeds, in units of the standard deviation that seeds have at one power."""
    groups = [[table[o, seed]["accuracy"] for seed in seeds] for o in (here, there)]
    spread = (sum(variance(group) for group in groups) / 2) ** 0.5
    difference = median(groups[0]) - median(groups[1])
    return difference / max(spread, 1e-4)  # of 10,000 test images one is 1e-4


def plot(records: list[Record]) -> dict[str, Figure]:
    figure, (left, middle, right) = new_figure(CAPTION, columns=3, width=10.6, height=3.9)
    powers = sorted({r.setting["o_end"] for r in records})
    groups = [[r.values for r in records if r.setting["o_end"] == o] for o in powers]
    _plane(left, powers, groups)
    places = range(len(powers))
    for x, group in zip(places, groups, strict=True):
        middle.plot(
            [x] * len(group),
            [100 * v["accuracy"] for v in group],
            "o",
            color=TEAL,
            alpha=0.6,
            markeredgewidth=0,
        )
    middle.plot(places, [100 * median(v["accuracy"] for v in group) for group in groups], color=TEAL)
    for what, color, words in (("error", ORANGE, "error e"), ("stability", PLUM, "stability s")):
        values = [median(v[what] for v in group) for group in groups]
        relative = [value / values[0] for value in values]
        right.plot(places, relative, color=color, marker="o")
        near = (-8, 6) if what == "stability" else (-4, -14)
        right.annotate(
            words, (places[-2], relative[-2]), near, textcoords="offset points", color=color,
            fontsize=11, fontweight="bold", ha="right",
        )  # fmt: skip
    for ax in (middle, right):
        ax.set_xticks(places, [f"{o:g}" for o in powers])
        ax.set(xlabel="o_end", xlim=(-0.3, len(powers) - 0.6))
        ax.grid(axis="x", visible=False)
    setting = records[0].setting
    middle.set(ylabel="accuracy, %", title=f"{TITLES[setting['data']]}, {NETWORKS[setting['network']]}")
    right.set(yscale="log", ylabel="over the value at o_end = 1", title="As published")
    return {"equilibrium": figure}


def _plane(ax: Axes, powers: list[float], groups: list[list[dict[str, Any]]]) -> None:
    from matplotlib.ticker import LogLocator

    x = [[v["error_rms"] for v in group] for group in groups]
    y = [[v["stability_scale_free"] for v in group] for group in groups]
    ax.plot([median(v) for v in x], [median(v) for v in y], color=GREY, linewidth=1.2, zorder=1)
    for i, o in enumerate(powers):
        ax.plot(x[i], y[i], "o", color=TEAL, alpha=0.35 + 0.65 * i / (len(powers) - 1), markeredgewidth=0)
        label(ax, max(x[i]), median(y[i]), f"{o:g}", TEAL)
    ax.set(
        yscale="log",
        xlabel="error of a typical weight",
        ylabel="spread of gradients, var |g| / mean² |g|",
        title="The equilibrium",
    )
    ax.margins(x=0.12)
    ax.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
    for axis in (ax.yaxis.set_major_formatter, ax.yaxis.set_minor_formatter):
        axis("{x:g}")


def _settings(powers: list[float], **rest: Any) -> list[dict[str, Any]]:
    return [{"estimator": "reste", "o_end": o} | rest for o in powers]


EQUILIBRIUM = Claim(
    name="binary/equilibrium",
    paper=PAPER,
    sentence=(
        "The larger the last power, the smaller the error and the more unequal the gradients; in longer training "
        "accuracy is best in between."
    ),
    expected=(
        Expected(ERROR, 0.0, source="lemma; indicator e over o_end"),
        Expected(SPREAD, 1.0, ">=", source="ours: the scale-free form of s"),
        Expected(PUBLISHED, 1.0, ">=", source="section 5: indicator s over o_end"),
        # So few steps leave 1 and 3 as far apart as seeds are: the paper's own scale has to tell them apart.
        Expected(FAR_OVER_SPREAD, 1.0, ">=", source="section 5: too far is worse", scales=("small", "paper")),
        Expected(THREE_OVER_SPREAD, 0.0, ">=", 1.0, source="section 5: 3 is best", scales=("small",)),
        Expected(INSIDE, 0.0, ">=", source="section 5: an inverted U, top at 3", scales=("paper",)),
        Expected(AT_THREE, 0.0, ">=", source="section 5: 3 is best", scales=("paper",)),
        Expected(AT_TEN, 0.8286, "~", 0.01, source="section 5: 82.86 %", scales=("paper",)),
    ),
    scales={
        "tour": Scale(_settings([1.0, 3.0, 10.0, 100.0], **QUICK), 3, "15 seconds"),
        "small": Scale(
            _settings(
                [1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0],
                **QUICK | {"images": 10_000, "test": None, "recipe": QUICK["recipe"] | {"epochs": 4}},
            ),
            3,
            "3 minutes",
        ),
        "paper": Scale(
            _settings([1.0, 2.0, 3.0, 5.0, 10.0], **FULL),
            3,
            "CIFAR-10; 15 runs of 1000 epochs: weeks on a GPU",
        ),
    },
    run=run,
    measure=measure,
    plot=plot,
)
