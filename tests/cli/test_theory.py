"""`isocline theory`, as a person types it."""

import json

import pytest

from isocline.cli import main
from isocline.cli.theory_page import _badge
from isocline.theory import EffectiveTheory


def _run(words):
    return main(["theory", *words.split()])


def test_class_variances_verdict_and_rates_are_printed(capsys):
    assert _run("--activation gelu --depth 48 --width 512") == 0
    said = capsys.readouterr()
    for words in (
        "half-stable",
        "N(0, 0.172922)",
        "N(0, 1.98306 / fan-in)",
        "strongly coupled",
        "eta × 0.0208",
        "deepest network of width 512   9",
        "2943",
        "0.969",
    ):
        assert words in said.out
    assert said.err == ""


def test_json_holds_the_report_and_nothing_else(capsys):
    assert _run("--activation tanh --depth 30 --width 256 --skip 0.5 --json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["criticality"]["universality_class"] == "K*=0"
    assert found["network"].endswith("skip=0.5)")
    assert len(found["layers"]["K"]) == 30
    assert found["fits"]["skip"] == 0.0
    assert found["largest_depth"] >= 30


def test_out_gets_a_page_with_pictures_and_the_numbers(tmp_path, capsys):
    out = tmp_path / "deep"
    assert _run(f"--activation relu --depth 20 --width 400 --out {out}") == 0
    assert f"page: {out / 'index.html'}" in capsys.readouterr().out
    page = (out / "index.html").read_text()
    for words in (
        "relu, 20 layers of width 400",
        "too deep for its width",
        "critical_init_(model, sample)",
        f"isocline theory --activation relu --depth 20 --width 400 --out {out}",
    ):
        assert words in page
    assert sorted(path.name for path in (out / "pictures").iterdir()) == [
        "at-this-width.png",
        "through-depth.png",
    ]
    assert json.loads((out / "report.json").read_text())["fits"]["width"] == 1250


@pytest.mark.parametrize(
    ("width", "badge"), [(2000, "depth fits"), (1100, "at the edge"), (400, "too deep for its width")]
)
def test_the_badge_follows_the_verdict(width, badge):
    assert _badge(EffectiveTheory("relu", 20, width).report()).text == badge


def test_without_criticality_the_least_bad_is_said(tmp_path, capsys):
    assert _run(f"--activation sigmoid --depth 10 --width 100 --out {tmp_path}") == 0
    said = capsys.readouterr()
    assert said.err.startswith("isocline: no criticality exists; the nearest useful setting has chi_par")
    assert "not critical: norms or gradients are lost with depth" in " ".join(said.out.split())
    assert "not critical" in (tmp_path / "index.html").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--activation geluu --depth 4 --width 8", "got 'geluu'; did you mean 'gelu' or 'elu' or 'selu'?"),
        ("--activation relu --depth 0 --width 8", "depth: want a whole number >= 1, got 0"),
        ("--activation relu --depth 4 --width 0", "width: want a whole number >= 1, got 0"),
        ("--activation relu --depth 4 --width 8 --skip 1", "skip: want a number >= 0 and < 1, got 1"),
        ("--activation relu --depth 4 --width 8 --outputs 1", "outputs: want a whole number >= 2, got 1"),
        ("--activation relu --depth 4 --width 8 --out {file}", "out: want a folder, got the file"),
        ("--activation relu --depth 4", "--width"),
        ("--activation relu --depth 4 --width 8 --skp 0.5", "did you mean --skip?"),
    ],
)
def test_a_mistake_is_answered_with_one_line(words, message, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert _run(words.format(file=tmp_path / "file")) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert message in said.err
