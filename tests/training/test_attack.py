"""PGD: it stays where it may go, finds what a linear model hides, and can only lower an accuracy."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from isocline._core.seeds import torch_generator
from isocline.training import PGD, evaluate, pgd
from isocline.training.attack import _random_in_ball, project


def _network(seed, classes=3):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(1, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(48, classes)).eval()


def _data(seed, count=12):
    g = torch_generator(seed)
    return torch.rand(count, 1, 6, 6, generator=g), torch.randint(3, (count,), generator=g)


def _reach(delta, norm):
    return delta.flatten(1).norm(dim=1) if norm == "l2" else delta.flatten(1).abs().amax(1)


attacks = st.builds(
    PGD,
    radius=st.floats(0, 3),
    norm=st.sampled_from(["l2", "linf"]),
    steps=st.integers(1, 4),
    step_size=st.none() | st.floats(1e-3, 10),
    restarts=st.integers(1, 2),
)


@given(attacks, st.integers(0, 2**20))
def test_it_stays_in_the_ball_and_in_the_range_of_pixels(attack, seed):
    images, labels = _data(seed)
    found = pgd(_network(seed), images, labels, attack, torch_generator(seed))
    assert (
        _reach(found.images - images, attack.norm) <= attack.radius * (1 + 1e-12) + 1e-15
    ).all()  # two roundings
    assert ((found.images >= 0) & (found.images <= 1)).all()


@given(attacks, st.integers(0, 2**20))
def test_it_never_raises_an_accuracy_and_its_points_are_what_it_says(attack, seed):
    images, labels = _data(seed)
    model = _network(seed)
    found = pgd(model, images, labels, attack, torch_generator(seed))
    with torch.no_grad():
        clean, attacked = (model(x).argmax(1) != labels for x in (images, found.images))
    assert (found.fooled | ~clean).all()  # who was wrong before is wrong now
    assert torch.equal(attacked, found.fooled)
    metrics = evaluate(model, (images, labels), attack=attack)
    assert metrics["robust_accuracy"] <= metrics["accuracy"]


@given(st.integers(0, 2**20), st.floats(0.01, 0.3), st.sampled_from(["l2", "linf"]))
def test_on_a_linear_model_it_finds_the_exact_answer(seed, radius, norm):
    """Two classes ``w x + b``: a margin m is lost if and only if ``m <= radius |w|_dual``; far from the pixels' range."""
    g = torch_generator(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 2))
    with torch.no_grad():
        model[1].weight.copy_(torch.randn(2, 36, generator=g))
        model[1].bias.zero_()
    images = 0.5 + 0.02 * torch.randn(20, 1, 6, 6, generator=g)
    labels = torch.randint(2, (20,), generator=g)
    with torch.no_grad():
        logits = model(images)
        margin = logits.gather(1, labels[:, None])[:, 0] - logits.gather(1, 1 - labels[:, None])[:, 0]
        difference = (model[1].weight[0] - model[1].weight[1]).norm(p=2 if norm == "l2" else 1)
    # the step is so long that the first one ends at the boundary, whatever the random start
    found = pgd(model, images, labels, PGD(radius=radius, norm=norm, steps=30, step_size=20 * radius), g)
    inside = (found.images > 0).flatten(1).all(1) & (found.images < 1).flatten(1).all(1)
    sure = inside & (
        (margin - radius * difference).abs() > 1e-3 * radius * difference
    )  # l2: the start's share is not yet zero
    assert torch.equal(found.fooled[sure], (margin < radius * difference)[sure])
    if radius < 0.2:
        assert sure.any()


@given(st.floats(0.1, 5), st.sampled_from(["l2", "linf"]), st.integers(0, 2**20))
def test_projection_is_the_nearest_point_and_keeps_what_is_inside(radius, norm, seed):
    delta = 3 * torch.randn(6, 2, 3, 3, generator=torch_generator(seed))
    found = project(delta, radius, norm)
    inside = _reach(delta, norm) <= radius
    assert torch.equal(found[inside], delta[inside])
    torch.testing.assert_close(project(found, radius, norm), found)
    others = project(torch.randn(6, 2, 3, 3, generator=torch_generator(seed + 1)), radius, norm)
    assert ((delta - found).flatten(1).norm(dim=1) <= (delta - others).flatten(1).norm(dim=1) + 1e-12).all()


def test_random_starts_fill_the_ball():
    """In l2 the share of points within half the radius is 2^-d; d = 2, 4000 points: 4 standard deviations, chance 1e-4."""
    points = _random_in_ball(torch.zeros(4000, 1, 1, 2), PGD(radius=2.0), torch_generator(0))
    length = _reach(points, "l2")
    assert length.max() <= 2.0
    assert float((length < 1).double().mean()) == pytest.approx(0.25, abs=4 * (0.25 * 0.75 / 4000) ** 0.5)


def test_a_confident_network_is_attacked_too():
    """A margin of 460: the cross entropy is 0 to machine precision, and so is its gradient."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[460.0, 0, 0, 0], [0.0, 0, 0, 0]]))
    images, labels = torch.ones(1, 1, 2, 2), torch.tensor([0])
    found = pgd(model, images, labels, PGD(radius=1.5, steps=5), torch_generator(0))
    assert float(found.images[0, 0, 0, 0]) == pytest.approx(0, abs=1e-6)


def test_no_parameter_gets_a_gradient():
    model, (images, labels) = _network(0), _data(0)
    pgd(model, images, labels, PGD(), torch_generator(0))
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"norm": "l1"}, "norm: want one of 'l2', 'linf', got 'l1'"),
        ({"radius": -1.0}, "radius: want"),
        ({"steps": 0}, "steps: want a whole number >= 1, got 0"),
        ({"step_size": 0.0}, "step_size: want"),
        ({"restarts": 0}, "restarts: want"),
    ],
)
def test_wrong_attacks_are_answered(fields, message):
    with pytest.raises(ValueError, match=message):
        PGD(**fields)
