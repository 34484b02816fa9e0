"""The toy claim, importable here and in every worker process, and a count of what it did."""

import importlib
from pathlib import Path

import pytest


@pytest.fixture
def toys(monkeypatch):
    """The module `toy_claims`; worker processes inherit the path to it."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return importlib.import_module("toy_claims")


@pytest.fixture
def log(tmp_path):
    """The file in which the toy claim's tasks write that they ran."""
    return tmp_path / "log.txt"


@pytest.fixture
def ran(log):
    """How many tasks have run since the last call."""
    seen = 0

    def count() -> int:
        nonlocal seen
        lines = len(log.read_text().splitlines()) if log.exists() else 0
        seen, fresh = lines, lines - seen
        return fresh

    return count
