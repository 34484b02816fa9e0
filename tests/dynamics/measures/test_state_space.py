"""D_stsp: the published numbers, the sparse sum against the dense one, and what must hold for any series."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from isocline.dynamics.measures import (
    binned_divergence,
    mixture_divergence,
    mixture_log_density,
    state_space_divergence,
)
from isocline.dynamics.measures.state_space import BOXES

SERIES = arrays(np.float64, st.tuples(st.integers(5, 40), st.just(2)), elements=st.floats(-3, 3, width=32))


@pytest.fixture
def metrics(golden):
    with np.load(golden / "dynamics/metrics.npz") as file:
        return dict(file)


@pytest.mark.parametrize("bins", [5, 10, 30])
@pytest.mark.parametrize("variant", BOXES)
def test_binned_is_the_reference_number(metrics, bins, variant):
    found = binned_divergence(metrics["X_true"], metrics["X_gen"], bins=bins, variant=variant)
    assert found.value == pytest.approx(metrics[f"dstsp_bin{bins}_{variant}"].item(), rel=1e-9, abs=1e-12)
    assert found.inside == tuple(metrics[f"dstsp_bin{bins}_{variant}_ninside"].astype(int))
    assert found.standard_error is None
    assert variant in found.how


@pytest.mark.parametrize("variance", ["1.0", "0.1", "0.02"])
def test_mixture_densities_are_the_reference_numbers(metrics, variance):
    at = metrics[f"gmm_samples_s2_{variance}"]
    p = mixture_log_density(at, metrics["X_true"], float(variance))
    q = mixture_log_density(at, metrics["X_gen"], float(variance))
    np.testing.assert_allclose(p, metrics[f"gmm_logp_s2_{variance}"], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(q, metrics[f"gmm_logq_s2_{variance}"], rtol=1e-9, atol=1e-12)
    assert np.mean(p - q) == pytest.approx(metrics[f"gmm_kl_s2_{variance}"].item(), rel=1e-9)
    error = np.std(p - q, ddof=1) / math.sqrt(len(at))
    assert error == pytest.approx(metrics[f"gmm_kl_sem_s2_{variance}"].item(), rel=1e-9)


def test_mixture_agrees_with_the_reference_draws_within_its_error(metrics):
    found = mixture_divergence(metrics["X_true"], metrics["X_gen"], variance=0.1, seed=3)
    expected, error = metrics["gmm_kl_s2_0.1"].item(), metrics["gmm_kl_sem_s2_0.1"].item()
    assert abs(found.value - expected) < 4 * math.hypot(error, found.standard_error)  # fixed seeds: no chance
    again = mixture_divergence(metrics["X_true"], metrics["X_gen"], variance=0.1, seed=3)
    assert found == again


def _dense(true, generated, bins):
    """The definition, over every cell; NumPy counts in float64."""
    low, high = BOXES["default"][0](true)
    edges = [np.linspace(a, b, bins + 1) for a, b in zip(low, high, strict=True)]
    # a sample on the upper edge of the box is outside for us, inside for NumPy
    inside = ((generated >= low) & (generated < high)).all(1)
    p, q = (np.histogramdd(one, edges)[0] + 1e-5 for one in (true, generated[inside]))
    p, q = p / p.sum(), q / q.sum()
    return np.sum(p * np.log(p / q)) if inside.any() else math.nan


@given(SERIES, SERIES, st.integers(2, 9))
def test_sparse_sum_is_the_dense_sum(true, generated, bins):
    assume((np.ptp(true, axis=0) > 1e-3).all())
    found = binned_divergence(true, generated, bins=bins)
    expected = _dense(true, generated, bins)
    assert found.value == pytest.approx(expected, rel=1e-9, abs=1e-12, nan_ok=True)
    assert math.isnan(found.value) == ("no generated point" in found.how)


@given(SERIES, SERIES)
def test_nothing_is_nearer_than_the_series_itself(true, generated):
    assume((np.ptp(true, axis=0) > 1e-3).all())
    assert binned_divergence(true, true).value == 0.0
    assert mixture_divergence(true, true).value == 0.0
    apart = binned_divergence(true, generated).value
    assert math.isnan(apart) or apart >= -1e-12  # Gibbs; rounding of 100 logarithms


@given(SERIES, st.permutations(range(2)), st.floats(0.1, 10), st.floats(-5, 5))
def test_order_of_samples_and_channels_and_units_do_not_matter(true, channels, scale, shift):
    assume((np.ptp(true, axis=0) > 1e-2).all())
    generated = true[::-1] * 0.75 + 0.1
    found = mixture_divergence(true, generated, variance=0.5)
    turned = mixture_divergence(
        scale * true[:, channels] + shift, scale * generated[:, channels] + shift, variance=0.5 * scale**2
    )
    assert abs(found.value - turned.value) <= 6 * (found.standard_error + turned.standard_error) + 1e-9
    plain = binned_divergence(true, generated, bins=7, variant="legacy").value
    mixed = binned_divergence(true[::-1, channels], generated[:, channels], bins=7, variant="legacy").value
    assert mixed == pytest.approx(plain, rel=1e-9, abs=1e-12, nan_ok=True)


def test_counts_do_not_wrap_at_65536():
    true = np.random.default_rng(0).normal(size=(70_000, 2))
    stuck = np.where(np.arange(70_000)[:, None] < 66_000, 0.01, true)  # mostly in one cell
    assert binned_divergence(true, stuck).value == pytest.approx(_dense(true, stuck, 30), rel=1e-9)


def test_more_cells_than_whole_numbers():
    wide = np.random.default_rng(0).normal(size=(200, 60))  # 30^60 cells
    assert binned_divergence(wide, wide).value == 0.0
    made = wide.copy()
    made[:100] = wide[100:]  # the first hundred cells are empty, the others hold two
    cells = 30.0**60
    log_p, log_q = (math.log(200 + 1e-5 * cells),) * 2
    expected = 100 * (math.exp(math.log1p(1e-5) - log_p) * (math.log1p(1e-5) - math.log(1e-5)))
    expected += 100 * (math.exp(math.log1p(1e-5) - log_p) * (math.log1p(1e-5) - math.log(2 + 1e-5)))
    assert log_p == log_q
    assert binned_divergence(wide, made).value == pytest.approx(expected, rel=1e-9)
    few = binned_divergence(wide[:, :14], made[:, :14], bins=25, smoothing=1e-25)  # 25^14 > 2^62
    assert few.value == pytest.approx(0.5 * math.log(1e25) - 0.5 * math.log(2), rel=1e-3)


def test_a_model_far_off_keeps_its_large_value():
    true = np.random.default_rng(0).normal(size=(500, 8))
    values = [state_space_divergence(true, true + shift).value for shift in (10.0, 100.0, 1e4)]
    expected = [0.5 * 8 * shift**2 for shift in (10.0, 100.0, 1e4)]  # |shift|^2 / 2 of one Gaussian
    np.testing.assert_allclose(values, expected, rtol=0.3)
    far = state_space_divergence(true, np.full_like(true, 1e300))
    assert far.value > 1e100


def test_symmetric_is_the_mean_of_both_directions():
    generator = np.random.default_rng(1)
    true, made = generator.normal(size=(300, 3)), 0.5 * generator.normal(size=(300, 3))
    both = mixture_divergence(true, made, symmetric=True)
    each = [mixture_divergence(true, made).value, mixture_divergence(made, true, seed=5).value]
    assert both.value == pytest.approx(np.mean(each), abs=5 * both.standard_error)
    assert both == state_space_divergence(true, made, mixture=1.0, variant="symmetric")


def test_bins_below_six_channels_mixture_from_there():
    generator = np.random.default_rng(1)
    assert "bins" in state_space_divergence(*generator.normal(size=(2, 50, 5))).how
    found = state_space_divergence(*generator.normal(size=(2, 50, 6)))
    assert "mixture, variance 1," in found.how
    assert found.standard_error > 0


def test_a_run_that_blew_up_has_no_divergence_and_says_since_when():
    true = np.random.default_rng(0).normal(size=(40, 2))
    for bad in (math.nan, math.inf):
        made = true.copy()
        made[17:] = bad
        for choice in ({"bins": 4}, {"mixture": 1.0}):
            found = state_space_divergence(true, made, **choice)
            assert math.isnan(found.value)
            assert "from step 17" in found.how
            assert found.to_dict()["value"] == "nan"


def test_tensors_lists_and_float32_are_taken_and_the_result_prints():
    true = np.random.default_rng(0).normal(size=(40, 2))
    found = binned_divergence(torch.tensor(true, requires_grad=True), true.tolist(), bins=4)
    assert float(found) == 0.0
    assert str(found) == "D_stsp 0 (4 bins, default)"
    assert "+-" in str(mixture_divergence(true.astype(np.float32), true))


def test_global_random_state_is_left_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    mixture_divergence(*np.random.default_rng(0).normal(size=(2, 30, 2)))
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
