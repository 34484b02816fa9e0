"""The recursion for any map: where forcing acts, and the messages at its door."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isocline.dynamics import (
    PLRNN,
    AlmostLinearRNN,
    DendriticPLRNN,
    ShallowPLRNN,
    forced_rollout,
    functional,
)

WEIGHTS = st.floats(0, 1)


@given(weight=WEIGHTS, seed=st.integers(0, 2**31))
def test_the_pull_is_between_its_ends(weight, seed):
    g = torch.Generator().manual_seed(seed)
    z, target = torch.randn(4, 3, generator=g), torch.randn(4, 2, generator=g)
    pulled = functional.toward_teacher(z, target, weight)
    torch.testing.assert_close(pulled[:, :2], (1 - weight) * z[:, :2] + weight * target)
    assert torch.equal(pulled[:, 2], z[:, 2])
    assert torch.equal(functional.toward_teacher(z, target, 1.0)[:, :2], target)  # exactly, not to rounding
    assert torch.equal(functional.toward_teacher(z, target, 0.0), z)


@given(T=st.integers(1, 30), interval=st.integers(1, 12))
def test_an_interval_forces_every_so_many_predictions(T, interval):
    weights = functional.forcing_weights(0.7, T, torch.zeros(1), interval=interval).flatten()
    assert weights.tolist() == [0.7 if t % interval == 0 else 0 for t in range(1, T + 1)]


MODELS = {
    "plrnn": lambda: PLRNN(4),
    "mean-centred": lambda: PLRNN(4, mean_centred=True, input_dim=2),
    "dendritic": lambda: DendriticPLRNN(4, 3, input_dim=2),
    "clipped dendritic": lambda: DendriticPLRNN(4, 3, clipped=True),
    "almost linear": lambda: AlmostLinearRNN(4, 2, input_dim=2),
    "shallow": lambda: ShallowPLRNN(4, 9, clipped=False, input_dim=2),
    "clipped shallow": lambda: ShallowPLRNN(4, 9),
}


@pytest.mark.parametrize("name", MODELS)
def test_any_model_runs_under_forcing(name):
    torch.manual_seed(1)
    model = MODELS[name]()
    z0, signal = torch.randn(3, 4), torch.randn(11, 3, 2)
    inputs = torch.randn(11, 3, 2) if model.input_dim else None
    states = functional.forced_rollout_of(model, z0, signal, 0.3, inputs=inputs)
    fed = torch.cat([states[..., :2] * 0.7 + 0.3 * signal, states[..., 2:]], -1)
    before = torch.cat([z0[None], fed[:-1]])
    torch.testing.assert_close(states, model(before, inputs))
    free = functional.forced_rollout_of(model, z0, signal, 0.0, inputs=inputs)
    torch.testing.assert_close(free, model.generate(z0, 11, inputs))


@pytest.mark.parametrize("name", MODELS)
def test_gradcheck(name):
    torch.manual_seed(2)
    model = MODELS[name]()
    signal = torch.randn(3, 2, 3)
    signal[1, 0, 1] = torch.nan
    inputs = torch.randn(3, 2, 2) if model.input_dim else None
    leaves = [p.detach().requires_grad_() for p in model.parameters()]
    z0 = torch.randn(2, 4, requires_grad=True)

    def call(z0, *leaves):
        parameters = dict(zip(dict(model.named_parameters()), leaves, strict=True))

        def step(z, s):
            return torch.func.functional_call(model, parameters, (z, s))

        return functional.forced_rollout_of(step, z0, signal, 0.3, inputs=inputs)

    assert torch.autograd.gradcheck(call, (z0, *leaves))


def test_the_shallow_model_is_the_fast_rollout():
    torch.manual_seed(3)
    model = ShallowPLRNN(4, 9, input_dim=2)
    z0, signal, inputs = torch.randn(3, 4), torch.randn(11, 3, 4), torch.randn(11, 3, 2)
    slow = functional.forced_rollout_of(model, z0, signal, 0.3, inputs=inputs, interval=2)
    fast = forced_rollout(*model.weights(), z0, signal, 0.3, C=model.C, inputs=inputs, interval=2)
    torch.testing.assert_close(fast, slow, rtol=1e-10, atol=1e-12)


def call(**change):
    M, L, B, T = 3, 5, 2, 4
    good = {
        "A": torch.zeros(M),
        "W1": torch.zeros(M, L),
        "W2": torch.zeros(L, M),
        "h1": torch.zeros(M),
        "h2": torch.zeros(L),
        "z0": torch.zeros(B, M),
        "forcing": torch.zeros(T, B, M),
        "alpha": 0.1,
    }
    return forced_rollout(**(good | change))


def test_the_right_call_passes():
    assert call().shape == (4, 2, 3)


def zeros(*shape):
    return torch.zeros(shape, dtype=torch.float64)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"z0": zeros(3)}, r"z0: want \(B, M\), or \(R, B, M\) for R runs, got \(3,\); one row per sequence"),
        ({"forcing": zeros(4, 3)}, r"forcing: want \(T, B, D\), got \(4, 3\); time comes first"),
        ({"forcing": zeros(0, 2, 3)}, r"forcing: want \(T, B, D\), got \(0, 2, 3\)"),
        ({"forcing": zeros(4, 5, 3)}, r"forcing: want B = 2 sequences, as in z0, got 5"),
        ({"forcing": zeros(4, 2, 4)}, r"forcing: want D <= 3 channels, the states of z0, got 4; take more"),
        ({"forcing": zeros(4, 2, 3).float()}, r"forcing: want torch.float64, as z0, got torch.float32"),
        ({"A": zeros(4)}, r"A: want \(3,\), as z0 \(2, 3\) and W2 \(5, 3\) have it, got \(4,\)"),
        ({"W1": zeros(5, 3)}, r"W1: want \(3, 5\), as z0 \(2, 3\) and W2 \(5, 3\) have it, got \(5, 3\)"),
        ({"W2": zeros(3, 5)}, r"W2: want \(L, 3\), got \(3, 5\); M is that of z0"),
        ({"h2": zeros(3)}, r"h2: want \(5,\), as z0 \(2, 3\) and W2 \(5, 3\) have it, got \(3,\)"),
        ({"h1": zeros(3).float()}, r"h1: want torch.float64, as z0, got torch.float32; convert"),
        ({"alpha": 1.5}, r"alpha: want a number >= 0 and <= 1, got 1.5"),
        ({"alpha": zeros(5)}, r"alpha: want a shape that broadcasts to \(4, 2, 3\), got \(5,\)"),
        ({"interval": 0}, r"interval: want a whole number >= 1, got 0"),
        ({"C": zeros(3, 2)}, r"inputs: want C and inputs together, got C alone"),
        (
            {"C": zeros(3, 2), "inputs": zeros(4, 2, 1)},
            r"inputs: want \(4, 2, 2\), as forcing and C have it, got \(4, 2, 1\)",
        ),
        ({"backend": "cuda"}, r"backend: want one of 'auto', .* got 'cuda'"),
    ],
)
def test_wrong_calls(change, message):
    with pytest.raises(ValueError, match=message):
        call(**change)


def test_a_word_is_no_alpha():
    with pytest.raises(TypeError, match=r"alpha: want a number >= 0 and <= 1, got 'half'"):
        call(alpha="half")
