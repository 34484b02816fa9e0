"""A trained model as NumPy sees it: its free runs, the state at which a series leaves it, its exponents."""

import math

import numpy as np
import pytest
import torch

from isocline.dynamics.kernels.runs import Setup
from isocline.dynamics.members import Member
from isocline.dynamics.plan import empty_modules
from isocline.dynamics.windows import Recorded


def _member(**sizes):
    setup = Setup(**{"latent_dim": 3, "hidden_dim": 8, "observed_dim": 3, **sizes})
    torch.manual_seed(0)
    model, observation = empty_modules(setup)
    for module in (model, observation):
        module.reset_parameters(torch.Generator().manual_seed(5))
    named = dict([*model.named_parameters(), *observation.named_parameters()])
    return Member(setup, {name: named[name].detach().float() for name in setup.shapes}, 0, 0.1, None)


KINDS = {
    "identity": {},
    "hidden states": {"latent_dim": 5},
    "affine": {"latent_dim": 2, "observation": "affine"},
    "driven": {"input_dim": 2},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_is_step_after_step(kind, random):
    member = _member(**KINDS[kind])
    x = random.normal(size=(4, 3))
    given = random.normal(size=(6, 4, 2)) if kind == "driven" else None
    runs = member.run(x, 6, given)
    z = member.observation.initial_state(torch.from_numpy(x))
    for t in range(6):
        z = member.model(z, None if given is None else torch.from_numpy(given[t]))
        np.testing.assert_allclose(runs[t], member.observation(z).numpy(), rtol=1e-12, atol=1e-14)
    assert runs.shape == (6, 4, 3)
    if given is None:
        np.testing.assert_allclose(member.run(x[1], 6), runs[:, 1], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", ["identity", "affine"])
def test_signals_and_first_states_agree_where_all_states_are_seen(kind, random):
    member = _member(**KINDS[kind])
    x = random.normal(size=(7, 3))
    np.testing.assert_allclose(member.signals(x), member.start(x).numpy(), rtol=1e-12)


def test_a_complete_series_is_left_at_its_last_sample(random):
    member = _member()
    x = random.normal(size=(9, 3))
    np.testing.assert_array_equal(member.arrive(Recorded(x)).numpy(), x[-1])
    np.testing.assert_array_equal(member.arrive(Recorded(x[:1])).numpy(), x[0])


@pytest.mark.parametrize("kind", ["identity", "hidden states", "driven"])
def test_where_samples_are_missing_the_model_fills_in(kind, random):
    """Held to what is there: after two missing rows the state is two free steps from the last complete one."""
    member = _member(**KINDS[kind])
    x = random.normal(size=(9, 3))
    x[-2:] = math.nan
    x[-1, 0] = 0.7
    given = random.normal(size=(9, 2)) if kind == "driven" else None
    state = member.arrive(Recorded(x, given))
    before = member.arrive(Recorded(x[:7], None if given is None else given[:7]))
    z = before
    for t in (7, 8):
        z = member.model(z, None if given is None else torch.from_numpy(given[t]))
    assert state[0] == 0.7
    np.testing.assert_allclose(state[1:].numpy(), z[1:].numpy(), rtol=1e-12)


def test_a_driven_map_at_its_mean_input_is_the_map_without():
    member = _member(input_dim=2)
    z = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(member.autonomous()(z), member.model(z, torch.zeros(4, 2)))
    assert member.exponents(z.numpy(), 300, transient=10, dt=0.5).dt == 0.5


def test_all_is_float64_and_without_gradients():
    member = _member()
    assert all(p.dtype == torch.float64 and not p.requires_grad for p in member.model.parameters())
