"""The code that a result stands on: what is followed, what is not, and that a change anywhere in it shows."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from isocline.lab import sources
from isocline.lab.claims.orthogonal import ROBUSTNESS
from isocline.lab.sources import source_digest, source_files

FILES = {
    "__init__": "from . import other, room",
    "room.__init__": "",
    "room.formula": "from .deep import hidden",
    "room.deep.__init__": "",
    "room.deep.hidden": "",
    "training.__init__": "from house.training.fit import fit",
    "training.fit": "def fit():\n    from house.data import images",
    "data.__init__": "",
    "data.images": "import house._core.seeds as seeds",
    "_core.__init__": "",
    "_core.seeds": "",
    "other.__init__": "",
    "lab.__init__": "",
    "lab.style": "from house.other import thing",
    "lab.claims.__init__": "",
    "lab.claims.room.__init__": "from .first import CLAIM",
    "lab.claims.room.first": "import house.training\nfrom ...style import line",
    "lab.claims.room.second": "",
    "lab.claims.other": "",
}
USED = {
    "room", "room.formula", "room.deep", "room.deep.hidden", "training", "training.fit", "data", "data.images",
    "_core.seeds", "lab.claims.room", "lab.claims.room.first", "lab.claims.room.second",
}  # fmt: skip


@pytest.fixture
def house(tmp_path, monkeypatch):
    """A small library laid out as isocline is; gives the file of a module by its name."""
    for name, text in FILES.items():
        path = tmp_path / "house" / f"{name.replace('.', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sources, "HOUSE", "house")
    monkeypatch.setattr(sources, "FRAME", "house.lab")
    source_digest.cache_clear()
    return lambda name: tmp_path / "house" / f"{name.replace('.', '/')}.py"


def test_what_a_claim_imports_is_followed_and_nothing_is_imported(house):
    found = source_files("house.lab.claims.room.first", "room")
    assert set(found) == {f"house.{name}" for name in USED}
    assert "house" not in sys.modules


@pytest.mark.parametrize("name", FILES)
def test_a_changed_line_shows_where_it_is_used(house, name):
    before = source_digest("house.lab.claims.room.first", "room")
    with house(name).open("a") as file:
        file.write("\n# changed")
    source_digest.cache_clear()
    changed = source_digest("house.lab.claims.room.first", "room") != before
    assert changed == (name.removesuffix(".__init__") in USED)


def test_a_claim_outside_of_the_house_is_itself_and_what_it_imports(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("from isocline.training import fit")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = source_files("mine", "no_such_room")
    assert {"mine", "isocline.training.fit", "isocline._core.seeds"} <= set(found)
    assert not any(name.startswith("isocline.lab") for name in found)
    assert source_digest("no.such.module", "no_such_room") == source_digest("nothing", "nowhere")


CHILD = """
import sys
import {module} as module
print(*(name for name in sys.modules if name.startswith("isocline.")))
print(*(task.key for task in module.{claim}.tasks("tour")))
"""


def test_another_process_imports_only_what_the_key_stands_on_and_finds_the_same_key():
    """Second way: a fresh interpreter tells what it has loaded for a claim."""
    claim = ROBUSTNESS
    module = claim.run.__module__
    code = CHILD.format(module=module, claim="ROBUSTNESS")
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    names, keys = (line.split() for line in said.splitlines())
    assert keys == [task.key for task in claim.tasks("tour")]
    assert {len(key) for key in keys} == {16}
    found = source_files(module, claim.room)
    around = {name.rpartition(".")[0] for name in found}  # packages only passed through
    loaded = {name for name in names if not f"{name}.".startswith("isocline.lab.")} - {"isocline._version"}
    assert {"isocline.orthogonal.penalty", "isocline.training.fit", "isocline.datasets.images"} <= loaded
    assert loaded - around <= set(found)
    assert all(Path(import_module(name).__file__) == found[name] for name in loaded & set(found))
