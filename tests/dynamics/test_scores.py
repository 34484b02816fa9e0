"""The scores: the published protocol, computed a second way, and never without what to compare with."""

import json
import math

import numpy as np
import pytest

from isocline.dynamics.measures import persistence_error, spectral_hellinger, state_space_divergence
from isocline.dynamics.scores import AHEAD, RESTARTS


@pytest.fixture(scope="module")
def scores(fitted, orbit):
    return fitted.score(orbit[1], other=orbit[0], units="data", exponent_steps=500)


def test_divergence_and_spectrum_follow_the_published_protocol(scores, fitted, orbit):
    """From the first test sample 1.25 T free steps, the first fifth left out, compared with all of the test series."""
    test = orbit[1]
    run = fitted.generate(int(1.25 * len(test)), test[0])[-len(test) :]
    np.testing.assert_allclose(scores.generated, run, rtol=1e-8)
    assert float(scores.divergence) == pytest.approx(float(state_space_divergence(test, run)), rel=1e-6)
    assert float(scores.hellinger) == pytest.approx(float(spectral_hellinger(test, run)), rel=1e-6)


def test_the_prediction_error_is_that_of_step_20_from_every_sample(scores, fitted, orbit):
    test = orbit[1]
    ahead = fitted.generate(AHEAD, test[:-AHEAD])[-1]
    assert scores.prediction.value == pytest.approx(np.mean((ahead - test[AHEAD:]) ** 2), rel=1e-8)
    assert scores.prediction.starts == len(test) - AHEAD
    assert scores.floor.persistence == pytest.approx(persistence_error(test, AHEAD))


def test_every_number_has_something_beside_it(scores):
    lines = {line.name: line for line in scores.lines()}
    for name in ("D_stsp, nats", "D_H", "PE(20)", "valid prediction time, steps"):
        assert lines[name].beside is not None
        assert lines[name].beside > 0
    assert lines["largest Lyapunov exponent"].error > 0
    assert lines["PE(20)"].value < lines["PE(20)"].beside
    shown = str(scores)
    for name in lines:
        assert name in shown


def test_the_floor_is_truth_against_truth(scores, orbit):
    assert float(scores.floor.divergence) == pytest.approx(float(state_space_divergence(orbit[1], orbit[0])))


def test_units_change_what_has_units_and_nothing_else(scores, fitted, orbit):
    standard = fitted.score(orbit[1], other=orbit[0], exponent_steps=500)
    assert float(standard.divergence) == pytest.approx(float(scores.divergence), rel=0.02)  # bins at the edge
    assert float(standard.hellinger) == pytest.approx(float(scores.hellinger))
    np.testing.assert_allclose(
        standard.prediction.per_channel * fitted.scale_**2, scores.prediction.per_channel
    )
    assert standard.units != scores.units


def test_forecasts_stay_valid_for_longer_than_no_change(scores):
    times = scores.valid_times
    assert times.least <= times.median <= times.most <= times.horizon
    assert times.median > times.persistence
    assert times.lyapunov_times == pytest.approx(times.median * scores.lyapunov.exponents[0])


def test_exponents_are_per_unit_of_time(scores):
    assert scores.lyapunov.dt == 0.02
    assert scores.lyapunov.per_time[0] == pytest.approx(scores.lyapunov.exponents[0] / 0.02)


def test_restarts_are_counted(scores):
    assert len(scores.restarts.divergences) == RESTARTS
    assert scores.restarts.escaped == scores.restarts.still == 0
    assert scores.restarts.median < 10


def test_to_dict_is_json_and_leaves_the_run_out(scores):
    saved = json.loads(json.dumps(scores.to_dict()))
    assert saved["divergence"]["value"] == scores.divergence.value
    assert "generated" not in saved


def test_the_plot_draws_on_the_axes_it_is_given(scores):
    ax = scores.plot()
    assert scores.plot(ax) is ax
    assert "D_H" in [label.get_text() for label in ax.get_yticklabels()]


def test_gaps_are_left_out_and_said(fitted, orbit):
    holes = orbit[1][:3000].copy()
    holes[1000] = math.nan
    scores = fitted.score(holes, exponent_steps=200)
    assert scores.samples == 1999
