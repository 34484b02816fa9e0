"""The claims on binary networks: figures compare like with like, what is exact is exact, and every one has a picture."""

import pytest
import torch
from matplotlib.figure import Figure

from isocline.lab import Record, find, judge
from isocline.lab.claims.binary import (
    EQUILIBRIUM,
    ESTIMATORS,
    MONOTONE,
    equilibrium,
    estimators,
    monotone,
    runs,
)
from isocline.lab.style import house_style


def _drawn(claim, records):
    with house_style():
        [figure] = claim.plot(records).values()
        figure.draw_without_rendering()
    assert isinstance(figure, Figure)
    assert len(figure.get_label()) > 20
    assert all(ax.get_xlabel() for ax in figure.axes)


def test_the_room_is_in_the_tour():
    assert find(["binary"]) == [MONOTONE, EQUILIBRIUM, ESTIMATORS]


@pytest.mark.parametrize("claim", [EQUILIBRIUM, ESTIMATORS])
@pytest.mark.parametrize("scale", ["tour", "small", "paper"])
def test_every_setting_names_a_network_and_a_recipe(claim, scale):
    for setting in claim.scales[scale].settings:
        runs.network(
            setting | {"widths": [4] * (4 if any(n in setting["network"] for n in ("18", "34")) else 3)},
            torch.Generator(),
        )
        runs.Recipe(**setting["recipe"] | {"augment": runs.Augment(**setting["augment"])})


def test_the_law_is_exact():
    got = MONOTONE.run({"places": 50}, 0, "cpu")
    records = [Record({"places": 50}, 0, dict(got.values), dict(got.arrays), 0.0)]
    assert got.values["compared"] == (2 * 50 + 5) * len(monotone.POWERS)
    assert judge(MONOTONE, "tour", records).answer == "holds"
    _drawn(MONOTONE, records)


def _record(seed, accuracy, *, name="reste", o=3.0, error=1.0, spread=1.0, **setting):
    setting = estimators.QUICK | {"estimator": name, "o_end": o} | setting
    values = {"accuracy": accuracy, "error": error, "error_rms": error, "stability": spread**2}
    return Record(setting, seed, values | {"stability_scale_free": spread}, {}, 0.0)


def test_estimators_are_compared_seed_by_seed():
    records = [
        _record(0, 0.7),
        _record(1, 0.8),
        _record(2, 0.9),  # its plain twin is not there
        _record(1, 0.75, name="ste"),
        _record(0, 0.6, name="ste"),
        _record(0, 0.1, name="ede"),
    ]
    found = estimators.measure(records)
    where = ("Fashion-MNIST", "VGG-small")
    assert found[estimators.GAIN.format(*where)] == pytest.approx([0.1, 0.05])
    assert found[estimators.CLEAR.format(*where)] == pytest.approx([-0.05])  # 0.7 is below 0.75
    assert found[estimators.ACCURACY.format(*where, "EDE (IR-Net)", 1)] == [0.1]
    _drawn(ESTIMATORS, records)


def test_data_sets_and_networks_are_not_mixed():
    records = [
        _record(0, 0.7),
        _record(0, 0.2, name="ste", network="resnet20"),
        _record(0, 0.3, network="resnet20"),
    ]
    found = estimators.measure(records)
    assert found[estimators.GAIN.format("Fashion-MNIST", "ResNet-20")] == pytest.approx([0.1])
    assert estimators.GAIN.format("Fashion-MNIST", "VGG-small") not in found
    assert len(ESTIMATORS.plot(records)) == 2


def test_the_equilibrium_is_read_from_whole_seeds():
    rows = [(1.0, 0.6, 3.0, 1.0), (3.0, 0.8, 2.0, 2.0), (10.0, 0.5, 1.0, 4.0)]
    records = [_record(s, a + s / 10, o=o, error=e, spread=g) for o, a, e, g in rows for s in (0, 1)]
    records.append(_record(2, 0.0, error=9.0))  # a seed with one power only
    found = equilibrium.measure(records)
    assert found[equilibrium.ERROR] == [0.0, 0.0]
    assert found[equilibrium.SPREAD] == [4.0, 4.0]
    assert found[equilibrium.PUBLISHED] == [16.0, 16.0]
    assert found[equilibrium.INSIDE] == pytest.approx([0.2])
    assert found[equilibrium.AT_THREE] == pytest.approx([0.2, 0.2])
    spread = 0.1 / 2**0.5  # of two seeds 0.1 apart, at every power
    assert found[equilibrium.FAR_OVER_SPREAD] == pytest.approx([0.3 / spread])
    assert found[equilibrium.THREE_OVER_SPREAD] == pytest.approx([0.2 / spread])
    _drawn(EQUILIBRIUM, records)


@pytest.fixture
def pictures(monkeypatch):
    """Images made here, since not every machine has the real ones."""
    g = torch.Generator().manual_seed(0)
    made = torch.randint(256, (64, 1, 14, 14), dtype=torch.uint8, generator=g), torch.arange(64) % 10
    monkeypatch.setattr(runs, "images", lambda name, split, count, side: made)


def _quick(**recipe):
    quick = estimators.QUICK | {"widths": [4, 4, 8], "norms": 32, "estimator": "reste", "o_end": 3.0}
    return quick | {"recipe": quick["recipe"] | {"epochs": 1, "batch_size": 16} | recipe}


def test_a_run_measures_and_can_be_repeated(pictures):
    first, second = (ESTIMATORS.run(_quick(), 0, "cpu") for _ in range(2))
    assert first.values == second.values
    assert 0 <= first.values["accuracy"] <= 1
    assert first.arrays["path"].shape == (4, 5)
    assert 0 < first.values["error_rms"] < 2


def test_a_run_that_diverges_is_counted_and_not_dropped(pictures):
    torch.set_default_dtype(torch.float32)
    got = ESTIMATORS.run(_quick(optimizer="sgd", lr=1e30, epochs=3) | {"estimator": "ste"}, 0, "cpu")
    assert got.values["diverged"] is True
    assert 0 <= got.values["accuracy"] <= 1


def test_weights_of_one_bit_with_real_inputs_are_part_of_the_paper():
    [setting] = [
        s for s in ESTIMATORS.scales["paper"].settings if s.get("input_bits") == 32 and "20" in s["network"]
    ]
    model = runs.network(setting, torch.Generator().manual_seed(0))
    assert model.stage1[0].body[0].input_estimator is None
