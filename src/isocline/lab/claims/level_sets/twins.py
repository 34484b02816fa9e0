"""Adversarial training widens the superlevel set: a network and its twin, and the triangles of their blind spots."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from isocline._core.seeds import derive_seed, seeded, torch_generator
from isocline.datasets.images import load_images
from isocline.level_sets.measures import confidence, hull_confidence, segment_confidence
from isocline.level_sets.walk import traverse
from isocline.training import PGD, pgd

from ...claim import Claim, Expected, Measurement, Missing, Record, Scale, data_folder
from ...style import ORANGE, SOFT, TEAL, new_figure
from .paper import PAPER

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GAIN = "hull fraction within 0.2: adversarially trained less normal, mean over sources"
NORMAL, ROBUST = "hull fraction within 0.2, normal", "hull fraction within 0.2, adversarially trained"
STAR = "share of blind spots whose whole segment stays above p - 0.2, {}"
CAPTION = (
    "Each line is a source image: the share of its blind spots' triangles in which the confidence is at most 0.2 below that "
    "of the source, in the network trained normally (left) and in its adversarially trained twin (right). Thick: means."
)
DROP = 0.2


def network(width: int) -> nn.Sequential:
    """Three 3 x 3 convolutions of `width`, twice and four times as many channels for 28 x 28 grey images, two linear layers."""
    conv, pool = (lambda a, b: [nn.Conv2d(a, b, 3, padding=1), nn.ReLU()]), nn.MaxPool2d(2)
    layers = [*conv(1, width), pool, *conv(width, 2 * width), pool, *conv(2 * width, 4 * width), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(4 * width * 49, 64), nn.ReLU(), nn.Linear(64, 10))


def trained(images: Tensor, labels: Tensor, setting: dict[str, Any], radius: float, seed: int) -> nn.Module:
    """Adam on cross entropy; with a radius, of images that PGD has moved by up to it in every pixel (Madry et al. 2018)."""
    with seeded(derive_seed("twins", seed)):
        model = network(setting["width"])
    generator = torch_generator(seed)
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    attack = PGD(radius=radius, norm="linf", steps=setting["attack_steps"]) if radius else None
    for epoch in range(setting["epochs"]):
        for rows in torch.randperm(len(images), generator=generator).split(64):
            x = images[rows]
            if attack:  # a ball that widens over the first epoch
                now = min(1.0, 0.3 + 0.7 * epoch) * radius
                x = pgd(model, x, labels[rows], PGD(now, "linf", setting["attack_steps"]), generator).images
            optimizer.zero_grad()
            cross_entropy(model(x.detach()), labels[rows]).backward()
            optimizer.step()
    return model.eval()


def run(setting: dict[str, Any], seed: int, device: str) -> Measurement:
    try:
        train = load_images("fashion-mnist", "train", data_folder(), count=setting["images"])
        test = load_images("fashion-mnist", "test", data_folder(), count=2000)
    except FileNotFoundError as error:
        raise Missing(str(error)) from error
    x, y = torch.from_numpy(train.images).float() / 255, torch.from_numpy(train.labels)
    held_x, held_y = torch.from_numpy(test.images).float() / 255, torch.from_numpy(test.labels)
    twins = {
        "normal": trained(x, y, setting, 0.0, seed),
        "robust": trained(x, y, setting, setting["radius"], seed),
    }
    # as in the paper: images that every model gets right with probability above 0.6
    sure = torch.stack([confidence(model, held_x, held_y, 500) > 0.6 for model in twins.values()]).all(0)
    sources = sure.nonzero().flatten()[: setting["sources"]]
    values: dict[str, Any] = {"sources": len(sources)}
    generator = torch_generator(derive_seed("targets", seed))
    candidates = sure.nonzero().flatten()
    picks = []
    for i in sources.tolist():  # of other classes than the source's
        other = candidates[held_y[candidates] != held_y[i]]
        picks.append(other[torch.randperm(len(other), generator=generator)[: setting["targets"]]])
    for name, model in twins.items():
        values[name + "_accuracy"] = float((model(held_x).argmax(1) == held_y).double().mean())
        values |= {
            f"{name}_{what}": found for what, found in _widths(model, held_x, held_y, sources, picks).items()
        }
    return Measurement(values)


def _widths(
    model: nn.Module, x: Tensor, y: Tensor, sources: Tensor, picks: list[Tensor]
) -> dict[str, list[float]]:
    """Per source: the hull fraction, the mean hull confidence; per pair: whether the segment stays above, the RMSE."""
    k = len(picks[0])
    source, target, label = (
        x[sources].repeat_interleave(k, 0),
        x[torch.cat(picks)],
        y[sources].repeat_interleave(k),
    )
    walk = traverse(model, source, target, label)
    segment = segment_confidence(model, source, walk.end, label)
    star = segment.amin(1) >= walk.source_confidence - DROP
    shares, means = [], []
    for s in range(len(sources)):
        hulls = [
            hull_confidence(model, source[s * k], walk.end[s * k + i], walk.end[s * k + j], label[s * k])
            for i, j in combinations(range(k), 2)
        ]
        values = torch.stack(hulls)
        shares.append(float((values >= walk.source_confidence[s * k] - DROP).double().mean()))
        means.append(float(values.double().mean()))
    rmse = (walk.end - target).flatten(1).square().mean(1).sqrt()
    return {"shares": shares, "means": means, "star": star.double().tolist(), "rmse": rmse.tolist()}


def measure(records: list[Record]) -> dict[str, list[float]]:
    figures: dict[str, list[float]] = {}
    for record in records:
        v = record.values
        normal, robust = np.array(v["normal_shares"]), np.array(v["robust_shares"])
        found = {
            GAIN: float((robust - normal).mean()),
            "the same: standard deviation over sources": float((robust - normal).std(ddof=1)),
            "share of sources whose hull fraction is larger": float((robust > normal).mean()),
            NORMAL: float(normal.mean()),
            ROBUST: float(robust.mean()),
            "sources": float(v["sources"]),
            STAR.format("normal"): float(np.mean(v["normal_star"])),
            STAR.format("adversarially trained"): float(np.mean(v["robust_star"])),
            "RMSE to the target, normal": float(np.mean(v["normal_rmse"])),
            "RMSE to the target, adversarially trained": float(np.mean(v["robust_rmse"])),
            "accuracy, normal": v["normal_accuracy"],
            "accuracy, adversarially trained": v["robust_accuracy"],
        }
        for name, value in found.items():
            figures.setdefault(name, []).append(value)
    return figures


def plot(records: list[Record]) -> dict[str, Figure]:
    figure, axes = new_figure(CAPTION, columns=len(records), width=3.2 * len(records) + 0.4, height=3.8)
    for ax, record in zip(axes, records, strict=True):
        both = np.array([record.values["normal_shares"], record.values["robust_shares"]])
        for pair in both.T:
            ax.plot([0, 1], pair, color=SOFT, linewidth=0.8, alpha=0.5)
        ax.plot(
            [0, 1], both.mean(1), color=ORANGE, linewidth=3, marker="o", markersize=8, markerfacecolor=TEAL
        )
        ax.set(ylim=(0, 1.02), xlim=(-0.25, 1.25), xticks=(0, 1), title=f"seed {record.seed}")
        ax.set_xticklabels(["normal", "adversarial"])
        ax.grid(False, axis="x")
    axes[0].set_ylabel("share of the triangles within 0.2")
    return {"twins": figure}


def _setting(**how: Any) -> list[dict[str, Any]]:
    return [
        {
            "width": 8,
            "images": 4000,
            "epochs": 5,
            "attack_steps": 3,
            "radius": 0.1,
            "sources": 24,
            "targets": 3,
        }
        | how
    ]


TWINS = Claim(
    name="level_sets/twins",
    paper=PAPER,
    sentence=(
        "Adversarial training makes a network's triangles of blind spots wider, not narrower: it resists small changes, "
        "and is blind to more large ones."
    ),
    expected=(
        Expected(GAIN, 0.0, ">=", source="Table 2: 0.85 against 0.53 (ResNet-50)", scales=("small", "paper")),
        Expected("sources", 20, ">=", source="enough for a spread"),
        Expected(STAR.format("adversarially trained"), 0.9, ">=", source="section 4: star-like subsets"),
    ),
    scales={
        "tour": Scale(_setting(), 1, "20 seconds; too short a training to tell the twins apart"),
        "small": Scale(_setting(width=16, images=6000, epochs=5, sources=30), 3, "5 minutes"),
        "paper": Scale(
            _setting(width=32, images=60_000, epochs=20, attack_steps=10, sources=1000, targets=5),
            3,
            "a day on two cores",
        ),
    },
    run=run,
    measure=measure,
    plot=plot,
)
