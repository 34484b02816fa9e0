"""Parallel in time: the scan, Newton's steps on a trained model, the fallback, chunks that overlap."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isocline.dynamics import ShallowPLRNN, forced_rollout
from isocline.dynamics import functional as F
from isocline.dynamics.kernels import parallel
from isocline.dynamics.kernels.runs import Setup, advance, begin, parameters_of


@given(seed=st.integers(0, 2**31), T=st.integers(1, 40))
def test_the_scan_is_the_recursion(seed, T):
    g = torch.Generator().manual_seed(seed)
    J, b = 0.6 * torch.randn(T, 2, 3, 3, generator=g), torch.randn(T, 2, 3, generator=g)
    y, expected = torch.zeros(2, 3), []
    for t in range(T):
        y = (J[t] @ y.unsqueeze(-1)).squeeze(-1) + b[t]
        expected.append(y)
    expected = torch.stack(expected)
    torch.testing.assert_close(
        parallel.affine_scan(J, b), expected, rtol=1e-9, atol=1e-9 * expected.abs().max()
    )


def lorenz(steps, dt=0.01):
    def slope(x):
        return np.array([10 * (x[1] - x[0]), x[0] * (28 - x[2]) - x[1], x[0] * x[1] - 8 / 3 * x[2]])

    x, orbit = np.array([1.0, 1.0, 20.0]), np.empty((steps + 1000, 3))
    for k in range(len(orbit)):
        a = slope(x)
        b = slope(x + dt / 2 * a)
        c = slope(x + dt / 2 * b)
        x = x + dt / 6 * (a + 2 * b + 2 * c + slope(x + dt * c))
        orbit[k] = x
    orbit = torch.from_numpy(orbit[1000:])
    return (orbit - orbit.mean(0)) / orbit.std(0)


@pytest.fixture(scope="module")
def series():
    return lorenz(6000)


@pytest.fixture(scope="module")
def weights(series):
    """A model of Lorenz-63 after 3000 updates of its training: enough to be chaotic in the same way."""
    model = ShallowPLRNN(3, 50).double()
    model.reset_parameters(torch.Generator().manual_seed(1))
    setup = Setup(3, 50, 3, shrinkage=1e-5)
    runs = begin(setup, [dict(model.float().named_parameters())], [3])  # what the loop is compiled for anyway
    rates = np.geomspace(2e-3, 1e-4, 3000)
    losses = advance(setup, runs, series.float(), torch.arange(5000), alphas=[0.125], rates=rates)
    assert losses[0, -100:].mean() < 0.01
    return tuple(parameters_of(setup, runs)[0][name].double() for name in ("A", "W1", "W2", "h1", "h2"))


def newton(weights, series, T, alpha):
    return parallel.newton(weights, series[:1], series[1 : T + 1, None], torch.full((T, 1, 3), alpha), None)


def test_newton_needs_few_steps_where_forcing_contracts(weights, series):
    """The table of the trained model: 5 or fewer from alpha = 0.05 on, whatever T; none without forcing."""
    for alpha, most in ((0.054, 7), (0.125, 5), (0.25, 5)):
        for T in (200, 3000):
            found = newton(weights, series, T, alpha)
            assert found.converged, (alpha, T)
            assert found.iterations <= most, (alpha, T)
            assert found.residual < 1e-12
    free = newton(weights, series, 3000, 0.0)
    assert not free.converged
    assert free.iterations == parallel.MOST_ITERATIONS or math.isnan(free.residual)


def test_a_huge_state_does_not_hide_a_step_that_is_missed():
    """Without forcing Newton may pass through 1e40; measured by the largest state any step would look small."""
    ahead, fed = torch.ones(4, 1, 2), torch.ones(4, 1, 2)
    ahead[2:] = fed[2:] = 1e40
    assert parallel._residual(ahead, fed) == 0
    fed[1] += 1
    assert parallel._residual(ahead, fed) == pytest.approx(1 / 3)


def test_newton_ends_at_the_sequential_states(weights, series):
    T = 1000
    found = newton(weights, series, T, 0.125)
    states = forced_rollout(*weights, series[:1], series[1 : T + 1, None], 0.125)
    fed = F.toward_teacher(states[:-1], series[1:T, None], 0.125)
    # a residual of some roundings, summed over a memory of some twenty steps
    torch.testing.assert_close(found.fed[1:], fed, rtol=1e-11, atol=1e-11)


def test_without_convergence_the_answer_is_sequential(weights, series, monkeypatch):
    taken = []
    reference = parallel.reference.forced_rollout
    monkeypatch.setattr(parallel.reference, "forced_rollout", lambda *a: taken.append(1) or reference(*a))
    states = forced_rollout(*weights, series[:1], series[1:1001, None], 0.0, backend="parallel")
    assert taken == [1]
    expected = forced_rollout(*weights, series[:1], series[1:1001, None], 0.0, backend="reference")
    assert torch.equal(states, expected)


def test_chunks_meet_after_the_overlap(weights, series):
    z0, signal = series[:2], torch.stack([series[1:1531], series[2:1532]], 1)
    exact = forced_rollout(*weights, z0, signal, 0.125)
    errors = []
    for overlap in (30, 130):
        states, gap = F.chunked_rollout(*weights, z0, signal, 0.125, chunk=100, overlap=overlap)
        assert states.shape == exact.shape
        errors.append((states - exact).abs().max().item())
        assert gap.item() == pytest.approx(errors[-1], rel=3)
    assert errors[1] < 1e-6 < errors[0] < 0.1


def test_one_chunk_is_the_whole(weights, series):
    signal = series[1:51, None]
    states, gap = F.chunked_rollout(*weights, series[:1], signal, 0.3, chunk=45, overlap=5)
    torch.testing.assert_close(states, forced_rollout(*weights, series[:1], signal, 0.3))
    assert gap == 0


@pytest.mark.parametrize(
    ("options", "columns", "message"),
    [
        ({"chunk": 7, "overlap": 10}, 3, r"chunk: want a divisor of T - overlap = 40, got 7"),
        ({"chunk": 10, "overlap": 50}, 3, r"overlap: want a whole number >= 1 and < 50, got 50"),
        ({"chunk": 10, "overlap": 10}, 2, r"forcing: want all 3 states forced, got 2; a chunk starts"),
    ],
)
def test_wrong_chunks(weights, series, options, columns, message):
    with pytest.raises(ValueError, match=message):
        F.chunked_rollout(*weights, series[:1], series[1:51, None, :columns], 0.2, **options)
