"""Orthogonal at every step of a training, and a plain convolution at its end."""

import copy
from math import prod

import pytest
import torch
from hypothesis import given, settings
from torch import nn
from torch.nn.utils import parametrize

from isocline.orthogonal import exists, lorth, parametrize_orthogonal, plain_convolution, singular_values
from isocline.orthogonal.existence import usable_phases

from .layers import CONVS, layer, shapes


def _defect(conv):
    return float(lorth(conv.weight.detach(), conv.stride, conv.dilation, conv.groups))


@settings(max_examples=60)
@given(shapes())
def test_it_stays_orthogonal_when_its_parameters_move(shape):
    conv = layer(shape)
    if not exists(conv):
        with pytest.raises(ValueError, match="want a layer that can be orthogonal"):
            parametrize_orthogonal(conv)
        return
    generator = torch.Generator().manual_seed(0)
    assert parametrize_orthogonal(conv, generator=generator) is conv
    assert conv.weight.shape == torch.Size(shape.weight_shape)
    assert _defect(conv) < 1e-26
    before = conv.weight.detach().clone()
    with torch.no_grad():
        for parameter in conv.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
    assert _defect(conv) < 1e-24
    if max(shape.M, shape.C * prod(usable_phases(shape))) > 1:  # else it can only change its sign
        assert not torch.allclose(conv.weight, before)


@pytest.mark.parametrize("k", [2, 3, 5])
@pytest.mark.parametrize(("M", "C"), [(4, 4), (6, 4), (4, 6)])
def test_every_tap_is_used(M, C, k):
    conv = parametrize_orthogonal(nn.Conv2d(C, M, k, bias=False), generator=torch.Generator().manual_seed(0))
    assert float(conv.weight.detach().abs().amax((0, 1)).min()) > 1e-3


def test_a_layer_learns_another_orthogonal_layer_without_leaving_them():
    """Regression of a random one's output: the loss falls to less than a half, and the defect is rounding after each step."""
    target = parametrize_orthogonal(
        nn.Conv2d(6, 6, 3, bias=False), generator=torch.Generator().manual_seed(1)
    )
    conv = parametrize_orthogonal(nn.Conv2d(6, 6, 3, bias=False), generator=torch.Generator().manual_seed(2))
    optimizer = torch.optim.Adam(conv.parameters(), lr=0.03)
    wanted, losses = target.weight.detach(), []
    for _ in range(150):
        loss = (conv.weight - wanted).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
        assert _defect(conv) < 1e-24
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_export_gives_a_plain_module_with_the_same_answers(d, transposed):
    extra = {"output_padding": 1} if transposed else {"padding_mode": "circular"}
    conv = CONVS[transposed][d - 1](4, 4, 3, stride=2, padding=1, groups=2, **extra).eval()
    parametrize_orthogonal(conv)
    plain = plain_convolution(conv)
    assert type(plain) is CONVS[transposed][d - 1]
    assert not parametrize.is_parametrized(plain)
    assert not plain.training
    x = torch.randn(2, 4, *[6] * d)
    torch.testing.assert_close(plain(x), conv(x))
    assert set(plain.state_dict()) == {"weight", "bias"}
    with torch.no_grad():
        plain.weight.zero_()
    assert float(conv.weight.detach().abs().sum()) > 0
    parametrize.remove_parametrizations(conv, "weight")
    assert type(conv) is CONVS[transposed][d - 1]
    assert _defect(conv) < 1e-26


def test_state_is_saved_and_loaded_and_copied():
    one = parametrize_orthogonal(nn.Conv2d(4, 6, 3), generator=torch.Generator().manual_seed(1))
    other = parametrize_orthogonal(nn.Conv2d(4, 6, 3), generator=torch.Generator().manual_seed(2))
    assert set(one.state_dict()) == {
        "bias",
        "parametrizations.weight.original0",
        "parametrizations.weight.original1",
    }
    other.load_state_dict(one.state_dict())
    assert torch.equal(one.weight, other.weight)
    assert torch.equal(copy.deepcopy(one).weight, one.weight)


def test_gradients_reach_both_parameters_and_are_right():
    conv = parametrize_orthogonal(nn.Conv1d(3, 5, 3, stride=2), generator=torch.Generator().manual_seed(0))
    make = conv.parametrizations.weight[0]
    originals = [
        p.detach().clone().requires_grad_()
        for p in (conv.parametrizations.weight.original0, conv.parametrizations.weight.original1)
    ]
    assert torch.autograd.gradcheck(make, originals)


def test_single_and_half_precision():
    conv = parametrize_orthogonal(nn.Conv2d(8, 8, 3, dtype=torch.float32))
    values = singular_values(conv, 8)
    assert values.dtype == torch.float32
    torch.testing.assert_close(values, torch.ones_like(values), atol=1e-5, rtol=0)
    half = parametrize_orthogonal(nn.Conv2d(8, 8, 3)).to(torch.bfloat16)
    assert half.weight.dtype == torch.bfloat16


@pytest.mark.slow
def test_it_compiles_and_says_what_it_is():
    conv = parametrize_orthogonal(nn.Conv2d(4, 4, 3, padding=1))
    x = torch.randn(1, 4, 5, 5)
    torch.testing.assert_close(torch.compile(conv, backend="aot_eager", fullgraph=True)(x), conv(x))
    assert "4 factors on 4 channels" in repr(conv)


def test_wrong_calls_are_answered():
    conv = parametrize_orthogonal(nn.Conv2d(4, 4, 3))
    with pytest.raises(
        ValueError, match="conv: want a weight without parametrization, got one that has some"
    ):
        parametrize_orthogonal(conv)
    with pytest.raises(ValueError, match="weight: want no assignment, got a tensor; train it"):
        conv.weight = torch.zeros(4, 4, 3, 3)
    with pytest.raises(TypeError, match="conv: want a torch convolution"):
        plain_convolution(nn.Linear(2, 2))
