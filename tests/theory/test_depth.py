"""Best depths: golden ratios, exact largest depths, and the information they maximise."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isocline.theory import EffectiveTheory, largest_depth, optimal_aspect_ratio
from isocline.theory.depth import best_fluctuation, entropy, mutual_information, vertex_slope
from isocline.theory.functional import single_input


def test_golden_ratios(golden):
    data = np.load(golden / "effective_theory" / "rstar.npz")
    np.testing.assert_allclose([best_fluctuation(int(n)) for n in data["nL"]], data["vstar"], rtol=1e-12)
    for name, row in zip(data["activation"], data["rstar"], strict=True):
        name = f"leaky_relu({name[5:]})" if name.startswith("leaky") else str(name)
        found = [optimal_aspect_ratio(name, int(n)).ratio for n in data["nL"][[0, 8, 98]]]
        np.testing.assert_allclose(found, row[[0, 8, 98]], rtol=1e-9)


def test_golden_largest_depths(golden):
    data = np.load(golden / "effective_theory" / "rstar.npz")
    for name, row in zip(data["Lopt_activation"], data["Lopt_nL10"], strict=True):
        assert [optimal_aspect_ratio(str(name)).largest_depth(int(n)) for n in data["width"]] == list(row)


def test_golden_slopes_with_a_skip(golden):
    data = np.load(golden / "effective_theory" / "rstar.npz")
    from isocline.theory import Activation

    for skip, odd, relu in zip(
        data["gamma"], data["nu_resid_Kstar0"], data["nu_resid_relu_quartic_only"], strict=True
    ):
        if skip < 1:
            assert vertex_slope(Activation("tanh"), skip, full=True) == pytest.approx(odd, rel=1e-12)
            assert vertex_slope(Activation("relu"), skip, full=False) == pytest.approx(relu, rel=1e-12)


@given(first=st.integers(1, 40), second=st.integers(1, 40))
def test_the_best_fluctuation_shares_most_information(first, second):
    best = best_fluctuation(first + second)
    v = np.linspace(0, 1.5 * best, 301)
    shared = mutual_information(v, first, second)
    assert v[shared.argmax()] == pytest.approx(best, abs=0.006 * best)
    assert shared[-1] == pytest.approx(0, abs=1e-12)
    assert (mutual_information(2 * best, first, second)) < 0


@given(first=st.integers(1, 20), second=st.integers(1, 20), v=st.floats(0, 0.05), variance=st.floats(0.1, 10))
def test_information_is_the_entropy_that_parts_share(first, second, v, variance):
    parts = entropy(first, variance, v) + entropy(second, variance, v) - entropy(first + second, variance, v)
    assert parts == pytest.approx(float(mutual_information(v, first, second)), abs=1e-9)


def test_largest_depth_is_where_the_recursion_passes_the_limit():
    for width, skip in ((100, 0.0), (300, 0.0), (100, 0.8)):
        found = largest_depth("relu", width, skip=skip)
        run = single_input("relu", int(found) + 1, 1.0, 0.0, 2 * (1 - skip**2), skip=skip)
        ratio = run.V / run.K**2 / width
        assert ratio[-2] <= best_fluctuation(10) < ratio[-1]


def test_ordered_networks_have_no_largest_depth():
    assert largest_depth("tanh", 1000, bias_variance=0.2, weight_variance=0.8) == math.inf
    assert EffectiveTheory("tanh", 10, 1000, 0.2, 0.8).largest_depth() == math.inf


def test_a_strong_skip_allows_more_depth_and_the_quartic_vertex_promises_too_much():
    plain, strong = optimal_aspect_ratio("relu"), optimal_aspect_ratio("relu", skip=0.95)
    assert strong.ratio > 3 * plain.ratio
    assert optimal_aspect_ratio("relu", skip=0.95, residual_vertex="quartic").ratio > 3 * strong.ratio
    assert "odd vertices" in strong.note
    assert optimal_aspect_ratio("tanh", skip=0.9).note == ""


def test_results_plot_and_become_json():
    found = optimal_aspect_ratio("gelu", outputs=2)
    assert float(found) == found.ratio
    assert found.to_dict()["activation"] == "gelu"
    ax = found.plot()
    assert found.plot(ax) is ax


BAD = [
    (lambda: best_fluctuation(1), "outputs: want a whole number >= 2, got 1"),
    (
        lambda: optimal_aspect_ratio("sigmoid"),
        "activation: want one that can be critical, got sigmoid; no criticality exists",
    ),
    (lambda: optimal_aspect_ratio("relu", skip=1.0), "skip: want a number >= 0 and < 1, got 1.0"),
    (
        lambda: optimal_aspect_ratio("relu", residual_vertex="x"),
        "residual_vertex: want one of 'full', 'quartic'",
    ),
    (lambda: largest_depth("relu", 0), "width: want a whole number >= 1, got 0"),
    (lambda: entropy(2, 0.0, 0.1), "variance: want a finite number > 0"),
    (lambda: mutual_information(0.1, 0, 3), "first: want a whole number >= 1, got 0"),
]


@pytest.mark.parametrize(("call", "message"), BAD)
def test_wrong_questions_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
