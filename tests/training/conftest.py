"""A network with every kind of state that a resume must keep, and a little data for it."""

import pytest
import torch
from torch import nn

from isocline.training import Augment, Recipe


@pytest.fixture
def data():
    g = torch.Generator().manual_seed(0)
    return torch.rand(50, 1, 8, 8, generator=g), torch.randint(3, (50,), generator=g)


@pytest.fixture
def recipe():
    """Random numbers in every step, a rate that moves, 7 steps an epoch of which the last is short."""
    augment = Augment(flip=True, shift=0.1, rotation=10, contrast=(0.8, 1.2))
    return Recipe(epochs=3, batch_size=8, lr=1e-2, warmup=0.5, clip_norm=1.0, augment=augment)


@pytest.fixture
def network():
    def make():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return nn.Sequential(
                nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2), nn.Flatten(), nn.Linear(256, 3)
            )  # fmt: skip

    return make
