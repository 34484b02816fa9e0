"""Which estimator: the same network, data, recipe and initial weights, and another derivative for the sign."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

from ...claim import Claim, Expected, Measurement, Record, Scale
from ...style import GREY, ORANGE, PLUM, TEAL, new_figure
from . import imagenet, runs
from .paper import PAPER
from .runs import TITLES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMES = {
    "ste": "STE, slope 1",
    "clipped_ste": "STE, clipped at 1",
    "dsq": "DSQ",
    "polynomial": "Bi-Real",
    "ede": "EDE (IR-Net)",
    "fda": "FDA",
    "rbnn": "RBNN",
    "reste": "ReSTE",
}
NETWORKS = {
    "resnet20": "ResNet-20",
    "resnet20_bireal": "ResNet-20 Bi-Real",
    "resnet18_cifar": "ResNet-18",
    "vgg_small": "VGG-small",
    "resnet18_imagenet": "ResNet-18",
    "resnet34_imagenet": "ResNet-34",
}
GAIN = "{}, {}: accuracy of ReSTE above that of plain STE, same seed"
CLEAR = "{}, {}: worst seed of ReSTE above the best of plain STE"
ACCURACY = "{}, {} {}, 1W/{}A: accuracy"
CAPTION = (
    "Accuracy on test images after the same training. Dots are seeds (initial weights and order of examples), bars their median. "
    "Every estimator has its published constants and the same recipe, whose rate is the best of three for plain STE on training "
    "images held out."
)


def run(setting: dict[str, Any], seed: int, device: str) -> Measurement:
    """Train and judge one network, on pictures in memory or, ImageNet's, on disk."""
    return (imagenet if setting["data"] == "imagenet" else runs).run(setting, seed, device)


def measure(records: list[Record]) -> dict[str, list[float]]:
    figures: dict[str, list[float]] = {}
    for title, network, bits, group in _groups(records):
        where = (title, NETWORKS[network])
        found = {(r.setting["estimator"], r.seed): r.values["accuracy"] for r in group}
        pairs = {seed: found.get(("ste", seed)) for name, seed in found if name == "reste"}
        gains = [found["reste", seed] - other for seed, other in pairs.items() if other is not None]
        if gains and bits == 1:
            figures[GAIN.format(*where)] = gains
            plain = [value for (name, _), value in found.items() if name == "ste"]
            ours = [value for (name, _), value in found.items() if name == "reste"]
            figures[CLEAR.format(*where)] = [min(ours) - max(plain)]
        for record in group:
            figure = ACCURACY.format(*where, NAMES[record.setting["estimator"]], bits)
            figures.setdefault(figure, []).append(record.values["accuracy"])
    return figures


def _groups(records: list[Record]) -> list[tuple[str, str, int, list[Record]]]:
    """The records of each data set, network and kind of input (1 or 32 bits), in the order they come."""
    groups: dict[tuple[str, str, int], list[Record]] = {}
    for r in records:
        kind = r.setting["data"], r.setting["network"], r.setting.get("input_bits", 1)
        groups.setdefault(kind, []).append(r)
    return [(TITLES[data], network, bits, group) for (data, network, bits), group in groups.items()]


def plot(records: list[Record]) -> dict[str, Figure]:
    return {
        f"{group[0].setting['data']}-{network}" + "-real-inputs" * (bits > 1): _picture(
            title, network, bits, group
        )
        for title, network, bits, group in _groups(records)
    }


def _picture(title: str, network: str, bits: int, records: list[Record]) -> Figure:
    setting = records[0].setting
    figure, (ax,) = new_figure(CAPTION, width=8.6, height=3.9)
    names = [name for name in NAMES if any(r.setting["estimator"] == name for r in records)]
    found = {
        name: [100 * r.values["accuracy"] for r in records if r.setting["estimator"] == name]
        for name in names
    }
    names.sort(key=lambda name: median(found[name]))
    colors = {"reste": TEAL, "ste": ORANGE, "clipped_ste": PLUM}
    for y, name in enumerate(names):
        color, middle = colors.get(name, GREY), median(found[name])
        ax.plot([middle, middle], [y - 0.3, y + 0.3], color=color, linewidth=3)
        ax.plot(found[name], [y] * len(found[name]), "o", color=color, alpha=0.7, markeredgewidth=0)
    ax.set_yticks(range(len(names)), [NAMES[name] for name in names])
    ax.set(xlabel="accuracy, %", ylim=(-0.6, len(names) - 0.4))
    ax.grid(axis="y", visible=False)
    epochs, size = setting["recipe"]["epochs"], f"{setting['side']} × {setting['side']}"
    count = "all" if setting["images"] is None else f"{setting['images']:,}"
    which = "narrow " * bool(setting["widths"]) + NETWORKS[network]
    ax.set_title(f"{title} at {size}, {which} 1W/{bits}A, {count} images, {epochs} epoch{'s' * (epochs > 1)}")
    return figure


def _settings(names: list[str], **rest: Any) -> list[dict[str, Any]]:
    return [{"estimator": name, "o_end": 3.0} | rest for name in names]


COMPARED = ["ste", "reste", "clipped_ste", "dsq", "polynomial", "ede", "rbnn"]
ADAM = {"optimizer": "adam", "lr": 3e-3, "batch_size": 64}
SGD = {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4, "warmup": 5.0}
QUICK: dict[str, Any] = {
    "data": "fashion-mnist",
    "side": 14,
    "network": "vgg_small",
    "widths": [16, 32, 64],
    "images": 1500,
    "test": 2000,
    "augment": {},
    "norms": 1500,
    "recipe": ADAM | {"epochs": 3, "batch_size": 32},
}
SMALL: dict[str, Any] = {
    "data": "cifar-10-jpeg",
    "side": 16,
    "network": "resnet20",
    "widths": None,
    "images": 20_000,
    "test": None,
    "augment": {"flip": True},
    "norms": 2000,
    "recipe": ADAM | {"epochs": 1},
}
CROPPED = {"flip": True, "shift": 0.125}
FULL: dict[str, Any] = {
    "data": "cifar-10",
    "side": 32,
    "network": "resnet20",
    "widths": None,
    "images": None,
    "test": None,
    "augment": CROPPED,
    "normalize": True,
    "norms": 0,
    "recipe": SGD | {"epochs": 1000, "batch_size": 256},
}
WIDE = FULL | {"network": "resnet18_cifar", "recipe": SGD | {"epochs": 2000, "batch_size": 96}}
PAPERS = [
    *_settings([*COMPARED, "fda"], **FULL),
    *_settings(["reste"], **FULL, input_bits=32),
    *(_settings(["reste"], **FULL | {"network": name})[0] for name in ("resnet20_bireal", "vgg_small")),
    *_settings(["reste"], **WIDE),
]
# A scale above 1 is as published: such draws never fit, see `isocline.training.augment.random_resized_crop`.
IMAGENET: dict[str, Any] = {
    "data": "imagenet",
    "side": 224,
    "widths": None,
    "images": None,
    "crop": {"size": 224, "scale": [0.08, 1.25]},
    "centre": {"resize": 256, "size": 224},
    "augment": {"flip": True},
    "normalize": True,
    "devices": "auto",
    "workers": 8,  # of each device
    "recipe": SGD | {"epochs": 250, "batch_size": 750, "warmup": 0.0},
}
PAPERS += [
    _settings(["reste"], **IMAGENET, network=name, input_bits=bits)[0]
    for name in ("resnet18_imagenet", "resnet34_imagenet")
    for bits in (1, 32)
]
IMAGENET_TABLE = {
    ("ResNet-18", 1): 0.6088,
    ("ResNet-18", 32): 0.6740,
    ("ResNet-34", 1): 0.6505,
    ("ResNet-34", 32): 0.7074,
}
TABLE = {
    ("ResNet-20", "STE, slope 1", 1): 0.8444,
    ("ResNet-20", "DSQ", 1): 0.8411,
    ("ResNet-20", "EDE (IR-Net)", 1): 0.8520,
    ("ResNet-20", "FDA", 1): 0.8580,
    ("ResNet-20", "RBNN", 1): 0.8587,
    ("ResNet-20", "ReSTE", 1): 0.8675,
    ("ResNet-20", "ReSTE", 32): 0.9132,
    ("ResNet-20 Bi-Real", "ReSTE", 1): 0.8792,
    ("ResNet-18", "ReSTE", 1): 0.9263,
    ("VGG-small", "ReSTE", 1): 0.9255,
}

ESTIMATORS = Claim(
    name="binary/estimators",
    paper=PAPER,
    sentence="At one budget, a network trained with ReSTE is more accurate than with plain STE, by more than seeds differ.",
    expected=(
        # Not at tour scale: there seeds differ by more than estimators, which the picture shows.
        Expected(
            GAIN.format("CIFAR-10 (JPEG)", "ResNet-20"),
            0.0,
            ">=",
            source="section 5: 86.75 against 84.44",
            scales=("small",),
        ),
        Expected(
            CLEAR.format("CIFAR-10 (JPEG)", "ResNet-20"), 0.0, ">=", source="section 5", scales=("small",)
        ),
        *(
            Expected(
                ACCURACY.format("CIFAR-10", network, name, bits),
                value,
                "~",
                0.01,
                source="section 5",
                scales=("paper",),
            )
            for (network, name, bits), value in TABLE.items()
        ),
        *(
            Expected(
                ACCURACY.format("ImageNet", network, "ReSTE", bits),
                value,
                "~",
                0.01,
                source="section 5, top-1",
                scales=("paper",),
                optional=True,
            )
            for (network, bits), value in IMAGENET_TABLE.items()
        ),
    ),
    scales={
        "tour": Scale(
            _settings([name for name in COMPARED if name != "clipped_ste"], **QUICK), 3, "20 seconds"
        ),
        "small": Scale(
            _settings(COMPARED, **SMALL),
            3,
            "10 minutes; CIFAR-10 as JPEG from --data, ResNet-20 on images averaged to 16 x 16, one epoch of 20,000",
        ),
        "paper": Scale(
            PAPERS,
            3,
            "CIFAR-10, 36 runs of 1000 to 2000 epochs, and ImageNet in --data (folders train and val), 12 runs of 250 epochs on "
            "all GPUs of the machine: months on one GPU (--device cuda)",
        ),
    },
    run=run,
    measure=measure,
    plot=plot,
)
