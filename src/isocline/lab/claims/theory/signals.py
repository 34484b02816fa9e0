"""Signals and gradients through a hundred layers, below, at and above criticality."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from isocline.theory import EffectiveTheory, criticality

from ...claim import Claim, Expected, Measurement, Record, Scale
from ...style import ORANGE, SKY, TEAL, label, new_figure
from .paper import NAMES, PAPER

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DEPTH = 100
FACTORS = {0.8: ("below", SKY), 1.0: ("at", TEAL), 1.25: ("above", ORANGE)}
ACTIVATIONS = ("relu", "tanh", "gelu")
SIGNAL = "{}: signal, decades a layer off the recursion, worst of three settings"
GRADIENT = "{}: squared gradient, decades a layer off the recursion, worst of three settings"
CRITICAL = "{} at criticality: squared gradient of layer 1 over that of layer 100, decades"
CAPTION = (
    "Above: the mean square of a layer's preactivations; below: the squared gradient that reaches it from the "
    "output. Lines are the theory of infinite width; dots are single networks, one colour for each weight "
    "variance: 0.8, 1 and 1.25 times the critical one. So deep for their width (400 in the tour: ν L / n > 1), "
    "single networks scatter by half a decade."
)


def run(setting: dict[str, Any], seed: int, device: str) -> Measurement:
    """One network: a signal forward, a random gradient back; weights in float32, whose range suffices."""
    theory = _theory(setting)
    n, C_b, C_W = theory.widths[0], theory.bias_variance, theory.weight_variance
    rng = np.random.default_rng([seed, round(100 * setting["factor"])])
    K1 = criticality(theory.activation).first_kernel
    z = K1**0.5 * rng.standard_normal(n)
    kernel, slopes, weights = [np.mean(z**2)], [], []
    for _ in range(DEPTH - 1):
        s, slope = theory.activation.derivatives(z, 1)
        W = rng.standard_normal((n, n), dtype=np.float32) * np.float32((C_W / n) ** 0.5)
        z = W @ s.astype(np.float32) + C_b**0.5 * rng.standard_normal(n)
        kernel.append(np.mean(z**2))
        slopes.append(slope)
        weights.append(W)
    gradient = rng.standard_normal(n)
    size = [np.mean(gradient**2)]
    for W, slope in zip(reversed(weights), reversed(slopes), strict=True):
        gradient = slope * (gradient.astype(np.float32) @ W)
        size.append(np.mean(gradient**2))
    return Measurement({}, {"kernel": _decades(kernel), "gradient": _decades(size[::-1])})


def _decades(values: Sequence[np.floating]) -> np.ndarray:
    return np.log10(np.maximum(values, 1e-300))  # a narrow ReLU network can die


def predicted(setting: dict[str, Any]) -> dict[str, np.ndarray]:
    """The same two from the recursion, as decades: K, and the product of chi_perp from a layer to the last."""
    return _recursion(setting["activation"], setting["factor"])


@cache
def _recursion(activation: str, factor: float) -> dict[str, np.ndarray]:
    theory = _theory({"activation": activation, "factor": factor, "width": 1})
    run = theory.single_input(criticality(activation).first_kernel)
    back = np.cumsum(np.log10(run.chi_perp[:-1])[::-1])[::-1]
    return {"kernel": np.log10(run.K), "gradient": np.append(back, 0.0)}


def _theory(setting: dict[str, Any]) -> EffectiveTheory:
    point = criticality(setting["activation"])
    C_W = setting["factor"] * point.weight_variance
    return EffectiveTheory(setting["activation"], DEPTH, setting["width"], point.bias_variance, C_W)


def measure(records: list[Record]) -> dict[str, list[float]]:
    figures: dict[str, list[float]] = {}
    for name in ACTIVATIONS:
        off: dict[str, list[float]] = {"kernel": [], "gradient": []}
        for factor in FACTORS:
            own = [r for r in records if (r.setting["activation"], r.setting["factor"]) == (name, factor)]
            expected = predicted(own[0].setting)
            for what, end in (("kernel", -1), ("gradient", 0)):
                far = [float(r.arrays[what][end] - expected[what][end]) / (DEPTH - 1) for r in own]
                off[what].append(abs(median(far)))
            if factor == 1:
                figures[CRITICAL.format(NAMES[name])] = [float(r.arrays["gradient"][0]) for r in own]
        figures[SIGNAL.format(NAMES[name])] = [max(off["kernel"])]
        figures[GRADIENT.format(NAMES[name])] = [max(off["gradient"])]
    return figures


def plot(records: list[Record]) -> dict[str, Figure]:
    figure, axes = new_figure(CAPTION, columns=3, rows=2, height=6.4)
    for column, name in enumerate(ACTIVATIONS):
        own = [record for record in records if record.setting["activation"] == name]
        for row, what in enumerate(("kernel", "gradient")):
            _draw(axes[3 * row + column], own, what)
        point = criticality(name)
        axes[column].set_title(f"{NAMES[name]}: {point.universality_class}")
        axes[3 + column].set_xlabel("layer")
    axes[0].set_ylabel("signal K")
    axes[3].set_ylabel("squared gradient")
    return {"through-a-hundred-layers": figure}


def _draw(ax: Axes, records: list[Record], what: str) -> None:
    from matplotlib.ticker import MaxNLocator

    layers = np.arange(1, DEPTH + 1)
    low, high = 0.0, 0.0
    for factor, (word, color) in FACTORS.items():
        own = [record for record in records if record.setting["factor"] == factor]
        line = predicted(own[0].setting)[what]
        ax.plot(layers, line, color=color, linewidth=1.8)
        for record in own:
            ax.plot(layers[::6], record.arrays[what][::6], ".", color=color, markersize=4.5, alpha=0.55)
        low, high = min(low, line.min()), max(high, line.max())
        if what == "kernel":
            label(ax, layers[-1], line[-1], word, color, dx=4)
        else:
            at = 14 if abs(line[0]) > 6 else 40
            label(ax, at, line[at], word, color, dx=6, dy=11 if factor == 1.25 else -11)
    span = high - low
    ax.set(xlim=(0, DEPTH), ylim=(low - 0.08 * span, high + 0.08 * span))
    ax.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], integer=True))
    ax.yaxis.set_major_formatter(lambda value, _: f"$10^{{{value:.0f}}}$")


def _scale(width: int, seeds: int, needs: str) -> Scale:
    settings = [{"activation": a, "factor": f, "width": width} for a in ACTIVATIONS for f in FACTORS]
    return Scale(settings, seeds, needs)


# Off criticality 0.1 decades a layer; ln of a single network's gain has the variance nu L / n = 1.2 at width 400.
NOISE = 0.015

SIGNALS = Claim(
    name="theory/through-a-hundred-layers",
    paper=PAPER,
    sentence=(
        "At one pair of variances a signal and its gradient keep their size through a hundred layers. A fifth less "
        "weight variance loses ten decades of the gradient; a quarter more blows ReLU and GELU up as far, while tanh "
        "saturates."
    ),
    expected=(
        *(Expected(SIGNAL.format(NAMES[a]), NOISE, "<=", source="chapter 4") for a in ACTIVATIONS),
        *(Expected(GRADIENT.format(NAMES[a]), NOISE, "<=", source="chapters 5 and 9") for a in ACTIVATIONS),
        *(
            Expected(CRITICAL.format(NAMES[a]), 0.0, "~", 100 * NOISE, source="chapter 5: χ⊥ = 1")
            for a in ("relu", "gelu")
        ),
    ),
    scales={
        "tour": _scale(400, 3, "5 seconds"),
        "small": _scale(1000, 10, "3 minutes"),
        "paper": _scale(2000, 30, "half an hour; 1.6 GB"),
    },
    run=run,
    measure=measure,
    plot=plot,
)
