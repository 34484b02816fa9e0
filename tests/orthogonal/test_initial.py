"""Exact orthogonal initialisation: every singular value is 1, in every feasible layer."""

import pytest
import torch
from hypothesis import given
from torch import nn

from isocline.orthogonal import exists, lorth, orthogonal_, parametrize_orthogonal, singular_values
from isocline.orthogonal.initial import semi_orthogonal

from .layers import inputs_of, layer, shapes


@given(shapes())
def test_every_singular_value_is_one(shape):
    conv = layer(shape)
    if not exists(conv):
        with pytest.raises(ValueError, match=r"conv: want a layer that can be orthogonal, got .*; take "):
            orthogonal_(conv)
        return
    assert orthogonal_(conv, generator=torch.Generator().manual_seed(0)) is conv
    spans = [D * (k - 1) + 1 for k, D in zip(shape.k, shape.D, strict=True)]
    N = tuple(-(-span // S) for span, S in zip(spans, shape.S, strict=True))
    values = singular_values(conv, inputs_of(shape, N))
    torch.testing.assert_close(values, torch.ones_like(values), atol=1e-13, rtol=0)


def test_norms_are_kept_in_the_direction_that_is_promised():
    for M, C, direction in ((8, 3, "forward"), (3, 8, "backward")):
        conv = orthogonal_(nn.Conv2d(C, M, 3, padding=1, padding_mode="circular", bias=False))
        assert exists(conv).isometry == direction
        x = torch.randn(4, C, 7, 7, requires_grad=True)
        y = conv(x)
        g = torch.randn_like(y)
        (back,) = torch.autograd.grad(y, x, g)
        if direction == "forward":
            torch.testing.assert_close(y.norm(), x.norm())
        else:
            torch.testing.assert_close(back.norm(), g.norm())


def test_the_generator_decides_and_the_bias_is_left_alone():
    conv = nn.Conv2d(4, 6, 3)
    bias = conv.bias.detach().clone()
    drawn = [
        orthogonal_(conv, generator=torch.Generator().manual_seed(seed)).weight.detach().clone()
        for seed in (1, 1, 2)
    ]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert torch.equal(conv.bias.detach(), bias)
    torch.manual_seed(5)
    first = orthogonal_(conv).weight.detach().clone()
    torch.manual_seed(5)
    assert torch.equal(first, orthogonal_(conv).weight)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_in_every_precision_the_error_is_one_of_rounding(dtype):
    conv = orthogonal_(nn.Conv2d(8, 8, 3, dtype=dtype), generator=torch.Generator().manual_seed(0))
    assert conv.weight.dtype == dtype
    assert float(lorth(conv.weight.detach())) < 64 * torch.finfo(dtype).eps ** 2


def test_matrices_are_uniform():
    """A Haar matrix has entries of mean 0 and variance 1 / n, whichever side is shorter: 400 draws, 5 standard errors."""
    generator = torch.Generator().manual_seed(0)
    for rows, columns in ((3, 5), (5, 3)):
        drawn = torch.stack([semi_orthogonal(rows, columns, generator) for _ in range(400)])
        assert float(drawn.mean((1, 2)).mean().abs()) < 5 * (1 / 5 / 400 / 15) ** 0.5 * 1.5
        assert float(drawn.square().mean()) == pytest.approx(1 / 5, rel=1e-9)
        assert float(drawn[:, 0, 0].mean().abs()) < 5 * (1 / 5 / 400) ** 0.5


def test_a_parametrized_layer_refuses():
    conv = parametrize_orthogonal(nn.Conv2d(4, 4, 3))
    with pytest.raises(ValueError, match="weight: want no assignment"):
        orthogonal_(conv)


def test_wrong_calls_are_answered():
    with pytest.raises(TypeError, match=r"conv: want a torch convolution, such as nn\.Conv2d, got Linear"):
        orthogonal_(nn.Linear(3, 3))
