"""Does the arrow point at the disc? Trained at one size of image, asked at twice that size."""

from __future__ import annotations

from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from ...claim import Claim, Expected, Record, Scale
from ...style import GREY, ORANGE, TEAL, new_figure
from .long_range import PAPER
from .runs import BASELINE, MODELS, arrows, dyed_arrows, run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMES = (*MODELS, BASELINE)
AT = "{}: accuracy at the training size"
DOUBLE = "{}: accuracy at double size"
RATE = "{}: learning rate, chosen on validation images of the training size"
CLEAR = "pLSTM's worst seed above ViT's best, at double size"
MARGIN = "pLSTM above ViT at double size, in standard deviations of the difference between seeds"
CAPTION = (
    "Left: one question at both sizes, as the networks see it. Right: accuracy on test images. Open circles: images of the size "
    "trained on; full ones: of twice that size, with four times as many tokens. Small dots are seeds, circles their median; "
    "one half is guessing. Each model has the learning rate that did best on validation images of the training size: images of "
    "double size choose nothing."
)


def chosen(records: list[Record]) -> dict[str, list[Record]]:
    """For every model, the records of the rate whose mean accuracy on validation images is highest."""
    found: dict[str, list[Record]] = {}
    for name in NAMES:
        rates: dict[float, list[Record]] = {}
        for record in records:
            if record.setting["model"] == name:
                rates.setdefault(record.setting["recipe"]["lr"], []).append(record)
        if rates:
            best = max(rates.values(), key=lambda group: mean(r.values["validation"] for r in group))
            found[name] = sorted(best, key=lambda record: record.seed)
    return found


def measure(records: list[Record]) -> dict[str, list[float]]:
    groups, figures = chosen(records), {}
    for name, group in groups.items():
        figures[AT.format(name)] = [r.values["test"] for r in group]
        figures[DOUBLE.format(name)] = [r.values["double"] for r in group]
        figures[RATE.format(name)] = [group[0].setting["recipe"]["lr"]]
    if "pLSTM" in groups and BASELINE in groups:
        ours, theirs = figures[DOUBLE.format("pLSTM")], figures[DOUBLE.format(BASELINE)]
        figures[CLEAR] = [min(ours) - max(theirs)]
        if min(len(ours), len(theirs)) > 1:
            spread = (stdev(ours) ** 2 + stdev(theirs) ** 2) ** 0.5
            figures[MARGIN] = [(mean(ours) - mean(theirs)) / max(spread, 1e-9)]
    return figures


def plot(records: list[Record]) -> dict[str, Figure]:
    figure, (small, wide) = new_figure(CAPTION, columns=2, width=11.8, height=3.9)
    grid, setting = small.get_gridspec(), records[0].setting
    assert grid is not None
    grid.set_width_ratios((1, 1.9))
    _images(small, setting)
    _accuracies(wide, chosen(records))
    wide.set(title=f"Trained on {setting['size']} pixels, asked on {2 * setting['size']}")
    return {"arrow": figure}


def _images(ax: Axes, setting: dict[str, Any]) -> None:
    """A positive sample at both sizes, in the pixels that the networks see."""
    import numpy as np

    factor, size = setting["factor"], setting["size"]
    side = size // (factor or 1)
    canvas = np.ones((2 * side, 3 * side + side // 8, 3))
    for column, (scale, seed) in enumerate(((1, 200_042), (2, 200_043))):
        if factor is None:
            drawn, labels = arrows(12, seed=seed, size=scale * size)
            shown = np.repeat(drawn[int(labels.argmax())][:, :, None] / 255, 3, axis=2)
        else:
            dyed, labels = dyed_arrows(12, seed=seed, size=scale * size, factor=factor)
            shown = _colours(dyed[int(labels.argmax())])
        left = column * (side + side // 8)
        canvas[: scale * side, left : left + scale * side] = shown
        if factor is None or column == 0:
            canvas[scale * side :, left : left + scale * side] = 1
    ax.imshow(canvas, interpolation="nearest")
    for column, scale in enumerate((1, 2)):
        left = column * (side + side // 8)
        ax.add_patch(_frame((left - 0.5, -0.5), scale * side))
    ax.set(xticks=[], yticks=[], title="One yes, at both sizes")
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.set(xlim=(-1, 3 * side + side // 8), ylim=(2 * side, -1))
    ax.set_xlabel("hue: the arrow's direction; grey: the disc" if factor else "black on white")


def _frame(corner: tuple[float, float], side: int) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle(corner, side, side, fill=False, edgecolor=GREY, linewidth=0.8)


def _colours(dyed: Any) -> Any:
    """White paper, grey discs, arrows in the hue of their direction. ``(3, H, W)`` to ``(H, W, 3)``."""
    import numpy as np
    from matplotlib.colors import hsv_to_rgb

    cos, sin, disc = dyed
    ink = np.hypot(cos, sin)
    ink = ink / max(ink.max(), 1e-9)
    hue = np.arctan2(sin, cos) / (2 * np.pi) % 1
    colour = hsv_to_rgb(np.stack([hue, np.ones_like(hue), 0.85 * np.ones_like(hue)], -1))
    paper = 1 - 0.6 * disc[..., None] * np.ones(3)
    return (1 - ink[..., None]) * paper + ink[..., None] * colour


def _accuracies(ax: Axes, groups: dict[str, list[Record]]) -> None:
    from statistics import median

    for place, (name, group) in enumerate(groups.items()):
        color = ORANGE if name == BASELINE else TEAL
        at, double = ([100 * r.values[key] for r in group] for key in ("test", "double"))
        ax.plot([place, place], [median(at), median(double)], color=color, linewidth=1.2, zorder=1)
        for values, filled in ((at, False), (double, True)):
            ax.plot([place + 0.12] * len(values), values, ".", color=color, alpha=0.5, markersize=5)
            face = color if filled else "white"
            ax.plot(place, median(values), "o", color=color, markerfacecolor=face, markersize=8)
            ax.annotate(
                f"{median(values):.1f}", (place, median(values)), (-9, 0), textcoords="offset points",
                ha="right", va="center", fontsize=9, color=color,
            )  # fmt: skip
    ax.axhline(50, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
    ax.set_xticks(range(len(groups)), list(groups))
    ax.set(xlabel="model", ylabel="accuracy, %", ylim=(45, 102), xlim=(-0.6, len(groups) - 0.5))
    ax.grid(axis="x", visible=False)


QUICK = {
    "optimizer": "adamw",
    "batch_size": 64,
    "warmup": 0.2,
    "clip_norm": 1.0,
    "weight_decay": 0.05,
    "decay_vectors": False,
}
THIN = {
    "size": 192, "factor": 8, "patch": 8, "dim": 48, "heads": 3, "layers": 2,
    "images": 16_000, "validation": 2000, "test": 2000,
}  # fmt: skip
PAPERS = {
    "size": 192, "factor": None, "patch": 16, "dim": 192, "heads": 6, "layers": 12, "precision": "bf16-mixed",
    "images": 100_000, "validation": 5120, "test": 10_240,
}  # fmt: skip
PAPER_RECIPE = {
    "optimizer": "adamw", "batch_size": 128, "epochs": 50, "warmup": 1.0, "clip_norm": 1.0,
    "weight_decay": 0.05, "decay_vectors": False,
}  # fmt: skip
TABLE = {  # section "arrow pointing extrapolation": accuracy at 192 and at 384 pixels
    "pLSTM": (0.972, 0.778),
    "no positions": (0.975, 0.769),
    "P only": (0.978, 0.746),
    "D only": (0.957, 0.828),
    BASELINE: (0.915, 0.707),
}


def _settings(
    names: tuple[str, ...], rates: tuple[float, ...], recipe: dict[str, Any], **rest: Any
) -> list[dict[str, Any]]:
    return [
        {"model": name, "recipe": recipe | {"lr": rate, "final_lr": 1e-3 * rate}} | rest
        for name in names
        for rate in rates
    ]


ARROW = Claim(
    name="plstm/arrow",
    paper=PAPER,
    sentence="pLSTM learns where arrows point and keeps more of it on images of twice the size than a Transformer does.",
    expected=(
        Expected(AT.format("pLSTM"), 0.85, ">=", source="both learn the task", scales=("small", "paper")),
        Expected(AT.format(BASELINE), 0.85, ">=", source="both learn the task", scales=("small", "paper")),
        Expected(CLEAR, 0.0, ">=", source="arrow pointing extrapolation: .778 against .707"),
        Expected(MARGIN, 1.0, ">=", source="ours: by more than the spread", scales=("small", "paper")),
        *(
            Expected(kind.format(name), value, "~", 0.05, source="the paper's table", scales=("paper",))
            for name, pair in TABLE.items()
            for kind, value in zip((AT, DOUBLE), pair, strict=True)
        ),
    ),
    scales={
        "tour": Scale(
            _settings(("pLSTM", BASELINE), (2e-3,), QUICK | {"epochs": 3}, **THIN),
            1,
            "20 seconds",
        ),
        # A step of the ViT takes half as long, so it is given twice as many.
        "small": Scale(
            [
                *_settings(("pLSTM",), (1e-3, 2e-3), QUICK | {"epochs": 8}, **THIN),
                *_settings((BASELINE,), (1e-3, 2e-3), QUICK | {"epochs": 16}, **THIN),
                *_settings(NAMES[1:-1], (2e-3,), QUICK | {"epochs": 8}, **THIN),
            ],
            3,
            "10 minutes: dyed arrows on 24 x 24 pixels, then 48 x 48; two layers of width 48; 2000 steps of 64 images, 4000 for "
            "the ViT; two rates to choose from for both, one for the variants of pLSTM",
        ),
        "paper": Scale(
            _settings(NAMES, (1e-4, 3e-4, 1e-3), PAPER_RECIPE, **PAPERS),
            5,
            "75 runs of 50 epochs: 1 to 2 hours each on an H100 (--device cuda)",
        ),
    },
    run=run,
    measure=measure,
    plot=plot,
)
