"""The compiled training loop: it equals the eager one step by step, continues exactly, and stops where it
must.

To compile it takes a dozen seconds. What needs double precision is therefore slow; that it makes the eager loop's
updates in single precision is among the fast tests of ``test_trainers``.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from isocline.dynamics import AffineObservation, IdentityObservation, ShallowPLRNN
from isocline.dynamics import functional as F
from isocline.dynamics.kernels.observing import inverse_of, pinv_gradient, singular_vectors
from isocline.dynamics.kernels.runs import Runs, Setup, advance, begin, parameters_of
from isocline.dynamics.kernels.simd import pointer
from isocline.dynamics.kernels.windows import mixed, window_starts

ROWS = 300
SETUPS = {
    "identity": Setup(3, 7, 3),
    "hidden states, inputs, not clipped": Setup(
        5, 7, 3, input_dim=2, clipped=False, observation_penalty=0.01
    ),
    "affine, more channels": Setup(3, 6, 5, observation="affine", bias=True, observation_penalty=1e-3),
    "affine, square": Setup(4, 6, 4, observation="affine", observation_penalty=1e-3),
    "affine, fewer channels": Setup(4, 6, 2, 1, observation="affine", observation_penalty=1e-3),
}
SETUPS = {k: replace(v, sequence_length=23, batch_size=11, shrinkage=0.01) for k, v in SETUPS.items()}


@njit
def _mixed(seed, counter):  # what is compiled into others has no door to Python of its own
    return mixed(seed, counter)


@njit
def _inverse_and_its_gradient(B, to_P):
    """U, s, V, pinv(B) and the slope along B from that along pinv(B)."""
    (N, M), k = B.shape, min(B.shape)
    U, s, V, P = np.empty((N, k)), np.empty(k), np.empty((M, k)), np.empty((M, N))
    F, K, R, X, to_B = (
        np.empty((M, M)),
        np.empty((M, M)),
        np.empty((M, M)),
        np.empty((N, M)),
        np.empty((N, M)),
    )
    at_B, at_U, at_s, at_V = B.ctypes.data, U.ctypes.data, s.ctypes.data, V.ctypes.data
    b, u, values, v = pointer(at_B, s), pointer(at_U, s), pointer(at_s, s), pointer(at_V, s)
    p, to_p = pointer(P.ctypes.data, s), pointer(to_P.ctypes.data, s)
    f, k_, r = pointer(F.ctypes.data, s), pointer(K.ctypes.data, s), pointer(R.ctypes.data, s)
    singular_vectors(b, N, M, u, values, v)
    inverse_of(u, values, v, N, M, p)
    pinv_gradient(b, p, to_p, N, M, f, k_, r, pointer(X.ctypes.data, s), pointer(to_B.ctypes.data, s))
    return U, s, V, P, to_B, F, K, R, X


def first_parameters(setup, seed=1, dtype=torch.float32):
    g = torch.Generator().manual_seed(seed)
    model = ShallowPLRNN(setup.latent_dim, setup.hidden_dim, setup.clipped, setup.input_dim)
    model.reset_parameters(g)
    if setup.observation == "affine":
        observation = AffineObservation(setup.observed_dim, setup.latent_dim, setup.bias)
    else:
        observation = IdentityObservation(setup.observed_dim, setup.latent_dim)
    observation.reset_parameters(g)
    both = {**dict(model.named_parameters()), **dict(observation.named_parameters())}
    return {name: value.detach().to(dtype) for name, value in both.items()}


def recording(setup, dtype=torch.float32, holes=True):
    """A random walk with a gap, its inputs, and the rows where a window may start."""
    g = torch.Generator().manual_seed(2)
    series = 0.1 * torch.randn(ROWS, setup.observed_dim, generator=g).cumsum(0).to(dtype)
    inputs = torch.randn(ROWS, setup.input_dim, generator=g).to(dtype) if setup.input_dim else None
    gap = slice(50, 60) if holes else slice(0)
    series[gap, 0] = torch.nan
    starts = torch.arange(ROWS - setup.sequence_length)
    return series, inputs, starts[~series[: len(starts)].isnan().any(1)]


def eager(setup, parameters, seed, alpha, rates):
    """The same updates in plain PyTorch."""
    series, inputs, starts = recording(setup, parameters["A"].dtype)
    p = {name: value.clone().requires_grad_() for name, value in parameters.items()}
    optimiser = torch.optim.RAdam(p.values())
    losses = []
    for update, rate in enumerate(rates):
        rows = torch.from_numpy(window_starts(seed, update, setup.batch_size, starts.numpy()))
        rows = rows + torch.arange(setup.sequence_length + 1).unsqueeze(1)
        x, B, b = series[rows], p.get("B"), p.get("b", 0)
        if B is not None:
            inverse = torch.linalg.pinv(B)
            z0, signal = (x[0] - b) @ inverse.T, ((x[1:] - b) @ inverse.T).detach()
        else:
            z0 = torch.cat([x[0], x[0] @ p["lift"].T], -1) if "lift" in p else x[0]
            signal = x[1:]
        states = F.forced_rollout(
            *(p[name] for name in ("A", "W1", "W2", "h1", "h2")), z0, signal, alpha,
            clipped=setup.clipped, C=p.get("C"), inputs=inputs[rows][1:] if "C" in p else None,
            backend="reference",
        )  # fmt: skip
        guess = states @ B.T + b if B is not None else states[..., : setup.observed_dim]
        loss = F.observed_loss(guess, x[1:])
        losses.append(loss.item())
        shrunk = [p[name] for name in ("W1", "W2", "h1", "h2", "C") if name in p]
        total = loss + setup.shrinkage * F.shrinkage(p["A"], *shrunk)
        if B is not None:
            total = total + setup.observation_penalty * F.condition_penalty(B)
        elif "lift" in p:
            total = total + setup.observation_penalty * p["lift"].square().sum()
        optimiser.param_groups[0]["lr"] = rate
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
    return losses, {name: value.detach() for name, value in p.items()}


RATES = list(np.geomspace(1e-2, 1e-3, 30))  # the rectified steps of RAdam begin with the sixth


def compiled_run(setup, parameters, seeds, alphas, rates=RATES, holes=True):
    series, inputs, starts = recording(setup, parameters[0]["A"].dtype, holes)
    runs = begin(setup, parameters, seeds)
    losses = advance(setup, runs, series, starts, alphas=alphas, rates=rates, inputs=inputs)
    return losses, runs


@pytest.mark.slow
@pytest.mark.parametrize("name", SETUPS)
def test_it_is_the_eager_loop_to_rounding(name):
    setup = SETUPS[name]
    starts = [first_parameters(setup, s, torch.float64) for s in (1, 5)]
    losses, runs = compiled_run(setup, starts, [7, 8], [0.2, 0.6])
    assert set(parameters_of(setup, runs)[0]) == set(starts[0]) == set(setup.shapes)
    for r, (start, seed, alpha) in enumerate(zip(starts, (7, 8), (0.2, 0.6), strict=True)):
        expected, wanted = eager(setup, start, seed, alpha, RATES)
        # 30 updates in another order of summation: each adds some roundings, the recursion multiplies them
        np.testing.assert_allclose(losses[r], expected, rtol=1e-9)
        for key, value in parameters_of(setup, runs)[r].items():
            torch.testing.assert_close(value, wanted[key], rtol=1e-8, atol=1e-10)
        moved = max((wanted[k] - v).abs().max() for k, v in start.items())
        assert moved > 0.01  # it has learned something, too


@pytest.mark.slow
def test_single_precision_is_near_double():
    setup = SETUPS["affine, more channels"]
    losses, _ = compiled_run(setup, [first_parameters(setup)], [7], [0.2], RATES[:10])
    double = first_parameters(setup, dtype=torch.float64)
    expected, _ = compiled_run(setup, [double], [7], [0.2], RATES[:10])
    torch.testing.assert_close(losses.double(), expected, rtol=1e-4, atol=0)


def test_many_calls_are_one_call():
    setup = SETUPS["affine, more channels"]
    parameters = [first_parameters(setup, s) for s in (1, 5)]
    whole_losses, whole = compiled_run(setup, parameters, [7, 8], [0.2, 0.6])
    series, inputs, starts = recording(setup)
    runs, losses = begin(setup, parameters, [7, 8]), []
    for cut in (slice(0, 1), slice(1, 8), slice(8, None)):
        options = {"alphas": [0.2, 0.6], "rates": RATES[cut], "inputs": inputs}
        losses.append(advance(setup, runs, series, starts, **options))
        # all that a checkpoint would hold, through plain copies
        copies = (runs.theta, runs.moments, runs.squares, runs.seeds, runs.stopped)
        runs = Runs(*(tensor.clone() for tensor in copies), updates=runs.updates)
    assert runs.updates == whole.updates == 30
    assert torch.equal(torch.cat(losses, 1), whole_losses)
    for name in ("theta", "moments", "squares"):
        assert torch.equal(getattr(runs, name), getattr(whole, name))


def test_runs_do_not_touch_one_another_nor_the_number_of_threads():
    setup = SETUPS["identity"]
    parameters = [first_parameters(setup, s) for s in (1, 2, 3)]
    alphas = [0.1, 0.2, 0.3]
    _, together = compiled_run(setup, parameters, [7, 8, 9], alphas)
    torch.set_num_threads(3)
    try:
        _, threaded = compiled_run(setup, parameters, [7, 8, 9], alphas)
    finally:
        torch.set_num_threads(1)
    assert torch.equal(together.theta, threaded.theta)
    for r in range(3):
        _, alone = compiled_run(setup, parameters[r : r + 1], [7 + r], alphas[r : r + 1])
        assert torch.equal(alone.theta[0], together.theta[r])


def test_another_seed_is_another_run_and_the_global_generator_stays():
    setup = SETUPS["identity"]
    parameters = [first_parameters(setup)] * 2
    before = torch.get_rng_state()
    _, runs = compiled_run(setup, parameters, [7, 8], [0.2, 0.2])
    assert not torch.equal(runs.theta[0], runs.theta[1])
    assert torch.equal(before, torch.get_rng_state())


def test_a_run_that_diverges_stops_with_its_last_good_state():
    setup = replace(SETUPS["identity"], clipped=False)
    wild = {**first_parameters(setup), "A": torch.full((3,), 1e30, dtype=torch.float32)}
    good = first_parameters(setup)
    losses, runs = compiled_run(setup, [good, wild], [7, 7], [0.0, 0.0], RATES[:8], holes=False)
    assert runs.stopped.tolist() == [-1, 1]
    assert losses[0].isfinite().all()
    assert not losses[1].isfinite().any()
    torch.testing.assert_close(parameters_of(setup, runs)[1], wild)
    assert runs.moments[1].eq(0).all()


@given(seed=st.integers(-(2**63), 2**63 - 1), update=st.integers(0, 10**9), n=st.integers(1, 5000))
def test_windows_are_drawn_from_the_starts(seed, update, n):
    rows = window_starts(seed, update, 16, np.arange(n) * 3)
    assert ((rows % 3 == 0) & (rows >= 0) & (rows < 3 * n)).all()
    assert (rows == window_starts(seed, update, 16, np.arange(n) * 3)).all()


def test_windows_are_drawn_evenly():
    drawn = np.concatenate([window_starts(3, u, 16, np.arange(10)) for u in range(4000)])
    counts = np.bincount(drawn, minlength=10)
    chi2 = ((counts - 6400) ** 2 / 6400).sum()
    assert chi2 < 27.9  # 9 degrees of freedom: one seed in a thousand fails, this one does not


def test_the_generator_is_splitmix64():
    """The first outputs for state 0, as the author's C code prints them."""
    found = [int(_mixed(0, counter)) for counter in range(3)]
    assert found == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


@given(seed=st.integers(0, 2**31), shape=st.tuples(st.integers(1, 6), st.integers(1, 6)))
def test_small_singular_values_and_the_gradient_of_the_inverse(seed, shape):
    g = torch.Generator().manual_seed(seed)
    B, slope = torch.randn(shape, generator=g), torch.randn(shape[::-1], generator=g)
    U, s, V, inverse, to_B, *_ = _inverse_and_its_gradient(B.numpy(), slope.numpy())
    np.testing.assert_allclose((U * s) @ V.T, B.numpy(), atol=1e-13 * s[0])
    np.testing.assert_allclose(s, torch.linalg.svdvals(B), rtol=1e-9, atol=1e-13)
    B.requires_grad_()
    expected = torch.linalg.pinv(B)
    close = {"rtol": 1e-9, "atol": 1e-9 / s[-1] ** 2}  # conditioned as 1 / s_min^2
    np.testing.assert_allclose(inverse, expected.detach(), **close)
    (wanted,) = torch.autograd.grad(expected, B, slope)
    np.testing.assert_allclose(to_B, wanted, **close)


SERIES = torch.zeros(ROWS, 3, dtype=torch.float32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"series": SERIES[:, :2]}, r"series: want \(rows, 3\), got \(300, 2\)"),
        ({"series": SERIES.double()}, r"series: want torch.float32, as the runs, got torch.float64"),
        ({"inputs": torch.zeros(ROWS, 1)}, r"inputs: want None, got \(300, 1\)"),
        ({"starts": torch.tensor([277])}, r"starts: want rows from 0 to 276, got \[277\]"),
        ({"starts": torch.tensor([], dtype=torch.int64)}, r"starts: want rows from 0 to 276, got none"),
        ({"alphas": [0.1, 0.2]}, r"alphas: want 1 numbers in \[0, 1\], got \[0.1, 0.2\]"),
        ({"alphas": [1.1]}, r"alphas: want 1 numbers in \[0, 1\], got \[1.1\]"),
    ],
)
def test_wrong_calls(change, message):
    setup = SETUPS["identity"]
    runs = begin(setup, [first_parameters(setup)], [1])
    call = {"series": SERIES, "starts": torch.arange(5), "alphas": [0.1], "rates": [1e-3]} | change
    with pytest.raises(ValueError, match=message):
        advance(setup, runs, **call)


def test_wrong_beginnings():
    setup = SETUPS["identity"]
    parameters = first_parameters(setup)
    with pytest.raises(ValueError, match=r"seeds: want 1 seeds, one per run, got 2"):
        begin(setup, [parameters], [1, 2])
    with pytest.raises(ValueError, match=r"parameters\['W1'\]: want shape \(3, 7\), got \(3, 8\)"):
        begin(setup, [{**parameters, "W1": torch.zeros(3, 8)}], [1])
    del parameters["h2"]
    with pytest.raises(ValueError, match=r"parameters\['h2'\]: want shape \(7,\), got nothing"):
        begin(setup, [parameters], [1])
    with pytest.raises(
        ValueError, match=r"latent_dim: want at least the 3 observed channels, got 2; take the affine"
    ):
        Setup(2, 7, 3)
    with pytest.raises(ValueError, match=r"observation: want one of 'identity', 'affine', got 'linear'"):
        Setup(3, 7, 3, observation="linear")
