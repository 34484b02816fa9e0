"""One network that learns where arrows point, at one size of image, and is judged at another."""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from isocline._core.seeds import torch_generator
from isocline.datasets.arrows import arrows
from isocline.datasets.dyed_arrows import dyed_arrows
from isocline.plstm.models import PLSTMVision
from isocline.training import Recipe, evaluate, fit

from ...claim import Measurement, Missing
from .vit import ViT

# Seeds of the paper: of the first run's training images, and of the images that are held out, by size.
TRAIN, VALIDATION, TEST = 43, {192: 100_042, 384: 100_043}, {192: 200_042, 384: 200_043}
SCALE = (4.0, 4.0, 2.0)  # of the dyed channels, most of whose pixels are empty
MODELS: dict[str, dict[str, Any]] = {
    "pLSTM": {"modes": "PD"},
    "P only": {"modes": "PP"},
    "D only": {"modes": "DD"},
    "no positions": {"modes": "PD", "position": False},
}
BASELINE = "ViT"


class Symmetries(nn.Module):
    """In training, each quarter of a batch of dyed pictures is mirrored and turned at random: pixels, and directions with them.

    What is true of a picture stays true. Shapes: ``(B, 3, H, H)`` to the same.
    """

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self._one(part) for part in x.chunk(4)]) if self.training else x

    def _one(self, x: Tensor) -> Tensor:
        across, down, turned = torch.rand(3).lt(0.5).tolist()
        signs = x.new_tensor([-1.0 if across else 1.0, -1.0 if down else 1.0, 1.0])[:, None, None]
        x = signs * x.flip([axis for axis, yes in ((-1, across), (-2, down)) if yes])
        return x.mT[:, [1, 0, 2]] if turned else x


class Scaled(nn.Module):
    """Dyed pictures times `SCALE`, or drawn ones as ink between -1 and 1."""

    def __init__(self, dyed: bool) -> None:
        super().__init__()
        self.dyed = dyed
        self.factors = nn.Buffer(torch.tensor(SCALE if dyed else (-2.0,))[:, None, None])

    def forward(self, x: Tensor) -> Tensor:
        return self.factors * x if self.dyed else 1 + self.factors * x


def pictures(count: int, seed: int, size: int, factor: int | None) -> tuple[Tensor, Tensor]:
    """Dyed pictures, or with `factor` None the paper's own, as bytes."""
    if factor is None:
        drawn, labels = arrows(count, seed=seed, size=size)
        return torch.from_numpy(drawn)[:, None], torch.from_numpy(labels)
    found, labels = dyed_arrows(count, seed=seed, size=size, factor=factor)
    return torch.from_numpy(found), torch.from_numpy(labels)


@lru_cache(maxsize=6)  # the images of one seed, and those held out: all models see the same
def _kept(count: int, seed: int, size: int, factor: int | None) -> tuple[Tensor, Tensor]:
    return pictures(count, seed, size, factor)


def network(setting: dict[str, Any], generator: torch.Generator) -> nn.Sequential:
    """The model of a setting. The ViT has as many layers of the same width and heads."""
    factor, how = setting["factor"], {key: setting[key] for key in ("dim", "heads", "patch")}
    how |= {"size": setting["size"] // (factor or 1), "channels": 1 if factor is None else 3}
    if setting["model"] == BASELINE:
        model: nn.Module = ViT(2, layers=setting["layers"], **how)
    else:
        changes = MODELS[setting["model"]]
        model = PLSTMVision(2, depth=setting["layers"] // len(changes["modes"]), **how | changes)
    model.reset_parameters(generator)  # type: ignore[operator]
    symmetries = nn.Identity() if factor is None else Symmetries()
    return nn.Sequential(OrderedDict(symmetries=symmetries, scaled=Scaled(factor is not None), model=model))


def run(setting: dict[str, Any], seed: int, device: str) -> Measurement:
    """Train by the recipe; accuracy on validation and test images of the training size, and on test images of twice that size.

    Nothing is chosen here: the rate is a part of the setting, and validation images are looked at when all is done.
    """
    size, factor = setting["size"], setting["factor"]
    recipe = Recipe(**setting["recipe"] | {"seed": seed})
    model = network(setting, torch_generator(seed))
    train = _kept(setting["images"], TRAIN + seed, size, factor)
    try:
        fit(model, train, recipe=recipe, device=device, precision=setting.get("precision", "32-true"))
    except ImportError as error:
        raise Missing(str(error)) from error
    judged = {
        "validation": (setting["validation"], VALIDATION[size], size),
        "test": (setting["test"], TEST[size], size),
        "double": (setting["test"], TEST[2 * size], 2 * size),
    }
    values: dict[str, Any] = {
        name: evaluate(model, _kept(*which, factor), batch_size=128)["accuracy"]
        for name, which in judged.items()
    }
    values["parameters"] = sum(p.numel() for p in model.parameters())
    return Measurement(values)
