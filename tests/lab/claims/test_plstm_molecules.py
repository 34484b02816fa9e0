"""The claim on molecules, on rings and chains drawn here: its folds, its figures, and that test labels choose nothing."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from isocline.lab.claim import Missing, Record, looking_in
from isocline.lab.claims.plstm import graph_training
from isocline.lab.claims.plstm.molecules import ACCURACY, GAIN, MOLECULES, PUBLISHED, SPREAD, measure
from isocline.lab.style import house_style


@pytest.fixture(autouse=True)
def _float32(_float64_default):
    """As the lab runs its tasks."""
    torch.set_default_dtype(torch.float32)


SHORT = {"epochs": 4, "batch_size": 16, "lr": 1e-2, "warmup": 0.0, "clip_norm": 1.0}
SETTING = {"data": "MUTAG", "fold": 0, "folds": 10, "model": {"dim": 8, "heads": 2}, "recipe": SHORT}


def write_rings_and_chains(folder, flipped=()):
    """40 graphs of three to seven nodes: class 1 is a ring. Those in `flipped` have the other class."""
    lines = ["40"]
    for i in range(40):
        n, ring = 3 + i % 5, i % 2
        pairs = [(j, (j + 1) % n) for j in range(n if ring else n - 1)]
        lines.append(f"{n} {ring ^ (i in flipped)}")
        for node in range(n):
            others = [v for u, v in pairs if u == node] + [u for u, v in pairs if v == node]
            lines.append(" ".join(map(str, [i % 3, len(others), *others])))
    (folder / "MUTAG.txt").write_text("\n".join(lines))
    return str(folder)


def run(folder, **more):
    with looking_in(folder):
        return MOLECULES.run(SETTING | more, 0, "cpu")


def test_it_learns_and_the_same_seed_gives_the_same(tmp_path):
    folder = write_rings_and_chains(tmp_path)
    found, again = run(folder), run(folder)
    assert found.arrays["path"][-1, 0] < found.arrays["path"][0, 0]  # the loss, epoch by epoch
    assert found.arrays["path"].shape == (4, 3)
    assert found.values["validation"] == found.arrays["path"][:, 1].max()
    assert found.values == again.values
    assert np.array_equal(found.arrays["path"], again.arrays["path"])


def test_test_labels_choose_nothing(tmp_path, monkeypatch):
    """With the test's labels turned round training goes the same way, and what was right is wrong."""
    parts = np.arange(0, 24), np.arange(24, 32), np.arange(32, 40)
    monkeypatch.setattr(graph_training, "folds", lambda *_: parts)
    places = [tmp_path / name for name in ("a", "b")]
    for place in places:
        place.mkdir()
    first = run(write_rings_and_chains(places[0]))
    second = run(write_rings_and_chains(places[1], flipped=range(32, 40)))
    assert np.array_equal(first.arrays["path"], second.arrays["path"])
    assert first.values["validation"] == second.values["validation"]
    assert second.values["accuracy"] == pytest.approx(1 - first.values["accuracy"])


def test_without_the_set_it_says_what_is_missing(tmp_path):
    with pytest.raises(Missing, match=r"MUTAG\.txt, or a folder MUTAG"):
        run(str(tmp_path))


def _records(name, accuracies, folds):
    values = {"validation": 0.8, "most_frequent": 0.6}
    setting = {"data": name, "folds": folds}
    return [
        Record(setting | {"fold": k}, 0, values | {"accuracy": a}, {}, 1.0) for k, a in enumerate(accuracies)
    ]


def test_a_figure_is_the_mean_of_all_folds_and_of_nothing_less():
    found = measure(_records("MUTAG", [0.7, 0.9], 2) + _records("PTC", [0.6], 2))
    assert set(found) == {figure.format("MUTAG", 2) for figure in (ACCURACY, SPREAD, GAIN)}
    assert found[ACCURACY.format("MUTAG", 2)] == pytest.approx([0.8])
    assert found[GAIN.format("MUTAG")] == pytest.approx([0.2])
    assert found[SPREAD.format("MUTAG")] == pytest.approx([0.1])


def test_its_picture_has_a_panel_for_each_set():
    records = [record for name in PUBLISHED for record in _records(name, [0.7, 0.8, 0.75], 3)]
    with house_style():
        [figure] = MOLECULES.plot(records).values()
    assert isinstance(figure, Figure)
    assert len(figure.axes) == 4
    assert len(figure.get_label()) > 20
    assert all(ax.get_xlabel() for ax in figure.axes)


def test_the_scales_are_ten_folds_of_each_set():
    for scale in ("small", "paper"):
        for name in {s["data"] for s in MOLECULES.scales[scale].settings}:
            of = [s["fold"] for s in MOLECULES.scales[scale].settings if s["data"] == name]
            assert of == list(range(10))
