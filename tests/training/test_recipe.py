"""Recipes: the rate is the one of the formula, and a wrong field is named."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from isocline.training import Augment, Recipe
from isocline.training.recipe import SCHEDULES, loss_of, optimizer_of, schedule_of


@given(st.sampled_from(sorted(SCHEDULES)), st.integers(1, 9), st.integers(1, 9), st.floats(0, 1))
def test_the_rate_climbs_to_lr_and_never_leaves_its_range(schedule, epochs, steps, share):
    recipe = Recipe(epochs=epochs, lr=0.5, final_lr=0.1, schedule=schedule, warmup=share * epochs)
    warm = round(recipe.warmup * steps)
    rates = [recipe.rate(step, steps) for step in range(epochs * steps + 3)]
    assert rates[:warm] == pytest.approx([0.5 * (step + 1) / warm for step in range(warm)])
    assert all(0.1 - 1e-15 <= rate <= 0.5 + 1e-15 for rate in rates[warm:])
    assert rates[warm:] == sorted(rates[warm:], reverse=True)
    if schedule != "constant" and warm < epochs * steps:
        assert rates[-1] == pytest.approx(0.1)


def test_the_binary_networks_recipe_is_theirs():
    """ReSTE: 5 epochs of lr (e + 1) / 5, then a cosine of length E - 5 to 0; here with one step an epoch."""
    recipe = Recipe(epochs=1000, lr=0.1, warmup=5, optimizer="sgd", weight_decay=1e-4)
    assert [recipe.rate(e, 1) for e in range(5)] == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1])
    assert recipe.rate(5 + 300, 1) == pytest.approx(0.05 * (1 + math.cos(math.pi * 300 / 995)))


def test_the_scheduler_follows_the_rate():
    recipe = Recipe(epochs=2, lr=0.3, final_lr=0.01, warmup=1, schedule="linear")
    optimizer = optimizer_of(recipe, nn.Linear(2, 2).parameters())
    scheduler, seen = schedule_of(recipe, optimizer, 4), []
    for _ in range(8):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert seen == pytest.approx([recipe.rate(step, 4) for step in range(8)])


def test_vectors_may_be_left_undecayed_and_frozen_weights_are_left_out():
    model = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2), nn.Linear(2, 1))
    model[2].requires_grad_(False)
    whole = optimizer_of(Recipe(weight_decay=0.1), model.parameters())
    parts = optimizer_of(Recipe(weight_decay=0.1, decay_vectors=False), model.parameters())
    assert [len(group["params"]) for group in whole.param_groups] == [4]
    assert [(len(g["params"]), g["weight_decay"]) for g in parts.param_groups] == [(1, 0.1), (3, 0.0)]


def test_the_loss_by_hand():
    """Two classes, temperature 2, smoothing 0.1: targets 0.95 and 0.05."""
    loss = loss_of(Recipe(temperature=2, label_smoothing=0.1), torch.tensor([[1.0, 0.0]]), torch.tensor([0]))
    expected = 0.95 * math.log(1 + math.exp(-2)) + 0.05 * math.log(1 + math.exp(2))
    assert float(loss) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"optimizer": "adamW"}, "optimizer: want one of .* did you mean 'adam"),
        ({"schedule": "step"}, "schedule: want one of 'constant', 'linear', 'cosine'"),
        ({"epochs": 0}, "epochs: want a whole number >= 1, got 0"),
        ({"batch_size": 1.5}, "batch_size: want a whole number"),
        ({"lr": 0.0}, "lr: want a finite number > 0"),
        ({"final_lr": 1.0}, "final_lr: want a number >= 0 and <= 0.001"),
        ({"warmup": 11}, "warmup: want a number >= 0 and <= 10"),
        ({"momentum": 1.0}, "momentum: want a number >= 0 and < 1"),
        ({"clip_norm": 0.0}, "clip_norm: want"),
        ({"augment": "flip"}, "augment: want an Augment, got str"),
    ],
)
def test_wrong_fields_are_named(fields, message):
    with pytest.raises((ValueError, TypeError), match=message):
        Recipe(**fields)


def test_wrong_augmentations_are_named():
    with pytest.raises(ValueError, match="contrast: want two factors"):
        Augment(contrast=(1.2, 0.8))
    with pytest.raises(ValueError, match="rotation: want"):
        Augment(rotation=200)
