"""`isocline reconstruct` and `isocline generate`, as a person types them."""

import json

import numpy as np
import pytest
import tyro

from isocline._core import page
from isocline._core.files import CheckpointError
from isocline.cli.reconstruct import Generate, Reconstruct
from isocline.datasets.chaotic import lorenz63

QUICK = ["--hidden-dim", "8", "--sequence-length", "30", "--updates", "1200", "--seeds", "2", "--rate", "50"]


def _run(kind, *words):
    command = tyro.cli(
        kind,
        args=[str(word) for word in words],
        config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes),
    )
    return command.run()


@pytest.fixture(scope="module", autouse=True)
def _small_pictures():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "_DPI", 40)
        yield


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "lorenz.csv"
    series = lorenz63(3000, dt=0.02, standardize=False).series
    np.savetxt(path, series, "%.6g", delimiter=",", header='x,y,"the z"', comments="")
    return path


@pytest.fixture(scope="module")
def out(recording, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "out"
    assert _run(Reconstruct, recording, "--out", folder, *QUICK) == 0
    return folder


def test_a_csv_becomes_a_page_a_model_scores_and_pictures(out, recording):
    text = (out / "index.html").read_text()
    assert "A reconstruction of lorenz" in text
    assert "Scored on the last 20%, which training never saw." in text
    assert f"isocline reconstruct {recording} --out {out} --rate 50.0 --hidden-dim 8" in text
    assert len(list((out / "pictures").glob("*.png"))) == 7
    scores = json.loads((out / "scores.json").read_text())
    assert scores["channels"] == ["x", "y", "the z"]
    assert scores["scores"]["samples"] == 600
    assert scores["scores"]["lyapunov"]["dt"] == 0.02


def test_the_model_generates(out, tmp_path, capsys):
    assert _run(Generate, out, "--steps", 5) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header == "x,y,the z"
    assert len(rows) == 5
    assert _run(Generate, out / "model", "--steps", 5, "--out", tmp_path / "run.npy") == 0
    run = np.load(tmp_path / "run.npy")
    np.testing.assert_allclose(run, [[float(cell) for cell in row.split(",")] for row in rows], rtol=1e-7)
    assert _run(Generate, out, "--steps", 2, "--start", 1, 2, 25, "--out", tmp_path / "run.csv") == 0
    other = np.loadtxt(tmp_path / "run.csv", delimiter=",", skiprows=1)
    assert np.abs(other - [1, 2, 25]).max() < 10


def test_again_it_goes_on_from_its_checkpoint_and_only_for_the_same_settings(out, recording, capsys):
    before = (out / "scores.json").read_bytes()
    assert _run(Reconstruct, recording, "--out", out, *QUICK, "--json") == 0
    assert (out / "scores.json").read_bytes() == before
    assert json.loads(capsys.readouterr().out)["page"] == str(out / "index.html")
    with pytest.raises(CheckpointError, match="belongs to other settings"):
        _run(Reconstruct, recording, "--out", out, *QUICK, "--alpha", 0.3)


def test_one_column_with_lags_and_a_test_file(recording, tmp_path):
    words = ["--columns", "x", "--lags", 0, 8, 16, "--test", recording, "--fresh"]
    assert _run(Reconstruct, recording, "--out", tmp_path / "out", *QUICK, *words) == 0
    text = (tmp_path / "out" / "index.html").read_text()
    assert "Scored on another recording, lorenz.csv." in text
    assert json.loads((tmp_path / "out" / "scores.json").read_text())["channels"] == [
        "x",
        "x, 8 later",
        "x, 16 later",
    ]


WRONG = [
    (["--test-share", 0.9], "test-share: want a number > 0 and <= 0.5, got 0.9"),
    (["--rate", 0], "rate: want a finite number > 0, got 0"),
    (["--lags", 0, 5], "lags: want a single channel, got 3; pick one with --columns"),
    (["--latent-dim", -1], "latent-dim: want a whole number >= 0, got -1"),
    (["--latent-dim", 2], "latent_dim: want at least the 3 observed channels, got 2"),
    (["--sequence-length", 2500], "series: want more than sequence_length = 2500 samples"),
    (["--alpha", 2], "alpha: want a number >= 0 and <= 1, got 2"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "message"), WRONG, ids=[message[:40] for _, message in WRONG])
def test_what_is_wrong_is_named(words, message, recording, tmp_path):
    with pytest.raises(ValueError, match="want") as caught:
        _run(Reconstruct, recording, "--out", tmp_path / "out", *QUICK, *words)
    assert message in str(caught.value)
    assert not (tmp_path / "out" / "index.html").exists()


def test_a_folder_without_a_model_and_a_strange_file_are_refused(tmp_path):
    with pytest.raises(CheckpointError):
        _run(Generate, tmp_path, "--steps", 5)
    with pytest.raises(ValueError, match=r"out: want a .csv or .npy file, got run.xlsx"):
        _run(Generate, tmp_path, "--steps", 5, "--out", tmp_path / "run.xlsx")
