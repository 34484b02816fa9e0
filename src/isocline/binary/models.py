"""The networks of the paper, binary and with real weights: ResNets and VGG-small for CIFAR, ResNets for ImageNet.

Inside binary parts the order is convolution, ReLU, batch norm, and nothing comes behind the sum of a residual block: an output of
ReLU is never negative, so its sign would be constant; the norm centres it again. The first convolution, the classifier, the norms
and the 1x1 convolutions of shortcuts keep real weights.
Source: Wu et al. 2023, section 5 (structures of Qin et al. 2020 and Liu et al. 2018).
"""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from torch import Generator, Tensor, nn
from torch.nn.functional import pad

from isocline._core.checks import check_number, wrong
from isocline.binary.functional import weight_scale
from isocline.binary.layers import BinaryConv2d

Convolution = Callable[[int, int, int], nn.Conv2d]  # inputs, outputs, stride -> a 3x3 layer without bias
Shortcut = Callable[[int, int, int], nn.Module]


class PaddedShortcut(nn.Module):
    """A shortcut without parameters: every `stride`-th pixel, and channels of zeros on both sides of the old ones."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.inputs, self.outputs, self.stride = inputs, outputs, stride

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: x ``(B, inputs, H, W)``; returns ``(B, outputs, ceil(H / stride), ceil(W / stride))``."""
        before = (self.outputs - self.inputs) // 2
        behind = self.outputs - self.inputs - before
        return pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, behind))

    def extra_repr(self) -> str:
        return f"{self.inputs}, {self.outputs}, stride={self.stride}"


class Residual(nn.Module):
    """``body(x) + shortcut(x)``, with one (Bi-Real) or two convolutions in the body."""

    def __init__(self, body: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + self.shortcut(x)


def resnet20(
    classes: int = 10,
    *,
    binary: bool = True,
    channels: int = 3,
    widths: Sequence[int] = (16, 32, 64),
    estimator: str | nn.Module = "reste",
    input_estimator: str | nn.Module | None = "same",
    scale: str = "tensor",
    scale_grad: bool = True,
    pad_value: int = 0,
    generator: Generator | None = None,
) -> nn.Sequential:
    """ResNet-20 for CIFAR: three stages of three blocks, a skip around every two convolutions, padded shortcuts.

    binary=False: the twin with real weights and inputs. widths: channels of the stages; narrower ones train in less time.
    The arguments from `estimator` to `pad_value` are those of `BinaryConv2d`; ``input_estimator=None`` is 1W/32A.
    generator: of the initial weights (Kaiming normal); None draws from torch's global one.
    Shapes: images ``(B, channels, H, W)`` of any size; returns ``(B, classes)``. Raises ValueError for widths that fall.
    """
    conv = _convolutions(binary, estimator, input_estimator, scale, scale_grad, pad_value)
    stages = _stages(widths, (3, 3, 3), 2, conv, PaddedShortcut)
    return _kaiming(_resnet(_stem(channels, widths[0]), stages, widths[-1], classes), generator)


def resnet20_bireal(
    classes: int = 10,
    *,
    binary: bool = True,
    channels: int = 3,
    widths: Sequence[int] = (16, 32, 64),
    estimator: str | nn.Module = "reste",
    input_estimator: str | nn.Module | None = "same",
    scale: str = "tensor",
    scale_grad: bool = True,
    pad_value: int = 0,
    generator: Generator | None = None,
) -> nn.Sequential:
    """ResNet-20 with a skip around every convolution (Liu et al. 2018, Bi-Real net). Arguments as for `resnet20`."""
    conv = _convolutions(binary, estimator, input_estimator, scale, scale_grad, pad_value)
    stages = _stages(widths, (3, 3, 3), 1, conv, PaddedShortcut)
    return _kaiming(_resnet(_stem(channels, widths[0]), stages, widths[-1], classes), generator)


def resnet18_cifar(
    classes: int = 10,
    *,
    binary: bool = True,
    channels: int = 3,
    widths: Sequence[int] = (64, 128, 256, 512),
    estimator: str | nn.Module = "reste",
    input_estimator: str | nn.Module | None = "same",
    scale: str = "tensor",
    scale_grad: bool = True,
    pad_value: int = 0,
    generator: Generator | None = None,
) -> nn.Sequential:
    """ResNet-18 for CIFAR: a 3x3 stem, four stages of two blocks, 1x1 shortcuts with real weights where shapes change.

    Initial weights as PyTorch's. Other arguments as for `resnet20`.
    """
    conv = _convolutions(binary, estimator, input_estimator, scale, scale_grad, pad_value)
    stages = _stages(widths, (2, 2, 2, 2), 2, conv, _projection)
    return _default(_resnet(_stem(channels, widths[0]), stages, widths[-1], classes), generator)


def vgg_small(
    classes: int = 10,
    *,
    binary: bool = True,
    channels: int = 3,
    side: int = 32,
    widths: Sequence[int] = (128, 256, 512),
    estimator: str | nn.Module = "reste",
    input_estimator: str | nn.Module | None = "same",
    scale: str = "tensor",
    scale_grad: bool = True,
    pad_value: int = 0,
    generator: Generator | None = None,
) -> nn.Sequential:
    """VGG-small: six 3x3 convolutions in three pairs, each pair halved by a max pool, and one linear layer.

    side: of the images, at least 8; the classifier sees ``widths[2] (side // 8)^2`` numbers (8192 at 32). Initial weights
    ``N(0, 2 / (k^2 C_out))``. Other arguments as for `resnet20`.
    """
    check_number("side", side, least=8, integer=True)
    if len(widths) != 3:
        raise wrong("widths", "three numbers of channels", tuple(widths))
    conv = _convolutions(binary, estimator, input_estimator, scale, scale_grad, pad_value)
    layers = list(_stem(channels, widths[0]))
    last = widths[0]
    for i, width in enumerate(widths):
        for first in (True, False) if i else (False,):  # the stem is the first of the first pair
            layers += [conv(last if first else width, width, 1), nn.ReLU(), nn.BatchNorm2d(width)]
        layers.append(nn.MaxPool2d(2))
        last = width
    features = last * (side // 8) ** 2
    head = [nn.Flatten(), nn.BatchNorm1d(features), nn.Linear(features, classes)]
    model = nn.Sequential(OrderedDict(features=nn.Sequential(*layers), head=nn.Sequential(*head)))

    def normal(weight: Tensor) -> None:
        nn.init.normal_(weight, 0.0, math.sqrt(2 / (9 * len(weight))), generator=generator)

    return _drawn(model, normal, _like_torch(generator), generator)


def resnet18_imagenet(
    classes: int = 1000,
    *,
    binary: bool = True,
    channels: int = 3,
    widths: Sequence[int] = (64, 128, 256, 512),
    estimator: str | nn.Module = "reste",
    input_estimator: str | nn.Module | None = "same",
    scale: str = "tensor",
    scale_grad: bool = True,
    pad_value: int = 0,
    generator: Generator | None = None,
) -> nn.Sequential:
    """ResNet-18 for ImageNet: a 7x7 stem of stride 2, a max pool, a skip around every convolution, 1x1 shortcuts.

    Initial weights Kaiming normal. Other arguments as for `resnet20`.
    """
    conv = _convolutions(binary, estimator, input_estimator, scale, scale_grad, pad_value)
    stages = _stages(widths, (2, 2, 2, 2), 1, conv, _projection)
    return _kaiming(_resnet(_wide_stem(channels, widths[0]), stages, widths[-1], classes), generator)


def resnet34_imagenet(
    classes: int = 1000,
    *,
    binary: bool = True,
    channels: int = 3,
    widths: Sequence[int] = (64, 128, 256, 512),
    estimator: str | nn.Module = "reste",
    input_estimator: str | nn.Module | None = "same",
    scale: str = "tensor",
    scale_grad: bool = True,
    pad_value: int = 0,
    generator: Generator | None = None,
) -> nn.Sequential:
    """ResNet-34 for ImageNet: as `resnet18_imagenet`, with 3, 4, 6 and 3 blocks."""
    conv = _convolutions(binary, estimator, input_estimator, scale, scale_grad, pad_value)
    stages = _stages(widths, (3, 4, 6, 3), 1, conv, _projection)
    return _kaiming(_resnet(_wide_stem(channels, widths[0]), stages, widths[-1], classes), generator)


def _convolutions(
    binary: bool,
    estimator: str | nn.Module,
    input_estimator: str | nn.Module | None,
    scale: str,
    scale_grad: bool,
    pad_value: int,
) -> Convolution:
    """What a 3x3 layer between stem and classifier is."""
    how: dict[str, Any] = {
        "estimator": estimator,
        "input_estimator": input_estimator,
        "scale": scale,
        "scale_grad": scale_grad,
        "pad_value": pad_value,
    }

    def convolution(inputs: int, outputs: int, stride: int) -> nn.Conv2d:
        if binary:
            return BinaryConv2d(inputs, outputs, 3, stride, 1, bias=False, **how)
        return nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)

    return convolution


def _stem(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.ReLU(), nn.BatchNorm2d(width)
    )


def _wide_stem(channels: int, width: int) -> nn.Sequential:
    conv = nn.Conv2d(channels, width, 7, stride=2, padding=3, bias=False)
    return nn.Sequential(conv, nn.ReLU(), nn.BatchNorm2d(width), nn.MaxPool2d(3, stride=2, padding=1))


def _projection(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


def _stages(
    widths: Sequence[int], blocks: Sequence[int], convs: int, conv: Convolution, shortcut: Shortcut
) -> list[nn.Sequential]:
    """Stages of blocks of two convolutions; `convs` of them under one skip. All but the first stage begin with stride 2."""
    if len(widths) != len(blocks) or any(a > b for a, b in itertools.pairwise(widths)):
        raise wrong("widths", f"{len(blocks)} numbers of channels that do not fall", tuple(widths))
    stages, last = [], widths[0]
    for i, (width, count) in enumerate(zip(widths, blocks, strict=True)):
        parts = []
        for unit in range(count * 2 // convs):
            stride = 2 if i and not unit else 1
            skip = nn.Identity() if stride == 1 and last == width else shortcut(last, width, stride)
            parts.append(Residual(_body(last, width, stride, convs, conv), skip))
            last = width
        stages.append(nn.Sequential(*parts))
    return stages


def _body(inputs: int, outputs: int, stride: int, convs: int, conv: Convolution) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i in range(convs):
        layers += [conv(outputs if i else inputs, outputs, 1 if i else stride)]
        layers += [nn.ReLU(), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers)


def _resnet(stem: nn.Module, stages: list[nn.Sequential], width: int, classes: int) -> nn.Sequential:
    check_number("classes", classes, least=1, integer=True)
    head = nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(width), nn.Linear(width, classes)
    )
    named = {f"stage{i + 1}": stage for i, stage in enumerate(stages)}
    return nn.Sequential(OrderedDict[str, nn.Module](stem=stem, **named, head=head))


def _kaiming(model: nn.Sequential, generator: Generator | None) -> nn.Sequential:
    def normal(weight: Tensor) -> None:
        nn.init.kaiming_normal_(weight, generator=generator)

    return _drawn(model, normal, normal, generator)


def _default(model: nn.Sequential, generator: Generator | None) -> nn.Sequential:
    return _drawn(model, _like_torch(generator), _like_torch(generator), generator)


def _like_torch(generator: Generator | None) -> Callable[[Tensor], Any]:
    return lambda weight: nn.init.kaiming_uniform_(weight, a=math.sqrt(5), generator=generator)


def _drawn(
    model: nn.Sequential,
    conv: Callable[[Tensor], Any],
    linear: Callable[[Tensor], Any],
    generator: Generator | None,
) -> nn.Sequential:
    """The model with weights from `conv` and `linear`, biases as torch's, learnable scales at the channels' means."""
    for part in model.modules():
        if isinstance(part, nn.Conv2d):
            conv(part.weight)
        if isinstance(part, nn.Linear):
            linear(part.weight)
            bound = 1 / math.sqrt(part.in_features)
            nn.init.uniform_(part.bias, -bound, bound, generator=generator)
        if isinstance(part, BinaryConv2d) and part.scale_mode == "learnable":
            means = weight_scale(part.weight.detach(), "channel")
            part.alpha.data.copy_(means)  # type: ignore[arg-type]
    return model
