"""One binary network, trained and judged: what the claims on the equilibrium and on the estimators share."""

from __future__ import annotations

from collections import OrderedDict
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from isocline._core.seeds import torch_generator
from isocline.binary import models
from isocline.binary.diagnosis import diagnose
from isocline.datasets.images import load_images
from isocline.training import Augment, Recipe, evaluate, fit
from isocline.training.loader import as_images

from ...claim import Measurement, Missing, data_folder

TITLES = {
    "fashion-mnist": "Fashion-MNIST",
    "cifar-10-jpeg": "CIFAR-10 (JPEG)",
    "cifar-10": "CIFAR-10",
    "imagenet": "ImageNet",
}
CHANNELS = {"fashion-mnist": 1, "cifar-10-jpeg": 3, "cifar-10": 3, "imagenet": 3}
MEAN, DEVIATION = (
    (0.485, 0.456, 0.406),
    (0.229, 0.224, 0.225),
)  # of ImageNet's channels; the paper takes them everywhere
HELD_OUT = 5000  # the last of the training images, for choosing rates
MEASUREMENTS = 20  # of the equilibrium, along a run


class Normalize(nn.Module):
    """Pixels in [0, 1] with ImageNet's mean and deviation taken out, channel by channel."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = nn.Buffer(torch.tensor(MEAN).view(3, 1, 1))
        self.deviation = nn.Buffer(torch.tensor(DEVIATION).view(3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.deviation


@cache
def images(name: str, split: str, count: int | None, side: int) -> tuple[Tensor, Tensor]:
    """The first `count` images as bytes, averaged down to `side`, and their labels. Split "validation": see `HELD_OUT`."""
    try:
        read = None if split == "validation" else count
        found = load_images(name, "test" if split == "test" else "train", data_folder(), count=read)
    except FileNotFoundError as error:
        raise Missing(str(error)) from error
    part = slice(-HELD_OUT, None) if split == "validation" else slice(None)
    pixels, labels = torch.from_numpy(found.images[part]), torch.from_numpy(found.labels[part])
    if side == pixels.shape[-1]:
        return pixels, labels
    factor = pixels.shape[-1] // side
    return nn.functional.avg_pool2d(pixels.float(), factor).round().byte(), labels


def network(setting: dict[str, Any], generator: torch.Generator) -> nn.Sequential:
    """The network of a setting; the same seed gives every estimator the same initial weights."""
    how: dict[str, Any] = {"side": setting["side"]} if setting["network"] == "vgg_small" else {}
    how |= {"widths": setting["widths"]} if setting["widths"] else {}
    inputs = "same" if setting.get("input_bits", 1) == 1 else None
    model = getattr(models, setting["network"])(
        setting.get("classes", 10),
        channels=CHANNELS[setting["data"]],
        estimator=setting["estimator"],
        input_estimator=inputs,
        generator=generator,
        **how,
    )
    if not setting.get("normalize"):
        return model
    return nn.Sequential(OrderedDict([("normalize", Normalize()), *model.named_children()]))


def settle(model: nn.Module, pixels: Tensor, batch_size: int) -> None:
    """Take the batch norms' means and variances again, over these images: a short run ends before their running ones arrive."""
    torch.optim.swa_utils.update_bn((as_images(batch) for batch in pixels.split(batch_size)), model)


def run(setting: dict[str, Any], seed: int, device: str) -> Measurement:
    """Train by the recipe, the sharpness growing step by step, and judge on the test images (or those held out)."""
    try:
        from isocline.binary.equilibrium import EquilibriumCallback
        from isocline.binary.lightning import PowerCallback
        from isocline.training import Diverged
    except ImportError as error:
        raise Missing(str(error)) from error
    data, side, o_end = setting["data"], setting["side"], setting["o_end"]
    train = images(data, "train", setting["images"], side)
    judged = images(data, setting.get("judged", "test"), setting["test"], side)
    recipe = Recipe(**setting["recipe"] | {"augment": Augment(**setting["augment"]), "seed": seed})
    steps = recipe.epochs * -(-len(train[1]) // recipe.batch_size)
    model = network(setting, torch_generator(seed))
    watch = EquilibriumCallback(max(1, steps // MEASUREMENTS))
    loss, diverged = float("nan"), False
    try:
        callbacks = [PowerCallback(o_end, every="step"), watch]
        loss = fit(model, train, recipe=recipe, callbacks=callbacks, device=device).metrics["loss"]
    except Diverged:
        diverged = True
    if setting["norms"] and not diverged:
        settle(model.cpu(), train[0][: setting["norms"]], recipe.batch_size)
    rows = watch.equilibrium.rows
    path = np.array([[r.step, r.error_rms, r.stability_scale_free, r.flips, r.stability] for r in rows])
    found = diagnose(model.cpu(), o_end=o_end)
    values = {
        "accuracy": evaluate(model, judged)["accuracy"],  # of what is left, where training diverged
        "diverged": diverged,
        "loss": loss,
        "error": found.error,
        "error_rms": found.error_rms,
        "stability": float(path[:, 4].mean()),
        "stability_scale_free": float(path[:, 2].mean()),
        "flips": float(path[:, 3].mean()),
    }
    return Measurement(values, {"path": path})
