"""An activation is what it says: exact derivatives, kinks found, and every wrong one refused with words that help."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from isocline.theory import Activation
from isocline.theory.activation import as_activation
from isocline.theory.named import NAMED, name_of_module, parse

WITH_FORMULAS = sorted(name for name, known in NAMED.items() if known.derivatives is not None)


@pytest.mark.parametrize("name", WITH_FORMULAS)
def test_derivative_formulas_are_those_of_autograd(name):
    exact = Activation(name)
    again = Activation(exact.function, kinks=exact.kinks)
    z = np.linspace(-6, 6, 98) + 0.0137  # not at a kink
    for order, (formula, autograd) in enumerate(zip(exact.derivatives(z), again.derivatives(z), strict=True)):
        np.testing.assert_allclose(formula, autograd, rtol=1e-11, atol=1e-12, err_msg=f"derivative {order}")


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_only_the_derivatives_asked_for_are_computed(order):
    for activation in (Activation("swish"), Activation(torch.tanh)):
        assert len(activation.derivatives(np.linspace(-1, 1, 5), order)) == order + 1


@settings(max_examples=12)
@given(slope=st.floats(-2, 2))
def test_homogeneous_functions_are_recognised_whoever_wrote_them(slope):
    by_name = Activation(f"leaky_relu({slope!r})")
    by_hand = Activation(lambda z: torch.where(z > 0, z, slope * z))
    assert by_name.slopes == pytest.approx((slope, 1.0), abs=1e-13)
    assert by_hand.slopes == pytest.approx((slope, 1.0), abs=1e-13)


@pytest.mark.parametrize(
    ("function", "kinks"),
    [
        (lambda z: torch.clamp(z, -1, 1), (-1.0, 1.0)),
        (nn.Hardtanh(-1.3, 2.1), (-1.3, 2.1)),
        (nn.Softshrink(), (-0.5, 0.5)),
        (lambda z: torch.where(z > 0.7, torch.sin(z), z - 0.7 + math.sin(0.7)), (0.7,)),
        (lambda z: F.elu(z - 0.3), (0.3,)),  # only s'' jumps
        (torch.tanh, ()),
        (lambda z: torch.tanh(50 * (z - 0.3)), ()),
    ],
)
def test_kinks_are_found(function, kinks):
    assert Activation(function).kinks == pytest.approx(kinks, abs=1e-9)


def test_smooth_and_kinked_are_told_apart():
    smooth = {name: Activation(name).smooth for name in ("tanh", "gelu", "mish", "elu", "relu", "hard_tanh")}
    assert smooth == {
        "tanh": True,
        "gelu": True,
        "mish": True,
        "elu": False,
        "relu": False,
        "hard_tanh": False,
    }
    assert not Activation("elu").kinked  # its slope is continuous
    assert Activation("relu").kinked
    assert not Activation("cos").kinked


def test_modules_have_the_names_of_their_functions():
    for module in (
        nn.ReLU(),
        nn.LeakyReLU(0.3),
        nn.GELU(),
        nn.GELU("tanh"),
        nn.SiLU(),
        nn.ELU(0.7),
        nn.Hardswish(),
    ):
        z = torch.linspace(-4, 4, 33, dtype=torch.float64)
        torch.testing.assert_close(Activation(name_of_module(module) or "")(z), module(z))
    assert Activation(nn.LeakyReLU(0.3)).name == "leaky_relu(0.3)"
    assert name_of_module(nn.PReLU()) is None
    assert Activation(nn.PReLU()).slopes == (0.25, 1.0)


def test_names_are_made_once_and_functions_pass_through():
    assert as_activation("tanh") is as_activation("tanh")
    mine = Activation(torch.tanh)
    assert as_activation(mine) is mine


def test_repr_says_name_and_kinks():
    assert repr(Activation("hard_tanh")) == "Activation('hard_tanh', kinks=(-1.0, 1.0))"
    assert repr(Activation(torch.tanh, name="mine")) == "Activation('mine')"
    assert parse("leaky_relu( 0.1 )")[0] == "leaky_relu(0.1)"


BAD = [
    ("reluu", "activation: want one of 'linear', 'relu', .*did you mean 'relu'"),
    ("tanh(2)", "activation: want 'tanh' without a number"),
    ("leaky_relu(x)", "activation: want a number in the brackets of leaky_relu"),
    ("leaky_relu(nan)", "want a finite number, got nan"),
    ("tanh + 1", "activation: want a name such as 'tanh' or 'leaky_relu\\(0.1\\)'"),
    (math.tanh, "activation: want a function of a tensor, got ValueError: .*build it of torch operations"),
    (np.tanh, r"activation: want (a function of a tensor|two derivatives).*build it of torch operations"),
    (lambda z: torch.softmax(z, 0), "activation: want a function of each value alone"),
    (lambda z: F.dropout(z, 0.5, True), "activation: want a function of each value alone"),
    (lambda z: z.sum(), "activation: want one float64 value for each of 81 values"),
    (lambda z: z.float(), "activation: want one float64 value for each of 81 values"),
    (lambda z: 1 / z, "activation: want finite values, got inf at z = 0"),
    (lambda z: torch.log(z), "activation: want finite values, got nan at z = -3.988"),
    (lambda z: z * 0 + 1, "activation: want a slope somewhere"),
    (torch.sign, "activation: want a slope somewhere"),
    (lambda z: torch.where(z > 1, z + 0.5, z), "activation: want a continuous function, got a jump at z = 1"),
]


@pytest.mark.parametrize(("function", "message"), BAD, ids=[message[:40] for _, message in BAD])
def test_what_is_no_activation_is_refused(function, message):
    with pytest.raises(ValueError, match=message):
        Activation(function)


def test_types_that_are_no_function_are_refused():
    with pytest.raises(TypeError, match="activation: want a name or a function of a tensor, got 3"):
        Activation(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("function", [lambda z: torch.exp(z * z), lambda z: torch.exp(z * z / 3)])
def test_growth_that_no_gaussian_bounds_is_refused(function):
    activation = Activation(function)
    with pytest.raises(ValueError, match="activation: want growth that a Gaussian bounds"):
        activation.line(np.array([1.0]))


def test_a_kink_that_was_missed_is_an_error_and_not_a_silent_one_in_a_thousand():
    forgotten = Activation(lambda z: torch.clamp(z, -1, 1), kinks=[])
    with pytest.raises(ValueError, match=r"smooth between its kinks.*pass kinks=\[...\]; .* near z = -?1"):
        forgotten.line(np.array([1.0]))


def test_a_steep_function_gets_finer_panels():
    steep = Activation(lambda z: torch.tanh(50 * (z - 0.3)))
    assert steep.refinement(1.0) > Activation("tanh").refinement(1.0) == 0
