"""Adversarial training widens the superlevel set: a network and its twin, and the triangles of their blind spots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from isocline._core.seeds import derive_seed, seeded, torch_generator
from isocline.datasets.images import load_images
from isocline.level_sets.measures import confidence, rmse, segment_confidence
from isocline.level_sets.walk import traverse
from isocline.training import PGD, pgd

from ...claim import Claim, Expected, Measurement, Missing, Record, Scale, data_folder
from ...style import GREY, ORANGE, PLUM, TEAL, new_figure
from .paper import PAPER
from .triangles import at_distance, fractions, no_longer, triangle_confidences

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TWINS_ARE = {"normal": "normal", "robust": "adversarially trained"}
# how the two networks' triangles are made comparable; the first is the paper's
GEOMETRIES = {
    "own": "each network's own blind spots",
    "near": "at one distance to the target",
    "size": "at one distance from the source",
    "raw": "triangles of the targets themselves",
}
DROPS = (0.0, 0.1, 0.2, 0.3)
AT = DROPS.index(0.2)
GAIN = "hull fraction within 0.2: adversarially trained less normal, mean over sources"
SURE = "the same, less two standard errors over sources"
CONTROL = "the same gain, {}"
FRACTION = "hull fraction within {:g}, {}"
STAR = "share of blind spots whose whole segment stays above p - 0.2, {}"
CAPTION = (
    "The share of the points of a source's triangles in which the confidence is at most d below the source's, in a network and "
    "its twin; mean over sources, thin for each seed, thick over seeds. First: each network's own blind spots, as in the "
    "paper. Second: both only as near to the target as the farther of the two comes. Third: the longer of two legs cut to the "
    "shorter. Right: the gain within 0.2, a dot for each seed, ± one standard error over sources."
)
IMAGES = (
    "A source, where each network's walk to one target ends, and the target. The numbers are confidences in the source's class: "
    "the network's own above its blind spot, both networks' (normal first) above source and target."
)


def network(width: int) -> nn.Sequential:
    """Two 4 x 4 convolutions of stride 2, of `width` and twice as many channels, and two linear layers: 28 x 28 grey to 10."""
    convolutions = [nn.Conv2d(1, width, 4, 2, 1), nn.ReLU(), nn.Conv2d(width, 2 * width, 4, 2, 1), nn.ReLU()]
    return nn.Sequential(
        *convolutions, nn.Flatten(), nn.Linear(2 * width * 49, 100), nn.ReLU(), nn.Linear(100, 10)
    )


def trained(images: Tensor, labels: Tensor, setting: dict[str, Any], radius: float, seed: int) -> nn.Module:
    """Adam on cross entropy; with a radius, of images that PGD has moved by up to it in every pixel (Madry et al. 2018).

    Twins start from the same weights and see the same images in the same order. The rate rises for a fifth of the training
    and falls to nothing; the ball grows to its radius over the first three tenths.
    """
    with seeded(derive_seed("twins", seed)):
        model = network(setting["width"])
    order, attacks = torch_generator(seed), torch_generator(derive_seed("attacks", seed))
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    total = setting["epochs"] * -(-len(images) // 64)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=total, pct_start=0.2)
    done = 0
    for _ in range(setting["epochs"]):
        for rows in torch.randperm(len(images), generator=order).split(64):
            x = images[rows]
            if now := radius * min(1.0, done / (0.3 * total)):
                x = pgd(model, x, labels[rows], PGD(now, "linf", setting["attack_steps"]), attacks).images
            optimizer.zero_grad()
            cross_entropy(model(x), labels[rows]).backward()
            optimizer.step()
            rate.step()
            done += 1
    return model.eval()


def run(setting: dict[str, Any], seed: int, device: str) -> Measurement:
    try:
        train = load_images("fashion-mnist", "train", data_folder(), count=setting["images"])
        test = load_images("fashion-mnist", "test", data_folder(), count=2000)
    except FileNotFoundError as error:
        raise Missing(str(error)) from error
    x, y = torch.from_numpy(train.images).float() / 255, torch.from_numpy(train.labels)
    held_x, held_y = torch.from_numpy(test.images).float() / 255, torch.from_numpy(test.labels)
    models = {
        "normal": trained(x, y, setting, 0.0, seed),
        "robust": trained(x, y, setting, setting["radius"], seed),
    }
    values: dict[str, Any] = {}
    for name, model in models.items():
        attacked = pgd(
            model, held_x[:500], held_y[:500], PGD(setting["radius"], "linf", 10), torch_generator(seed)
        )
        with torch.no_grad():
            values[f"{name}_accuracy"] = float((model(held_x).argmax(1) == held_y).double().mean())
        values[f"{name}_robust_accuracy"] = float((~attacked.fooled).double().mean())
    # as in the paper: images that every model gets right with probability above 0.6
    sure = torch.stack([confidence(model, held_x, held_y, 500) > 0.6 for model in models.values()]).all(0)
    sources, targets = _pairs(sure.nonzero().flatten(), held_y, setting, seed)
    found = [
        _compared(models, held_x[s], held_x[t], held_y[s])
        for s, t in zip(sources.split(50), targets.split(50), strict=True)
    ]
    values |= {key: [value for one in found for value in one[0][key]] for key in found[0][0]}
    return Measurement(values | {"sources": len(sources)}, found[0][1])


def _pairs(candidates: Tensor, labels: Tensor, setting: dict[str, Any], seed: int) -> tuple[Tensor, Tensor]:
    """The first candidates as sources ``(S,)``, and for each some of the others of another class ``(S, k)``."""
    generator = torch_generator(derive_seed("targets", seed))
    sources, picks = candidates[: setting["sources"]], []
    for i in sources:
        other = candidates[labels[candidates] != labels[i]]
        picks.append(other[torch.randperm(len(other), generator=generator)[: setting["targets"]]])
    return sources, torch.stack(picks)


def _compared(
    models: dict[str, nn.Module], source: Tensor, target: Tensor, y: Tensor
) -> tuple[dict[str, list[Any]], dict[str, np.ndarray]]:
    """Both networks' walks between the same images, and their triangles in every geometry.

    Shapes: source ``(S, ...)``, target ``(S, k, ...)``, y ``(S,)``. Returns lists over sources, and pictures of the first ones.
    """
    k, goal = target.shape[1], target.flatten(0, 1)
    start, labels = source.repeat_interleave(k, 0), y.repeat_interleave(k)
    walks = {name: traverse(model, start, goal, labels, every=1) for name, model in models.items()}
    nearest = torch.stack([rmse(walk.end, goal) for walk in walks.values()]).amax(0)
    values: dict[str, list[Any]] = {}
    for (name, walk), other in zip(walks.items(), reversed(walks.values()), strict=True):
        ends = {
            "own": walk.end,
            "near": at_distance(walk.path, goal, nearest),
            "size": no_longer(start, walk.end, other.end),
            "raw": goal,
        }
        for geometry, spots in ends.items():
            p = triangle_confidences(models[name], source, spots.reshape(target.shape), y)
            values[f"{name}_{geometry}"] = fractions(p, DROPS).tolist()
            values[f"{name}_{geometry}_leg"] = rmse(spots, start).reshape(-1, k).mean(1).tolist()
            values[f"{name}_{geometry}_mean"] = p.flatten(1).double().mean(1).tolist()
        segment = segment_confidence(models[name], start, walk.end, labels)
        star = segment.amin(1) >= walk.source_confidence - DROPS[AT]
        per_pair = {"star": star.double(), "rmse": rmse(walk.end, goal), "p_end": walk.end_confidence}
        values |= {f"{name}_{what}": v.reshape(-1, k).mean(1).tolist() for what, v in per_pair.items()}
        values[f"{name}_p_source"] = walk.source_confidence[::k].tolist()
    first = slice(0, 6 * k, k)  # one target of each of six sources
    shown = torch.stack([start[first], *(walk.end[first] for walk in walks.values()), goal[first]], 1)
    p = [torch.stack([confidence(m, x, labels[first]) for x in shown.unbind(1)], 1) for m in models.values()]
    return values, {"shown": (shown[:, :, 0] * 255).round().byte().numpy(), "p": torch.stack(p).numpy()}


def measure(records: list[Record]) -> dict[str, list[float]]:
    figures: dict[str, list[float]] = {}
    for record in records:
        v = record.values
        gain, error = _gain(v, "own")
        found = {GAIN: gain, SURE: gain - 2 * error, "the same: standard error over sources": error}
        differences = np.array(v["robust_own"])[:, AT] - np.array(v["normal_own"])[:, AT]
        found["the same: standard deviation over sources"] = float(differences.std(ddof=1))
        found["share of sources whose hull fraction is larger"] = float((differences > 0).mean())
        found["share of sources whose hull fraction is smaller"] = float((differences < 0).mean())
        for geometry, words in list(GEOMETRIES.items())[1:]:
            gain, error = _gain(v, geometry)
            found[CONTROL.format(words)] = gain
            found[f"{CONTROL.format(words)}: standard error over sources"] = error
        for name, words in TWINS_ARE.items():
            found |= {
                FRACTION.format(d, words): float(np.mean(np.array(v[f"{name}_own"])[:, i]))
                for i, d in enumerate(DROPS)
            }
            found |= {
                f"mean hull confidence, {words}": float(np.mean(v[f"{name}_own_mean"])),
                f"confidence in the sources, {words}": float(np.mean(v[f"{name}_p_source"])),
                f"confidence in the blind spots, {words}": float(np.mean(v[f"{name}_p_end"])),
                f"RMSE to the target, {words}": float(np.mean(v[f"{name}_rmse"])),
                f"RMSE from the source, {words}": float(np.mean(v[f"{name}_own_leg"])),
                STAR.format(words): float(np.mean(v[f"{name}_star"])),
                f"accuracy, {words}": v[f"{name}_accuracy"],
                f"accuracy under attack, {words}": v[f"{name}_robust_accuracy"],
            }
        found["sources"] = float(v["sources"])
        for figure, value in found.items():
            figures.setdefault(figure, []).append(value)
    gains = figures.get(GAIN, [])
    if len(gains) > 1:
        figures["hull fraction within 0.2: gain, mean over seeds"] = [float(np.mean(gains))]
        figures["the same: standard error over seeds"] = [float(np.std(gains, ddof=1) / len(gains) ** 0.5)]
    return figures


def _gain(values: dict[str, Any], geometry: str) -> tuple[float, float]:
    """The mean over sources of the twin's fraction less the normal network's of the same source, and its standard error."""
    both = [np.array(values[f"{name}_{geometry}"])[:, AT] for name in ("robust", "normal")]
    differences = both[0] - both[1]
    return float(differences.mean()), float(differences.std(ddof=1) / len(differences) ** 0.5)


def plot(records: list[Record]) -> dict[str, Figure]:
    return {"twins": _widths(records), "blind-spots": _strips(records[0])}


def _widths(records: list[Record]) -> Figure:
    figure, axes = new_figure(CAPTION, columns=4, width=13, height=3.6)
    shown = list(GEOMETRIES.items())[:3]
    for ax, (geometry, words) in zip(axes, shown, strict=False):
        for name, color in (("normal", TEAL), ("robust", ORANGE)):
            each = np.array([np.mean(r.values[f"{name}_{geometry}"], 0) for r in records])
            ax.plot(DROPS, each.T, color=color, linewidth=0.8, alpha=0.5)
            ax.plot(DROPS, each.mean(0), color=color, linewidth=2.5)
        ax.set(ylim=(0, 1.02), xticks=DROPS, xlabel="d")
        ax.set_title(words, fontsize=9.5)
    axes[0].set_ylabel("share of points within d")
    axes[0].text(0.3, 0.12, "normal", color=TEAL, ha="right", fontweight="bold")
    axes[0].text(0.3, 0.03, "adversarially trained", color=ORANGE, ha="right", fontweight="bold")
    ax = axes[3]
    for row, ((geometry, _), color) in enumerate(zip(shown, (PLUM, GREY, GREY), strict=True)):
        for i, record in enumerate(records):
            gain, error = _gain(record.values, geometry)
            height = -row + 0.12 * ((len(records) - 1) / 2 - i)
            ax.errorbar(gain, height, xerr=error, fmt="o", color=color, markersize=4, linewidth=1.2)
    ax.axvline(0, color=GREY, linewidth=0.8)
    farthest = 1.1 * max(abs(side) for side in ax.get_xlim())
    ax.set(yticks=[0, -1, -2], ylim=(-2.5, 0.5), xlim=(-farthest, farthest), xlabel="gain within 0.2")
    ax.set_yticklabels(["own", "distance\nto target", "distance\nfrom source"])
    ax.set_title("twin less normal", fontsize=9.5)
    ax.grid(False, axis="y")
    return figure


def _strips(record: Record) -> Figure:
    images, p = record.arrays["shown"], record.arrays["p"]
    figure, axes = new_figure(IMAGES, columns=4, rows=len(images), width=6.4, height=1.65 * len(images))
    heads = ("source", "blind spot, normal", "blind spot, twin", "target")
    for i, row in enumerate(images):
        for j, head in enumerate(heads):
            ax = axes[4 * i + j]
            ax.imshow(row[j], cmap="gray", vmin=0, vmax=255)
            ax.axis("off")
            shown = p[:, i, j] if j in (0, 3) else p[j - 1, i, j : j + 1]
            words = " / ".join(f"{100 * value:.0f} %" for value in shown)
            color = (GREY, TEAL, ORANGE, GREY)[j]
            ax.set_title(f"{head}\n{words}" if i == 0 else words, fontsize=8.5, color=color, pad=3)
    return figure


def _setting(**how: Any) -> list[dict[str, Any]]:
    usual = {
        "width": 16,
        "images": 6000,
        "epochs": 4,
        "attack_steps": 3,
        "radius": 0.1,
        "sources": 24,
        "targets": 3,
    }
    return [usual | how]


TWINS = Claim(
    name="level_sets/twins",
    paper=PAPER,
    sentence=(
        "Adversarial training makes a network's triangles of blind spots wider, not narrower: it resists small changes, "
        "and is blind to more large ones."
    ),
    expected=(
        Expected(GAIN, 0.0, ">=", source="Table 2: 0.85 against 0.53 (ResNet-50)", scales=("small", "paper")),
        Expected(
            SURE, 0.0, ">=", source="a difference that stands out of its spread", scales=("small", "paper")
        ),
        Expected("sources", 20, ">=", source="enough for a spread"),
        Expected(STAR.format(TWINS_ARE["robust"]), 0.9, ">=", source="section 4: star-like subsets"),
    ),
    scales={
        "tour": Scale(_setting(), 1, "20 seconds; too short a training to tell the twins apart"),
        "small": Scale(
            _setting(images=20_000, epochs=8, sources=60, targets=5),
            5,
            "10 minutes on one core: 5 pairs of twins",
        ),
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
