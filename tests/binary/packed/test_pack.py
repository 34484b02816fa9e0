"""A packed model is the model in evaluation mode, to the bit; what cannot be packed is said and stays float."""

import pytest
import torch
from torch import nn

from isocline.binary.estimators import Progressive, ReSTE
from isocline.binary.layers import BinaryConv2d, BinaryLinear
from isocline.binary.packed import PackedModel, PackingWarning, pack

from .nets import NETWORKS, PARTS, batch, quietly, settled

KINDS = {
    "as published": {},
    "bits outside": {"pad_value": 1, "scale": "channel"},
    "learned": {"pad_value": -1, "scale": "learnable"},
    "real inputs": {"input_estimator": None},
}


def same(model, packed, shape):
    for count in (1, 3):
        x = batch(shape, count, seed=count)
        with torch.no_grad():
            assert torch.equal(packed(x), model(x))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_published_networks_to_the_bit(name, kind):
    make, shape = NETWORKS[name]
    model = settled(make(**KINDS[kind]), shape)
    packed = pack(model)
    same(model, packed, shape)
    layers = sum(isinstance(part, BinaryConv2d) for part in model.modules())
    assert [step.op for step in packed.steps].count(
        "bit_weights" if kind == "real inputs" else "convolution"
    ) == layers
    assert not packed.notes
    assert not any(step.call for step in packed.steps)


@pytest.mark.parametrize("backend", ["reference", "numba"])
@pytest.mark.parametrize("name", PARTS)
def test_other_layers_and_orders_to_the_bit(name, backend):
    make, shape = PARTS[name]
    model = settled(make(), shape)
    same(model, quietly(model, backend=backend), shape)


@pytest.mark.slow
def test_the_full_networks_to_the_bit():
    from isocline.binary import models

    for make, side in ((models.resnet18_cifar, 32), (models.vgg_small, 32), (models.resnet18_imagenet, 224)):
        model = settled(make(), (3, side, side))
        same(model, pack(model), (3, side, side))


def ops(model):
    return {step.name: (step.op, step.settings.get("gives")) for step in quietly(model).steps}


def test_between_binary_layers_activations_stay_bits():
    make, shape = NETWORKS["vgg_small"]
    found = ops(settled(make(), shape))
    assert found["features.3"] == ("convolution", "bits")
    assert found["features.6"] == ("largest", None)
    assert "features.4" not in found
    assert "features.5" not in found
    assert ops(settled(PARTS["flattened"][0](), (3, 8, 6))) == {
        "0": ("convolution", "bits"),
        "2": ("largest", None),
        "4": ("side_by_side", None),
        "5": ("convolution", "numbers"),
    }


def test_a_skip_is_taken_along_and_leaves_numbers_and_bits():
    make, shape = NETWORKS["resnet20_bireal"]
    packed = pack(settled(make(), shape))
    found = {step.name: step for step in packed.steps}
    step = found["stage1.1.body.0"]
    assert step.settings["gives"] == "both"
    assert step.inputs == ("stage1.0.body.0",) * 2
    assert not any(step.op == "add" for step in packed.steps)


def test_the_model_stays_as_it_is():
    make, shape = NETWORKS["resnet20"]
    model = settled(make(), shape).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    hooks = [len(part._forward_hooks) for part in model.modules()]
    state = torch.random.get_rng_state()
    packed = pack(model)
    assert model.training
    assert torch.equal(torch.random.get_rng_state(), state)
    assert [len(part._forward_hooks) for part in model.modules()] == hooks
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    same(model.eval(), packed, shape)


def test_a_gradient_does_not_follow():
    model = settled(PARTS["mlp"][0](), (24,))
    assert not pack(model)(batch((24,), 2).requires_grad_()).requires_grad


class Gated(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(x.mean(1, keepdim=True))


STAY = {
    "a layer that nothing folds": (
        lambda: [BinaryConv2d(3, 8, 3), Gated(), nn.BatchNorm2d(8), BinaryConv2d(8, 4, 3)],
        "0: feeds mean in 1 (Gated) and mul in 1 (Gated), which has no packed form; that part stays float",
    ),
    "a third value": (
        lambda: [
            BinaryConv2d(3, 8, 3),
            nn.BatchNorm2d(8),
            BinaryConv2d(8, 4, 3, input_estimator=ReSTE(zero="zero")),
        ],
        "2: ReSTE gives its input more than two values; its sign(0) is a third value, zero='one' has two; it stays float",
    ),
    "a slope that turns": (
        lambda: [BinaryConv2d(3, 8, 3), nn.LeakyReLU(-1.0), nn.BatchNorm2d(8), BinaryConv2d(8, 4, 3)],
        "0: the sign behind 2 is not one limit; that part stays float",
    ),
}


@pytest.mark.parametrize("what", STAY)
def test_what_cannot_be_packed_is_said_and_the_rest_is_packed(what):
    make, message = STAY[what]
    model = settled(nn.Sequential(*make()), (3, 9, 9))
    with pytest.warns(PackingWarning) as warned:
        packed = pack(model)
    assert [str(one.message) for one in warned] == list(packed.notes)
    assert len(packed.notes) == 1
    assert message in packed.notes[0]
    assert any(step.op == "convolution" for step in packed.steps)
    same(model, packed, (3, 9, 9))


def test_a_nan_is_an_error_that_names_the_layer():
    model = settled(nn.Sequential(nn.Conv2d(3, 4, 1), BinaryConv2d(4, 4, 1)), (3, 5, 5))
    x = batch((3, 5, 5), 2)
    x[1, 0, 2, 2] = torch.nan
    with pytest.raises(ValueError, match=r"^1: x: want activations that have a sign, got NaN"):
        pack(model)(x)


def test_progressive_binarisation_is_packed_as_it_evaluates():
    model = settled(nn.Sequential(BinaryLinear(9, 5, estimator=Progressive(T=0.3)), nn.BatchNorm1d(5)), (9,))
    same(model, pack(model), (9,))


class Asks(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


class InPlace(nn.Module):
    def __init__(self):
        super().__init__()
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.relu(x) + x


class Many(nn.Module):
    def forward(self, x, y):
        return x + y


def broken():
    layer = nn.Sequential(BinaryLinear(3, 2, bias=True)).float()
    nn.init.constant_(layer[0].bias, torch.inf)
    return layer


WRONG = {
    "no module": (lambda: [1], TypeError, "model: want a torch.nn.Module, got list"),
    "float64": (lambda: BinaryLinear(3, 2), ValueError, "want float32 parameters, got weight in float64; call model.float()"),
    "data": (lambda: Asks(), ValueError, "model: want a forward pass that torch.fx can trace, got"),
    "in place": (lambda: InPlace(), ValueError, "got relu in place; compute it out of place"),
    "two inputs": (lambda: Many(), ValueError, "model: want one tensor in and one out, got 2 in"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_wrong_models_are_answered(what):
    make, error, message = WRONG[what]
    with pytest.raises(error) as caught:
        pack(make())
    assert message in str(caught.value)


def test_a_layer_of_infinity_stays_float():
    with pytest.warns(PackingWarning, match="0: its scale or bias is not finite; it stays float"):
        packed = pack(broken())
    assert torch.isinf(packed(batch((3,), 2))).all()


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (
            torch.zeros(1, 24, dtype=torch.float64),
            "x: want a batch of float32 on the CPU, got float64 on cpu, 2 axes",
        ),
        (torch.zeros(24, dtype=torch.float32), "got float32 on cpu, 1 axes"),
        ([[0.0] * 24], "got list"),
    ],
)
def test_wrong_inputs_are_answered(x, message):
    with pytest.raises(TypeError, match="x: want a batch") as caught:
        pack(settled(PARTS["mlp"][0](), (24,)))(x)
    assert message in str(caught.value)


def test_a_wrong_number_of_channels_names_the_layer():
    with pytest.raises(ValueError, match=r"^0: x: want 24 channels, got 23"):
        pack(settled(PARTS["mlp"][0](), (24,)))(batch((23,), 1))


def test_it_says_what_it_is():
    packed = pack(settled(PARTS["mlp"][0](), (24,)))
    assert repr(packed) == "PackedModel(2 layers on bits, 2 other steps, 1 KiB)"
    sizes = packed.sizes()
    assert sizes["1-bit weights"] == 40 * 3 + 33 * 5  # 24 and 40 bits a row
    assert sizes["float weights"] == 4 * (4 * 33 + 33 * 4 + 4)  # the norm before the linear layer, and that
    assert isinstance(packed, PackedModel)
