"""The documentation is true: its code runs and prints what it says; so do the examples and the doctests."""

import ast
import doctest
import importlib
import importlib.util
import pkgutil
import re
import runpy
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

import isocline
from isocline.lab import Record, judge
from isocline.lab.engine import execute

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if "_build" not in page.parts and "```python\n" in page.read_text("utf-8")]
FIGURE = re.compile(r"_build/figures/([\w.-]+)\)")
LINK = re.compile(r"\[[^]]*\]\(([^)#:]+)(?:#[^)]*)?\)")


def _load(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


blocks = _load(ROOT / "docs" / "blocks.py")


@pytest.fixture(autouse=True)
def _float64_default():
    """Takes the place of the suite's float64: the documentation is read under torch's own default."""
    yield
    plt.close("all")


def _modules() -> list[str]:
    found = pkgutil.walk_packages(isocline.__path__, "isocline.")
    return ["isocline", *(module.name for module in found)]


def _has_doctest(name: str) -> bool:
    source = importlib.util.find_spec(name).origin
    return source is not None and ">>> " in Path(source).read_text("utf-8")


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_the_page_runs_and_prints_what_it_says(page, tmp_path):
    blocks.run(page, tmp_path)
    shown = [
        Path(figure).name
        for figure in re.findall(r"\(([./\w]*_build/figures/[^)]+)\)", page.read_text("utf-8"))
    ]
    assert sorted(path.name for path in tmp_path.glob("*.svg")) == sorted(shown)


def test_the_recipe_for_a_room_makes_a_claim_that_holds(tmp_path):
    names = blocks.run(ROOT / "CONTRIBUTING.md", tmp_path)
    names["test_never_longer_than_asked"]()
    [claim] = names["CLAIMS"]
    found = [(task, execute(task)) for task in claim.tasks("tour")]
    records = [Record(task.setting, task.seed, got.values, got.arrays, got.seconds) for task, got in found]
    assert len(records) == 3
    assert judge(claim, "tour", records).answer == "holds"


@pytest.mark.parametrize("example", EXAMPLES, ids=_name)
def test_the_example_runs_and_is_short(example, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(example), run_name="__main__")
    assert capsys.readouterr().out.strip()
    assert len(example.read_text("utf-8").splitlines()) < 60
    assert ast.get_docstring(ast.parse(example.read_text("utf-8")))


@pytest.mark.parametrize("name", [name for name in _modules() if _has_doctest(name)])
def test_the_doctests_are_true(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=_name)
def test_links_between_files_lead_somewhere(page):
    for target in LINK.findall(page.read_text("utf-8")):
        assert "_build" in target or (page.parent / target).exists(), target


def test_a_page_that_is_not_true_is_noticed(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("Words.\n\n```python\nprint(2 + 2)\n```\n\n```text\n5\n```\n")
    with pytest.raises(AssertionError, match="block at line 4: the page says\n5"):
        blocks.run(page, tmp_path)


@pytest.mark.parametrize(
    ("want", "got", "tolerance", "equal"),
    [
        ("a 69, b", "a 69,\nb", 0.0, True),
        ("a 69, b", "a 70, b", 0.0, False),
        ("a 69, b", "a 70, b", 0.1, True),
        ("a 69, b", "a 80, b", 0.1, False),
        ("a b", "a", 0.1, False),
        ("a", "b", 0.1, False),
    ],
)
def test_outputs_are_compared_word_by_word(want, got, tolerance, equal):
    assert blocks.same(want, got, tolerance) is equal
