"""The room's claims: that they can fail, and what they find where the answer is known."""

from typing import Any

import pytest
import torch

from isocline.lab.claim import Record
from isocline.lab.claims.level_sets import CLAIMS, toys, twins
from isocline.lab.verdict import judge


def test_closed_forms_hold():
    found = toys.run({"size": 30}, 0, "cpu")
    assert judge(toys.TOYS, "tour", [Record({}, 0, dict(found.values), {}, 0.0)]).answer == "holds"


def two_sources(normal, robust):
    """A record of twins, with their hull fractions within 0.2 of two sources."""
    values: dict[str, Any] = {"sources": 24}
    for name, within in (("normal", normal), ("robust", robust)):
        for geometry in twins.GEOMETRIES:
            values[f"{name}_{geometry}"] = [[0.1, 0.2, share, 1.0] for share in within]
            values[f"{name}_{geometry}_mean"] = values[f"{name}_{geometry}_leg"] = [0.5, 0.5]
        values |= {f"{name}_{what}": [1.0, 1.0] for what in ("star", "rmse", "p_source", "p_end")}
        values |= {f"{name}_accuracy": 0.8, f"{name}_robust_accuracy": 0.5}
    return Record({}, 0, values, {}, 0.0)


@pytest.mark.parametrize(
    ("normal", "robust", "answer"),
    [
        ([0.5, 0.7], [0.6, 0.8], "holds"),
        ([0.5, 0.7], [0.4, 0.6], "does not hold"),
        ([0.5, 0.5], [0.4, 0.9], "does not hold"),  # larger, by less than two standard errors
    ],
)
def test_twins_are_judged_by_their_difference_and_its_spread(normal, robust, answer):
    assert judge(twins.TWINS, "small", [two_sources(normal, robust)]).answer == answer


def test_the_spread_over_seeds_is_that_of_the_means():
    records = [two_sources([0.5, 0.5], [0.5 + gain] * 2) for gain in (0.1, 0.2, 0.3)]
    found = twins.measure(records)
    assert found["hull fraction within 0.2: gain, mean over seeds"] == pytest.approx([0.2])
    assert found["the same: standard error over seeds"] == pytest.approx([0.1 / 3**0.5])


def test_the_same_seed_trains_the_same_twin():
    images = torch.rand(64, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(64) % 10
    setting = {"width": 2, "epochs": 1, "attack_steps": 1}
    one, two = (twins.trained(images, labels, setting, 0.1, 3) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_twins_compared_are_the_same_in_every_geometry_if_they_are_one_network():
    images = torch.rand(6, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    model = twins.trained(images, torch.arange(6), {"width": 2, "epochs": 1, "attack_steps": 1}, 0.0, 0)
    source, target = images[:2], images[2:].reshape(2, 2, 1, 28, 28)
    with torch.no_grad():
        y = model(source).argmax(1)
    found, pictures = twins._compared({"normal": model, "robust": model}, source, target, y)
    for geometry in twins.GEOMETRIES:
        assert found[f"normal_{geometry}"] == found[f"robust_{geometry}"]
    for geometry in ("near", "size"):
        assert found[f"normal_{geometry}_leg"] == pytest.approx(found["normal_own_leg"])
    assert pictures["shown"].shape == (2, 4, 28, 28)
    assert pictures["p"].shape == (2, 2, 4)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_every_figure_promised_has_a_source(claim):
    assert all(expected.source for expected in claim.expected)
