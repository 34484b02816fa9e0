"""Fluctuations of several inputs: golden tensors, the way back to one input, symmetries, and an exactly known
network.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isocline.theory import Activation
from isocline.theory.functional import many_fluctuations, many_input, single_input
from isocline.theory.joint import joint_averages

FOUR = np.array([[1.0, 0.4, 0.1, 0.2], [0.4, 1.3, 0.3, 0.1], [0.1, 0.3, 0.8, -0.2], [0.2, 0.1, -0.2, 1.1]])


@pytest.mark.parametrize("name", ["tanh", "gelu"])
def test_golden_two_inputs(golden, name):
    data = np.load(golden / "effective_theory" / f"two_{name}.npz")
    found = many_fluctuations(name, len(data["K"]), data["K"][0], float(data["Cb"]), float(data["CW"]))
    for key in ("K", "Theta", "V", "D", "F", "A", "B"):
        np.testing.assert_allclose(getattr(found, key), data[key], rtol=1e-9, atol=1e-13, err_msg=key)


@pytest.mark.parametrize("name", ["tanh", "gelu", "relu", "hard_tanh", "elu", "leaky_relu(0.3)", "swish"])
@pytest.mark.parametrize("correlation", [None, 0.5, -0.2])
def test_the_diagonal_is_that_of_one_input(name, correlation):
    K1 = np.array([[1.4]]) if correlation is None else np.array([[1.4, correlation], [correlation, 0.8]])
    rates = {
        "lambda_b": np.array([1.0, 0.5, 0.7, 0.2]),
        "lambda_w": 1.3,
        "width_ratio": np.array([1.0, 2.0, 0.5, 1.0]),
    }
    many = many_fluctuations(name, 4, K1, 0.1, 1.4, **rates)
    one = single_input(name, 4, 1.4, 0.1, 1.4, **rates)
    for key in ("K", "Theta", "G1", "V", "D", "F", "B", "A"):
        first = getattr(many, key).reshape(4, -1)[:, 0]
        np.testing.assert_allclose(first, getattr(one, key), rtol=1e-9, atol=1e-11, err_msg=key)


@settings(max_examples=15)
@given(seed=st.integers(0, 999), name=st.sampled_from(["tanh", "relu", "gelu"]))
def test_symmetries_of_the_tensors(seed, name):
    root = np.random.default_rng(seed).normal(size=(2, 3))
    found = many_fluctuations(name, 3, root @ root.T / 3 + 0.3 * np.eye(2), 0.1, 1.4)
    for X in (found.V[-1], found.A[-1]):  # (12)(34) = (34)(12) = (21)(34)
        np.testing.assert_allclose(X, X.transpose(2, 3, 0, 1), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(X, X.transpose(1, 0, 2, 3), rtol=1e-9, atol=1e-12)
    for X in (found.F[-1], found.B[-1]):  # 1 <-> 2 together with 3 <-> 4
        np.testing.assert_allclose(X, X.transpose(2, 3, 0, 1), rtol=1e-9, atol=1e-12)


def test_a_linear_network_is_known_exactly():
    """``V_(12)(34) = (l - 1) (K13 K24 + K14 K23)`` with critical weights and no biases: Wick's theorem, layer by
    layer.
    """
    K1 = FOUR[:2, :2]
    found = many_fluctuations("linear", 5, K1, 0.0, 1.0)
    wick = np.einsum("ik,jl->ijkl", K1, K1) + np.einsum("il,jk->ijkl", K1, K1)
    for layer in range(5):
        np.testing.assert_allclose(found.V[layer], layer * wick, rtol=1e-12, atol=1e-12)
    assert np.abs(found.G1).max() < 1e-12


def test_further_inputs_change_nothing():
    two = many_fluctuations("tanh", 3, FOUR[:2, :2], 0.0, 1.0)
    three = many_fluctuations("tanh", 3, FOUR[:3, :3], 0.0, 1.0)
    for key in ("V", "D", "F", "B", "A"):
        np.testing.assert_allclose(
            getattr(three, key)[:, :2, :2, :2, :2], getattr(two, key), rtol=1e-9, atol=1e-12
        )
    np.testing.assert_allclose(three.G1[:, :2, :2], two.G1, rtol=1e-8, atol=1e-11)


@pytest.mark.slow
def test_four_inputs_at_once():
    four, two = (many_fluctuations("tanh", 3, FOUR[:n, :n], 0.0, 1.0) for n in (4, 2))
    np.testing.assert_allclose(four.V[:, :2, :2, :2, :2], two.V, atol=1e-7)
    np.testing.assert_allclose(four.A[:, :2, :2, :2, :2], two.A, atol=1e-6)


def test_kernels_beside_them_are_those_of_the_kernel_recursion():
    found, kernel = (
        many_fluctuations("relu", 4, FOUR[:2, :2], 0.1, 1.5),
        many_input("relu", 4, FOUR[:2, :2], 0.1, 1.5),
    )
    np.testing.assert_allclose(found.K, kernel.K, rtol=1e-11)
    np.testing.assert_allclose(found.Theta, kernel.Theta, rtol=1e-11)
    assert repr(found) == "Fluctuations(2 inputs, 4 layers)"
    assert np.array(found.to_dict()["V"]).shape == (4, 2, 2, 2, 2)


@pytest.mark.parametrize("name", ["tanh", "gelu"])
def test_weights_and_derivatives_agree_for_smooth_functions(name, monkeypatch):
    activation = Activation(name)
    inside = joint_averages(activation, FOUR[:2, :2])
    monkeypatch.setattr(activation, "smooth", False)
    weights = joint_averages(activation, FOUR[:2, :2])
    for key in ("ss", "pp", "sq", "ssss", "sspp", "pppp"):
        np.testing.assert_allclose(
            getattr(weights, key), getattr(inside, key), rtol=1e-9, atol=1e-12, err_msg=key
        )
    for key in ("D_ss", "D_pp", "fourth"):  # on the diagonal only the sum counts
        mine, other = getattr(weights, key), getattr(inside, key)
        np.testing.assert_allclose(mine[:, 0, 1], other[:, 0, 1], rtol=1e-8, atol=1e-11, err_msg=key)
        binomial = [1, 4, 6, 4, 1] if key == "fourth" else [1, 1, 1]
        sums = [np.einsum("k,kii->i", binomial, tables) for tables in (mine, other)]
        np.testing.assert_allclose(*sums, rtol=1e-9, err_msg=key)


BAD = [
    ("tanh", np.eye(5), "K1: want at most 4 inputs, got 5; the vertices of any two, or four"),
    ("relu", np.eye(3), "K1: want at most 2 inputs for relu, which is not smooth, got 3"),
    ("tanh", np.ones((3, 3)), "K1: want inputs of which none follows from the others"),
    ("tanh", 60 * np.eye(3), "K1: want variances small enough for 3 inputs at once"),
]


@pytest.mark.parametrize(("name", "K1", "message"), BAD)
def test_too_much_at_once_is_refused(name, K1, message):
    with pytest.raises(ValueError, match=message):
        many_fluctuations(name, 2, K1, 0.0, 1.0)
