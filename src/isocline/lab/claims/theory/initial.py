"""`critical_init_` on five networks and their gradients; and fifty layers that train on digits only after it."""

from __future__ import annotations

from functools import cache
from math import log10
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isocline.theory import EffectiveTheory, critical_init_, layerwise_lr

from ...claim import Claim, Expected, Measurement, Record, Scale
from ...style import GREY, ORANGE, SOFT, TEAL, label, new_figure
from .networks import NETWORKS, gradient_ratio, mlp
from .paper import NAMES, PAPER

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEAST = -45.0  # decades; a gradient that float32 has lost is drawn here
DEPTH, WIDTH, IMAGES = 50, 128, 512
TRAINED = {
    "tanh": (nn.Tanh, 0.3),
    "relu": (nn.ReLU, 1.0),
}  # and the rate with critical_init_, in layerwise_lr
RIVALS = {
    "SGD, rate 0.001": 1e-3,
    "SGD, rate 0.01": 1e-2,
    "SGD, rate 0.1": 0.1,
    "SGD, rate 1": 1.0,
    "Adam, rate 0.001": None,
}
OURS = "critical_init_"
THREE = log10(3)
AFTER = "{}: gradient of the first layer over the last after critical_init_, decades"
BEFORE = "{}: gradient of the first layer over the last with PyTorch's defaults, decades"
OUTSIDE = "networks outside a factor 3 after critical_init_, share of all"
LEARNED = "50-layer {} MLP: share of the digits learned after critical_init_"
FAILED = "50-layer {} MLP: share of the digits learned with PyTorch's defaults, best of several optimisers"
CAPTION = (
    "Left: the gradient norm of the first layer over that of the last, a dot for each network; the band is a "
    "factor three. Middle and right: fifty layers of width 128 on 512 digits, in batches of 64. With PyTorch's "
    "defaults (grey) neither SGD with momentum nor Adam leaves chance, a tenth."
)


def run(setting: dict[str, Any], seed: int, device: str) -> Measurement:
    if "network" in setting:
        pairs = [_gradients(setting["network"], setting["draws"] * seed + i) for i in range(setting["draws"])]
        before, after = zip(*pairs, strict=True)
        return Measurement({"before": before, "after": after})
    curve = learned(setting["train"], setting["how"], setting["steps"], seed)
    return Measurement({}, {"learned": np.array(curve)})


def _gradients(name: str, seed: int) -> tuple[float, float]:
    """Decades of the gradient ratio of one network before and after, as `gradient_ratio`."""
    make, shape, first, last = NETWORKS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = make().float()
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(1000 + seed), dtype=torch.float32)
    before = gradient_ratio(model, x, first, last)
    critical_init_(model, x, seed=seed)
    return _decades(before), _decades(gradient_ratio(model, x, first, last))


def learned(name: str, how: str, steps: int, seed: int) -> list[float]:
    """The share of the digits that a 50-layer network has learned, at the start and every tenth step."""
    x, y = _digits()
    kind, rate = TRAINED[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = mlp(kind, DEPTH, WIDTH, inputs=x.shape[1]).float()
    optimiser: torch.optim.Optimizer
    if how == OURS:
        critical_init_(model, x, seed=seed)
        groups = layerwise_lr(model, EffectiveTheory(name, DEPTH, WIDTH), rate)
        optimiser = torch.optim.SGD(groups, momentum=0.9)
    elif RIVALS[how] is None:
        optimiser = torch.optim.Adam(model.parameters())
    else:
        optimiser = torch.optim.SGD(model.parameters(), lr=RIVALS[how], momentum=0.9)
    order = torch.Generator().manual_seed(seed)
    curve = [_share(model, x, y)]
    for step in range(1, steps + 1):
        batch = torch.randint(0, len(x), (64,), generator=order)
        optimiser.zero_grad()
        F.cross_entropy(model(x[batch]), y[batch]).backward()
        optimiser.step()
        if step % 10 == 0:
            curve.append(_share(model, x, y))
    return curve


@torch.no_grad()
def _share(model: nn.Module, x: Tensor, y: Tensor) -> float:
    return float((model(x).argmax(1) == y).double().mean())


@cache
def _digits() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    x = (X[:IMAGES] - X.mean()) / X.std()
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y[:IMAGES])


def measure(records: list[Record]) -> dict[str, list[float]]:
    figures: dict[str, list[float]] = {}
    networks = [record for record in records if "network" in record.setting]
    for record in networks:
        name = record.setting["network"]
        figures.setdefault(AFTER.format(name), []).extend(record.values["after"])
        figures.setdefault(BEFORE.format(name), []).extend(record.values["before"])
    outside = [abs(ratio) > THREE for record in networks for ratio in record.values["after"]]
    figures[OUTSIDE] = [sum(outside) / max(1, len(outside))]
    for name in TRAINED:
        ends = {how: float(curve[-1]) for how, curve in _curves(records, name).items()}
        figures[LEARNED.format(NAMES[name])] = [ends[OURS]]
        figures[FAILED.format(NAMES[name])] = [max(end for how, end in ends.items() if how != OURS)]
    return figures


def _decades(ratio: float) -> float:
    return max(LEAST, log10(ratio)) if ratio > 0 else LEAST


def _curves(records: list[Record], name: str) -> dict[str, np.ndarray]:
    """The median over seeds for every way to train."""
    found: dict[str, list[np.ndarray]] = {}
    for record in records:
        if record.setting.get("train") == name:
            found.setdefault(record.setting["how"], []).append(record.arrays["learned"])
    return {how: np.median(curves, axis=0) for how, curves in found.items()}


def plot(records: list[Record]) -> dict[str, Figure]:
    figure, (gradients, *trained) = new_figure(CAPTION, columns=3, width=11.4, height=4.2)
    _gradient_dots(gradients, [record for record in records if "network" in record.setting])
    for ax, name in zip(trained, TRAINED, strict=True):
        for how, curve in _curves(records, name).items():
            steps, ours = 10 * np.arange(len(curve)), how == OURS
            ax.plot(
                steps, curve, color=TEAL if ours else GREY, linewidth=2.2 if ours else 1.2, zorder=2 + ours
            )
            if ours:
                label(ax, steps[-1], curve[-1], OURS, TEAL, dx=0, dy=9, ha="right")
        ax.axhline(0.1, color=SOFT, linewidth=0.8, linestyle=":")
        label(ax, 0, 0.05, "PyTorch's defaults", GREY, dx=0)
        ax.set(xlabel="steps", ylim=(0, 1.05), ylabel="share of digits learned")
        ax.set_title(f"50-layer {NAMES[name]} MLP")
    return {"critical-initialisation": figure}


def _gradient_dots(ax: Axes, records: list[Record]) -> None:
    names = list(NETWORKS)
    ax.axvspan(-THREE, THREE, color=TEAL, alpha=0.15, linewidth=0)
    for record in records:
        y = names.index(record.setting["network"])
        for what, shift, look in (("before", -0.15, "x"), ("after", 0.15, "o")):
            found = record.values[what]
            color = ORANGE if what == "before" else TEAL
            ax.plot(found, [y + shift] * len(found), look, color=color, markersize=4.5, alpha=0.7)
    ax.set_xlim(min(-26.0, *(min(record.values["before"]) - 1 for record in records)), 3.0)
    label(ax, -22, -0.15, "PyTorch's defaults", ORANGE, dx=10)
    label(ax, 0, 0.15, OURS, TEAL, dx=-10, ha="right")
    ax.set(yticks=range(len(names)), yticklabels=names, xlabel="gradient norm, first layer over last")
    ax.xaxis.set_major_formatter(lambda value, _: f"$10^{{{value:.0f}}}$")
    ax.invert_yaxis()
    ax.set_title("Gradients that arrive")


def _scale(draws: int, rivals: tuple[str, ...], steps: int, seeds: int, needs: str) -> Scale:
    settings: list[dict[str, Any]] = [{"network": name, "draws": draws} for name in NETWORKS]
    settings += [{"train": name, "how": how, "steps": steps} for name in TRAINED for how in (OURS, *rivals)]
    return Scale(settings, seeds, needs)


INITIAL = Claim(
    name="theory/critical-initialisation",
    paper=PAPER,
    sentence=(
        "Put at criticality, deep networks of five kinds pass gradients of one size from the last layer to the "
        "first, and fifty layers of tanh or ReLU learn digits, where with PyTorch's defaults they stay at chance."
    ),
    expected=(
        *(Expected(AFTER.format(name), 0.0, "~", THREE, source="chapter 5: χ⊥ = 1") for name in NETWORKS),
        Expected(OUTSIDE, 0.05, "<=", source="single networks differ by ν L / n"),
        Expected(LEARNED.format(NAMES["tanh"]), 0.9, ">=", source="chapters 5 and 9"),
        Expected(LEARNED.format(NAMES["relu"]), 0.3, ">=", source="chapters 5 and 9"),
        *(
            Expected(FAILED.format(NAMES[name]), 0.2, "<=", source="C_W = 1/3: ordered phase")
            for name in TRAINED
        ),
    ),
    scales={
        "tour": _scale(3, ("SGD, rate 0.1", "Adam, rate 0.001"), 100, 1, "15 seconds"),
        "small": _scale(10, tuple(RIVALS), 300, 3, "6 minutes"),
        "paper": _scale(20, tuple(RIVALS), 1000, 10, "an hour"),
    },
    run=run,
    measure=measure,
    plot=plot,
)
