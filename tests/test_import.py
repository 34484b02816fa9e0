"""`import isocline` is as light as `import torch`: rooms and their libraries come with their first use."""

import json
import subprocess
import sys

import pytest

HEAVY = [
    "numba",
    "sklearn",
    "scipy",
    "matplotlib",
    "pandas",
    "joblib",
    "rich",
    "tyro",
    "jinja2",
    "PIL",
    "ray",
]

PROBE = """
import json, sys, time
import torch
known = set(sys.modules)
start = time.perf_counter()
import isocline
seconds = time.perf_counter() - start
print(json.dumps({"seconds": seconds, "new": sorted(set(sys.modules) - known)}))
"""


def _probe() -> dict:
    result = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    return json.loads(result.stdout)


def test_import_costs_no_more_than_torch_plus_a_fifth_of_a_second():
    assert min(_probe()["seconds"] for _ in range(3)) < 0.2


def test_import_brings_no_heavy_library_and_no_room():
    new = _probe()["new"]
    assert "isocline" in new  # the probe did import the package
    assert not [name for name in new if name.split(".")[0] in HEAVY]
    assert {name for name in new if name.startswith("isocline.")} == {"isocline._version"}


def test_every_room_named_at_the_door_can_be_reached():
    import isocline

    for name in isocline.__all__:
        assert getattr(isocline, name) is not None


def test_a_wrong_name_is_answered_with_the_names_there_are():
    import isocline

    with pytest.raises(AttributeError, match=r"it has .*linear_model"):
        isocline.dynamic  # noqa: B018
