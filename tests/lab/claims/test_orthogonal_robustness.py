"""The claim on robustness: the twin is a twin, the figures are differences of pairs, and there is a picture."""

import pytest
import torch
from matplotlib.figure import Figure

from isocline.lab import Record, find
from isocline.lab.claims.orthogonal import robustness
from isocline.lab.claims.orthogonal.robustness import (
    ROBUSTNESS,
    SETUPS,
    VGG,
    GroupSort2,
    convolutions,
    network,
)
from isocline.lab.style import house_style
from isocline.orthogonal import OrthogonalPenalty


def test_it_is_in_the_tour():
    assert ROBUSTNESS in find(["orthogonal"])


def test_group_sort_keeps_norms_and_sorts_pairs():
    x = torch.randn(3, 6, 4, 4)
    y = GroupSort2()(x)
    torch.testing.assert_close(y.norm(dim=1), x.norm(dim=1))
    assert (y[:, ::2] >= y[:, 1::2]).all()


@pytest.mark.parametrize(
    ("name", "stages", "first"), [("fashion-mnist", robustness.SMALL, True), ("cifar-10", VGG, False)]
)
def test_the_networks_are_regularised_whole_and_their_sides_are_right(name, stages, first):
    (channels, side) = shape = SETUPS[name].shape
    model, sides = network(shape, stages, first)
    seen = []
    for conv in convolutions(model):
        conv.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[-1]))
    assert model(torch.rand(2, channels, side, side)).shape == (2, 10)
    assert seen == sides
    assert not OrthogonalPenalty(model, 1.0).skipped


def _record(weight, seed, robust, clean, largest):
    values = {"robust": robust, "clean": clean, "largest": largest, "smallest": 0.1, "loss": 1.0}
    return Record({"data": "fashion-mnist", "weight": weight}, seed, values, {}, 0.0)


def test_figures_compare_each_seed_with_its_own_twin():
    records = [
        _record(0.0, 0, 0.1, 0.8, 2.0),
        _record(0.0, 1, 0.2, 0.7, 3.0),
        _record(1.0, 1, 0.5, 0.6, 1.5),
        _record(1.0, 0, 0.3, 0.9, 1.0),
        _record(1.0, 2, 0.9, 0.9, 9.0),  # its twin is not there
    ]
    found = robustness.measure(records)
    assert found[robustness.GAIN.format("Fashion-MNIST", 1)] == pytest.approx([0.3, 0.2])
    assert found[robustness.COST.format("Fashion-MNIST", 1)] == pytest.approx([0.1, -0.1])
    assert found[robustness.RATIO.format("Fashion-MNIST", 1)] == pytest.approx([0.5, 0.5])
    with house_style():
        [figure] = ROBUSTNESS.plot(records).values()
        figure.draw_without_rendering()
    assert isinstance(figure, Figure)
    assert len(figure.get_label()) > 20
    assert all(ax.get_xlabel() for ax in figure.axes)


def test_a_run_measures_and_can_be_repeated(monkeypatch):
    """On images made here, since not every machine has the real ones."""
    g = torch.Generator().manual_seed(0)
    pixels, labels = (
        torch.randint(256, (64, 1, 28, 28), dtype=torch.uint8, generator=g),
        torch.arange(64) % 10,
    )
    monkeypatch.setattr(robustness, "images", lambda name, split, count: (pixels, labels))
    setting = dict(ROBUSTNESS.scales["tour"].settings[1])
    setting["recipe"] = setting["recipe"] | {"epochs": 1, "batch_size": 32}
    first, second = (ROBUSTNESS.run(setting, 0, "cpu").values for _ in range(2))
    assert first == second
    assert 0 <= first["robust"] <= first["clean"] <= 1
    assert 0 < first["smallest"] < first["largest"]
