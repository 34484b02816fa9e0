"""Networks of several widths and depths, all trained alike: success falls with depth over width, not with depth."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from isocline.theory import EffectiveTheory, optimal_aspect_ratio

from ...claim import Claim, Expected, Measurement, Record, Scale
from ...style import ORANGE, PLUM, SKY, SOFT, TEAL, label, new_figure
from .paper import PAPER

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTHS = {12: SKY, 24: TEAL, 48: PLUM, 96: ORANGE}
RATIOS = (0.125, 0.25, 0.5, 1.0, 1.5, 2.0)  # of depth over width
IMAGES, STEPS, ENOUGH = 64, 100, 0.5
RATIO = "width {}: depth / width at which half the images are still learned"
POWER = "the depth at which half the images are learned grows as width to the power"
SAME = "24 layers: share of images learned at width 48, less that at width 12"
CAPTION = (
    "tanh networks at criticality, 64 digits, 100 steps of gradient descent with the rates of the equivalence "
    "principle, at half the largest stable rate of the infinite network. Dots are medians over networks, bars the "
    "middle half. Left against depth, right against depth over width, where the widths fall together. Half the "
    "images are lost at about ten times r* = 0.12, the ratio of appendix A: that is a scale, not the end of "
    "training."
)


def run(setting: dict[str, Any], seed: int, device: str) -> Measurement:
    found = learned(setting["width"], setting["depth"], setting["nets"], setting["steps"], seed)
    return Measurement({"learned": found.tolist()})


def learned(width: int, depth: int, nets: int, steps: int, seed: int) -> Tensor:
    """The share of the images that each of `nets` networks has learned, ``(nets,)``: full-batch gradient descent on the
    squared error.
    """
    theory = EffectiveTheory("tanh", depth, width)
    x, y = _digits()
    target = torch.nn.functional.one_hot(y, 10).float().T
    generator = torch.Generator().manual_seed(seed)
    fan_in, out = [x.shape[1]] + [width] * (depth - 1), [width] * (depth - 1) + [10]
    W = [
        torch.randn(nets, o, i, generator=generator, dtype=torch.float32) * i**-0.5
        for i, o in zip(fan_in, out, strict=True)
    ]
    b = [torch.zeros(nets, o, 1, dtype=torch.float32) for o in out]
    for parameter in (*W, *b):
        parameter.requires_grad_()
    eta = theory.largest_learning_rate(x.double()) / 2
    rates = [eta * float(lw) / i for lw, i in zip(theory.lambda_w, fan_in, strict=True)]
    rates += [eta * float(lb) for lb in theory.lambda_b]
    for step in range(steps + 1):
        z = W[0] @ x.T + b[0]
        for weight, bias in zip(W[1:], b[1:], strict=True):
            z = weight @ torch.tanh(z) + bias
        if step == steps:
            break
        gradients = torch.autograd.grad((z - target).square().sum() / 2, (*W, *b))
        with torch.no_grad():
            for parameter, gradient, rate in zip((*W, *b), gradients, rates, strict=True):
                parameter -= rate * gradient
    return (z.detach().argmax(1) == y).double().mean(1)


@cache
def _digits() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    x = torch.tensor(X[:IMAGES], dtype=torch.float32)
    return x / x.square().mean(1, keepdim=True).sqrt(), torch.tensor(y[:IMAGES])


def measure(records: list[Record]) -> dict[str, list[float]]:
    shares = _shares(records)
    limit = {
        n: _crossing([(L / n, median(values)) for L, values in sorted(of.items())])
        for n, of in shares.items()
    }
    figures = {RATIO.format(n): [ratio] for n, ratio in limit.items()}
    n = np.array(sorted(limit), float)
    depth = np.array([limit[int(width)] for width in n]) * n
    figures[POWER] = [float(np.polyfit(np.log(n), np.log(depth), 1)[0])]
    if 24 in shares.get(12, {}) and 24 in shares.get(48, {}):
        figures[SAME] = [median(shares[48][24]) - median(shares[12][24])]
    return figures


def _shares(records: list[Record]) -> dict[int, dict[int, list[float]]]:
    found: dict[int, dict[int, list[float]]] = {}
    for record in records:
        n, L = record.setting["width"], record.setting["depth"]
        found.setdefault(n, {}).setdefault(L, []).extend(record.values["learned"])
    return found


def _crossing(curve: list[tuple[float, float]]) -> float:
    """Where a falling curve first goes through ENOUGH; NaN where it does not."""
    for (r0, s0), (r1, s1) in pairwise(curve):
        if s0 >= ENOUGH > s1:
            return r0 + (r1 - r0) * (s0 - ENOUGH) / (s0 - s1)
    return float("nan")


def plot(records: list[Record]) -> dict[str, Figure]:
    figure, axes = new_figure(CAPTION, columns=2, height=4.2)
    for n, of in sorted(_shares(records).items()):
        depths = np.array(sorted(of))
        low, middle, high = (np.array([np.quantile(of[L], q) for L in depths]) for q in (0.25, 0.5, 0.75))
        for ax, x in ((axes[0], depths), (axes[1], depths / n)):
            bars = {"yerr": [middle - low, high - middle], "fmt": "o-", "markersize": 5, "capsize": 2.5}
            ax.errorbar(x, middle, color=WIDTHS[n], linewidth=1.5, **bars)
        label(axes[0], depths[0], middle[0], f"width {n}", WIDTHS[n], dx=-4, dy=16)
    ratio = optimal_aspect_ratio("tanh").ratio
    axes[1].axvline(ratio, color=SOFT, linewidth=0.9, linestyle="--")
    label(axes[1], ratio, 0.06, f"r* = {ratio:g}", SOFT)
    axes[0].set(xscale="log", xlabel="depth", ylabel="share of images learned", ylim=(0, 1))
    axes[1].set(xlabel="depth / width", ylim=(0, 1), xlim=(0, None))
    axes[0].set_title("The wider, the deeper")
    axes[1].set_title("The same against depth over width")
    return {"training": figure}


def _scale(widths: list[int], nets: int, steps: int, seeds: int, needs: str) -> Scale:
    settings = [
        {"width": n, "depth": max(2, round(r * n)), "nets": nets, "steps": steps}
        for n in widths
        for r in RATIOS
    ]
    return Scale(settings, seeds, needs)


TRAINING = Claim(
    name="theory/training-depth",
    paper=PAPER,
    sentence=(
        "How deep a network can be and still learn within a given number of steps is a matter of depth over "
        "width, not of depth."
    ),
    expected=(
        Expected(
            POWER, 1.0, "~", 0.25, source="chapter 5.4 and appendix A: L / n is the one expansion parameter"
        ),
        Expected(SAME, 0.2, ">=", source="the same: at equal depth the wider network learns more"),
    ),
    scales={
        "tour": _scale([12, 24, 48], 6, STEPS, 1, "10 seconds"),
        "small": _scale([12, 24, 48], 16, STEPS, 3, "4 minutes"),
        "paper": _scale([12, 24, 48, 96], 16, STEPS, 6, "2 hours"),
    },
    run=run,
    measure=measure,
    plot=plot,
)
