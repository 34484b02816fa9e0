"""The claim on arrows: rates are chosen on validation images, symmetries keep answers, a run is its seed's."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from isocline.datasets.arrows import Arrow
from isocline.datasets.dyed_arrows import dyed
from isocline.lab.claim import Record
from isocline.lab.claims.plstm import arrow
from isocline.lab.claims.plstm.arrow import ARROW, CLEAR, DOUBLE, MARGIN, RATE
from isocline.lab.claims.plstm.runs import Symmetries, network, run
from isocline.lab.claims.plstm.vit import ViT
from isocline.lab.style import house_style

TINY = {"dim": 12, "heads": 1, "layers": 2, "images": 40, "validation": 20, "test": 20}


def setting(model, **changes):
    recipe = arrow.QUICK | {"epochs": 1, "lr": 1e-3, "final_lr": 1e-6}
    return {"model": model, "recipe": recipe} | arrow.THIN | TINY | changes


def record(model, rate, seed, validation, test, double):
    values = {"validation": validation, "test": test, "double": double}
    return Record(setting(model, recipe={"lr": rate}), seed, values, {}, 1.0)


RECORDS = [
    record("pLSTM", 1e-3, 0, 0.90, 0.91, 0.99),  # better at double size, which must not choose it
    record("pLSTM", 1e-3, 1, 0.90, 0.91, 0.99),
    record("pLSTM", 2e-3, 1, 0.94, 0.96, 0.74),
    record("pLSTM", 2e-3, 0, 0.96, 0.95, 0.70),
    record("ViT", 1e-3, 0, 0.88, 0.89, 0.52),
    record("ViT", 1e-3, 1, 0.90, 0.90, 0.56),
]


def test_rates_are_chosen_on_validation_images_of_the_training_size():
    figures = arrow.measure(RECORDS)
    assert figures[RATE.format("pLSTM")] == [2e-3]
    assert figures[DOUBLE.format("pLSTM")] == [0.70, 0.74]
    assert figures[CLEAR] == [pytest.approx(0.70 - 0.56)]
    each = 0.04 / 2**0.5  # the deviation of two seeds 0.04 apart
    assert figures[MARGIN] == [pytest.approx((0.72 - 0.54) / (2 * each**2) ** 0.5)]
    assert MARGIN not in arrow.measure(RECORDS[3:5])  # one seed has no spread


def test_it_shows_a_picture():
    for factor in (8, None):
        records = [Record({**r.setting, "factor": factor}, r.seed, r.values, {}, 1.0) for r in RECORDS]
        with house_style():
            [figure] = ARROW.plot(records).values()
        assert isinstance(figure, Figure)
        assert len(figure.get_label()) > 20  # the caption
        assert len(figure.axes) == 2


@given(seed=st.integers(0, 999), angle=st.floats(-3, 3))
def test_symmetries_move_directions_with_pixels(seed, angle):
    """A mirrored picture is the picture of the mirrored arrow and disc, one of eight."""
    one = {"points": True, "length": 25, "width": 2, "angle": angle, "radius": 20.0}
    one |= {"x": 61.0, "y": 75.0, "disc_x": 130.0, "disc_y": 100.0}
    torch.manual_seed(seed)
    module = Symmetries()
    x = torch.from_numpy(dyed([Arrow(**one)], 192)).expand(4, -1, -1, -1)
    found = module(x)
    wanted = []
    for across in (False, True):
        for down in (False, True):
            for turned in (False, True):
                places = {name: np.array([one[name + "x"], one[name + "y"]]) for name in ("", "disc_")}
                way = np.array([np.cos(angle), np.sin(angle)])
                for axis, yes in enumerate((across, down)):
                    if yes:
                        way[axis] *= -1
                        places = {n: np.where(np.arange(2) == axis, 192 - p, p) for n, p in places.items()}
                if turned:
                    way, places = way[::-1], {name: place[::-1] for name, place in places.items()}
                moved = {
                    f"{n}{letter}": float(p[i]) for n, p in places.items() for i, letter in enumerate("xy")
                }
                wanted.append(
                    dyed([Arrow(**one | moved | {"angle": float(np.arctan2(way[1], way[0]))})], 192)[0]
                )
    for picture in found:
        off = [np.abs(picture.numpy() - other).mean() for other in wanted]
        assert min(off) < 1e-3  # a point on an edge may fall on either side
    module.eval()
    assert module(x) is x


@pytest.mark.parametrize("model", arrow.NAMES)
def test_a_run_is_its_seeds(model):
    first, again = (run(setting(model), 0, "cpu").values for _ in range(2))
    assert first == again
    assert {"validation", "test", "double", "parameters"} == set(first)
    assert all(0 <= first[name] <= 1 for name in ("validation", "test", "double"))


def test_models_are_of_one_size():
    counts = {
        name: sum(p.numel() for p in network(setting(name, dim=48, heads=3), torch.Generator()).parameters())
        for name in arrow.NAMES
    }
    assert max(counts.values()) < 1.05 * min(counts.values())


def test_the_drawn_pictures_of_the_paper_are_learned_from_too():
    values = run(setting("pLSTM", factor=None, patch=64, images=4, validation=2, test=2), 0, "cpu").values
    assert values["parameters"] > 0


@given(side=st.integers(1, 4), pooling=st.sampled_from(["cls", "mean", "corners"]))
def test_the_transformer_takes_any_size(side, pooling):
    model = ViT(3, dim=8, heads=2, layers=1, patch=4, size=8, channels=1, pooling=pooling)
    x = torch.rand(2, 1, 4 * side, 4 * side)
    y = model(x)
    assert y.shape == (2, 3)
    torch.testing.assert_close(model(x[1:]), y[1:])


def test_without_positions_a_transformer_knows_no_places():
    model = ViT(3, dim=8, heads=2, layers=2, patch=4, size=8, channels=1).eval()
    x = torch.rand(1, 1, 8, 8)
    other = torch.cat([x[..., 4:], x[..., :4]], -1)  # patches interchanged
    with torch.no_grad():
        assert not torch.allclose(model(other), model(x))
        model.positions.zero_()
        torch.testing.assert_close(model(other), model(x))
