"""The page says everything, shows the figures, and stands alone."""

import json
import re

import pytest

from isocline.lab import Options, run_claims, write_pages
from isocline.lab.page import duration, write_index


@pytest.fixture
def report(toys, log, tmp_path):
    """All that can happen to a task, in one claim."""
    claim = toys.claim(log, ["good", "raise", "missing"], seeds=2)
    return run_claims([claim], "tour", Options(out=tmp_path / "runs", jobs=2))[0]


@pytest.fixture
def page(report, tmp_path):
    path = write_pages(
        [report], tmp_path / "page", title="Toys", lead="Play.", command="isocline tour --jobs 2"
    )
    return path.read_text()


def test_the_page_says_what_was_claimed_and_what_was_found(page, report):
    words = _words(page)
    for said in [
        "Toys <b>count</b> & add.",
        "A paper on <toys>",
        "not decided",
        "2 tasks failed",
        "mean number",
        "page 1",
        "≥ 0",
        "Noise of <every> run",
        "the toy box is not on this machine; buy one",
        "ArithmeticError: the toy broke",
        "Traceback (most recent call last)",
        "isocline tour --jobs 2",
        "isocline reproduce toy/play --scale tour",
        "1 per task",
        report.machines[0]["torch"],
        report.machines[0]["machine"],
    ]:
        assert said in words, said


def test_the_page_stands_alone(page):
    """Text from a claim stays text, and nothing is fetched."""
    assert "<b>count" not in page
    assert "<script" not in page
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", page)


def test_pictures_are_on_the_page_and_beside_the_results(page, report):
    png = (report.folder / "noise.png").read_bytes()
    assert png.startswith(b"\x89PNG")
    assert page.count("data:image/png;base64,") == 1


def test_results_are_left_as_json(page, report, tmp_path):
    (found,) = json.loads((tmp_path / "page/results.json").read_text())
    assert found["claim"] == "toy/play"
    assert found["tasks"] == {"done": 2, "failed": 2, "skipped": 2, "resumed": 0}
    assert found["verdict"] == "not decided"


def test_several_claims_have_an_overview_with_links(toys, log, tmp_path):
    out = tmp_path / "runs"
    claims = [toys.claim(log, name="toy/one"), toys.claim(log, name="toy/two")]
    reports = run_claims(claims, "tour", Options(out=out, jobs=2))
    page = write_pages(reports, out / "tour", title="T", lead="L", command="c").read_text()
    assert page.count('href="#toy-one"') == page.count('href="#toy-two"') == 2  # contents and overview
    assert page.count('id="toy-one"') == 1
    index = write_index(reports, out, "c").read_text()
    for name in ("one", "two"):
        assert f'href="toy/{name}/tour/index.html"' in index


def test_a_plot_that_breaks_costs_its_picture_only(toys, log, tmp_path):
    from dataclasses import replace

    claim = replace(toys.claim(log), plot=lambda records: {"noise": records[7]})
    report = run_claims([claim], "tour", Options(out=tmp_path, jobs=2))[0]
    words = _words(write_pages([report], tmp_path, title="T", lead="L", command="c").read_text())
    assert "The figures could not be drawn: IndexError" in words
    assert "mean number" in words


def test_a_person_s_own_matplotlib_settings_are_left_alone(page):
    import matplotlib

    assert matplotlib.rcParams["axes.spines.top"] is True


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.04, "0.0 s"),
        (9.96, "10.0 s"),
        (42.4, "42 s"),
        (59.7, "60 s"),
        (61, "1 min 01 s"),
        (7800, "2 h 10 min"),
    ],
)
def test_durations_in_words(seconds, words):
    assert duration(seconds) == words


def _words(page):
    from html import unescape

    return unescape(re.sub(r"<[^>]*>", "", page))
