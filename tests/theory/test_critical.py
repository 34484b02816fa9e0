"""Criticality: golden points, the classes of every named activation, and honest answers where there is none."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from isocline.theory import Activation, criticality
from isocline.theory.averages import single_averages
from isocline.theory.functional import single_input
from isocline.theory.named import NAMED

# GELU's K* in closed form; the others by quadrature, given here to the digits published
HALF_STABLE = {
    "gelu": ((3 + math.sqrt(17)) / 2, 0.17292239, 1.98305826),
    "swish": (14.32017362, 0.55514317, 1.98800468),
    "gelu_tanh": (3.556773, 0.172895, 1.982888),
    "quick_gelu": (4.943439, 0.191640, 1.988005),
    "mish": (1.670169, 0.094522, 2.013524),
}


def test_golden_critical_points(golden):
    data = np.load(golden / "effective_theory" / "critical_points.npz")
    for name, row in zip(data["activation"], data["table"], strict=True):
        found = criticality(f"leaky_relu({name[5:]})" if name.startswith("leaky") else str(name))
        names = ("kernel", "bias_variance", "weight_variance", "a1", "b1", "p_perp", "slope", "a2")
        np.testing.assert_allclose(
            [getattr(found, key) for key in names], row, rtol=1e-9, atol=1e-14, err_msg=name
        )


@pytest.mark.parametrize(("name", "point"), HALF_STABLE.items())
def test_half_stable_points(name, point):
    found = criticality(name)
    assert found.universality_class == "half-stable"
    assert (found.kernel, found.bias_variance, found.weight_variance) == pytest.approx(point, rel=5e-6)
    at = single_averages(Activation(name), np.array([found.kernel]))
    assert found.weight_variance * at.g1[0] == pytest.approx(1, abs=1e-12)
    assert found.weight_variance * at.pp[0] == pytest.approx(1, abs=1e-12)
    assert found.bias_variance + found.weight_variance * at.ss[0] == pytest.approx(found.kernel, rel=1e-13)


def test_hard_swish_against_an_integral_done_by_hand():
    """``<s s''> = 0`` with ``s'' = 1/3`` inside and a delta of -1/2 at 3: 4.8038559, by adaptive quadrature of SciPy."""
    from scipy.integrate import quad
    from scipy.optimize import brentq

    def bend(K):
        density = lambda z: math.exp(-z * z / (2 * K)) / math.sqrt(2 * math.pi * K)  # noqa: E731
        return quad(lambda z: z * (z + 3) / 18 * density(z), -3, 3, epsabs=1e-14)[0] - 1.5 * density(3.0)

    assert criticality("hard_swish").kernel == pytest.approx(brentq(bend, 2, 10, xtol=1e-13), rel=1e-9)


def test_golden_stable_fixed_points(golden):
    data = np.load(golden / "effective_theory" / "rstar.npz")
    for name in ("gelu", "swish"):
        (point,) = criticality(name).nearby
        assert point.kernel == pytest.approx(float(data[f"{name}_stable_fixed_point"]), rel=1e-8)
        assert point.chi_par < 1
    assert criticality("gelu").nearby[0].chi_par == pytest.approx(0.99991, abs=5e-6)
    assert criticality("swish").nearby[0].chi_perp == pytest.approx(1.00046, abs=5e-6)


@settings(max_examples=10)
@given(beta=st.floats(0.3, 4.0))
def test_swish_of_any_steepness_is_the_same_up_to_scale(beta):
    one, other = criticality("swish"), criticality(f"swish({beta!r})")
    assert other.kernel == pytest.approx(one.kernel / beta**2, rel=1e-8)
    assert other.bias_variance == pytest.approx(one.bias_variance / beta**2, rel=1e-7)
    assert other.weight_variance == pytest.approx(one.weight_variance, rel=1e-9)


CLASSES = {
    "scale-invariant": {"linear", "relu", "leaky_relu"},
    "K*=0": {"tanh", "sin", "erf", "arctan", "softsign", "hard_tanh", "elu", "celu", "selu", "relu6"},
    "half-stable": {"gelu", "gelu_tanh", "swish", "silu", "quick_gelu", "mish", "hard_swish"},
    "none": {"sigmoid", "hard_sigmoid", "softplus", "cos"},
}


def test_the_class_of_every_named_activation():
    assert {name: criticality(name).universality_class for name in NAMED} == {
        name: kind for kind, names in CLASSES.items() for name in names
    }


@pytest.mark.parametrize("name", sorted(CLASSES["K*=0"]))
def test_what_is_said_to_decay_decays(name):
    found = criticality(name)
    run = single_input(name, 200, 4.0, found.bias_variance, found.weight_variance)
    assert (np.diff(run.K) < 0).all()
    if found.p_perp == 1:
        assert -found.a1 * 200 * run.K[-1] == pytest.approx(1, abs=0.06)
    if not found.note:  # made of curves: V / K^2 has its slope after some layers
        far = single_input(name, 3000, 1.0, 0.0, found.weight_variance)
        assert (far.V / far.K**2)[-1] / 3000 == pytest.approx(found.slope, rel=0.02)


@pytest.mark.parametrize("name", ["sigmoid", "softplus", "cos", "hard_sigmoid"])
def test_no_criticality_is_said_and_the_setting_is_a_fixed_point(name):
    found = criticality(name)
    assert not found.exists
    assert "no criticality exists; the nearest useful setting has chi_par" in found.note
    at = single_averages(Activation(name), np.array([found.kernel]))
    assert found.bias_variance + found.weight_variance * at.ss[0] == pytest.approx(found.kernel, rel=1e-12)
    assert found.bias_variance >= 0
    assert found.chi_perp == pytest.approx(found.weight_variance * at.pp[0], rel=1e-12)
    assert math.isnan(found.slope)


def test_a_shift_that_helps_is_named():
    assert "sigmoid - 0.5 is critical (K*=0, C_W = 16)" in criticality("sigmoid").note
    assert criticality(lambda z: torch.sigmoid(z) - 0.5).weight_variance == pytest.approx(16)
    assert "normalisation layers" in criticality("softplus").note
    assert not criticality(lambda z: F.softplus(z) - math.log(2)).exists


@pytest.mark.parametrize(
    "function",
    [lambda z: torch.relu(z) ** 2, lambda z: z + 0.1 * z**3, torch.sinh, lambda z: z - torch.tanh(z)],
)
def test_functions_that_explode_have_none(function):
    found = criticality(function)
    assert not found.exists
    assert found.chi_par > 1
    assert found.stability.startswith("repels")


def test_a_dead_zone_is_critical_everywhere():
    found = criticality(F.softshrink)
    assert (found.universality_class, found.kernel) == ("half-stable", 1.0)
    assert "every K is critical" in found.note


def test_straight_lines_near_zero_are_said():
    assert "scale-invariant, and K stays, while it is below" in criticality("hard_tanh").note
    assert criticality("relu6").slope == 5  # as relu, at any K it meets


def test_results_print_plot_and_become_json():
    for name in ("tanh", "gelu", "relu", "sigmoid"):
        found = criticality(name)
        assert found.universality_class in repr(found)
        assert found.stability in str(found)
        assert found.to_dict()["exists"] == found.exists
        ax = found.plot()
        assert ax.get_xscale() == "log"
        assert found.plot(ax) is ax
    assert criticality("relu").to_dict()["kernel"] == "nan"
