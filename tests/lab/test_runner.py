"""Only what is missing is computed, nothing that was computed is lost, and the numbers depend on the task
alone."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from isocline._core.files import load_folder, plain
from isocline.lab import Options, find, run_claims


@pytest.fixture
def out(tmp_path):
    return tmp_path / "runs"


def figures(report):
    return {row.figure: row.values for row in report.verdict.rows}


def one(claim, out, **options):
    (report,) = run_claims([claim], "tour", Options(out=out, jobs=2, **options))
    return report


def test_a_run_measures_judges_and_leaves_plain_files(toys, log, out, ran):
    report = one(toys.claim(log, ["good", "good"], seeds=2), out)
    assert ran() == 4
    assert (len(report.records), report.troubles, report.resumed) == (4, (), 0)
    assert report.verdict.answer == "holds"
    assert {path.suffix for path in out.rglob("*") if path.is_file()} == {".json", ".safetensors"}
    config, arrays = load_folder(next(report.folder.iterdir()))
    assert config["status"] == "done"
    assert config["threads"] == 1
    assert arrays["noise"].shape == (3,)
    assert report.records[0].values["limit"] == float("inf")
    json.dumps(report.to_dict())


def test_a_resumed_run_sees_exactly_what_a_fresh_one_saw(toys, log, out, ran):
    claim = toys.claim(log, ["good", "good"], seeds=3)
    first = one(claim, out)
    assert ran() == 6
    second = one(claim, out)
    assert ran() == 0
    assert second.resumed == 6
    assert figures(second) == figures(first)
    assert [record.values for record in second.records] == [record.values for record in first.records]


def test_more_seeds_add_to_what_is_there_and_fresh_starts_over(toys, log, out, ran):
    claim = toys.claim(log, seeds=2)
    before = figures(one(claim, out))
    assert ran() == 2
    assert len(one(claim, out, seeds=5).records) == 5
    assert ran() == 3
    assert figures(one(claim, out, fresh=True)) == before
    assert ran() == 2


def test_the_numbers_depend_on_the_task_alone(toys, log, out, tmp_path):
    """Not on how many run at a time, on what ran before, or on the caller's own random state."""
    claim = toys.claim(log, ["good", "good", "good"], seeds=2)
    torch.manual_seed(1)
    random.seed(1)
    three = run_claims([claim], "tour", Options(out=out, jobs=3))[0]
    torch.manual_seed(2)
    before = torch.get_rng_state(), random.getstate()
    single = run_claims([claim], "tour", Options(out=tmp_path / "other", jobs=1))[0]
    assert figures(three) == figures(single)
    assert len(set(figures(three)["noise"])) == 6  # and they do differ from task to task
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert all(record.values["threads"] == 1 for record in three.records)


def test_a_task_that_raises_is_recorded_and_the_others_go_on(toys, log, out, ran, tmp_path):
    gate = tmp_path / "repaired"
    claim = toys.claim(log, ["good", "raise", "good"], gate=gate)
    report = one(claim, out)
    assert ran() == 3
    assert (len(report.records), report.failed) == (2, 1)
    assert "ArithmeticError: the toy broke" in report.troubles[0].traceback
    assert report.troubles[0].error == "ArithmeticError: the toy broke"
    assert (report.verdict.answer, report.verdict.why) == ("not decided", "1 task failed")
    gate.touch()
    again = one(claim, out)
    assert ran() == 1  # only the one that failed
    assert (len(again.records), again.failed, again.verdict.answer) == (3, 0, "holds")


def test_what_is_missing_here_is_skipped_and_tried_again(toys, log, out, ran, tmp_path):
    gate = tmp_path / "bought"
    claim = toys.claim(log, ["good", "missing"], gate=gate)
    report = one(claim, out)
    assert (len(report.records), report.failed, report.skipped) == (1, 0, 1)
    assert report.troubles[0].error == "the toy box is not on this machine; buy one"
    assert ran() == 2
    gate.touch()
    assert one(claim, out).skipped == 0
    assert ran() == 1


def test_a_worker_that_dies_takes_only_its_own_task_with_it(toys, log, out):
    report = one(toys.claim(log, ["good", "die", "good", "good"]), out)
    assert [record.setting["number"] for record in report.records] == [0, 2, 3]
    assert [trouble.setting["number"] for trouble in report.troubles] == [1]
    assert "the worker process died" in report.troubles[0].error


def test_a_result_that_cannot_be_saved_is_a_failure_not_a_crash(toys, log, out):
    report = one(toys.claim(log, ["complex", "good"]), out)
    assert (len(report.records), report.failed) == (1, 1)
    assert "real numbers" in report.troubles[0].error


def test_nan_is_kept_and_counted(toys, log, out):
    report = one(toys.claim(log, ["nan", "nan", "good"]), out)
    assert report.verdict.rows[0].diverged == 2
    assert report.verdict.answer == "does not hold"


@pytest.mark.parametrize("damage", ["config", "arrays", "manifest", "empty"])
def test_a_damaged_folder_is_computed_again(toys, log, out, ran, damage):
    claim = toys.claim(log, ["good", "good"])
    before = figures(one(claim, out))
    assert ran() == 2
    folder = claim.tasks("tour")[1].folder(out)
    if damage == "empty":
        for path in folder.iterdir():
            path.unlink()
    else:
        (path,) = folder.glob(f"{damage}*")
        path.write_bytes(path.read_bytes()[:-7] + b"damaged")
    assert figures(one(claim, out)) == before
    assert ran() == 1


def test_tasks_that_measure_time_run_alone_and_last(toys, tmp_path, out):
    logs = tmp_path / "together.txt", tmp_path / "alone.txt"
    together = toys.claim(logs[0], ["good"] * 3, pause=0.05)
    alone = toys.claim(logs[1], ["good"] * 4, pause=0.05, alone=True, name="toy/timed")
    run_claims([alone, together], "tour", Options(out=out, jobs=3))
    spans = [sorted(map(_span, log.read_text().splitlines())) for log in logs]
    assert max(end for _, end in spans[0]) <= spans[1][0][0]
    assert all(end <= begin for (_, end), (begin, _) in zip(spans[1], spans[1][1:], strict=False))


def _span(line):
    return tuple(float(word) for word in line.split()[2:])


def test_ray_gives_the_same_figures_as_this_machine(out, tmp_path):
    if find_spec("ray") is None:
        pytest.skip("ray is not installed: pip install 'isocline[ray]'")
    claims = find(["linear_model/worst-case"])
    local = run_claims(claims, "tour", Options(out=out, jobs=2))[0]
    ray = run_claims(claims, "tour", Options(out=tmp_path / "ray", jobs=2, engine="ray"))[0]
    assert ray.resumed == 0
    assert len(ray.records) == len(local.records)
    assert figures(ray) == figures(local)
    assert ray.verdict.answer == "holds"
    import ray as ray_library

    assert not ray_library.is_initialized()


DRIVER = """
import sys
from isocline.lab import claims
claims.ROOMS = ("toy_claims",)
from isocline.cli import main
sys.exit(main(sys.argv[1:]))
"""


def _reproduce(out: Path, log: Path, **toy: str) -> subprocess.Popen:
    paths = [str(Path(__file__).parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    environment = os.environ | {"TOY_LOG": str(log), "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    environment |= {f"TOY_{name.upper()}": value for name, value in toy.items()}
    words = ["reproduce", "toy/play", "--out", str(out), "--jobs", "2", "--json"]
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _wait_until_quiet(log: Path) -> None:
    size = -1
    while size != (size := log.stat().st_size):
        time.sleep(0.5)


def test_a_run_killed_half_way_repeats_only_what_is_missing(toys, tmp_path, log, ran):
    """SIGKILL; the second run must end with the figures of a run that nobody disturbed."""
    toy = {"ways": " ".join(["good"] * 8), "seeds": "2", "pause": "0.1"}
    process = _reproduce(tmp_path / "killed", log, **toy)
    folder = tmp_path / "killed/toy/play/tour"
    deadline = time.monotonic() + 60
    while len(list(folder.glob("*/manifest.json"))) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=30)
    process.stdout.close(), process.stderr.close()
    _wait_until_quiet(log)  # its workers end the task they are at, and then themselves
    saved = len(list(folder.glob("*/manifest.json")))
    assert process.returncode == -signal.SIGKILL
    assert 4 <= saved < 16  # it was half-way
    ran()
    claim = toys.claim(log, ["good"] * 8, seeds=2, pause=0.1)
    resumed, undisturbed = (one(claim, tmp_path / name).to_dict() for name in ("killed", "whole"))
    assert resumed["tasks"] == {"done": 16, "failed": 0, "skipped": 0, "resumed": saved}
    assert undisturbed["tasks"]["resumed"] == 0
    assert ran() == 16 - saved + 16
    assert plain(resumed["figures"]) == plain(undisturbed["figures"])
    assert len(set(resumed["figures"][1]["values"])) == 16  # each task drew numbers of its own
