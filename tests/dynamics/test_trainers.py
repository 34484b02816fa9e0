"""Two trainers, one law: the compiled loop and the eager one make the same updates, and both can be continued."""

import numpy as np
import pytest
import torch

from isocline.dynamics.kernels.runs import Setup
from isocline.dynamics.plan import Plan, parameter_count, principal_axes
from isocline.dynamics.schedules import ConstantForcing, NoForcing, SparseForcing
from isocline.dynamics.trainers import CompiledTrainer, EagerTrainer, trainer_for
from isocline.dynamics.windows import Recorded, Windows

RANDOM = np.random.default_rng(0)
TIME = np.arange(300)[:, None]
SERIES = np.sin(0.2 * TIME + np.arange(3)) + 0.05 * RANDOM.normal(size=(300, 3))


def _plan(forcing=ConstantForcing(0.2), *, gaps=False, drives=0, seeds=(1, 2), backend="auto", **setup):  # noqa: B008
    series = SERIES.copy()
    if gaps:
        series[RANDOM.random(series.shape) < 0.05] = np.nan
    inputs = RANDOM.normal(size=(300, drives)) if drives else None
    windows = Windows.of([Recorded(series, inputs)], 12)
    sizes = {"latent_dim": 3, "hidden_dim": 7, "observed_dim": 3, "input_dim": drives} | setup
    made = Setup(**sizes, sequence_length=12, batch_size=5, shrinkage=1e-3, observation_penalty=1e-3)
    return Plan(made, windows, forcing, 40, (1e-2, 1e-3), seeds, backend=backend)


CASES = {
    "identity": {},
    "not clipped": {"clipped": False},
    "hidden states": {"latent_dim": 5},
    "affine": {"latent_dim": 2, "observation": "affine"},
    "affine, square": {"observation": "affine"},
    "gaps": {"gaps": True},
    "gaps, affine": {"gaps": True, "latent_dim": 2, "observation": "affine"},
    "driven": {"drives": 2},
    "free": {"forcing": NoForcing()},
}


@pytest.mark.parametrize("case", CASES)
def test_both_make_the_same_updates(case):
    """float32 and 30 updates: rounding differs, a unit near its kink may flip, hence 1e-3 in norm."""
    plan = _plan(**CASES[case])
    trainers = [kind(plan, plan.first_parameters()) for kind in (CompiledTrainer, EagerTrainer)]
    alphas = [plan.forcing.first, 0.5 * plan.forcing.first]
    losses = [one.advance(alphas, [plan.rate(k) for k in range(30)]) for one in trainers]
    torch.testing.assert_close(*losses, rtol=1e-3, atol=1e-5)
    assert (losses[0][:, -5:].mean(1) < losses[0][:, :5].mean(1)).all()  # they did learn
    for ours, theirs, first in zip(
        *(one.parameters() for one in trainers), plan.first_parameters(), strict=True
    ):
        for name, value in ours.items():
            apart = torch.linalg.vector_norm(value - theirs[name])
            moved = torch.linalg.vector_norm(value - first[name])
            assert apart <= 2e-3 * moved + 1e-6, name
            assert moved > 0, name


@pytest.mark.parametrize("kind", [CompiledTrainer, EagerTrainer])
def test_in_pieces_and_after_a_restart_the_numbers_are_the_same(kind):
    plan = _plan(latent_dim=4)
    rates = [plan.rate(k) for k in range(40)]
    whole = kind(plan, plan.first_parameters())
    losses = whole.advance([0.2, 0.1], rates)
    first = kind(plan, plan.first_parameters())
    begun = first.advance([0.2, 0.1], rates[:13])
    second = kind(plan, plan.first_parameters())
    second.restore(first.state(), first.updates)
    rest = second.advance([0.2, 0.1], rates[13:])
    assert torch.equal(torch.cat([begun, rest], 1), losses)
    assert second.updates == 40
    for ours, theirs in zip(whole.parameters(), second.parameters(), strict=True):
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("kind", [CompiledTrainer, EagerTrainer])
def test_a_member_that_leaves_the_finite_numbers_stands_still_and_the_others_go_on(kind):
    plan = _plan(NoForcing())
    parameters = plan.first_parameters()
    parameters[0]["A"].fill_(1e20)
    trainer = kind(plan, parameters)
    losses = trainer.advance([0.0, 0.0], [1e-3] * 6)
    assert trainer.stopped.tolist() == [1, -1]
    assert losses[0].isnan().all() or not losses[0].isfinite().any()
    assert losses[1].isfinite().all()
    kept, other = trainer.parameters()
    assert all(torch.equal(kept[name], parameters[0][name]) for name in kept)  # the last good state
    assert not torch.equal(other["W1"], parameters[1]["W1"])


def test_members_do_not_know_of_each_other():
    """A member of an ensemble ends where it would alone."""
    together, alone = _plan(seeds=(1, 2, 3)), _plan(seeds=(2,))
    trainers = [CompiledTrainer(plan, plan.first_parameters()) for plan in (together, alone)]
    for trainer, count in zip(trainers, (3, 1), strict=True):
        trainer.advance([0.2] * count, [1e-3] * 10)
    ours, theirs = trainers[0].parameters()[1], trainers[1].parameters()[0]
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_compiled_loop_is_taken_where_it_can_do_the_work():
    assert isinstance(trainer_for(_plan()), CompiledTrainer)
    assert isinstance(trainer_for(_plan(SparseForcing(4))), EagerTrainer)
    assert isinstance(trainer_for(_plan(backend="reference")), EagerTrainer)


def test_sparse_forcing_at_every_step_is_teacher_forcing():
    sparse, full = _plan(SparseForcing(1)), _plan(ConstantForcing(1.0))
    losses = []
    for plan in (sparse, full):
        trainer = EagerTrainer(plan, plan.first_parameters())
        losses.append(trainer.advance([1.0, 1.0], [1e-3] * 5))
    torch.testing.assert_close(*losses)


def test_the_first_parameters_are_the_seeds_own():
    state = torch.get_rng_state()
    one, two = _plan(latent_dim=2, observation="affine").first_parameters()
    again = _plan(latent_dim=2, observation="affine").first_parameters()[0]
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["W1"], two["W1"])
    assert torch.equal(torch.get_rng_state(), state)
    assert all(value.dtype == torch.float32 for value in one.values())
    assert (one["h2"] != 0).all()  # zero would keep W1 and W2 from learning


def test_a_square_observation_matrix_can_be_inverted_gently():
    plan = _plan(observation="affine", seeds=tuple(range(40)))
    conditions = [float(torch.linalg.cond(one["B"])) for one in plan.first_parameters()]
    assert max(conditions) <= 20.1  # of 40 plain draws, some are above 100 but for a chance below 1e-2


def test_parameters_are_counted_as_in_the_paper():
    assert parameter_count(Setup(5, 250, 5, observation="affine")) == 2785
    assert parameter_count(Setup(16, 512, 64, observation="affine")) == 17952


def test_principal_axes_make_states_of_unit_variance_that_do_not_correlate():
    rows = torch.randn(5000, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows = rows @ torch.tensor(
        [[3.0, 1, 0, 0, 2, 1], [0, 1, 1, 0, 0, 1], [0, 0, 0.5, 1, 0, 0], [0, 1, 0, 0, 1, 0]]
    )
    rows[::7, 2] = torch.nan
    B = principal_axes(rows, 4)
    states = rows[~rows.isnan().any(1)] @ torch.linalg.pinv(B).mT
    torch.testing.assert_close(states.mT @ states / len(states), torch.eye(4), atol=1e-9, rtol=0)
    assert torch.linalg.cond(B) <= 20.1
    assert principal_axes(rows, 8).shape == (6, 8)  # more states than channels
    flat = rows * torch.tensor([1.0, 1, 1e-6, 1, 1, 1])
    assert torch.linalg.cond(principal_axes(flat, 6)) <= 20.1
