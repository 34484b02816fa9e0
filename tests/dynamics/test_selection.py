"""The choice of snapshots: truth scores best, what dies or leaves scores worst, and the rule is the one stated."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from isocline.datasets.chaotic import lorenz63
from isocline.dynamics.measures import binned_divergence
from isocline.dynamics.selection import RESTARTS, RUNS, WEIGHT, Judge, mean_spectrum
from isocline.dynamics.windows import Recorded

ORBIT = lorenz63(30_000, dt=0.02, seed=1).series
TRAINED, HELD = Recorded(ORBIT[:11_000]), Recorded(ORBIT[11_000:12_000])
REST = Recorded(ORBIT[12_000:]).series


class Replay:
    """A member that shows what it is told to: runs ``(steps, RUNS, N)`` cut from a series."""

    def __init__(self, series):
        self.series = series

    def run(self, samples, steps, inputs=None):
        firsts = np.linspace(0, len(self.series) - steps, len(samples)).astype(int)
        return np.stack([self.series[at : at + steps] for at in firsts], 1)


@pytest.fixture(scope="module")
def judge():
    return Judge.of([HELD], [TRAINED])


def test_another_stretch_of_the_system_scores_about_as_truth_and_others_worse(judge):
    other = judge(Replay(REST), 1).value
    noise = judge(Replay(np.random.default_rng(0).normal(size=ORBIT.shape)), 1).value
    shifted = judge(Replay(ORBIT + np.array([0.5, 0, 0])), 1).value
    slower = judge(Replay(np.repeat(ORBIT, 2, 0)), 1)
    assert other < 2 * judge.truth
    assert other < shifted < noise
    assert slower.hellinger > 2 * judge(Replay(REST), 1).hellinger  # same attractor, other spectrum


def test_the_value_is_the_rule(judge):
    member = Replay(REST)
    found = judge(member, 17)
    runs = member.run(judge.starts, judge.steps)[-judge.keep :].swapaxes(0, 1)
    per_part = [part.distances(runs) for part in judge.parts]
    assert found.value == pytest.approx(np.mean([d + WEIGHT * h for d, h in per_part]))
    assert (found.divergence, found.hellinger) == per_part[0]
    assert found.update == 17
    want = np.mean([float(binned_divergence(HELD.series, run)) for run in runs])
    assert found.divergence == pytest.approx(want)  # every run by itself


def test_one_run_in_eight_that_comes_to_rest_counts(judge):
    whole = Replay(REST).run(judge.starts, judge.steps)
    dead = whole.copy()
    dead[:, 3] = 0.1
    values = [judge(SimpleNamespace(run=lambda *_, runs=runs: runs), 0).value for runs in (whole, dead)]
    assert values[1] > values[0] + 0.5


def test_the_share_of_short_runs_that_come_to_rest_is_added_tenfold(judge):
    def resting(samples, steps, inputs=None):
        runs = Replay(REST).run(samples, steps)
        if len(samples) == RESTARTS:
            runs[steps // 2 :, :32] = 0.5
        return runs

    alive, some = judge(Replay(REST), 0).value, judge(SimpleNamespace(run=resting), 0).value
    assert some == pytest.approx(alive + WEIGHT * 32 / RESTARTS)


def test_all_at_rest_or_lost(judge):
    rest = np.ones((judge.steps, RUNS, 3))
    found = judge(SimpleNamespace(run=lambda *_: rest), 0)
    assert found.hellinger == 1.0
    assert math.isfinite(found.value)
    lost = rest.copy()
    lost[-1, 2, 1] = math.nan
    assert judge(SimpleNamespace(run=lambda *_: lost), 0).value == math.inf


def test_a_spectrum_finds_the_frequency():
    wave = np.sin(2 * np.pi * 0.05 * np.arange(1000))[:, None]
    spectrum = mean_spectrum(np.stack([wave, wave]))
    assert spectrum.sum() == pytest.approx(1)
    assert np.argmax(spectrum[:, 0]) == 50


def test_trials_are_compared_with_as_one(judge):
    trials = [Recorded(ORBIT[at : at + 300]) for at in range(0, 6000, 300)]
    found = Judge.of(trials[18:], trials[:18])
    assert found is not None
    assert found(Replay(REST), 0).value < found(Replay(REST * 1.3), 0).value


def test_without_a_complete_stretch_there_is_nothing_to_compare_with():
    holes = ORBIT[:200].copy()
    holes[::5, 1] = math.nan
    assert Judge.of([], [Recorded(holes)]) is None
    assert Judge.of([], [TRAINED]) is not None


def test_a_driven_member_runs_under_the_inputs_of_the_recording():
    inputs = np.arange(1000.0)[:, None]
    seen = []

    def run(samples, steps, driven):
        seen.append((samples, steps, driven))
        return np.stack([ORBIT[:steps]] * RUNS, 1)

    judge = Judge.of([], [Recorded(ORBIT[:1000], inputs)])
    judge(SimpleNamespace(run=run), 0)
    samples, steps, driven = seen[0]
    assert steps == 999
    np.testing.assert_array_equal(samples, np.repeat(ORBIT[:1], RUNS, 0))
    np.testing.assert_array_equal(driven[:, 5, 0], inputs[1:, 0])
