"""Noise floor, memory and attractor measures, on series whose answer is known."""

import math

import numpy as np
import pytest

from isocline.dynamics.measures import (
    autocorrelation,
    autocorrelation_error,
    correlation_dimension,
    escaped_at,
    marginal_distance,
    mutual_information,
    noise_floor,
    persistence_error,
    predictability_time,
    spectral_hellinger,
    state_space_divergence,
)

GENERATOR = np.random.default_rng(0)
T = np.arange(4000)[:, None]
AR1 = 0.95  # x_t = 0.95 x_{t-1} + noise: autocorrelation 0.95^k exactly


def _ar1(length: int) -> np.ndarray:
    noise = np.random.default_rng(3).normal(size=length)
    series = np.zeros(length)
    for t in range(1, length):
        series[t] = AR1 * series[t - 1] + noise[t]
    return series[:, None]


def test_noise_floor_is_the_measures_of_the_halves():
    series = GENERATOR.normal(size=(401, 2)).cumsum(0)
    found = noise_floor(series, n=5)
    first, second = series[:200], series[200:400]
    assert found.divergence == state_space_divergence(first, second)
    assert found.hellinger.value == spectral_hellinger(first, second).value
    assert found.persistence == persistence_error(series, 5)
    assert "first half" in str(found)
    other = noise_floor(first, series)
    assert other.hellinger.value == spectral_hellinger(first, series[:200]).value == 0.0
    assert other.divergence == state_space_divergence(first, series)
    assert set(other.to_dict()) == {"divergence", "hellinger", "persistence", "steps", "how"}


def test_autocorrelation_of_a_sine_and_of_an_ar1():
    sine = np.sin(2 * np.pi * T / 50)
    found = autocorrelation(sine, 100)
    expected = np.cos(2 * np.pi * np.arange(101) / 50) * (1 - np.arange(101) / len(T))
    np.testing.assert_allclose(found[:, 0], expected, atol=2e-2)
    assert found[0, 0] == pytest.approx(1.0)
    series = _ar1(40_000)
    expected = AR1 ** np.arange(31)
    np.testing.assert_allclose(autocorrelation(series, 30)[:, 0], expected, atol=0.06)
    by_hand = np.mean((series[:-7] - series.mean()) * (series[7:] - series.mean())) * (1 - 7 / len(series))
    assert autocorrelation(series, 30)[7, 0] == pytest.approx(by_hand / series.var(), rel=1e-9)
    assert autocorrelation_error(series, 3 * series + 1, 30) < 1e-12
    assert autocorrelation_error(sine, np.sin(2 * np.pi * T / 25), 100) > 0.5


def test_mutual_information_of_a_copy_and_of_noise():
    noise = GENERATOR.normal(size=(20_000, 1))
    found = mutual_information(noise, 3, bins=8)
    assert found[0, 0] == pytest.approx(math.log(8), abs=1e-3)
    assert (found[1:] < 5 * 49 / (2 * len(noise))).all()  # bias (8 - 1)^2 / 2T


def test_predictability_time_from_an_exponent_from_decay_and_from_information():
    assert predictability_time(exponent=math.log(2) / 25) == 25
    assert predictability_time(exponent=100.0) == 1
    series = _ar1(40_000)
    assert abs(predictability_time(series, lags=60) - 1 / -math.log(AR1)) < 6
    sine = np.sin(2 * np.pi * T / 80) + 0.01 * GENERATOR.normal(size=T.shape)
    assert predictability_time(sine, lags=60) <= 20  # a quarter of the period at most


def test_correlation_dimension_of_a_circle_a_square_and_a_torus():
    angle, other = GENERATOR.uniform(0, 2 * np.pi, size=(2, 2000, 1))
    circle = np.concatenate([np.cos(angle), np.sin(angle)], 1)
    found = correlation_dimension(circle, apart=1)
    assert float(found) == pytest.approx(1.0, abs=0.03)
    assert found.to_dict()["how"] == "2000 points, shares 0.0001 to 0.01"
    square = GENERATOR.uniform(size=(2000, 2))
    assert float(correlation_dimension(square, apart=1)) == pytest.approx(2.0, abs=0.06)
    torus = np.concatenate([circle, np.cos(other), np.sin(other)], 1)
    assert float(correlation_dimension(torus, apart=1)) == pytest.approx(2.0, abs=0.1)


def test_marginals_shifted_by_a_known_amount():
    true = GENERATOR.normal(size=(500, 2)) * [1.0, 4.0]
    found = marginal_distance(true, true[::-1] + true.std(0) * [0.5, 2.0])
    np.testing.assert_allclose(found, [0.5, 2.0], rtol=1e-9)
    gone = true.copy()
    gone[3, 1] = math.nan
    assert np.isnan(marginal_distance(true, gone)).tolist() == [False, True]


def test_escape_is_noticed_at_its_step():
    true = np.sin(T[:200] * 0.1)
    made = true.copy()
    assert escaped_at(true, made) is None
    made[150:] += 10
    assert escaped_at(true, made) == 150
    assert escaped_at(true, made, reach=6.0) is None
    made[120] = math.nan
    assert escaped_at(true, made, reach=6.0) == 120
