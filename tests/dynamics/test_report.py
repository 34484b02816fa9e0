"""The page: what it shows, that it warns, that it stands alone; and what it is made of."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from isocline._core import page as page_module
from isocline.dynamics import drawings, findings
from isocline.dynamics.findings import examine, growth_of
from isocline.dynamics.report import verdict, write_report


@pytest.fixture(scope="module", autouse=True)
def _small():
    """Small pictures, and few regions for fixed points: a search where the whole list would take a second each time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page_module, "_DPI", 40)
        patch.setattr(findings, "MOST_TUPLES", 2000)
        yield


@pytest.fixture(scope="module")
def found(fitted, orbit):
    return examine(fitted, fitted._recorded(orbit[1], None))


@pytest.fixture
def resting(fitted):
    """A model that goes to one point where the data never stay, wherever it starts."""
    changed = copy.copy(fitted)
    parameters = {name: value.clone() for name, value in fitted.member_.parameters.items()}
    parameters["W1"].zero_()
    parameters["A"].fill_(0.5)
    parameters["h1"].copy_(torch.tensor([1.0, 0.0, 0.0]))
    changed.members_ = (replace(fitted.member_, parameters=parameters),)
    return changed


@pytest.fixture(scope="module")
def page(fitted, found, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    return write_report(
        fitted, found, folder / "page.html", title="Lorenz & others", channels=["x", "y", "z"], caveat="made up",
        command="isocline reconstruct x.csv --out y", pictures=folder / "pictures",
    )  # fmt: skip


def test_the_page_has_every_part_and_needs_nothing_else(page, found):
    text = page.read_text()
    for words in (
        "Lorenz &amp; others", "Mind: made up.", "The free run beside the data", "Scores", "Exponents and gradients",
        "Fixed points", "Training", "truth against truth", "isocline reconstruct x.csv --out y", "The model is chaotic",
        f"{len(found.fixed_points)} fixed point",
    ):  # fmt: skip
        assert words in text, words
    assert "<script" not in text
    assert 'src="http' not in text


def test_the_pictures_lie_beside_it_too(page):
    names = {path.stem for path in (page.parent / "pictures").iterdir()}
    assert names == {"attractor", "series", "gradients", "training", "spectra", "lyapunov", "fixed-points"}
    assert page.read_text().count("data:image/png") == len(names)


def test_the_page_of_a_spurious_attractor_warns(resting, orbit, tmp_path):
    found = examine(resting, resting._recorded(orbit[1], None))
    assert [len(group) for group in found.spurious] == [1]
    np.testing.assert_allclose(found.spurious[0].points, [[2, 0, 0]], atol=1e-6)  # h1 / (1 - A), float32
    badge, words = verdict(found)
    assert badge.tone == "bad"
    assert "attracts where the data do not stay" in words
    text = write_report(resting, found, tmp_path / "page.html").read_text()
    assert "Warning: a stable fixed point lies where the data do not settle." in text
    assert "1 false attractor" in text
    assert "16 of 16 restarts end elsewhere" in text


def test_a_warning_is_there_if_and_only_if_there_is_a_false_attractor(page, found):
    assert ("Warning: a stable fixed point" in page.read_text()) == bool(found.spurious)


def test_members_that_diverged_are_on_the_page(made, orbit, tmp_path):
    estimator = made(learning_rate=(1e-3, 1e15), updates=3000)
    with pytest.warns(UserWarning, match="member 0 stopped at update"):
        estimator.fit(orbit[0][:800])
    text = estimator.report(tmp_path / "page.html", orbit[1][:2000]).read_text()
    assert "1 of 1 members diverged" in text
    assert "with largest |A|" in text


def test_without_a_series_the_part_held_out_is_scored(fitted):
    found = fitted.examine()
    np.testing.assert_array_equal(found.known.series, fitted.held_out_[0].series)
    assert found.scores.samples == 600


@pytest.mark.parametrize(
    ("settings", "columns"),
    [({"latent_dim": 2}, 1), ({"latent_dim": 1}, 1), ({"observation": "affine", "latent_dim": 2}, 3)],
    ids=["one channel", "one state", "affine"],
)
def test_other_shapes_have_their_page_too(settings, columns, made, orbit, tmp_path):
    estimator = made(**settings).fit(orbit[0][:1500, :columns])
    text = estimator.report(tmp_path / "page.html", orbit[1][:1500, :columns]).read_text()
    assert "Training" in text


def test_gradients_grow_as_the_exponent_says_and_forcing_takes_its_share(found, fitted):
    free, forced = found.growth["without forcing"], found.growth["forced, alpha 0.3"]
    steps = len(free)
    np.testing.assert_allclose(forced - free, np.arange(1, steps + 1) * math.log(0.7), rtol=1e-9)
    rate = free[-1] / steps
    assert rate == pytest.approx(
        found.scores.lyapunov.exponents[0], rel=0.5
    )  # of 1000 steps, a short stretch
    assert found.critical_alpha < 0.3
    states = fitted.member_.signals(found.known.series)
    assert growth_of(fitted.member_, states[:50])["without forcing"].shape == (49,)


def test_the_findings_are_plain(found):
    saved = found.to_dict()
    assert saved["scores"]["divergence"]["value"] == float(found.scores.divergence)
    assert len(saved["fixed_points"]["orbits"]) == len(found.fixed_points)


def test_the_time_shown_covers_a_few_oscillations():
    wave = np.sin(2 * np.pi * np.arange(1000) / 25)[:, None]
    assert drawings._period(wave) == pytest.approx(25, abs=1)
