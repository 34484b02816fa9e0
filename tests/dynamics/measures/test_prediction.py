"""Prediction errors: the reference numbers, modules and arrays alike, and times that are known exactly."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isocline.dynamics.maps import shallow_plrnn
from isocline.dynamics.measures import persistence_error, prediction_error, valid_prediction_time

GENERATOR = np.random.default_rng(0)


def _model(file):
    A, W1, W2, h1, h2 = (file[f"pe_param_{name}"] for name in ("A", "W1", "W2", "h1", "h2"))
    return lambda z: A * z + (np.maximum(z @ W2.T + h2, 0) - np.maximum(z @ W2.T, 0)) @ W1.T + h1


@pytest.mark.parametrize("n", [1, 5, 20])
def test_the_reference_number_for_arrays_and_for_tensors(golden, n):
    with np.load(golden / "dynamics/metrics.npz") as file:
        expected = file[f"pe_{n}"].item()
        found = prediction_error(_model(file), file["pe_X"], n)
        assert found.value == pytest.approx(expected, rel=1e-9)
        assert found.starts == len(file["pe_X"]) - n
        weights = [torch.from_numpy(file[f"pe_param_{name}"]) for name in ("A", "W1", "W2", "h1", "h2")]
        series = torch.from_numpy(file["pe_X"])
        as_tensors = prediction_error(lambda z: shallow_plrnn(z, *weights), series, n)
        assert as_tensors.value == pytest.approx(expected, rel=1e-9)


def test_a_module_gets_its_own_dtype_and_keeps_its_gradients():
    class Half(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rate = torch.nn.Parameter(torch.tensor(0.5, dtype=torch.float32))

        def forward(self, z):
            assert z.dtype == torch.float32
            return self.rate * z

    model, series = Half(), GENERATOR.normal(size=(30, 2))
    found = prediction_error(model, series, 2)
    assert found.value == pytest.approx(np.mean((0.25 * series[:-2] - series[2:]) ** 2), rel=1e-6)  # float32
    assert model.rate.grad is None


@given(st.integers(1, 12), st.integers(1, 3))
def test_doing_nothing_is_persistence_and_the_right_map_is_exact(n, channels):
    series = np.random.default_rng(n).normal(size=(40, channels))
    assert prediction_error(lambda z: z, series, n).value == pytest.approx(persistence_error(series, n))
    decay = 0.9 ** np.arange(40)[:, None] * np.ones(channels)
    assert prediction_error(lambda z: 0.9 * z, decay, n).value < 1e-28
    expected = np.mean((decay[n:] - 0.5**n * decay[:-n]) ** 2, axis=0)
    np.testing.assert_allclose(prediction_error(lambda z: 0.5 * z, decay, n).per_channel, expected)


def test_many_starts_go_in_blocks_with_the_same_result(monkeypatch):
    series = GENERATOR.normal(size=(50, 2))
    whole = prediction_error(np.tanh, series, 3).value
    monkeypatch.setattr("isocline.dynamics.measures.prediction._STARTS", 7)
    sizes = []

    def step(z):
        sizes.append(len(z))
        return np.tanh(z)

    assert prediction_error(step, series, 3).value == pytest.approx(whole)
    assert max(sizes) == 7


def test_states_that_are_not_observations_and_inputs_of_the_time_arrived_at():
    series, inputs = np.zeros((10, 1)), np.arange(10.0)[:, None]
    for t in range(1, 10):
        series[t] = 0.5 * series[t - 1] + inputs[t]
    found = prediction_error(
        lambda z, s: np.stack([0.5 * z[:, 0] + s[:, 0], z[:, 1]], 1),
        series,
        4,
        initial=lambda x: np.concatenate([x, x], 1),
        observe=lambda z: z[:, :1],
        inputs=inputs,
    )
    assert found.value < 1e-28


def test_a_prediction_that_overflows_is_infinite_not_lost():
    found = prediction_error(lambda z: 1e200 * z, np.ones((5, 1)) + np.arange(5.0)[:, None], 2)
    assert found.value == math.inf
    assert found.to_dict()["value"] == "inf"


def test_valid_time_is_the_step_at_which_the_error_crosses():
    true = np.where(np.arange(100) % 2, 1.0, -1.0)[:, None]  # spread 1
    predicted = true + 0.01 * np.arange(100)[:, None]
    found = valid_prediction_time(true, predicted, threshold=0.405, dt=0.1, exponent=0.9)
    assert found.steps == 41
    assert found.time == pytest.approx(4.1)
    assert found.lyapunov_times == pytest.approx(3.69)
    assert not found.reached_end
    whole = valid_prediction_time(true, true)
    assert (whole.steps, whole.reached_end, whole.lyapunov_times) == (100, True, None)
    predicted[20] = math.nan
    assert float(valid_prediction_time(true, predicted)) == 20
