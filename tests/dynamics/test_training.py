"""Training goes on where it stopped: in another process, after a kill, and never from what belongs to another."""

import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from isocline._core.files import CheckpointError, load_folder, save_folder
from isocline.dynamics.estimator import DivergedWarning
from isocline.dynamics.schedules import AdaptiveForcing, ConstantForcing, NoForcing, SparseForcing


def _same(one, other):
    assert len(one.members_) == len(other.members_)
    for ours, theirs in zip(one.members_, other.members_, strict=True):
        assert ours.validation == theirs.validation
        assert ours.alpha == theirs.alpha
        assert all(torch.equal(ours.parameters[name], theirs.parameters[name]) for name in ours.parameters)
    assert one.history_ == other.history_


class Stopped(Exception):
    pass


def _stop_at(update):
    def watch(moment):
        if moment.update >= update:
            raise Stopped

    return watch


@pytest.mark.parametrize(
    "forcing",
    [AdaptiveForcing(every=7), ConstantForcing(0.2), SparseForcing(5)],
    ids=lambda one: type(one).__name__,
)
def test_interrupted_and_resumed_it_ends_with_the_same_numbers(forcing, orbit, made, tmp_path):
    updates = 30 if isinstance(forcing, SparseForcing) else 1100
    settings = {"forcing": forcing, "updates": updates, "seeds": 2}
    whole = made(**settings).fit(orbit[0][:800])
    if updates == 30:
        made(**settings).fit(orbit[0][:800], checkpoint=tmp_path)
        again = made(**settings).fit(orbit[0][:800], checkpoint=tmp_path)
        assert again.resumed_at_ == 30  # nothing was left to do
    else:
        with pytest.raises(Stopped):
            made(**settings).fit(orbit[0][:800], checkpoint=tmp_path, watch=_stop_at(500))
        again = made(**settings).fit(orbit[0][:800], checkpoint=tmp_path)
        assert 0 < again.resumed_at_ < updates
    _same(whole, again)


CHILD = """
import sys
import numpy as np
import torch
from isocline.dynamics.estimator import Reconstructor
from isocline.dynamics.schedules import AdaptiveForcing

torch.set_num_threads(1)
series, folder, updates = np.load(sys.argv[1]), sys.argv[2], int(sys.argv[3])
print("ready", flush=True)
Reconstructor(
    hidden_dim=40, sequence_length=50, updates=updates, forcing=AdaptiveForcing(), learning_rate=(5e-3, 1e-4),
    random_state=7, dt=0.02,
).fit(series, checkpoint=folder)
"""


@pytest.mark.parametrize("times", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_killed_at_any_moment_it_goes_on_from_the_last_look(times, orbit, made, tmp_path):
    """SIGKILL as soon as a checkpoint past update 0 is there; the end is that of a run left alone."""
    np.save(tmp_path / "series.npy", orbit[0][:800])
    updates, folder, kills = 4000 * times, tmp_path / "run", 0
    settings = {"updates": updates, "forcing": AdaptiveForcing()}
    seen = -1
    for _ in range(times):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tmp_path / "series.npy"), str(folder), str(updates)],
            stdout=subprocess.PIPE,
        )
        assert child.stdout is not None
        child.stdout.readline()
        while child.poll() is None and _update(folder) <= seen:
            time.sleep(0.002)
        if child.poll() is None:
            os.kill(child.pid, signal.SIGKILL)
            kills += 1
        child.wait()
        child.stdout.close()
        seen = _update(folder)
        assert seen > 0
    assert kills >= 1
    assert seen < updates, "every kill came too late: nothing was tested"
    again = made(**settings).fit(orbit[0][:800], checkpoint=folder)
    assert 0 < again.resumed_at_ < updates
    _same(made(**settings).fit(orbit[0][:800]), again)


def _update(folder: Path) -> int:
    try:
        return int(load_folder(folder)[0]["update"])
    except CheckpointError:
        return -1


def test_a_checkpoint_of_other_settings_or_data_is_refused(orbit, made, tmp_path):
    made().fit(orbit[0][:800], checkpoint=tmp_path)
    for settings, data in (
        ({"hidden_dim": 31}, orbit[0][:800]),
        ({"random_state": 8}, orbit[0][:800]),
        ({}, orbit[0][1:801]),
    ):
        with pytest.raises(CheckpointError, match="belongs to other settings, data or seeds"):
            made(**settings).fit(data, checkpoint=tmp_path)


def test_a_folder_that_holds_something_else_is_refused(orbit, made, tmp_path):
    save_folder(tmp_path, {"kind": "something"}, {})
    with pytest.raises(CheckpointError, match="is not a checkpoint of a reconstruction"):
        made().fit(orbit[0][:800], checkpoint=tmp_path)


def test_a_forged_checkpoint_is_refused(orbit, made, tmp_path):
    made().fit(orbit[0][:800], checkpoint=tmp_path)
    config, arrays = load_folder(tmp_path, tensors=True)
    del arrays["state.moments"]
    save_folder(tmp_path, config, arrays)
    with pytest.raises(CheckpointError, match="does not hold what a checkpoint must"):
        made().fit(orbit[0][:800], checkpoint=tmp_path)
    config["best"] = 3
    save_folder(tmp_path, config, arrays)
    with pytest.raises(CheckpointError, match="does not hold what a checkpoint must"):
        made().fit(orbit[0][:800], checkpoint=tmp_path)


def test_divergence_is_caught_and_said_with_its_update_and_why(orbit, made):
    """A rate at which nothing can learn: A leaves [-1, 1] at once and the free windows overflow float32."""
    estimator = made(forcing=NoForcing(), learning_rate=(100.0, 100.0), seeds=2)
    with pytest.warns(DivergedWarning, match="its last good state was kept") as caught:
        estimator.fit(orbit[0][:800])
    assert len(estimator.stopped_) == len(caught) == 2
    for stop in estimator.stopped_:
        assert 1 <= stop.update <= 600
        assert "with largest |A|" in stop.why
        assert "alpha 0" in stop.why
    for member in estimator.members_:
        assert all(torch.isfinite(value).all() for value in member.parameters.values())


def test_the_best_snapshot_before_a_divergence_is_kept(orbit, made):
    """The rate rises from fine to absurd: what is kept was judged before the member was lost."""
    estimator = made(learning_rate=(1e-3, 1e15), updates=3000)
    with pytest.warns(DivergedWarning):
        estimator.fit(orbit[0][:800])
    (stop,), (member,) = estimator.stopped_, estimator.members_
    assert member.validation is not None
    assert 0 < member.validation.update < stop.update
    assert np.isfinite(estimator.generate(50)).all()


def test_what_is_watched_is_what_is_remembered(orbit, made):
    moments = []
    estimator = made(updates=1200).fit(orbit[0][:800], watch=moments.append)
    assert [one.update for one in moments] == [500, 1000, 1200]
    assert moments[-1].updates == 1200
    assert moments[-1].loss == estimator.history_[-1]["loss"][0]
    assert moments[-1].best == estimator.members_[0].validation.value
    assert min(row["validation"][0] for row in estimator.history_) == moments[-1].best


def test_a_fit_leaves_the_global_random_state_as_found_and_is_its_seed_s_own(orbit, made):
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    one = made().fit(orbit[0][:800])
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002
    torch.manual_seed(99)
    _same(one, made().fit(orbit[0][:800]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        other = made(random_state=8).fit(orbit[0][:800])
    assert not torch.equal(one.members_[0].parameters["W1"], other.members_[0].parameters["W1"])
