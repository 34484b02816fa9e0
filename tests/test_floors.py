"""The floors of the house hold, and a broken floor would be noticed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def _lint(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports_command as c; c()",
        "--no-cache",
    ]
    environment = os.environ | {"PYTHONPATH": str(folder / "src"), "COLUMNS": "200"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def _copy_of_the_house(folder: Path) -> Path:
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def test_no_import_runs_upward_and_no_room_imports_another(tmp_path):
    result = _lint(_copy_of_the_house(tmp_path))
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 broken" in result.stdout


def test_a_broken_floor_is_noticed(tmp_path):
    house = _copy_of_the_house(tmp_path)
    (house / "src/isocline/_core/upward.py").write_text("from isocline import lab\n")
    result = _lint(house)
    assert result.returncode != 0
    assert "1 broken" in result.stdout
