"""Gradient flow at infinite width: golden predictions, and what must hold at the beginning and at the end."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import expm

from isocline.theory import EffectiveTheory
from isocline.theory.functional import first_kernel, gradient_flow, many_input


@pytest.mark.parametrize("name", ["relu", "erf", "tanh"])
@pytest.mark.parametrize("time", ["inf", "t0.5", "t5"])
def test_golden_predictions(golden, name, time):
    data = np.load(golden / "effective_theory" / f"many_{name}.npz")
    n = int(data["ntrain"])
    theory = EffectiveTheory(name, 5, 100, float(data["Cb"]), float(data["CW"]), lambda_b=1.0, lambda_w=1.0)
    found = theory.predict(data["x"][:n], data["y"], data["x"][n:], float(time.removeprefix("t")))
    np.testing.assert_allclose(found.mean, data[f"pred_mean_{time}"], rtol=1e-9)
    np.testing.assert_allclose(found.covariance, data[f"pred_cov_{time}"], rtol=1e-9)


def _kernels(seed, count=6):
    x = np.random.default_rng(seed).normal(size=(count, 3))
    both = many_input("erf", 3, first_kernel(x, 0.1, 1.5), 0.1, 1.5, layers=[3])
    return both.K[0], both.Theta[0]


@given(seed=st.integers(0, 999), t=st.floats(0, 5), rate=st.floats(0.1, 3))
def test_the_mean_solves_the_differential_equation(seed, t, rate):
    """``dz/dt = -eta Theta (z_train - y)`` from a mean of zero, by a matrix exponential."""
    K, Theta = _kernels(seed)
    y = np.array([1.0, -2.0, 0.5])
    flow = np.zeros((7, 7))
    flow[:6, :3] = -rate * Theta[:, :3]
    flow[:6, 6] = rate * Theta[:, :3] @ y
    solved = (expm(flow * t) @ np.append(np.zeros(6), 1.0))[3:6]
    np.testing.assert_allclose(
        gradient_flow(K, Theta, y, t, learning_rate=rate).mean[:, 0], solved, rtol=1e-7, atol=1e-10
    )


@given(seed=st.integers(0, 999))
def test_before_training_the_prior_and_after_it_the_data(seed):
    K, Theta = _kernels(seed)
    y = np.array([[1.0, 0.0], [-2.0, 1.0], [0.5, 3.0]])
    prior = gradient_flow(K, Theta, y, 0.0)
    np.testing.assert_allclose(prior.covariance, K[3:, 3:], rtol=1e-12)
    assert not prior.mean.any()
    order = [0, 1, 2, 0, 1, 2]  # the training inputs again as test inputs
    again = gradient_flow(K[np.ix_(order, order)], Theta[np.ix_(order, order)], y)
    np.testing.assert_allclose(again.mean, y, atol=1e-7)
    np.testing.assert_allclose(again.covariance, 0, atol=1e-6)
    assert (gradient_flow(K, Theta, y).deviation >= 0).all()
    late = gradient_flow(K, Theta, y, 1e9)
    np.testing.assert_allclose(late.mean, gradient_flow(K, Theta, y).mean, rtol=1e-5, atol=1e-7)


def test_results_plot_and_become_json():
    found = gradient_flow(*_kernels(0), [1.0, 2.0, 3.0])
    assert repr(found) == "Prediction(3 inputs, 1 outputs, t = inf)"
    assert found.to_dict()["time"] == "inf"
    ax = found.plot(x=[3.0, 1.0, 2.0])
    assert list(ax.lines[0].get_xdata()) == [1.0, 2.0, 3.0]
    assert found.plot(ax) is ax


X, Y = np.random.default_rng(0).normal(size=(4, 3)), np.ones(3)
BAD = [
    (lambda t: t.predict(X[:3], Y, X[3:], -1.0), "t: want a number >= 0 or inf, got -1.0"),
    (lambda t: t.predict(X[:3], Y[:2], X[3:]), "y_train: want one row for each of 3 inputs, got 2"),
    (lambda t: t.predict(X[:3], Y, X[3:, :2]), r"x_test: want rows as long as those of x_train, \(3, 3\)"),
    (lambda t: t.predict(X[:3], Y * np.nan, X[3:]), "y: want finite values"),
    (
        lambda t: t.predict(X[[0, 0, 1]], Y, X[3:]),
        "x_train: want inputs that the NTK tells apart, got a singular NTK",
    ),
    (lambda t: t.predict(X[:3], Y, X[3:], learning_rate=0.0), "learning_rate: want a finite number > 0"),
    (
        lambda t: gradient_flow(np.eye(2), np.eye(2), [1.0, 2.0]),
        r"y: want \(N,\) or \(N, outputs\) with fewer rows",
    ),
]


@pytest.mark.parametrize(("call", "message"), BAD)
def test_wrong_questions_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(EffectiveTheory("relu", 3, 10))
