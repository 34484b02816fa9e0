"""Conversion: what stays and why, the same parameters, the model untouched on a wrong call."""

import copy
import re

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from isocline.binary import (
    BinaryConv2d,
    BinaryLinear,
    ConstantInput,
    ReSTE,
    binarize_model,
    plan_binarization,
)


class Block(nn.Module):
    """A residual block as people write it, with a ReLU in front of each convolution; around: what its shortcut is called."""

    def __init__(self, C, M, around, k=3):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(C, M, k, 2, k // 2, bias=False), nn.BatchNorm2d(M)
        self.conv2, self.bn2 = nn.Conv2d(M, M, 3, 1, 1, bias=False), nn.BatchNorm2d(M)
        self.relu, self.around = nn.ReLU(inplace=True), around
        self.add_module(around, nn.Sequential(nn.Conv2d(C, M, 1, 2, bias=False), nn.BatchNorm2d(M)))

    def forward(self, x):
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(y + getattr(self, self.around)(x))


class Net(nn.Module):
    """`head` is registered first and runs last."""

    def __init__(self, around="downsample", k=3):
        super().__init__()
        self.head = nn.Linear(8, 3)
        self.stem, self.block = nn.Conv2d(2, 4, 3, padding=1), Block(4, 8, around, k)

    def forward(self, x):
        return self.head(self.block(torch.relu(self.stem(x))).mean((2, 3)))


@pytest.fixture
def sample():
    return torch.randn(2, 2, 8, 8)


def test_with_a_sample_first_and_last_are_those_that_run_so(sample):
    plan = plan_binarization(Net(), sample=sample)
    assert plan.binary == ("block.conv1", "block.conv2")
    assert plan.kept == {"head": "last layer", "stem": "first layer", "block.downsample.0": "shortcut"}
    assert plan.share == pytest.approx((288 + 576) / (24 + 72 + 288 + 576 + 32))
    without = plan_binarization(Net())  # by the order in which they were made
    assert without.kept == {"head": "first layer", "block.downsample.0": "last layer"}
    assert "stem" in without.binary


@pytest.mark.parametrize("k", [1, 3])
def test_a_shortcut_of_any_name_is_found_by_its_input(sample, k):
    plan = plan_binarization(Net("other", k), sample=sample)
    assert plan.kept["block.other.0"] == "shortcut"
    assert plan.binary == ("block.conv1", "block.conv2")
    assert "block.other.0" in plan_binarization(Net("other", k), ("shortcut",)).binary


def test_inputs_of_one_sign_are_noticed_and_cured(sample):
    plan = plan_binarization(Net(), sample=sample)
    assert plan.constant == ("block.conv1", "block.conv2")
    assert str(plan).count("never changes sign") == 2
    with pytest.warns(ConstantInput, match=r"one sign only at 2 layers \(block.conv1, block.conv2\)"):
        binarize_model(Net(), sample=sample)
    cured = binarize_model(Net(), relu="prelu", sample=sample)
    assert isinstance(cured.block.relu, nn.PReLU)
    binarize_model(Net(), input_estimator=None, sample=sample)  # real inputs: nothing to warn of
    assert "give a sample" in str(plan_binarization(Net()))


def test_the_parameters_are_the_models_own_and_the_settings_are_passed_on():
    model = Net().eval()
    before = dict(model.named_parameters())
    same = binarize_model(model, ("head", "stem"), estimator=ReSTE(2.0), scale="channel", pad_value=-1)
    assert same is model
    assert {name: id(p) for name, p in model.named_parameters()} == {
        name: id(p) for name, p in before.items()
    }
    layer = model.block.conv1
    assert type(layer) is BinaryConv2d
    assert (layer.stride, layer.padding, layer.pad_value, layer.scale_mode) == ((2, 2), (1, 1), -1, "channel")
    assert float(layer.input_estimator.o) == 2
    assert not layer.training
    assert type(model.block.downsample[0]) is BinaryConv2d
    assert type(model.head) is nn.Linear


def test_a_learned_scale_starts_at_the_weights_means():
    layer = binarize_model(nn.Linear(4, 3), (), scale="learnable")
    assert type(layer) is BinaryLinear
    torch.testing.assert_close(layer.alpha, layer.weight.abs().mean(1, keepdim=True))


def test_a_layer_used_twice_stays_one_layer():
    shared = nn.Linear(4, 4)
    model = binarize_model(nn.Sequential(nn.Linear(4, 4), shared, shared, nn.Linear(4, 2)))
    assert model[1] is model[2]
    assert type(model[1]) is BinaryLinear


def test_what_has_no_binary_form_says_so():
    hooked = nn.Linear(4, 4)
    hooked.register_forward_hook(lambda *_: None)
    model = nn.ModuleDict(
        {
            "normed": weight_norm(nn.Linear(4, 4)),
            "up": nn.ConvTranspose2d(4, 4, 2),
            "mirrored": nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
            "hooked": hooked,
            "done": BinaryLinear(4, 4),
            "plain": nn.Linear(4, 4),
            "attention": nn.MultiheadAttention(4, 2),
        }
    )
    plan = plan_binarization(model, ())
    assert plan.binary == ("plain",)
    assert plan.kept == {
        "normed": "its weight is parametrized",
        "up": "no binary form of ConvTranspose2d",
        "mirrored": "padding_mode 'reflect'",
        "hooked": "it has hooks",
        "done": "binary already",
        "attention.out_proj": "no binary form of NonDynamicallyQuantizableLinear",
    }
    assert plan.to_dict()["binary"] == ["plain"]


def test_the_model_is_left_as_it_was_found_by_a_plan(sample):
    model = Net()
    model.block.eval()
    state, modes = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()]
    unfit, random = torch.randn(1, 3, 8, 8), torch.get_rng_state()
    plan_binarization(model, sample=(sample,))
    with pytest.raises(RuntimeError):
        plan_binarization(model, sample=unfit)
    assert [m.training for m in model.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert not any(m._forward_pre_hooks for m in model.modules())
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: binarize_model(m, "first"), "keep: want a list of names, got 'first'; write ('first',)"),
        (
            lambda m: binarize_model(m, ("blok.*",)),
            "or names of layers, got 'blok.*'; did you mean 'block.conv",
        ),
        (lambda m: binarize_model(m, relu="drop"), "relu: want one of 'keep', 'prelu', got 'drop'"),
        (lambda m: binarize_model(m, scale="mean"), "scale: want one of"),
        (lambda m: binarize_model(m, pad_value=3), "pad_value: want 0, 1 or -1, got 3"),
        (lambda m: binarize_model(nn.ReLU()), "model: want convolutions or linear layers in it, got ReLU"),
    ],
)
def test_wrong_calls_are_answered_and_change_nothing(call, message):
    model = Net()
    with pytest.raises(ValueError, match=re.escape(message)):
        call(model)
    assert not any(isinstance(module, BinaryConv2d) for module in model.modules())
