"""Averages over two inputs: closed forms, Mehler's series and panels in the plane are three ways to one number."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from isocline.theory import Activation
from isocline.theory import pairs as module
from isocline.theory.averages import single_averages
from isocline.theory.closed_forms import pair_form
from isocline.theory.pairs import Pairs, expand
from isocline.theory.plane import plane_pairs

CORRELATIONS = np.array([-0.999999, -0.9, -0.3, 0.0, 1e-4, 0.5, 0.99, 0.99999, 1 - 1e-9])


def _covariances(first, second):
    K11, K22 = np.full_like(CORRELATIONS, first), np.full_like(CORRELATIONS, second)
    return K11, K22, CORRELATIONS * np.sqrt(first * second)


@pytest.mark.parametrize("name", ["relu", "leaky_relu(0.1)", "linear", "erf", "sin", "gelu"])
@pytest.mark.parametrize(("first", "second"), [(1.0, 1.3), (0.01, 0.02), (5.0, 3.6), (40.0, 0.5)])
def test_closed_forms_are_what_the_plane_gives(name, first, second):
    activation = Activation(name)
    K = _covariances(first, second)
    form = pair_form(activation)
    assert form is not None
    sizes = [np.sqrt(a * b) for a, b in zip(form(K[0], K[0], K[0]), form(K[1], K[1], K[1]), strict=True)]
    for closed, numeric, size in zip(form(*K), plane_pairs(activation, *K), sizes, strict=True):
        np.testing.assert_allclose(closed / size, numeric / size, rtol=0, atol=1e-11)


@given(
    variance=st.floats(1e-3, 50.0), name=st.sampled_from(["relu", "leaky_relu(-0.5)", "erf", "sin", "gelu"])
)
def test_closed_forms_with_equal_inputs_are_averages_over_one(variance, name):
    K = np.array([variance])
    activation = Activation(name)
    ss, pp = pair_form(activation)(K, K, K)  # type: ignore[misc]
    one = single_averages(activation, K)
    np.testing.assert_allclose([ss, pp], [one.ss, one.pp], rtol=1e-11)


@pytest.mark.parametrize("name", ["relu", "erf", "sin", "gelu"])
def test_the_second_average_is_the_slope_of_the_first(name):
    """Price's theorem: d<s s> / dK12 = <s' s'>."""
    K11, K22, K12 = np.array([1.0, 2.0]), np.array([1.5, 0.7]), np.array([0.4, -0.6])
    form, step = pair_form(Activation(name)), 1e-5
    slope = (form(K11, K22, K12 + step)[0] - form(K11, K22, K12 - step)[0]) / (2 * step)  # type: ignore[misc]
    np.testing.assert_allclose(slope, form(K11, K22, K12)[1], rtol=1e-8)  # type: ignore[misc]


@pytest.mark.parametrize(
    "name", ["tanh", "swish", "mish", "sigmoid", "gelu_tanh", "elu", "hard_tanh", "hard_swish"]
)
@pytest.mark.parametrize("scale", [0.05, 1.0, 4.0])
def test_series_and_plane_agree_for_every_pair(name, scale):
    activation = Activation(name)
    x = np.random.default_rng(3).normal(size=(5, 3))
    x[4] = x[3] + 1e-3 * x[2]  # nearly parallel
    pairs = Pairs(activation, 5)
    K = (scale * x @ x.T / 3)[pairs.i, pairs.j]
    variance = K[pairs.diagonal]
    found = pairs.averages(K)
    expected = plane_pairs(activation, variance[pairs.i], variance[pairs.j], K)
    apart = pairs.i != pairs.j
    for mine, other in zip(found, expected, strict=True):
        size = np.sqrt(mine[pairs.diagonal][pairs.i] * mine[pairs.diagonal][pairs.j])
        np.testing.assert_allclose((mine / size)[apart], (other / size)[apart], atol=1e-10)
    one = single_averages(activation, variance)
    np.testing.assert_allclose(
        [found[0][pairs.diagonal], found[1][pairs.diagonal]], [one.ss, one.pp], rtol=1e-12
    )


def test_pairs_the_series_cannot_reach_go_to_the_plane(monkeypatch):
    sent = []

    def watched(activation, K11, K22, K12):
        sent.append(len(K12))
        return plane_pairs(activation, K11, K22, K12)

    monkeypatch.setattr(module, "plane_pairs", watched)
    near = np.array([[1.0, 0.2, 0.1], [0.2, 1.0, 0.9999], [0.1, 0.9999, 1.0]])
    for name, count in (("tanh", 0), ("hard_tanh", 1)):
        pairs = Pairs(Activation(name), 3)
        pairs.averages(near[pairs.i, pairs.j])
        assert sum(sent) == count


@given(arrays(np.float64, 3, elements=st.floats(0.05, 8.0)), st.floats(-0.9, 0.9))
def test_what_the_series_leaves_out_is_within_its_bound(variance, rho):
    activation = Activation("swish")
    short, long = (expand(activation, variance, terms, 0.95) for terms in (8, 224))
    i, j = np.array([0, 0, 1]), np.array([1, 2, 2])
    r = np.full(3, rho)
    error = np.abs(short.sum(i, j, r)[0] - long.sum(i, j, r)[0])
    left = short.left_ss * short.ss
    bound = abs(rho) ** len(short.a) * np.sqrt(left[i] * left[j])
    assert (error <= bound * (1 + 1e-6) + 1e-13).all()


def test_equal_inputs_have_equal_rows():
    x = np.random.default_rng(0).normal(size=(3, 4))
    x = np.concatenate([x, x[:1]])
    for name in ("tanh", "relu", "gelu"):
        pairs = Pairs(Activation(name), 4)
        ss, pp = (pairs.matrix(values) for values in pairs.averages((x @ x.T / 4)[pairs.i, pairs.j]))
        np.testing.assert_allclose(ss[0], ss[3], rtol=1e-12)
        # of relu, the angle of parallel inputs has half the digits
        np.testing.assert_allclose(pp[0], pp[3], rtol=1e-7)
