"""Learned shifts, clipped latent weights, and the optimiser without them."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from isocline.binary import BinaryConv2d, BinaryLinear, Bop, RPReLU, RSign, binary_parameters, clip_weights

from .drawn import reals


@given(reals(), st.floats(-2, 2))
def test_a_threshold_moves_the_sign_and_gets_the_opposite_gradient(x, b):
    layer = RSign(1, "reste")
    layer.threshold.data.fill_(b)
    x = x.reshape(-1, 1).requires_grad_()
    y = layer(x)
    assert torch.equal(y.detach(), torch.where(x - b >= 0, 1.0, -1.0))
    y.sum().backward()
    torch.testing.assert_close(layer.threshold.grad, -x.grad.sum().reshape(1))


def test_shifts_are_each_channels_own():
    x = torch.randn(2, 3, 4, 5)
    bent = RPReLU(3)
    for parameter in bent.parameters():
        parameter.data.copy_(torch.randn(3))
    want = [
        nn.functional.leaky_relu(x[:, c] - bent.before[c], bent.slope[c].item()) + bent.after[c]
        for c in range(3)
    ]
    torch.testing.assert_close(bent(x), torch.stack(want, 1))
    plain = nn.PReLU(3)
    plain.weight.data.fill_(0.25)
    torch.testing.assert_close(RPReLU(3)(x), plain(x))


def test_only_latent_weights_are_clipped():
    model = nn.Sequential(BinaryConv2d(2, 3, 3), nn.Flatten(), BinaryLinear(3, 3), nn.Linear(3, 2))
    for parameter in model.parameters():
        parameter.data.fill_(7)
    clip_weights(model, 1.5)
    assert [float(p.detach().max()) for p in model.parameters()] == [1.5, 1.5, 7, 7]
    assert [id(p) for p in binary_parameters(model)] == [id(model[0].weight), id(model[2].weight)]


@given(reals(), reals(), st.floats(1e-3, 1), st.floats(0, 0.5))
def test_a_bit_flips_exactly_when_its_mean_gradient_is_strong_and_has_its_sign(w, g, rate, threshold):
    n = min(len(w), len(g))
    weight, g = nn.Parameter(w[:n].clone()), g[:n]
    optimizer, bits, mean = Bop([weight], rate, threshold), torch.where(w[:n] >= 0, 1.0, -1.0), torch.zeros(n)
    for _ in range(3):
        weight.grad = g
        optimizer.step()
        mean = mean + rate * (g - mean)
        flips = (mean.abs() > threshold) & (torch.sign(mean) == bits)
        bits = torch.where(flips, -bits, bits)
        assert torch.equal(weight.detach(), bits)


def test_bop_learns_and_resumes():
    torch.manual_seed(0)
    x = torch.randn(256, 16)
    teacher = torch.where(torch.randn(1, 16) >= 0, 1.0, -1.0)
    y = x @ teacher.T
    layer = BinaryLinear(16, 1, estimator="ste", input_estimator=None, scale="none")
    optimizer = Bop(layer.parameters(), rate=0.5, threshold=0.01)
    for step in range(60):
        if step == 30:
            state = copy.deepcopy(optimizer.state_dict())
            optimizer = Bop(layer.parameters())
            optimizer.load_state_dict(state)
        optimizer.zero_grad()
        (layer(x) - y).square().mean().backward()
        optimizer.step()
        if torch.equal(layer.weight, teacher):
            break
    assert torch.equal(layer.weight, teacher)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: RSign(0), "channels: want a whole number >= 1, got 0"),
        (lambda: RPReLU(2, float("nan")), "slope: want a finite number, got nan"),
        (lambda: clip_weights(nn.Linear(2, 2), 0), "limit: want a finite number > 0, got 0"),
        (lambda: Bop([nn.Parameter(torch.ones(1))], 0), "rate: want a number > 0 and <= 1, got 0"),
        (
            lambda: Bop([nn.Parameter(torch.ones(1))], threshold=-1),
            "threshold: want a finite number >= 0, got -1",
        ),
    ],
)
def test_wrong_calls_are_answered(call, message):
    with pytest.raises(ValueError, match=message):
        call()
