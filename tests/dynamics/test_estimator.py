"""The estimator from outside: five lines, its arrays, its door."""

import math

import numpy as np
import pytest
import torch

from isocline.datasets.chaotic import lorenz63
from isocline.dynamics.estimator import Reconstructor
from isocline.dynamics.members import Member
from isocline.dynamics.schedules import NoForcing, SparseForcing


def test_it_learns_a_chaotic_system(fitted, orbit):
    """Two seconds of training; measured: D_stsp 1.0, D_H 0.05, PE(20) 0.005, largest exponent 1.1 (truth 0.906)."""
    scores = fitted.score(orbit[1])
    assert scores.divergence.value < 3  # white noise scores above 10
    assert scores.hellinger.value < 0.2
    assert scores.prediction.value < 0.05 * scores.floor.persistence
    assert 0.6 < scores.lyapunov.per_time[0] < 1.5
    assert fitted.stopped_ == ()


def test_what_was_learned_is_named_and_the_settings_are_as_given(fitted, orbit):
    assert fitted.latent_dim is None
    assert fitted.random_state == fitted.seed_ == 7
    assert len(fitted.members_) == 2
    assert fitted.member_ in fitted.members_
    assert all(fitted.member_.validation.value <= one.validation.value for one in fitted.members_)
    assert fitted.model_.latent_dim == 3
    assert 0 <= fitted.alpha_ <= 1
    np.testing.assert_allclose(fitted.mean_, orbit[0][:5400].mean(0))
    np.testing.assert_allclose(fitted.scale_, orbit[0][:5400].std(0))
    assert [row["update"] for row in fitted.history_] == list(range(500, 12_001, 500))


def test_a_free_run_is_in_the_units_of_the_data(fitted, orbit):
    run = fitted.generate(2000)
    assert run.shape == (2000, 3)
    assert abs(run[:, 2].mean() - orbit[0][:, 2].mean()) < 4  # of about 24, where standardised it would be 0
    starts = orbit[1][[0, 50]]
    both = fitted.generate(30, starts)
    assert both.shape == (30, 2, 3)
    np.testing.assert_allclose(fitted.generate(30, starts[1]), both[:, 1], rtol=1e-10)
    other = fitted.generate(30, starts[1], member=[1, 0][fitted.members_.index(fitted.member_)])
    assert not np.allclose(other, both[:, 1])


def test_a_forecast_goes_on_from_the_last_sample(fitted, orbit):
    context = orbit[1][:200]
    np.testing.assert_allclose(fitted.forecast(context, 20), fitted.generate(20, context[-1]), rtol=1e-9)
    persistence = np.abs(orbit[1][200:205] - context[-1]).mean()
    assert np.abs(fitted.forecast(context, 5) - orbit[1][200:205]).mean() < 0.5 * persistence


def test_a_forecast_bridges_missing_samples(fitted, orbit):
    context = orbit[1][:200].copy()
    whole = fitted.forecast(context, 5)
    context[-2:] = math.nan
    bridged = fitted.forecast(context, 5)
    np.testing.assert_allclose(bridged, fitted.forecast(context[:-2], 7)[2:], rtol=1e-9)
    assert np.abs(bridged - whole).max() < 2
    with pytest.raises(ValueError, match="series: want at least one complete sample, got none"):
        fitted.forecast(np.full((4, 3), math.nan), 5)


def test_ragged_series_with_gaps_and_hidden_states(orbit, made, random):
    pieces = [orbit[0][:700].copy(), orbit[0][1000:1400].copy(), orbit[0][2000:2020].copy()]
    pieces[0][random.random(pieces[0].shape) < 0.05] = math.nan
    found = made(latent_dim=4).fit([one[:, :2] for one in pieces])
    assert found.model_.latent_dim == 4
    assert np.isfinite(found.generate(100)).all()
    assert found.forecast(pieces[1][:, :2], 7).shape == (7, 2)


def test_a_driven_system_needs_its_inputs_again(made, random):
    force = random.normal(size=(900, 1))
    x = np.zeros((900, 2))
    for t in range(899):
        x[t + 1] = 0.8 * x[t] @ [[0.9, -0.4], [0.4, 0.9]] + force[t + 1] * [1.0, 0.5]
    found = made(updates=4000, sequence_length=20).fit(x, force)
    made_ = found.generate(100, x[0], force[1:101])
    assert np.corrcoef(made_[20:, 0], x[21:101, 0])[0, 1] > 0.95
    ahead = found.forecast(x[:400], 20, force[:400], future=force[400:420])
    assert np.corrcoef(ahead[:, 0], x[400:420, 0])[0, 1] > 0.95
    assert found.score(x[450:], force[450:]).restarts.divergences == ()
    with pytest.raises(ValueError, match=r"inputs: want shape \(100, 1\), got None"):
        found.generate(100)
    with pytest.raises(ValueError, match=r"future: want shape \(20, 1\), got an array of shape \(19, 1\)"):
        found.forecast(x[:400], 20, force[:400], future=force[:19])


@pytest.mark.parametrize(
    "settings",
    [{"forcing": NoForcing()}, {"observation": "affine", "latent_dim": 2}, {"observation": "principal"}],
)
def test_other_ways_to_train(settings, orbit, made):
    found = made(**settings).fit(orbit[0][:800])
    assert np.isfinite(found.generate(50)).all()


def test_sparse_forcing_trains_eagerly(orbit, made):
    found = made(forcing=SparseForcing(5), updates=40).fit(orbit[0][:800])
    assert found.history_[-1]["loss"][0] > 0


def test_another_kernel_gives_the_same_numbers_to_rounding(orbit, made):
    """float32: compared after few updates, before rounding has grown."""
    ours, theirs = (made(updates=20, backend=name).fit(orbit[0][:800]) for name in ("auto", "reference"))
    for name, value in ours.members_[0].parameters.items():
        torch.testing.assert_close(value, theirs.members_[0].parameters[name], rtol=1e-3, atol=1e-4)


def test_without_a_part_held_out_the_rest_of_the_rule_decides(orbit, made):
    found = made(validation=0).fit(orbit[0][:800])
    assert found.held_out_ == []
    assert found.member_.validation.value < math.inf
    with pytest.raises(ValueError, match="series: want a series where nothing was held out"):
        found.report("page.html")


def test_a_fit_without_a_seed_says_which_it_took(orbit, made):
    first = made(random_state=None, updates=10).fit(orbit[0][:800])
    again = made(random_state=first.seed_, updates=10).fit(orbit[0][:800])
    assert torch.equal(first.members_[0].parameters["W1"], again.members_[0].parameters["W1"])


def test_the_first_sample_after_which_a_member_is_free_does_not_matter_to_its_attractor(fitted):
    assert isinstance(fitted.member_, Member)
    assert fitted.start_.shape == (3,)


X = lorenz63(500, dt=0.05).series + 100.0
WRONG = [
    ({}, np.arange(500.0), "series: want shape (time, channels), got an array of shape (500,), float64; one"),
    ({}, X[:20], "series: want more than sequence_length = 50 samples to train on, got 20; give a longer"),
    ({}, X * [1, 0, 1], "series: want channels that change, got constant channel 1; drop these channels"),
    ({}, X * math.inf, "series: want finite values, got"),
    ({}, X * math.nan, "series: want channels with samples in them, got channel 0 all missing"),
    ({"latent_dim": 2}, X, "latent_dim: want at least the 3 observed channels, got 2; take the affine"),
    ({"latent_dim": 0}, X, "latent_dim: want a whole number >= 1, got 0"),
    ({"hidden_dim": 1.5}, X, "hidden_dim: want a whole number >= 1, got 1.5"),
    ({"updates": 0}, X, "updates: want a whole number >= 1, got 0"),
    ({"learning_rate": 1e-3}, X, "learning_rate: want two numbers, the first rate and the last, got 0.001"),
    ({"learning_rate": (1e-3, 0)}, X, "learning_rate[1]: want a finite number > 0, got 0"),
    ({"forcing": 0.3}, X, "forcing: want one of AdaptiveForcing(...)"),
    ({"observation": "afine"}, X, "observation: want one of 'identity', 'affine', 'principal', got 'afine'; did"),
    ({"validation": 0.7}, X, "validation: want a number >= 0 and <= 0.5, got 0.7"),
    ({"seeds": 0}, X, "seeds: want a whole number >= 1, got 0"),
    ({"random_state": -1}, X, "random_state: want a whole number >= 0 and < 4611686018427387904, got -1"),
    ({"device": "cude"}, X, "device: want auto, or a device that torch can use here, got 'cude'"),
    ({"backend": "gpu"}, X, "backend: want one of 'auto'"),
    ({"dt": 0}, X, "dt: want a finite number > 0, got 0"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "series", "message"), WRONG, ids=[message[:44] for *_, message in WRONG]
)
def test_a_bad_setting_or_series_is_named(settings, series, message, made):
    with pytest.raises((ValueError, TypeError)) as caught:
        made(**settings).fit(series)
    assert message in str(caught.value)


AFTER = [
    (lambda f: f.generate(0), "steps: want a whole number >= 1, got 0"),
    (lambda f: f.generate(5, [1.0, 2.0]), "start: want a finite sample (3,), or several (B, 3), got an array"),
    (lambda f: f.generate(5, [1.0, 2.0, math.nan]), "start: want a finite sample (3,)"),
    (lambda f: f.generate(5, inputs=np.zeros((5, 1))), "inputs: want None, got an array of shape (5, 1)"),
    (lambda f: f.generate(5, member=2), "member: want a whole number >= 0 and < 2, got 2"),
    (lambda f: f.forecast(X[:, :2], 5), "series[0]: want 3 channels, got 2"),
    (lambda f: f.score(X[:40]), "series: want at least 80 complete samples in a row, got 40"),
    (lambda f: f.score(X, units="volts"), "units: want one of 'standard', 'data', got 'volts'"),
    (lambda f: Reconstructor().generate(5), "self: want a fitted Reconstructor, got one before fit; call fit"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), AFTER, ids=[message[:44] for _, message in AFTER])
def test_what_is_asked_of_a_fitted_model_is_checked(call, message, fitted):
    with pytest.raises((ValueError, AttributeError)) as caught:
        call(fitted)
    assert message in str(caught.value)
