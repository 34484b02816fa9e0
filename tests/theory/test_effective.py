"""`EffectiveTheory`, its report, and `recommend`: what a person calls, and what they are told when they call it
wrongly.
"""

import json

import numpy as np
import pytest
import torch

from isocline.theory import EffectiveTheory, criticality, least_skip, optimal_aspect_ratio, recommend
from isocline.theory.functional import first_kernel, many_input, single_input


def test_without_variances_it_is_critical_and_without_rates_equivalent():
    theory = EffectiveTheory("gelu", 20, 100)
    point = criticality("gelu")
    assert (theory.bias_variance, theory.weight_variance) == (point.bias_variance, point.weight_variance)
    assert theory.nominal_kernel == point.kernel
    run = theory.single_input()
    np.testing.assert_allclose(run.chi_perp, 1, rtol=1e-9)
    assert run.Theta[-1] == pytest.approx(
        1 + (point.kernel - point.bias_variance) / point.weight_variance, rel=1e-6
    )
    assert theory.critical
    assert EffectiveTheory("tanh", 5, 10, 0.0, 1.0).critical
    assert not EffectiveTheory("tanh", 5, 10, 0.0, 1.1).critical


def test_a_skip_lowers_the_critical_variances():
    plain, skip = EffectiveTheory("swish", 10, 100), EffectiveTheory("swish", 10, 100, skip=0.6)
    assert skip.weight_variance == pytest.approx(0.64 * plain.weight_variance)
    assert skip.bias_variance == pytest.approx(0.64 * plain.bias_variance)
    np.testing.assert_allclose(skip.single_input().chi_par, 1, rtol=1e-9)
    np.testing.assert_allclose(skip.single_input().K, plain.nominal_kernel, rtol=1e-9)


def test_its_kernels_are_those_of_the_recursion():
    x = np.random.default_rng(0).normal(size=(4, 6))
    theory = EffectiveTheory("erf", 7, 64, 0.1, 1.3, lambda_b=0.5, lambda_w=2.0)
    expected = many_input("erf", 7, first_kernel(x, 0.1, 1.3), 0.1, 1.3, 0.5, 2.0)
    np.testing.assert_allclose(theory.kernel(x), expected.K[-1])
    np.testing.assert_allclose(theory.ntk(torch.from_numpy(x)), expected.Theta[-1])
    np.testing.assert_allclose(theory.kernel(x, layer=2), expected.K[1])
    assert theory.largest_learning_rate(x) == pytest.approx(2 / np.linalg.eigvalsh(expected.Theta[-1])[-1])


def test_unequal_widths_change_what_is_inherited():
    theory = EffectiveTheory("relu", 4, [100, 50, 200])
    assert list(theory.width_before) == [100, 100, 50, 200]
    run = theory.single_input(1.0)
    # each layer of width n adds 5 / n to V / (n K^2)
    assert run.V[-1] / 200 == pytest.approx(5 / 100 + 5 / 50 + 5 / 200)
    same = single_input("relu", 4, 1.0, 0.0, 2.0, theory.lambda_b, theory.lambda_w)
    np.testing.assert_allclose(EffectiveTheory("relu", 4, 64).single_input(1.0).V, same.V)


def test_one_layer_is_the_first():
    theory = EffectiveTheory("tanh", 1, 10)
    assert len(theory.single_input()) == 1
    assert theory.kernel(np.ones((2, 3))).shape == (2, 2)
    assert theory.report().table.shape == (1, 9)


@pytest.mark.parametrize("name", ["tanh", "relu", "gelu", "sigmoid"])
@pytest.mark.parametrize("skip", [0.0, 0.7])
def test_reports_print_plot_and_become_json(name, skip):
    report = EffectiveTheory(name, 30, 200, skip=skip).report()
    text = str(report)
    assert name in text
    assert report.regime in text
    assert all(warning in text for warning in report.warnings)
    assert report.table.shape == (30, 9)
    assert report.fluctuation == report.table[-1, 5]
    values = json.loads(json.dumps(report.to_dict()))
    assert len(values["layers"]["K"]) == 30
    ax = report.plot()
    assert report.plot(ax) is ax
    assert ax.get_title() == report.network


def test_reports_warn():
    assert not EffectiveTheory("relu", 3, 1000).report().warnings
    off = EffectiveTheory("tanh", 30, 100, 0.0, 0.5).report()
    assert any("not the critical variances" in warning for warning in off.warnings)
    assert any(
        "scale the first layer" in warning
        for warning in EffectiveTheory("gelu", 5, 100).report(K1=1.0).warnings
    )
    assert any(
        "no criticality exists" in warning for warning in EffectiveTheory("sigmoid", 5, 100).report().warnings
    )
    assert any(
        "gradients change by" in warning
        for warning in EffectiveTheory("relu", 30, 100, 0.0, 4.0).report().warnings
    )
    regimes = [EffectiveTheory("relu", 20, n).report().regime for n in (100_000, 2000, 1000, 100)]
    assert [regime.split()[0] for regime in regimes] == ["kernel-like:", "below", "just", "strongly"]


def test_recommendations_fit_depth_and_width_to_each_other():
    deep = recommend("relu", depth=20)
    assert deep.width == pytest.approx(20 / optimal_aspect_ratio("relu").ratio, abs=1)
    assert deep.fluctuation <= deep.best_fluctuation
    assert deep.skip == 0
    wide = recommend("tanh", width=128)
    assert wide.depth == wide.largest_depth == 17
    too_deep = recommend("gelu", depth=48, width=512)
    assert too_deep.verdict.startswith("strongly coupled")
    assert too_deep.skip is not None
    slope = optimal_aspect_ratio("gelu", skip=too_deep.skip)
    assert pytest.approx(slope.ratio, rel=1e-4) == 48 / 512
    assert too_deep.first_kernel == criticality("gelu").kernel
    for advice in (deep, wide, too_deep):
        assert advice.verdict in str(advice)
        assert json.loads(json.dumps(advice.to_dict()))["depth"] == advice.depth
        assert repr(advice).startswith("Recommendation(")


def test_where_there_is_no_criticality_the_advice_says_so():
    advice = recommend("sigmoid", depth=10, width=100)
    assert advice.verdict.startswith("not critical")
    assert any("no criticality exists" in note for note in advice.notes)
    assert least_skip("sigmoid", 0.1) is None


def test_the_least_skip_is_the_least():
    for name in ("tanh", "relu"):
        skip = least_skip(name, 0.2)
        assert skip is not None
        assert (
            optimal_aspect_ratio(name, skip=skip + 1e-3).ratio
            > 0.2
            > optimal_aspect_ratio(name, skip=skip - 1e-3).ratio
        )
    assert least_skip("tanh", 0.01) == 0
    assert least_skip("relu", 1e4) is None


BAD = [
    (lambda: EffectiveTheory("tanh", 0, 10), ValueError, "depth: want a whole number >= 1, got 0"),
    (lambda: EffectiveTheory("tanh", 3, 0), ValueError, "width: want a whole number >= 1, got 0"),
    (
        lambda: EffectiveTheory("tanh", 3, [10]),
        ValueError,
        "width: want one number, or the 2 widths of the hidden layers, got 1",
    ),
    (lambda: EffectiveTheory("tanh", 3, "10"), TypeError, "width: want a whole number >= 1, got '10'"),
    (
        lambda: EffectiveTheory("tanh", 3, 10, -0.1),
        ValueError,
        "bias_variance: want a finite number >= 0, got -0.1",
    ),
    (
        lambda: EffectiveTheory("tanh", 3, 10, 0.0, -1.0),
        ValueError,
        "weight_variance: want a finite number > 0, got -1.0",
    ),
    (
        lambda: EffectiveTheory("tanh", 3, 10, skip=1.0),
        ValueError,
        "skip: want a number >= 0 and < 1, got 1.0",
    ),
    (
        lambda: EffectiveTheory("tanh", 3, [10, 20], skip=0.5),
        ValueError,
        "width: want one width for all layers with a skip",
    ),
    (
        lambda: EffectiveTheory("tanh", 3, 10, lambda_b=[1.0]),
        ValueError,
        "lambda_b: want one number, or 3 of them",
    ),
    (
        lambda: EffectiveTheory("tanh", 3, 10).kernel(np.zeros((2, 2))),
        ValueError,
        "x: want inputs that are not zero",
    ),
    (
        lambda: EffectiveTheory("tanh", 3, 10).ntk(np.full((1, 2), np.nan)),
        ValueError,
        "x: want finite values",
    ),
    (
        lambda: EffectiveTheory("tanh", 3, 10).kernel(np.ones((2, 2)), layer=4),
        ValueError,
        "layer: want a whole number",
    ),
    (
        lambda: EffectiveTheory("tanh", 3, 10).report(outputs=1),
        ValueError,
        "outputs: want a whole number >= 2, got 1",
    ),
    (lambda: recommend("tanh"), ValueError, "depth: want a depth, a width, or both, got neither"),
    (
        lambda: recommend("sigmoid", depth=3),
        ValueError,
        "activation: want one that can be critical, to choose",
    ),
    (lambda: recommend("tanh", depth=0), ValueError, "depth: want a whole number >= 1, got 0"),
    (lambda: least_skip("tanh", 0.0), ValueError, "ratio: want a finite number > 0"),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD, ids=[message[:40] for *_, message in BAD])
def test_wrong_calls_are_answered(call, error, message):
    with pytest.raises(error, match=message):
        call()
