"""A small reconstruction that several tests look at: fitted once, in about two seconds."""

import numpy as np
import pytest

from isocline.datasets.chaotic import lorenz63
from isocline.dynamics.estimator import Reconstructor
from isocline.dynamics.schedules import ConstantForcing


@pytest.fixture(scope="session")
def orbit():
    """Lorenz-63 in the units of its equations: ``(6000, 3)`` to train on, as many to test on."""
    series = lorenz63(12_000, dt=0.02, standardize=False, seed=3).series
    return series[:6000], series[6000:]


SETTINGS = {
    "hidden_dim": 40, "sequence_length": 50, "updates": 12_000, "forcing": ConstantForcing(0.3),
    "learning_rate": (5e-3, 1e-4), "seeds": 2, "random_state": 7, "dt": 0.02,
}  # fmt: skip


@pytest.fixture(scope="session")
def fitted(orbit):
    """Two members; do not change it."""
    return Reconstructor(**SETTINGS).fit(orbit[0])


@pytest.fixture
def made():
    """An unfitted estimator with other settings than ``fitted`` where named."""

    def make(**settings):
        return Reconstructor(**{**SETTINGS, "seeds": 1, "updates": 600, **settings})

    return make


@pytest.fixture
def random():
    return np.random.default_rng(0)
