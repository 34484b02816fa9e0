"""One task in one process: its threads, its random numbers, and whatever it raises."""

import os
import random
import sys
from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch
from threadpoolctl import threadpool_info

from isocline.lab import Measurement
from isocline.lab.claim import data_folder
from isocline.lab.engine import execute, results


@pytest.fixture
def task(toys, log):
    return toys.claim(log).tasks("tour")[0]


def doing(task, run):
    return replace(task, claim=replace(task.claim, run=run))


def test_a_task_has_one_thread_and_the_caller_keeps_its_own(task):
    torch.set_num_threads(2)
    try:
        outcome = execute(doing(task, _count_threads))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert outcome.values["torch"] == 1
    assert outcome.values["pools"]  # there was a BLAS to be limited
    assert set(outcome.values["pools"]) == {1}


def _count_threads(setting, seed, device):
    pools = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    return Measurement({"torch": torch.get_num_threads(), "pools": pools})


def test_a_task_s_random_numbers_are_its_own(task):
    before = random.getstate()
    first, again = execute(task), execute(task)
    assert first.arrays["noise"].tolist() == again.arrays["noise"].tolist()
    assert execute(replace(task, seed=1)).arrays["noise"].tolist() != first.arrays["noise"].tolist()
    assert random.getstate() == before


def test_a_task_knows_where_data_is_to_be_looked_for(task):
    look = doing(task, lambda setting, seed, device: Measurement({"data": data_folder()}))
    assert execute(look, "/somewhere").values == {"data": "/somewhere"}
    assert execute(look).values == {"data": None}
    assert data_folder() is None


def test_a_task_cannot_change_its_setting_for_others(task):
    execute(doing(task, lambda setting, seed, device: setting.clear() or Measurement({})))
    assert task.setting["number"] == 0


@pytest.mark.parametrize(
    ("run", "error"),
    [
        (lambda *_: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda *_: {"x": 1.0}, "TypeError: run: want a Measurement, got dict"),
        (lambda *_: Measurement({"x": object()}), "TypeError: value.x: want"),
    ],
)
def test_what_a_task_does_wrong_is_its_outcome(task, run, error):
    outcome = execute(doing(task, run))
    assert outcome.status == "failed"
    assert outcome.error.startswith(error)
    assert "Traceback" in outcome.traceback


def test_no_tasks_need_no_workers(monkeypatch):
    monkeypatch.setitem(sys.modules, "joblib", None)  # importing it would raise
    assert list(results([], jobs=2)) == []


def test_ray_that_is_not_installed_is_said_in_one_line(task, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"engine: want ray to be installed.*pip install 'isocline\[ray\]'"):
        list(results([task], jobs=2, ray=True))
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "127.0.0.1:99999"])
def test_a_cluster_that_does_not_answer_is_said_at_once(task, address):
    if find_spec("ray") is None:
        pytest.skip("ray is not installed: pip install 'isocline[ray]'")
    with pytest.raises(ValueError, match=f"ray_address: want a Ray cluster that answers, got '{address}'"):
        list(results([task], jobs=-1, ray=True, address=address))
