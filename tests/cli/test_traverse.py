"""`isocline traverse`, as a person types it."""

import json

import numpy as np
import pytest
from PIL import Image

from isocline.cli import main

FACTORY = """
import torch

def net():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 2))
    with torch.no_grad():
        model[1].weight.zero_()
        model[1].bias.copy_(torch.tensor([3.0, 0.0]))
        model[1].weight[0, 7] = 1.0
    return model

def nothing():
    return 3
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for name in ("one", "two", "three"):
        Image.fromarray(rng.integers(0, 256, (20, 24, 3), np.uint8)).save(tmp_path / f"{name}.png")
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "traversed_net.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def _run(words):
    return main(["traverse", *words.split()])


def test_a_model_of_ones_own_and_three_pictures_make_a_page(folder, capsys):
    assert _run("traversed_net:net one.png two.png three.png --size 16 --out found") == 0
    said = capsys.readouterr().out
    assert "one → two" in said
    assert "page: found/index.html" in said
    page = (folder / "found" / "index.html").read_text()
    assert "isocline traverse traversed_net:net one.png two.png three.png --out found --size 16" in page
    assert len(list((folder / "found" / "blind_spots").iterdir())) == 2


def test_json_holds_the_findings_and_nothing_else(folder, capsys):
    assert _run("traversed_net:net one.png two.png --size 16 --out found --json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["targets"] == ["two"]
    assert found["rmse"][0] < 0.05


def test_a_source_of_another_class_is_said_and_found_by_the_exit_code(folder, capsys):
    assert _run("traversed_net:net one.png two.png --size 16 --label 1 --out found") == 1
    assert "one to two was not walked" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("efficientnet one.png two.png --out x", "did you mean efficientnet-lite0?"),
        ("traversed_net:missing one.png two.png --out x", "model: want package.module:factory"),
        ("no_such_module:net one.png two.png --out x", "No module named 'no_such_module'"),
        (
            "traversed_net:nothing one.png two.png --size 16 --out x",
            "want a factory that gives a torch module",
        ),
        ("traversed_net:net one.png --out x", "want a SOURCE and at least one TARGET, got 1"),
        ("traversed_net:net one.png gone.png --out x", "gone.png: want a picture, got no such file"),
        ("traversed_net:net one.png text.png --out x", "text.png: want a picture"),
        ("traversed_net:net one.png two.png --size 0 --out x", "size: want a whole number >= 1"),
        ("traversed_net:net one.png two.png --size 16 --eta 2 --out x", "eta: want"),
        ("traversed_net:net one.png two.png --out one.png", "out: want a folder"),
    ],
)
def test_wrong_calls_get_one_line(folder, capsys, words, message):
    assert _run(words) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
