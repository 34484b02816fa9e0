"""The neural tangent kernel of finite networks: its mean stays, its spread grows with depth over width."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from isocline.theory import EffectiveTheory

from ...claim import Claim, Expected, Measurement, Record, Scale
from ...style import label, new_figure
from .draws import tangent_kernels
from .paper import COLORS, NAMES, PAPER

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# where (A + 2 B) / (n Theta^2) is below 0.2 at the narrower width
DEPTHS = {"tanh": (2, 3, 5, 8, 12), "relu": (2, 3, 4, 6)}
WIDTH = 48
MEAN = "{}, {} layers: mean NTK, networks over theory"
SPREAD = "{}, {} layers: variance of the NTK, networks over theory"
CAPTION = (
    "The NTK of one output for one input, over draws of the weights, with the learning rates of the equivalence "
    "principle. Left: its mean over that at infinite width. Right: n times its relative variance, (A + 2 B) / Θ². "
    "Lines: theory. Dots: networks of widths 48 and 96, weights drawn and gradients computed, extrapolated to "
    "leading order, with two standard errors."
)


def run(setting: dict[str, Any], seed: int, device: str) -> Measurement:
    values: dict[str, float] = {}
    found = {
        n: tangent_kernels(_theory(setting, n), setting["nets"], seed).numpy() for n in (WIDTH, 2 * WIDTH)
    }
    moments = {"mean": {}, "variance": {}}
    for n, H in found.items():
        off = (H - H.mean()) ** 2
        moments["mean"][n] = H.mean(), H.std() / len(H) ** 0.5
        moments["variance"][n] = n * off.mean(), n * off.std() / len(H) ** 0.5
    for what, (narrow, wide) in ((what, tuple(both.values())) for what, both in moments.items()):
        values[what] = float(2 * wide[0] - narrow[0])
        values[f"{what}_error"] = float(np.hypot(2 * wide[1], narrow[1]))
    return Measurement(values)


def _theory(setting: dict[str, Any], width: int = WIDTH) -> EffectiveTheory:
    return EffectiveTheory(setting["activation"], setting["depth"], width)


def _predicted(setting: dict[str, Any]) -> dict[str, float]:
    run = _theory(setting).single_input()
    return {"mean": float(run.Theta[-1]), "variance": float(run.A[-1] + 2 * run.B[-1])}


def measure(records: list[Record]) -> dict[str, list[float]]:
    figures: dict[str, list[float]] = {}
    for record in records:
        expected, words = (
            _predicted(record.setting),
            (NAMES[record.setting["activation"]], record.setting["depth"]),
        )
        for figure, what in ((MEAN, "mean"), (SPREAD, "variance")):
            figures.setdefault(figure.format(*words), []).append(record.values[what] / expected[what])
    return figures


def plot(records: list[Record]) -> dict[str, Figure]:
    figure, axes = new_figure(CAPTION, columns=2, height=4.2)
    for name, depths in DEPTHS.items():
        layers = range(2, depths[-1] + 1)
        theory = [_predicted({"activation": name, "depth": L}) for L in layers]
        unit = {L: one["mean"] for L, one in zip(layers, theory, strict=True)}
        own = [record for record in records if record.setting["activation"] == name]
        for ax, what, power in ((axes[0], "mean", 1), (axes[1], "variance", 2)):
            line = [one[what] / one["mean"] ** power for one in theory]
            ax.plot(layers, line, color=COLORS[name], linewidth=1.6)
            label(
                ax,
                layers[-1],
                line[-1],
                NAMES[name],
                COLORS[name],
                dy=9 if what == "mean" and name == "relu" else 0,
            )
            _dots(ax, own, what, COLORS[name], {L: one**power for L, one in unit.items()})
    axes[0].set(xlabel="layers", ylabel="mean NTK / Θ", ylim=(0.8, 1.2), xlim=(1.5, 14))
    axes[1].set(xlabel="layers", ylabel="n × variance of the NTK / Θ²", ylim=(0, None), xlim=(1.5, 14))
    axes[0].set_title("The mean is that of infinite width")
    axes[1].set_title("The spread grows with depth")
    return {"tangent-kernel": figure}


def _dots(ax: Axes, records: list[Record], what: str, color: str, unit: dict[int, float]) -> None:
    for L in sorted({record.setting["depth"] for record in records}):
        own = [record.values for record in records if record.setting["depth"] == L]
        value = np.mean([values[what] for values in own]) / unit[L]
        error = np.mean([values[f"{what}_error"] for values in own]) / len(own) ** 0.5 / unit[L]
        ax.errorbar(L, value, 2 * error, color=color, fmt="o", markersize=4.5, capsize=2.5, linewidth=1.2)


def _scale(nets: int, seeds: int, needs: str) -> Scale:
    settings = [{"activation": a, "depth": L, "nets": nets} for a, depths in DEPTHS.items() for L in depths]
    return Scale(settings, seeds, needs)


TANGENT = Claim(
    name="theory/tangent-kernel",
    paper=PAPER,
    sentence=(
        "With learning rates by the equivalence principle the mean of the neural tangent kernel stays what it is "
        "at infinite width, while its variance between networks grows as depth over width."
    ),
    expected=[
        promise
        for a, depths in DEPTHS.items()
        for L in depths
        for promise in (
            Expected(MEAN.format(NAMES[a], L), 1.0, "~", 0.03, source="chapter 9: Θ recursion"),
            Expected(SPREAD.format(NAMES[a], L), 1.0, "~", 0.2, source="chapter 8: A and B"),
        )
    ],
    scales={
        "tour": _scale(6000, 1, "10 seconds"),
        "small": _scale(20_000, 4, "3 minutes"),
        "paper": _scale(100_000, 10, "an hour"),
    },
    run=run,
    measure=measure,
    plot=plot,
)
