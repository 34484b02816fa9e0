"""Kernel and NTK of many inputs: golden files, laws, and the messages for inputs that are none."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isocline.theory.functional import first_kernel, many_input, single_input

ACTIVATIONS = ["relu", "gelu", "erf", "sin", "tanh", "swish"]


@pytest.mark.parametrize("name", ["relu", "erf", "tanh"])
def test_golden_many_inputs(golden, name):
    data = np.load(golden / "effective_theory" / f"many_{name}.npz")
    C_b, C_W = float(data["Cb"]), float(data["CW"])
    found = many_input(name, 50, first_kernel(data["x"], C_b, C_W), C_b, C_W, layers=data["layers"])
    assert found.layers == tuple(data["layers"])
    np.testing.assert_allclose(found.K, data["K"], rtol=1e-9)
    np.testing.assert_allclose(found.Theta, data["Theta"], rtol=1e-9)


@pytest.mark.parametrize("name", ["tanh", "gelu"])
def test_golden_two_inputs(golden, name):
    data = np.load(golden / "effective_theory" / f"two_{name}.npz")
    found = many_input(name, len(data["K"]), data["K"][0], float(data["Cb"]), float(data["CW"]))
    np.testing.assert_allclose(found.K, data["K"], rtol=1e-9)
    np.testing.assert_allclose(found.Theta, data["Theta"], rtol=1e-9)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("skip", [0.0, 0.6])
def test_the_diagonal_is_that_of_one_input(name, skip):
    K1 = np.array([[1.0, 0.3], [0.3, 2.0]])
    rates = np.linspace(0.5, 1.5, 12), np.linspace(2.0, 1.0, 12)
    found = many_input(name, 12, K1, 0.1, 1.2, *rates, skip=skip)
    for i in (0, 1):
        one = single_input(name, 12, K1[i, i], 0.1, 1.2, *rates, skip=skip)
        np.testing.assert_allclose(found.K[:, i, i], one.K, rtol=1e-12)
        np.testing.assert_allclose(found.Theta[:, i, i], one.Theta, rtol=1e-12)


@given(seed=st.integers(0, 999), name=st.sampled_from(ACTIVATIONS))
def test_kernels_are_covariances_whatever_the_order_of_inputs(seed, name):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(5, 4)) + 0.1
    order = generator.permutation(5)
    straight = many_input(name, 4, first_kernel(x, 0.1, 1.5), 0.1, 1.5)
    turned = many_input(name, 4, first_kernel(x[order], 0.1, 1.5), 0.1, 1.5)
    for mine, other in ((straight.K, turned.K), (straight.Theta, turned.Theta)):
        np.testing.assert_allclose(mine[:, order][:, :, order], other, rtol=1e-9, atol=1e-12)
        assert np.linalg.eigvalsh(mine).min() > -1e-9


@given(factor=st.floats(0.01, 100.0))
def test_relu_kernels_scale_with_the_inputs(factor):
    x = np.random.default_rng(1).normal(size=(4, 3))
    once = many_input("relu", 6, first_kernel(x, 0.0, 2.0), 0.0, 2.0, 0.0, 1.0)
    scaled = many_input("relu", 6, first_kernel(factor * x, 0.0, 2.0), 0.0, 2.0, 0.0, 1.0)
    np.testing.assert_allclose(scaled.K, factor**2 * once.K, rtol=1e-10)
    np.testing.assert_allclose(scaled.Theta, factor**2 * once.Theta, rtol=1e-10)


def test_one_input_and_kept_layers():
    found = many_input("tanh", 9, [[0.5]], 0.0, 1.0, layers=[9, 1, 4])
    assert found.K.shape == (3, 1, 1)
    np.testing.assert_allclose(found.K[:, 0, 0], single_input("tanh", 9, 0.5, 0.0, 1.0).K[[8, 0, 3]])
    assert found.to_dict()["layers"] == [9, 1, 4]
    assert repr(found) == "ManyInput(1 inputs at layers [9, 1, 4])"


GOOD = np.array([[1.0, 0.2], [0.2, 1.0]])
BAD = [
    ({"K1": np.zeros((2, 2))}, ValueError, "K1: want a diagonal > 0, got 0.0; leave out inputs of norm zero"),
    ({"K1": np.ones((2, 3))}, ValueError, r"K1: want shape \(N, N\), got \(2, 3\)"),
    ({"K1": GOOD * np.nan}, ValueError, "K1: want finite values"),
    ({"K1": [[1.0, 2.0], [2.0, 1.0]]}, ValueError, "K1: want a covariance.*use first_kernel"),
    ({"K1": [[1.0, 0.1], [0.2, 1.0]]}, ValueError, "K1: want a symmetric matrix"),
    ({"depth": 0}, ValueError, "depth: want a whole number >= 1, got 0"),
    ({"depth": 2.5}, TypeError, "depth: want a whole number >= 1, got 2.5"),
    ({"C_b": -0.1}, ValueError, "C_b: want a finite number >= 0, got -0.1"),
    ({"C_W": 0.0}, ValueError, "C_W: want a finite number > 0, got 0.0"),
    ({"skip": 1.5}, ValueError, "skip: want a number >= 0 and <= 1, got 1.5"),
    ({"lambda_b": -1.0}, ValueError, "lambda_b: want finite numbers >= 0, got -1.0"),
    ({"lambda_w": [1.0, 2.0]}, ValueError, "lambda_w: want one number, or 3 of them, one a layer"),
    ({"layers": [4]}, ValueError, "layers: want a whole number >= 1 and <= 3, got 4"),
    ({"layers": []}, ValueError, "layers: want at least one layer, got none"),
    ({"activation": "relux"}, ValueError, "activation: want one of"),
    (
        {"C_W": 1e200},
        ValueError,
        "C_W: want a value that keeps the kernel within float64, got K = .* at layer 3",
    ),
]


@pytest.mark.parametrize(("change", "error", "message"), BAD, ids=[message[:30] for *_, message in BAD])
def test_wrong_settings_are_refused(change, error, message):
    settings = {"activation": "relu", "depth": 3, "K1": GOOD, "C_b": 0.0, "C_W": 2.0} | change
    with pytest.raises(error, match=message):
        many_input(**settings)


BAD_INPUTS = [
    (np.ones(3), r"x: want shape \(N, n_0\), got \(3,\); flatten each input"),
    (np.array([[1.0, np.nan]]), "x: want finite values, got 1 NaN of 2, the first at"),
    (
        np.array([[1.0, 2.0], [0.0, 0.0]]),
        "x: want inputs that are not zero, got a row of zeros at 1; leave it out",
    ),
]


@pytest.mark.parametrize(("x", "message"), BAD_INPUTS)
def test_wrong_inputs_are_refused(x, message):
    with pytest.raises(ValueError, match=message):
        first_kernel(x, 0.0, 1.0)
