"""The room's claims: that they can fail, and what they find where the answer is known."""

import pytest
import torch

from isocline.lab.claim import Record
from isocline.lab.claims.level_sets import CLAIMS, toys, twins
from isocline.lab.verdict import judge


def test_closed_forms_hold():
    found = toys.run({"size": 30}, 0, "cpu")
    assert judge(toys.TOYS, "tour", [Record({}, 0, dict(found.values), {}, 0.0)]).answer == "holds"


def test_twins_are_judged_by_their_difference():
    per_pair = {
        f"{name}_{what}": [0.5, 0.9] for name in ("normal", "robust") for what in ("shares", "star", "rmse")
    }
    values = per_pair | {"sources": 24, "normal_accuracy": 0.8, "robust_accuracy": 0.7, "robust_star": [1.0]}
    assert judge(twins.TWINS, "small", [Record({}, 0, values, {}, 0.0)]).answer == "holds"
    worse = values | {"robust_shares": [0.1, 0.2]}
    assert judge(twins.TWINS, "small", [Record({}, 0, worse, {}, 0.0)]).answer == "does not hold"


def test_the_same_seed_trains_the_same_twin():
    images = torch.rand(64, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(64) % 10
    setting = {"width": 2, "epochs": 1, "attack_steps": 1}
    one, two = (twins.trained(images, labels, setting, 0.1, 3) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_every_figure_promised_has_a_source(claim):
    assert all(expected.source for expected in claim.expected)
