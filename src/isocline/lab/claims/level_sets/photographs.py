"""Blind spots of an ImageNet network between real photographs, beside the published loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from isocline.datasets.photographs import photographs
from isocline.level_sets.examples import example_model
from isocline.level_sets.report import report_pairs
from isocline.level_sets.walk import traverse

from ...claim import Claim, Expected, Measurement, Missing, Record, Scale
from ...style import ORANGE, SOFT, TEAL, new_figure
from .paper import PAPER

if TYPE_CHECKING:
    from matplotlib.figure import Figure

P_END, NEAR, ALIKE = "confidence at the blind spot", "RMSE to the target", "SSIM to the target"
DROP, COST, PUBLISHED = (
    "lowest on the segment, less that of the source",
    "passes, over those of the published loop",
    "RMSE of the published loop",
)
HULL = "share of triangle points within 0.2 of the source's confidence"
CAPTION = (
    "Left in each row: source, blind spot, target. The number is the confidence of EfficientNet-Lite0 in the source's "
    "class. Right: that confidence straight from the source to the blind spot (orange) and to the target (grey)."
)


def run(setting: dict[str, Any], seed: int, device: str) -> Measurement:
    names = [setting["source"], *setting["targets"]]
    try:
        model, images = example_model("efficientnet-lite0"), photographs(names)
    except ImportError as error:
        raise Missing(str(error)) from error
    model, images = model.to(device), images.to(device)
    target = images[1:]
    source = images[:1].expand_as(target).contiguous()
    found = report_pairs(model, source, target, sources=names[:1] * len(target), targets=names[1:])
    loop = traverse(model, source, target, method="paper", every=80)
    walk, pairs = found.walk, range(len(target))
    assert found.ssim is not None
    floor = found.segment.amin(1) - walk.source_confidence
    level = float(walk.source_confidence[0])
    values = {
        "end": walk.end_confidence.tolist(),
        "rmse": found.rmse.tolist(),
        "linf": found.linf.tolist(),
        "ssim": found.ssim.tolist(),
        "floor": floor.tolist(),
        # the loop as published spends two forward passes and a backward one a step
        "cost": (walk.evaluations.double() / (3 * 80)).tolist(),
        "loop": (loop.end - target).flatten(1).square().mean(1).sqrt().tolist(),
        "hulls": [hull.fractions(level)[2] for hull in found.hulls],
    }
    shown = torch.stack([torch.stack([source[i], walk.end[i], target[i]]) for i in pairs])
    arrays = {
        "images": (shown * 255).round().byte().cpu().numpy(),
        "p": torch.stack([walk.source_confidence, walk.end_confidence, found.control[:, -1]], 1)
        .cpu()
        .numpy(),
        "segment": found.segment.cpu().numpy(),
        "control": found.control.cpu().numpy(),
    }
    return Measurement(values, arrays)


def measure(records: list[Record]) -> dict[str, list[float]]:
    names = {
        P_END: "end",
        NEAR: "rmse",
        ALIKE: "ssim",
        DROP: "floor",
        COST: "cost",
        PUBLISHED: "loop",
        HULL: "hulls",
        "l∞ to the target": "linf",
    }
    found = {figure: [value for r in records for value in r.values[name]] for figure, name in names.items()}
    stays = [value >= -0.2 for value in found[DROP]]
    found["share of pairs whose straight line stays above p - 0.2"] = [float(np.mean(stays))]
    for name in (NEAR, ALIKE, P_END):
        if len(found[name]) > 1:
            found[f"{name}: mean over pairs"] = [float(np.mean(found[name]))]
            found[f"{name}: standard deviation over pairs"] = [float(np.std(found[name], ddof=1))]
    return {name: values for name, values in found.items() if values}


def plot(records: list[Record]) -> dict[str, Figure]:
    rows = [(r, i) for r in records for i in range(len(r.arrays["p"]))][:6]
    figure, axes = new_figure(CAPTION, columns=4, rows=len(rows), width=9.6, height=2.3 * len(rows))
    for k, (record, i) in enumerate(rows):
        for j, words in enumerate((record.setting["source"], "blind spot", record.setting["targets"][i])):
            ax = axes[4 * k + j]
            ax.imshow(record.arrays["images"][i, j].transpose(1, 2, 0))
            ax.set_title(
                f"{words}, {100 * record.arrays['p'][i, j]:.1f} %", fontsize=9, color=(TEAL, ORANGE, SOFT)[j]
            )
            ax.axis("off")
        ax = axes[4 * k + 3]
        for name, color in (("control", SOFT), ("segment", ORANGE)):
            values = record.arrays[name][i]
            ax.plot(np.linspace(0, 1, len(values)), values, color=color)
        ax.set(ylim=(-0.02, 1.03), xticks=(0, 1), xticklabels=("source", "end"))
    return {"photographs": figure}


FOUR = ("coffee", "cat", "motorcycle", "rocket")
PAIRS = [{"source": a, "targets": [b for b in FOUR if b != a]} for a in FOUR]
BLIND_SPOTS = Claim(
    name="level_sets/blind-spots",
    paper=PAPER,
    sentence=(
        "A trained vision network keeps its answer and its confidence along a way from one photograph to another that a "
        "person cannot tell from a third, and on the straight line to it."
    ),
    expected=(
        Expected(P_END, 0.95, ">=", source="section 4, path confidence 0.96", scales=("tour",)),
        Expected(NEAR, 0.01, "<=", source="Table 1: 0.008"),
        Expected(ALIKE, 0.98, ">=", source="Table 1: 0.990"),
        Expected(DROP, -0.2, ">=", source="star-like: never below p - delta"),
        Expected(COST, 0.6, "<=", source="ours against three passes a step"),
    ),
    scales={
        "tour": Scale([{"source": "coffee", "targets": ["cat"]}], 1, "25 seconds; the extra examples"),
        "small": Scale(PAIRS, 1, "5 minutes: 12 pairs; the extra examples"),
        "paper": Scale(PAIRS, 1, "5 minutes; the paper's own 1000 ImageNet images are not freely available"),
    },
    run=run,
    measure=measure,
    plot=plot,
)
