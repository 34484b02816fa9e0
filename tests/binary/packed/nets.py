"""Small binary networks whose batch norms say something, and their input."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from isocline.binary import models
from isocline.binary.layers import BinaryConv1d, BinaryConv2d, BinaryConv3d, BinaryLinear
from isocline.binary.packed import PackedModel, pack

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def settled(model: nn.Module, shape: tuple[int, ...], seed: int = 0) -> nn.Module:
    """float32, in evaluation mode, with statistics of a few batches, slopes of both signs and one slope of 0."""
    generator = torch.Generator().manual_seed(seed)
    model = model.float().train()
    with torch.no_grad():
        for part in model.modules():
            if isinstance(part, NORMS):
                part.weight.copy_(torch.randn(part.weight.shape, generator=generator))
                part.bias.copy_(torch.randn(part.bias.shape, generator=generator) / 2)
                part.weight[0] = 0
        for _ in range(2):
            model(batch(shape, 4, seed + 1))
    return model.eval()


def batch(shape: tuple[int, ...], count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float32)


def quietly(model: nn.Module, **how: str) -> PackedModel:
    """Packed, whatever stays float."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pack(model, **how)


def mlp() -> nn.Module:
    """Two fully connected layers in a row: the bits between them never become numbers."""
    first = [BinaryLinear(24, 40, bias=True), nn.BatchNorm1d(40), nn.Hardtanh()]
    return nn.Sequential(*first, BinaryLinear(40, 33, scale="none"), nn.BatchNorm1d(33), nn.Linear(33, 4))


def flattened() -> nn.Module:
    """A map, pooled and flattened in bits, before a fully connected layer."""
    conv = [
        BinaryConv2d(3, 10, 3, padding=1),
        nn.BatchNorm2d(10),
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.Dropout(),
    ]
    return nn.Sequential(*conv, nn.Flatten(), BinaryLinear(10 * 4 * 3, 6), nn.BatchNorm1d(6))


def signals() -> nn.Module:
    first = [
        BinaryConv1d(4, 8, 5, stride=2, padding=3, dilation=2, groups=2, pad_value=1),
        nn.PReLU(),
        nn.BatchNorm1d(8),
    ]
    return nn.Sequential(*first, BinaryConv1d(8, 6, 4, padding="same"), nn.ReLU(), nn.BatchNorm1d(6))


def volumes() -> nn.Module:
    first = [
        BinaryConv3d(2, 33, (2, 3, 3), padding=(1, 0, 1), pad_value=-1),
        nn.BatchNorm3d(33),
        nn.LeakyReLU(),
    ]
    return nn.Sequential(*first, BinaryConv3d(33, 5, 2, groups=1), nn.BatchNorm3d(5))


class TwoPaths(nn.Module):
    """A sum of two binary layers, one number layer between, and a part that nobody else uses."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = BinaryConv2d(3, 6, 3, padding=1), BinaryConv2d(3, 6, 1, scale="channel")
        self.norm = nn.BatchNorm2d(6)
        self.c = BinaryConv2d(6, 6, 3, input_estimator=None, scale="learnable", bias=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.a(x)) + self.b(x)
        return torch.flatten(torch.relu(self.c(y + y)), 1)


THIN = {"widths": (8, 16, 24), "classes": 3}
WIDE = {"widths": (8, 16, 24, 33), "classes": 3}
NETWORKS = {
    "resnet20": (lambda **how: models.resnet20(**THIN, **how), (3, 8, 8)),
    "resnet20_bireal": (lambda **how: models.resnet20_bireal(**THIN, **how), (3, 8, 8)),
    "resnet18_cifar": (lambda **how: models.resnet18_cifar(**WIDE, **how), (3, 16, 16)),
    "vgg_small": (lambda **how: models.vgg_small(**THIN, side=16, **how), (3, 16, 16)),
    "resnet18_imagenet": (lambda **how: models.resnet18_imagenet(**WIDE, **how), (3, 64, 64)),
    "resnet34_imagenet": (lambda **how: models.resnet34_imagenet(**WIDE, **how), (3, 64, 64)),
}
PARTS = {
    "mlp": (mlp, (24,)),
    "flattened": (flattened, (3, 8, 6)),
    "signals": (signals, (4, 21)),
    "volumes": (volumes, (2, 4, 5, 6)),
    "two paths": (TwoPaths, (3, 7, 7)),
}
