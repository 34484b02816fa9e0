"""The layers: reference vectors, every shape of convolution against torch's on binarised operands, and the wrong calls."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as TF
from torch import nn

from isocline.binary import BinaryConv1d, BinaryConv2d, BinaryConv3d, BinaryLinear, ReSTE
from isocline.binary.functional import reste_surrogate, sign

MODES = ("tensor", "none", "channel")


@pytest.mark.parametrize("case", range(3))
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("scale_grad", [True, False])
def test_every_reference_layer(golden, case, mode, scale_grad):
    file = np.load(golden / "binary" / "conv_layer.npz")
    stored = {name: file[f"c{case}_{name}"] for name in ("cfg", "x", "w", "gy")}
    _, C, M, k, stride, padding, _, o, t, m, real_input = stored["cfg"]
    layer = BinaryConv2d(
        int(C),
        int(M),
        int(k),
        int(stride),
        int(padding),
        estimator=ReSTE(o, t, m),
        input_estimator=None if real_input else "same",
        scale=mode,
        scale_grad=scale_grad,
    )
    layer.weight.data = torch.tensor(stored["w"])
    x = torch.tensor(stored["x"], requires_grad=True)
    y = layer(x)
    y.backward(torch.tensor(stored["gy"]))
    wanted = {name: file[f"c{case}_{mode}_{name}"] for name in ("y", "gx")}
    kind = "gw_scale_grad" if scale_grad else "gw_scale_detached"
    wanted["gw"] = file[f"c{case}_{mode}_{kind}"]
    for name, found in (
        ("y", y.detach()),
        ("gx", x.grad),
        ("gw", layer.weight.grad),
        ("y", layer.eval()(x.detach())),
    ):
        np.testing.assert_allclose(
            found.detach(), wanted[name], rtol=1e-11, atol=1e-12, err_msg=name
        )  # sums of 100s


KINDS = [
    (BinaryConv1d, {"kernel_size": 3, "padding": 1, "stride": 2}, (9,)),
    (BinaryConv2d, {"kernel_size": 3, "padding": 1}, (6, 5)),
    (BinaryConv2d, {"kernel_size": (3, 2), "padding": (2, 0), "dilation": (2, 1), "stride": (1, 2)}, (7, 6)),
    (BinaryConv2d, {"kernel_size": 3, "padding": "same", "groups": 2, "bias": True}, (6, 5)),
    (BinaryConv2d, {"kernel_size": 4, "padding": "same", "pad_value": -1}, (6, 5)),
    (BinaryConv2d, {"kernel_size": 3, "padding": (1, 2), "pad_value": 1, "groups": 2}, (6, 5)),
    (BinaryConv3d, {"kernel_size": 2, "padding": 1, "stride": 2, "pad_value": -1}, (4, 5, 3)),
]


@pytest.mark.parametrize(("kind", "how", "size"), KINDS)
@pytest.mark.parametrize("mode", [*MODES, "learnable"])
def test_it_is_torchs_convolution_of_binary_operands(kind, how, size, mode):
    layer = kind(4, 6, **how, scale=mode, estimator=ReSTE(2.0))
    x = torch.randn(3, 4, *size)
    s = sign(x)
    if layer.padding != 0 and layer.pad_value:
        s = TF.pad(s, layer._reversed_padding_repeated_twice, value=layer.pad_value)
    convolve = (TF.conv1d, TF.conv2d, TF.conv3d)[len(size) - 1]
    padding = 0 if layer.pad_value else layer.padding
    alpha = {
        "none": 1.0,
        "tensor": layer.weight.abs().mean(),
        "channel": layer.weight.abs().flatten(1).mean(1).reshape(-1, *(1,) * (len(size) + 1)),
        "learnable": layer.weight.abs().flatten(1).mean(1).reshape(-1, *(1,) * (len(size) + 1)),
    }[mode]
    want = convolve(
        s, alpha * sign(layer.weight), layer.bias, layer.stride, padding, layer.dilation, layer.groups
    )
    torch.testing.assert_close(layer(x), want)
    torch.testing.assert_close(layer.eval()(x), want)


def test_the_gradients_are_those_of_the_operands_times_the_slopes():
    layer = BinaryConv2d(
        4, 6, 3, padding=1, pad_value=1, scale="channel", scale_grad=False, estimator=ReSTE(2.0)
    )
    x = torch.randn(2, 4, 5, 5, requires_grad=True)
    s = sign(x.detach()).requires_grad_()
    w = sign(layer.weight.detach()).requires_grad_()
    y = TF.conv2d(TF.pad(s, (1, 1, 1, 1), value=1), layer.scale() * w)
    upstream = torch.randn_like(y)
    y.backward(upstream)
    layer(x).backward(upstream)
    torch.testing.assert_close(x.grad, s.grad * reste_surrogate(x.detach(), 2.0))
    torch.testing.assert_close(layer.weight.grad, w.grad * reste_surrogate(layer.weight.detach(), 2.0))


def test_the_linear_layer_in_every_mode():
    for mode in (*MODES, "learnable"):
        layer = BinaryLinear(5, 3, bias=True, scale=mode)
        x = torch.randn(2, 4, 5)
        alpha = 1.0 if layer.scale() is None else layer.scale()
        want = TF.linear(sign(x), alpha * layer.binary_weight(), layer.bias)
        torch.testing.assert_close(layer(x), want)
        torch.testing.assert_close(layer.eval()(x), want)


def test_sums_of_evaluation_are_whole():
    layer = BinaryConv2d(64, 8, 3, padding=1).float().eval()
    x = torch.randn(2, 64, 6, 6, dtype=torch.float32)
    whole = TF.conv2d(sign(x).double(), layer.binary_weight().double(), padding=1)
    assert torch.equal(layer(x), whole.float() * layer.scale())


def test_the_weight_of_evaluation_is_the_product_that_gets_packed():
    layer = BinaryConv2d(64, 8, 3, input_estimator=None).float().eval()
    x = torch.randn(2, 64, 6, 6, dtype=torch.float32)
    assert torch.equal(layer(x), TF.conv2d(x, layer.binary_weight() * layer.scale()))


def test_real_inputs_stay_real():
    layer = BinaryConv2d(2, 3, 1, input_estimator=None, scale="none")
    x = torch.randn(1, 2, 4, 4)
    torch.testing.assert_close(layer(x), TF.conv2d(x, layer.binary_weight()))


def test_a_learned_scale_begins_at_the_channels_means_and_is_trained():
    layer = BinaryLinear(4, 3, scale="learnable")
    torch.testing.assert_close(layer.alpha, layer.weight.abs().mean(1, keepdim=True))
    x = torch.randn(5, 4)
    layer(x).square().sum().backward()
    sums = sign(x) @ layer.binary_weight().T
    torch.testing.assert_close(layer.alpha.grad, 2 * layer.alpha.detach() * sums.square().sum(0)[:, None])
    generator = torch.Generator().manual_seed(3)
    layer.reset_parameters(generator)
    torch.testing.assert_close(layer.alpha, layer.weight.abs().mean(1, keepdim=True))
    first = layer.weight.clone()
    layer.reset_parameters(generator.manual_seed(3))
    assert torch.equal(first, layer.weight)


@pytest.mark.parametrize(
    ("ours", "theirs"), [(BinaryConv1d, nn.Conv1d), (BinaryConv2d, nn.Conv2d), (BinaryConv3d, nn.Conv3d)]
)
def test_it_starts_as_torchs_own_layer(ours, theirs):
    torch.manual_seed(0)
    one = ours(3, 4, 2, bias=True)
    torch.manual_seed(0)
    other = theirs(3, 4, 2)
    assert torch.equal(one.weight, other.weight)
    assert torch.equal(one.bias, other.bias)


def test_copies_and_states_carry_the_sharpness():
    layer = BinaryConv2d(3, 4, 3, estimator=ReSTE(1.0))
    layer.weight_estimator.advance(0.6)
    layer.input_estimator.advance(0.6)
    other = BinaryConv2d(3, 4, 3)
    other.load_state_dict(layer.state_dict())
    x = torch.randn(1, 3, 5, 5, requires_grad=True)
    (want,) = torch.autograd.grad(layer(x).sum(), x)
    for one in (other, copy.deepcopy(layer)):
        (found,) = torch.autograd.grad(one(x).sum(), x)
        assert torch.equal(found, want)
        assert float(one.weight_estimator.o) == float(layer.weight_estimator.o) > 1
    assert list(layer.state_dict()) == [
        "weight",
        *(f"{which}_estimator.{name}" for which in ("weight", "input") for name in "otm"),
    ]


def test_nan_goes_through():
    x = torch.randn(1, 3, 5, 5)
    x[0, 0, 2, 2] = float("nan")
    y = BinaryConv2d(3, 2, 1)(x)
    assert y[..., 2, 2].isnan().all()
    assert int(y.isnan().sum()) == 2


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: BinaryConv2d(2, 2, 1, estimator="sign"), ValueError, "estimator: want one of"),
        (lambda: BinaryConv2d(2, 2, 1, scale="mean"), ValueError, "scale: want one of 'tensor'"),
        (lambda: BinaryConv2d(2, 2, 1, pad_value=2), ValueError, "pad_value: want 0, 1 or -1, got 2"),
        (
            lambda: BinaryConv2d(2, 2, 1, pad_value=1, input_estimator=None),
            ValueError,
            "pad_value: want 0 for an input of real numbers, got 1",
        ),
        (lambda: BinaryLinear(2, 2)(torch.ones(1, 2).long()), TypeError, "x: want a floating-point tensor"),
    ],
)
def test_wrong_calls_are_answered(call, error, message):
    with pytest.raises(error, match=message):
        call()
