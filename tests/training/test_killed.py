"""SIGKILL in the middle of an epoch, and the same weights all the same: an image model, killed in a process of its own."""

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from isocline._core.files import read_json

from .killed import main

PROGRAM = Path(__file__).with_name("killed.py")
SOURCE = Path(__file__).parents[2] / "src"


def killed(folder, at, result):
    """The program in a fresh process; its exit code."""
    environment = dict(os.environ) | {"PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(PROGRAM), str(folder), str(at), str(result)]
    return subprocess.run(command, env=environment, capture_output=True, check=False, timeout=300).returncode


def digest(result):
    """sha256 of the file of weights."""
    [weights] = Path(f"{result}-model").glob("*.safetensors")
    return hashlib.sha256(weights.read_bytes()).hexdigest()


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX's")
def test_a_run_killed_in_mid_epoch_ends_with_the_same_weights(tmp_path):
    """Killed after step 10, in the second epoch of 6 steps; the last checkpoint is of step 8, so two are done again."""
    main(tmp_path / "whole", 0, tmp_path / "uninterrupted")
    assert killed(tmp_path / "run", 10, tmp_path / "killed") == -signal.SIGKILL
    assert not (tmp_path / "killed.json").exists()
    main(tmp_path / "run", 0, tmp_path / "resumed")
    whole, resumed = (read_json(tmp_path / f"{name}.json") for name in ("uninterrupted", "resumed"))
    assert resumed["resumed_at"] == 8  # it did resume, in the middle of an epoch
    assert whole["resumed_at"] == 0
    assert resumed["history"] == whole["history"]
    assert digest(tmp_path / "resumed") == digest(tmp_path / "uninterrupted")
