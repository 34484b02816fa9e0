"""The claims on orthogonal convolutions: what is exact is exact, and every one has a picture."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from isocline.lab import Options, Record, find, judge, run_claims
from isocline.lab.claims.orthogonal import (
    EXISTENCE,
    LANDSCAPE,
    SANDWICH,
    SIZES,
    TRAP,
    existence,
    landscape,
    trap,
)
from isocline.lab.style import house_style
from isocline.orthogonal import ConvShape, exists


def _records(claim, settings, seeds=1):
    found = []
    for setting in settings:
        for seed in range(seeds):
            got = claim.run(dict(setting), seed, "cpu")
            found.append(Record(dict(setting), seed, dict(got.values), dict(got.arrays), 0.0))
    return found


def _drawn(claim, records):
    with house_style():
        [figure] = claim.plot(records).values()
        assert isinstance(figure, Figure)
        assert len(figure.get_label()) > 20  # the caption
        figure.draw_without_rendering()
    return figure


@pytest.mark.slow
def test_every_claim_holds_at_tour_scale(tmp_path):
    ours = [EXISTENCE, SIZES, SANDWICH, LANDSCAPE, TRAP]
    for report in run_claims(ours, "tour", Options(out=tmp_path, jobs=2)):
        assert report.verdict.answer == "holds", report.verdict


def test_the_room_is_in_the_tour():
    assert {EXISTENCE.name, TRAP.name} <= {claim.name for claim in find(["orthogonal"])}


def test_existence_counts_what_the_theorem_counts(monkeypatch):
    monkeypatch.setattr(existence, "MOST", 12)
    claim = EXISTENCE
    settings = [setting | {"witnesses": 12} for setting in claim.scales["tour"].settings]
    records = _records(claim, settings)
    want = sum(
        bool(exists(ConvShape(M, C, s["k"], s["S"])))
        for s in settings
        for M in range(1, 13)
        for C in range(1, 13)
    )
    measured = claim.measure(records)
    assert measured[existence.COUNT] == [want]
    assert measured[existence.WITNESS][0] < 1e-20
    assert measured[existence.MISSING][0] >= 1
    assert not claim.measure(records[:5])[existence.COUNT]  # a part of the twelve tasks counts nothing
    assert len(_drawn(claim, records).axes) == 4


@pytest.mark.parametrize("claim", [SIZES, SANDWICH], ids=["sizes", "sandwich"])
def test_identity_and_bounds_hold_on_small_layers(claim):
    settings = [dict(s) for s in claim.scales["tour"].settings if s["layer"][0] <= 8]
    records = _records(claim, settings)
    assert judge(claim, "tour", records).answer == "holds"
    _drawn(claim, records)


def test_the_landscape_counts_runs_that_arrive():
    """40 steps take nobody anywhere; runs that start exact and get no noise have arrived."""
    setting = LANDSCAPE.scales["tour"].settings[0]
    records = _records(LANDSCAPE, [setting | {"runs": 3, "steps": 40}])
    assert records[0].values["successes"] == 0
    assert records[0].arrays["losses"].shape == (3, 2)
    assert (np.diff(records[0].arrays["losses"]) < 0).all()
    _drawn(LANDSCAPE, records)


def test_an_exact_start_without_noise_stays(monkeypatch):
    monkeypatch.setattr(landscape, "NOISE", 0.0)
    setting = LANDSCAPE.scales["tour"].settings[1]
    [record] = _records(LANDSCAPE, [setting | {"runs": 2, "steps": 0}])
    assert record.values["successes"] == 2


def test_the_trap_is_the_published_loss(golden):
    file = np.load(golden / "orthogonal" / "padding_trap.npz")
    assert float(trap.padded_by_one(torch.tensor(file["not_orthogonal_stride1_K"]), 1)) < 1e-25
    assert float(trap.padded_by_one(torch.tensor(file["orthogonal_stride2_K"]), 2)) == pytest.approx(16)
    records = _records(TRAP, [{"steps": 30}])
    assert TRAP.measure(records)[trap.CONDEMNED][0] == pytest.approx(16)
    _drawn(TRAP, records)
