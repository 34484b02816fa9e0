"""The room's door opens without a noise."""

import subprocess
import sys

import pytest

import isocline.linear_model as room

SLOW = ("numba", "sklearn", "scipy.optimize", "matplotlib")


def test_every_public_name_is_there():
    assert all(getattr(room, name) is not None for name in room.__all__)
    assert dir(room) == sorted(room.__all__)


def loaded_after(statement: str, names: tuple[str, ...]) -> str:
    code = f"import sys; {statement}; print(*[name for name in {names} if name in sys.modules])"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_importing_imports_nothing_slow():
    assert loaded_after("import isocline.linear_model", SLOW) == ""
    assert loaded_after("from isocline.linear_model import PerceptronGD", ("numba", "sklearn")) == ""


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="has no attribute 'Perceptron'; it has LargeStepClassifier"):
        _ = room.Perceptron
