"""The published structures: parameters counted by hand, which layers are binary, shapes, twins, seeds."""

import itertools

import pytest
import torch
from torch import nn

from isocline.binary import models
from isocline.binary.layers import BinaryConv2d
from isocline.binary.models import PaddedShortcut, Residual

THIN = dict.fromkeys(("resnet20", "resnet20_bireal", "vgg_small"), (8, 12, 16))


def _convs(widths, blocks):
    """Weights of the 3x3 layers of stages, and channels of the norms behind them."""
    weights = norms = 0
    last = widths[0]
    for width, count in zip(widths, blocks, strict=True):
        for _ in range(2 * count):
            weights, norms, last = weights + 9 * last * width, norms + 2 * width, width
    return weights, norms


def _projections(widths):
    return sum(a * b + 2 * b for a, b in itertools.pairwise(widths))


def _count(widths, blocks, stem, classes, projections):
    weights, norms = _convs(widths, blocks)
    head = 2 * widths[-1] + widths[-1] * classes + classes
    return stem + 2 * widths[0] + weights + norms + head + (_projections(widths) if projections else 0)


W20, W18 = (16, 32, 64), (64, 128, 256, 512)
VGG = 9 * (3 * 128 + 128 * 128 + 128 * 256 + 256 * 256 + 256 * 512 + 512 * 512)
PARAMETERS = {
    "resnet20": _count(W20, (3, 3, 3), 432, 10, False),
    "resnet20_bireal": _count(W20, (3, 3, 3), 432, 10, False),
    "resnet18_cifar": _count(W18, (2, 2, 2, 2), 1728, 10, True),
    "vgg_small": VGG + 2 * 2 * (128 + 256 + 512) + 2 * 8192 + 8192 * 10 + 10,
    "resnet18_imagenet": _count(W18, (2, 2, 2, 2), 147 * 64, 1000, True),
    "resnet34_imagenet": _count(W18, (3, 4, 6, 3), 147 * 64, 1000, True),
}
BINARY = {
    "resnet20": 18,
    "resnet20_bireal": 18,
    "resnet18_cifar": 16,
    "vgg_small": 5,
    "resnet18_imagenet": 16,
    "resnet34_imagenet": 32,
}


def _parameters(model):
    return sum(p.numel() for p in model.parameters())


def test_the_counts_by_hand_are_the_known_ones():
    assert (
        PARAMETERS["resnet20"] == 269_722 + 2 * 64
    )  # the usual 0.27 million, and the norm before the classifier
    assert PARAMETERS["resnet18_imagenet"] == 11_689_512 + 2 * 512  # torchvision's, and that norm


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_parameters_and_binary_layers(name):
    with torch.device("meta"):
        twins = [getattr(models, name)(binary=binary) for binary in (True, False)]
    assert [_parameters(model) for model in twins] == [PARAMETERS[name]] * 2
    binary = [part for part in twins[0].modules() if isinstance(part, BinaryConv2d)]
    assert len(binary) == BINARY[name]
    assert all(part.kernel_size == (3, 3) and part.bias is None and part.padding == (1, 1) for part in binary)
    assert not any(isinstance(part, BinaryConv2d) for part in twins[1].modules())
    assert list(dict(twins[0].named_parameters())) == list(dict(twins[1].named_parameters()))


def _thin(name, **how):
    widths = THIN.get(name, (8, 12, 16, 24))
    side = {"side": 16} if name == "vgg_small" else {}
    return getattr(models, name)(
        5, widths=widths, channels=2, generator=torch.Generator().manual_seed(0), **side, **how
    )


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_shapes_and_gradients_of_narrow_ones(name, binary):
    model = _thin(name, binary=binary)
    images = torch.randn(3, 2, 16, 16, generator=torch.Generator().manual_seed(1))
    logits = model(images)
    assert logits.shape == (3, 5)
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("name", sorted(PARAMETERS))
@pytest.mark.parametrize("scale", ["tensor", "learnable"])
def test_the_same_generator_gives_the_same_weights(name, scale):
    first, again = _thin(name, scale=scale).state_dict(), _thin(name, scale=scale).state_dict()
    assert first.keys() == again.keys()
    assert all(torch.equal(first[key], again[key]) for key in first)


def test_initial_deviations():
    how = {"widths": (64, 64, 64), "generator": torch.Generator().manual_seed(0)}
    kaiming, vgg = models.resnet20(**how).stage2[0].body[0], models.vgg_small(**how).features[3]
    assert kaiming.weight.std().item() == pytest.approx(
        (2 / (9 * 64)) ** 0.5, rel=0.02
    )  # 36 864 draws: 4 deviations
    assert vgg.weight.std().item() == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.02)


def test_blocks_of_the_two_resnets_for_cifar():
    plain, bireal = models.resnet20(), models.resnet20_bireal()
    assert sum(isinstance(part, Residual) for part in plain.modules()) == 9
    assert sum(isinstance(part, Residual) for part in bireal.modules()) == 18
    assert [type(part) for part in plain.stage2[0].body] == [BinaryConv2d, nn.ReLU, nn.BatchNorm2d] * 2
    assert isinstance(plain.stage2[0].shortcut, PaddedShortcut)
    assert isinstance(plain.stage2[1].shortcut, nn.Identity)


def test_real_weights_stay_where_they_should():
    model = models.resnet18_imagenet(widths=(8, 8, 16, 16))
    kinds = {name: type(part) for name, part in model.named_modules() if isinstance(part, nn.Conv2d)}
    real = {name for name, kind in kinds.items() if kind is nn.Conv2d}
    # widths that stay need a projection too, where the stride is 2
    assert real == {"stem.0", *(f"stage{i}.0.shortcut.0" for i in (2, 3, 4))}


def test_weights_of_one_bit_with_real_inputs():
    model = models.resnet20(input_estimator=None)
    assert all(p.input_estimator is None for p in model.modules() if isinstance(p, BinaryConv2d))


def test_the_padded_shortcut():
    x = torch.arange(2 * 2 * 3 * 5, dtype=torch.float64).reshape(2, 2, 3, 5)
    y = PaddedShortcut(2, 5, 2)(x)
    assert y.shape == (2, 5, 2, 3)
    assert torch.equal(y[:, 1:3], x[:, :, ::2, ::2])
    assert y[:, [0, 3, 4]].abs().sum() == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: models.resnet20(widths=(16, 32)),
            r"widths: want 3 numbers of channels that do not fall, got \(16, 32\)",
        ),
        (lambda: models.resnet20(widths=(16, 8, 64)), "widths: want 3 numbers of channels that do not fall"),
        (lambda: models.vgg_small(side=4), "side: want a whole number >= 8"),
        (lambda: models.vgg_small(widths=(1, 2)), "widths: want three numbers of channels"),
        (lambda: models.resnet20(0), "classes: want a whole number >= 1"),
        (lambda: models.resnet20(estimator="rest"), "estimator: want one of .*'reste'"),
    ],
)
def test_wrong_calls_are_answered(call, message):
    with pytest.raises(ValueError, match=message):
        call()
