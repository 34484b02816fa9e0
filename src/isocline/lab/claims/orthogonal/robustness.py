"""What the penalty buys: accuracy under attack against clean accuracy, beside the same network without it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from isocline.datasets.images import load_images
from isocline.orthogonal import OrthogonalPenalty, singular_values
from isocline.training import PGD, Augment, Recipe, evaluate, fit

from ...claim import Claim, Expected, Measurement, Missing, Record, Scale, data_folder
from ...style import ORANGE, PLUM, SKY, SOFT, TEAL, label, new_figure
from .paper import PAPER

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GAIN = "{}, λ = {:g}: robust accuracy above that of the twin with λ = 0, same seed"
COST = "{}, λ = {:g}: clean accuracy below that of the twin"
LARGEST = "{}, λ = {:g}: largest singular value of any layer"
RATIO = "{}, λ = {:g}: largest singular value of any layer, over that of the twin"
CAPTION = (
    "Left: accuracy on clean images and under PGD (ten steps, L2; the radius is in the title), with λ L_orth added to the loss. "
    "Points are seeds, lines medians; λ = 0 is the same network with the same initial weights and order of examples. Right: the "
    "largest and smallest singular values over all layers after training, exact, at each layer's own input size. The paper's, "
    "after 400 epochs, are about 1 for λ ≥ 1; a short training ends above it."
)


@dataclass(frozen=True, slots=True)
class Setup:
    """A data set, the radius that its robustness is asked at, and the network: widths by stage, each behind a pixel-unshuffle."""

    title: str
    shape: tuple[int, int]  # channels, side
    radius: float


SETUPS = {
    "fashion-mnist": Setup("Fashion-MNIST", (1, 28), 0.5),
    "cifar-10-jpeg": Setup("CIFAR-10 (JPEG)", (3, 32), 36 / 255),
    "cifar-10": Setup("CIFAR-10", (3, 32), 36 / 255),
}
SMALL = [[8], [16]]  # one convolution a stage, behind a first unshuffle
VGG = [[64, 66], [64, 128, 130], [128, 192, 194], [192]]  # the paper's widths for CIFAR-10
QUICK = {"optimizer": "adam", "lr": 5e-3, "final_lr": 5e-5, "schedule": "linear", "temperature": 20.0}
PAPERS = QUICK | {"lr": 0.03, "final_lr": 3e-4, "batch_size": 128}


class GroupSort2(nn.Module):
    """Of every two channels the larger, then the smaller: keeps all norms. Source: Anil, Lucas, Grosse 2019."""

    def forward(self, x: Tensor) -> Tensor:
        pairs = x.unflatten(1, (-1, 2))
        return torch.stack([pairs.amax(2), pairs.amin(2)], 2).flatten(1, 2)


def network(
    shape: tuple[int, int], stages: list[list[int]], unshuffle_first: bool
) -> tuple[nn.Sequential, list[int]]:
    """Circular 3 x 3 convolutions and GroupSort2, halved by invertible pixel-unshuffles, Glorot weights as in the paper.

    The last layer is linear, written as a 1 x 1 convolution so that it is regularised too. Returns the model and the side of
    each convolution's input.
    """
    (channels, side), parts, sides = shape, [], []
    for i, stage in enumerate(stages):
        if i or unshuffle_first:
            parts.append(nn.PixelUnshuffle(2))
            channels, side = 4 * channels, side // 2
        for width in stage:
            parts += [nn.Conv2d(channels, width, 3, padding=1, padding_mode="circular"), GroupSort2()]
            channels = width
            sides.append(side)
    parts += [
        nn.Flatten(),
        nn.Unflatten(1, (-1, 1, 1)),
        nn.Conv2d(channels * side * side, 10, 1),
        nn.Flatten(),
    ]
    model = nn.Sequential(*parts)
    for conv in convolutions(model):
        nn.init.xavier_uniform_(conv.weight)
        nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return model, [*sides, 1]


def convolutions(model: nn.Module) -> list[nn.Conv2d]:
    return [part for part in model.modules() if isinstance(part, nn.Conv2d)]


@cache
def images(name: str, split: str, count: int | None) -> tuple[Tensor, Tensor]:
    """The first `count` images, as bytes, and their labels."""
    try:
        found = load_images(name, split, data_folder(), count=count)
    except FileNotFoundError as error:
        raise Missing(str(error)) from error
    return torch.from_numpy(found.images), torch.from_numpy(found.labels)


def run(setting: dict[str, Any], seed: int, device: str) -> Measurement:
    setup = SETUPS[setting["data"]]
    torch.manual_seed(seed)  # the same weights for every lambda
    model, sides = network(setup.shape, setting["stages"], unshuffle_first=len(setting["stages"]) == 2)
    recipe = Recipe(**setting["recipe"] | {"augment": Augment(**setting["augment"]), "seed": seed})
    penalty = OrthogonalPenalty(model, setting["weight"], every=1) if setting["weight"] else None
    try:
        found = fit(
            model,
            images(setting["data"], "train", setting["images"]),
            recipe=recipe,
            penalty=penalty,
            device=device,
        )
    except ImportError as error:
        raise Missing(str(error)) from error
    held_out = images(setting["data"], "test", setting["test"])
    metrics = evaluate(model, held_out, attack=PGD(radius=setup.radius, steps=10), seed=seed)
    model.cpu()
    spectra = [singular_values(conv, side) for conv, side in zip(convolutions(model), sides, strict=True)]
    values = {
        "clean": metrics["accuracy"],
        "robust": metrics["robust_accuracy"],
        "largest": max(float(values[0]) for values in spectra),
        "smallest": min(float(values[-1]) for values in spectra),
        "loss": found.metrics["loss"],
    }
    return Measurement(values)


def measure(records: list[Record]) -> dict[str, list[float]]:
    figures: dict[str, list[float]] = {}
    twins = {(r.setting["data"], r.seed): r.values for r in records if not r.setting["weight"]}
    for record in records:
        data, weight, values = record.setting["data"], record.setting["weight"], record.values
        title, twin = SETUPS[data].title, twins.get((data, record.seed))
        if weight and twin is not None:
            figures.setdefault(GAIN.format(title, weight), []).append(values["robust"] - twin["robust"])
            figures.setdefault(COST.format(title, weight), []).append(twin["clean"] - values["clean"])
            figures.setdefault(LARGEST.format(title, weight), []).append(values["largest"])
            figures.setdefault(RATIO.format(title, weight), []).append(values["largest"] / twin["largest"])
    return figures


def plot(records: list[Record]) -> dict[str, Figure]:
    names = [name for name in SETUPS if any(r.setting["data"] == name for r in records)]
    return {name: _picture(name, [r for r in records if r.setting["data"] == name]) for name in names}


def _picture(name: str, records: list[Record]) -> Figure:
    setup, weights = SETUPS[name], sorted({record.setting["weight"] for record in records})
    figure, (left, right) = new_figure(CAPTION, columns=2, width=9.6, height=3.8)
    _curve(left, records, weights, "clean", SKY, "clean")
    _curve(left, records, weights, "robust", TEAL, "under attack")
    _curve(right, records, weights, "largest", ORANGE, "largest")
    _curve(right, records, weights, "smallest", PLUM, "smallest")
    right.axhline(1, color=SOFT, linewidth=0.9, linestyle="--")
    left.set(ylim=(0, 1), ylabel="accuracy", title=f"{setup.title}, radius {setup.radius:.2g}")
    right.set(ylim=(0, None), ylabel="singular value", title="What the layers do to a norm")
    for ax in (left, right):
        ax.set(xlabel="λ", xticks=range(len(weights)), xlim=(-0.3, len(weights) - 0.5))
        ax.set_xticklabels([f"{weight:g}" for weight in weights])
        ax.grid(False, axis="x")
    return figure


def _curve(ax: Axes, records: list[Record], weights: list[float], what: str, color: str, words: str) -> None:
    found = [[r.values[what] for r in records if r.setting["weight"] == weight] for weight in weights]
    middle = [median(values) for values in found]
    ax.plot(range(len(weights)), middle, color=color)
    for i, values in enumerate(found):
        ax.plot(np.full(len(values), i), values, "o", color=color, alpha=0.75, markeredgewidth=0)
    label(ax, len(weights) - 1, middle[-1], words, color, dx=9)


def _settings(
    data: str, weights: list[float], count: int | None, test: int | None, **how: Any
) -> list[dict[str, Any]]:
    """Every weight of the penalty with all else equal; lambda = 0 is the twin."""
    stages, augment = how.pop("stages", SMALL), how.pop("augment", {})
    rest = {"data": data, "images": count, "test": test, "stages": stages, "augment": augment, "recipe": how}
    return [{"weight": weight} | rest for weight in [0.0, *weights]]


SWEEP = [1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0]
TURNED = {"flip": True, "shift": 0.1, "rotation": 15.0, "contrast": [0.8, 1.2]}

ROBUSTNESS = Claim(
    name="orthogonal/robustness",
    paper=PAPER,
    sentence=(
        "With the penalty in the loss a network resists attacks better than its twin without, for little or none of its "
        "clean accuracy; how much is a matter of λ."
    ),
    expected=(
        Expected(
            GAIN.format("Fashion-MNIST", 1),
            0.05,
            ">=",
            source="section 4: E_rob 0.72 against 0.53 (CIFAR-10)",
        ),
        Expected(
            COST.format("Fashion-MNIST", 1), 0.1, "<=", source="section 4: 0.81 against 0.91 (CIFAR-10)"
        ),
        Expected(
            RATIO.format("Fashion-MNIST", 1),
            0.8,
            "<=",
            source="section 4: Sigma_max 1.0 against 8.5 (CIFAR-10)",
        ),
        Expected(
            LARGEST.format("Fashion-MNIST", 10),
            1.0,
            "~",
            0.1,
            source="section 4: about 1 for λ >= 1",
            scales=("small",),
        ),
        Expected(
            LARGEST.format("CIFAR-10 (JPEG)", 10),
            1.0,
            "~",
            0.1,
            source="section 4: about 1 for λ >= 1",
            scales=("small",),
            optional=True,
        ),
        Expected(
            LARGEST.format("CIFAR-10", 1),
            1.0,
            "~",
            0.1,
            source="section 4: about 1 for λ >= 1",
            scales=("paper",),
        ),
        Expected(
            GAIN.format("CIFAR-10", 0.01),
            0.2,
            "~",
            0.05,
            source="section 4: 0.735 against 0.53",
            scales=("paper",),
        ),
        Expected(
            COST.format("CIFAR-10", 0.01),
            0.05,
            "~",
            0.03,
            source="section 4: 0.86 against 0.91",
            scales=("paper",),
        ),
    ),
    scales={
        "tour": Scale(
            _settings("fashion-mnist", [1.0], 1536, 256, epochs=4, batch_size=64, **QUICK), 3, "20 seconds"
        ),
        "small": Scale(
            [
                *_settings("fashion-mnist", [1e-3, 0.01, 0.1, 1.0, 10.0], 10_000, 1000, epochs=4, **QUICK),
                *_settings("cifar-10-jpeg", [1e-3, 0.01, 0.1, 1.0, 10.0], 10_000, 1000, epochs=4, **QUICK),
            ],
            3,
            "20 minutes; CIFAR-10 as JPEG from --data, without it Fashion-MNIST alone",
        ),
        "paper": Scale(
            [
                *_settings("fashion-mnist", [1.0], None, None, epochs=20, **QUICK),
                *_settings("cifar-10", SWEEP, None, None, stages=VGG, augment=TURNED, epochs=400, **PAPERS),
            ],
            10,
            "CIFAR-10; 80 runs of 400 epochs: days on a GPU (--device cuda)",
        ),
    },
    run=run,
    measure=measure,
    plot=plot,
)
