"""Residual connections: golden vertices, the limit without a skip, Monte Carlo, and what the quartic vertex misses."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isocline._core.seeds import torch_generator
from isocline.theory import Activation
from isocline.theory.averages import single_averages
from isocline.theory.depth import vertex_slope
from isocline.theory.functional import single_input
from isocline.theory.residual import ORDERS, residual_fluctuations, square_coefficients


@pytest.mark.parametrize("name", ["relu_g0.9", "tanh_g0.5"])
def test_golden_residual_networks(golden, name):
    data = np.load(golden / "effective_theory" / f"residual_{name}.npz")
    C_W, skip = float(data["CW"]), float(data["gamma"])
    runs = {
        kind: single_input(str(data["act"]), 50, 1.0, 0.0, C_W, skip=skip, residual_vertex=kind)
        for kind in ("full", "quartic")
    }
    for key in ("K", "Theta", "chi_par", "chi_perp"):
        np.testing.assert_allclose(getattr(runs["full"], key), data[key], rtol=1e-9)
    np.testing.assert_allclose(runs["quartic"].V, data["V_quartic_only"], rtol=1e-9)
    # the stored values keep 28 orders, we more
    np.testing.assert_allclose(runs["full"].V, data["V_full"], rtol=2e-7)
    activation = Activation(str(data["act"]))
    same = residual_fluctuations(activation, single_averages(activation, data["K"]), C_W, skip, orders=28)
    np.testing.assert_allclose(same["V"], data["V_full"], rtol=1e-9)


def test_golden_slopes_of_relu_networks(golden):
    data = np.load(golden / "effective_theory" / "residual_nu_relu.npz")
    relu = Activation("relu")
    for skip, full, quartic in zip(data["gamma"], data["nu_full"], data["nu_quartic_only"], strict=True):
        assert vertex_slope(relu, skip, full=False) == pytest.approx(quartic, rel=1e-12)
        if skip < 0.99:  # the stored values keep 24 orders
            assert vertex_slope(relu, skip, full=True, orders=24) == pytest.approx(full, rel=1e-10)
            assert vertex_slope(relu, skip, full=True) == pytest.approx(full, rel=1e-6)
    V = residual_fluctuations(relu, single_averages(relu, np.ones(1200)), 2 * (1 - 0.99**2), 0.99, orders=24)[
        "V"
    ]
    slope_there = (V[1199] - V[999]) / 200  # how that value was found
    assert slope_there == pytest.approx(data["nu_full"][-1], rel=1e-10)


def test_the_quartic_vertex_underestimates_relu_networks_up_to_three_and_a_half_times():
    relu = Activation("relu")
    missed = [
        vertex_slope(relu, skip, full=True) / vertex_slope(relu, skip, full=False)
        for skip in (0.1, 0.5, 0.9, 0.99)
    ]
    assert missed == sorted(missed)
    assert missed[-1] == pytest.approx(3.64, abs=0.01)
    weak = vertex_slope(relu, 0.3, full=True)
    assert weak > vertex_slope(relu, 0.0, full=True) == 5  # a weak skip even raises the fluctuations


@given(name=st.sampled_from(["tanh", "gelu", "relu", "elu"]), K1=st.floats(0.3, 4.0))
def test_without_a_skip_only_the_second_order_is_left(name, K1):
    activation = Activation(name)
    plain = single_input(name, 10, K1, 0.1, 1.3)
    full = residual_fluctuations(activation, single_averages(activation, plain.K), 1.3, 0.0)
    np.testing.assert_allclose(full["V"], plain.V, rtol=1e-9)
    np.testing.assert_allclose(full["G1"], plain.G1, rtol=1e-7, atol=1e-10)


@given(K=st.floats(0.05, 5.0), name=st.sampled_from(["tanh", "gelu", "relu"]))
def test_hermite_coefficients_of_the_square(K, name):
    """``t_0 = <s^2>``, ``t_2 = sqrt 2 K g'``, ``sum t_p^2 = <s^4>`` (Parseval)."""
    activation = Activation(name)
    t = square_coefficients(activation, np.array([K]))[0]
    one = single_averages(activation, np.array([K]))
    assert len(t) == ORDERS + 1
    assert t[0] == pytest.approx(one.ss[0], rel=1e-12)
    assert t[2] == pytest.approx(np.sqrt(2) * K * one.g1[0], rel=1e-10)
    assert (t**2).sum() == pytest.approx(one.s4[0], rel=1e-3)


@pytest.mark.parametrize("name", ["relu_0.5", "relu_0.9", "tanh_0.9"])
def test_stored_monte_carlo_decides_for_the_full_vertex(golden, name):
    full, quartic, measured, error = np.load(golden / "effective_theory" / "residual_mc_check.npz")[name]
    activation, skip = name.split("_")[0], float(name.split("_")[1])
    C_W = (1 - float(skip) ** 2) * (2 if activation == "relu" else 1)
    run = single_input(activation, 5, 1.0, 0.0, C_W, skip=skip)
    np.testing.assert_allclose(run.V + 2 * run.K**2, full, rtol=3e-6)  # which keeps fewer orders
    assert (np.abs(measured - full) < 3 * error).all()
    if activation == "relu":
        assert (np.abs(measured - quartic)[2:] > 5 * error[2:]).all()


def _mean_metric(function, n, nets, C_W, skip, depth, seed):
    """``E[z^2]`` of layers 2 to depth and its standard error, given the layer before each."""
    generator = torch_generator(seed)
    z, means, errors = torch.randn(nets, n, generator=generator), [], []
    for _ in range(depth - 1):
        G = C_W * (function(z) ** 2).mean(1)
        metric = G + skip**2 * (z**2).mean(1)
        means.append(float(metric.mean()))
        errors.append(float(metric.std()) / nets**0.5)
        z = skip * z + torch.randn(nets, n, generator=generator) * G[:, None] ** 0.5
    return np.array(means), np.array(errors)


def test_the_mean_metric_of_a_residual_relu_network_drifts_as_the_full_vertex_says():
    """G1, which the quartic vertex says is zero. 15 numbers at 3 standard errors: a fresh seed fails 1 in 25 times."""
    C_W, depth = 2 * (1 - 0.25), 6
    run = single_input("relu", depth, 1.0, 0.0, C_W, skip=0.5)
    assert not single_input("relu", depth, 1.0, 0.0, C_W, skip=0.5, residual_vertex="quartic").G1.any()
    (a, ea), (b, eb) = (_mean_metric(torch.relu, n, 20_000, C_W, 0.5, depth, n) for n in (16, 32))
    measured, error = 64 * (b - 1) - 16 * (a - 1), np.hypot(64 * eb, 16 * ea)
    assert (np.abs(measured - run.G1[1:]) < 3 * error).all()
    assert run.G1[-1] > 3 * error[-1]  # it could have told zero from this
