"""The simulators: their equations, the accuracy of their solver, and what a seed means."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from isocline.datasets.chaotic import (
    _runge_kutta,
    delay_embedding,
    dysts_system,
    lorenz63,
    lorenz96,
    roessler,
)


def _lorenz63(t, x, beta=8 / 3):
    return [10 * (x[1] - x[0]), x[0] * (28 - x[2]) - x[1], x[0] * x[1] - beta * x[2]]


def _roessler(t, x):
    return [-x[1] - x[2], x[0] + 0.2 * x[1], 0.2 + x[2] * (x[0] - 5.7)]


def _lorenz96(t, x):
    return (np.roll(x, -1) - np.roll(x, 2)) * np.roll(x, 1) - x + 8


@pytest.mark.parametrize(
    ("simulate", "field"), [(lorenz63, _lorenz63), (roessler, _roessler), (lorenz96, _lorenz96)]
)
def test_the_solver_follows_the_equations(simulate, field):
    found = simulate(60, standardize=False, seed=3)
    times = found.dt * np.arange(60)
    exact = solve_ivp(field, (0, times[-1]), found.series[0], "DOP853", times, rtol=1e-12, atol=1e-12).y.T
    # 60 samples are at most 4.8 units of time, in which errors grow less than a hundredfold
    np.testing.assert_allclose(found.series, exact, atol=1e-6)
    assert "Runge-Kutta 4" in found.solver


def test_a_finer_step_errs_less_by_the_fourth_power():
    errors = []
    start = lorenz63(2, standardize=False, dt=1e-6, transient=20.0).series[0]
    for dt in (0.01, 0.005):
        got = _runge_kutta(0, start.copy(), np.array([10.0, 28.0, 8 / 3]), 1, round(1 / dt), dt)[0]
        exact = solve_ivp(_lorenz63, (0, 1), start, "DOP853", rtol=1e-13, atol=1e-13).y[:, -1]
        errors.append(np.abs(got - exact).max())
    assert 3.3 < np.log2(errors[0] / errors[1]) < 4.7


def test_statistics_of_lorenz63_are_the_known_ones():
    found = lorenz63(50_000)
    # long-run averages 0, 0 and 23.55; deviations 7.92, 9.01, 8.62; 500 units of time leave a few per cent
    np.testing.assert_allclose(found.mean, [0, 0, 23.55], atol=0.6)
    np.testing.assert_allclose(found.scale, [7.92, 9.01, 8.62], rtol=0.02)


def test_standardised_noisy_and_back():
    plain = lorenz63(2000, standardize=False)
    found = lorenz63(2000)
    np.testing.assert_allclose(found.series.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(found.series.std(0), 1)
    np.testing.assert_allclose(found.series * found.scale + found.mean, plain.series)
    noisy = lorenz63(2000, noise=0.05)
    added = noisy.series - found.series
    np.testing.assert_allclose(added.std(0), 0.05, rtol=0.08)  # 2000 draws: 1.6 % spread, five times that
    both = lorenz63(2000, noise=0.05, standardize=False)
    np.testing.assert_allclose((both.series - plain.series) / found.scale, added, atol=1e-12)


def test_a_seed_is_an_orbit_and_touches_no_global_state():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    for simulate in (lorenz63, roessler, lorenz96):
        first, same, other = simulate(50, seed=1), simulate(50, seed=1), simulate(50, seed=2)
        np.testing.assert_array_equal(first.series, same.series)
        assert np.abs(first.series - other.series).max() > 0.1
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_a_fresh_process_gives_the_same_bits():
    code = (
        "import hashlib; from isocline.datasets.chaotic import lorenz96;"
        "print(hashlib.sha256(lorenz96(200, noise=0.1, seed=5).series.tobytes()).hexdigest())"
    )
    fresh = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    series = lorenz96(200, noise=0.1, seed=5).series
    assert fresh.strip() == hashlib.sha256(series.tobytes()).hexdigest()


def test_how_it_was_made_is_told():
    facts = lorenz96(30, dimension=5, forcing=7.0, seed=4, noise=0.1).to_dict()
    assert facts["shape"] == [30, 5]
    assert facts["parameters"] == {"forcing": 7.0}
    assert (facts["seed"], facts["noise"], facts["dt"]) == (4, 0.1, 0.04)
    assert "series" not in facts


def test_a_map_of_dysts_by_name():
    found = dysts_system("Henon", 500, standardize=False)
    x, y = found.series.T
    np.testing.assert_allclose(x[1:], 1 - 1.4 * x[:-1] ** 2 + y[:-1], atol=1e-12)
    np.testing.assert_allclose(y[1:], 0.3 * x[:-1], atol=1e-12)
    assert found.dt == 1.0


def test_a_flow_of_dysts_by_name():
    found = dysts_system("Lorenz", 50, transient=2.0, standardize=False)
    times = found.dt * np.arange(50)
    assert found.parameters["beta"] == 2.667  # as the collection has it
    span = (0, times[-1])
    exact = solve_ivp(
        _lorenz63, span, found.series[0], "DOP853", times, rtol=1e-12, atol=1e-12, args=(2.667,)
    )
    np.testing.assert_allclose(found.series, exact.y.T, atol=1e-6)  # LSODA at 1e-9, over 0.75 units of time
    assert found.solver.startswith("LSODA, rtol 1e-09")
    assert found.parameters["rho"] == 28


@given(st.lists(st.integers(0, 12), min_size=1, max_size=4), st.integers(13, 30))
def test_delay_embedding_shifts_columns(lags, length):
    signal = np.arange(float(length))
    found = delay_embedding(signal, lags)
    assert found.shape == (length - max(lags), len(lags))
    np.testing.assert_array_equal(found, signal[: length - max(lags), None] + np.array(lags))
    np.testing.assert_array_equal(found, delay_embedding(signal[:, None], lags))


WRONG = [
    (lambda: lorenz63(1), ValueError, "steps: want a whole number >= 2, got 1"),
    (lambda: lorenz63(10, dt=-0.1), ValueError, "dt: want a finite number > 0, got -0.1"),
    (lambda: lorenz63(10, noise=-1), ValueError, "noise: want a finite number >= 0, got -1"),
    (lambda: lorenz63(10, rho="28"), TypeError, "rho: want a finite number, got '28'"),
    (lambda: lorenz63(10, rho=0.0, transient=2000), ValueError, "parameters: want an orbit that moves, got"),
    (lambda: roessler(2000, c=-30.0), ValueError, "parameters: want an orbit that stays finite"),
    (lambda: lorenz96(10, dimension=3), ValueError, "dimension: want a whole number >= 4, got 3"),
    (lambda: dysts_system("lorenz"), ValueError, "got 'lorenz'; did you mean 'Lorenz'"),
    (lambda: dysts_system("MackeyGlass"), ValueError, "want a flow or a map, got MackeyGlass, a delay"),
    (lambda: delay_embedding(np.ones((5, 2)), [1]), ValueError, "signal: want one channel, (time,) or"),
    (lambda: delay_embedding(np.ones(5), [0, 5]), ValueError, "signal: want more than 5 samples"),
    (lambda: delay_embedding(np.ones(5), [-1]), ValueError, "lags[0]: want a whole number >= 0, got -1"),
    (lambda: delay_embedding(np.ones(5), []), ValueError, "lags: want one or more whole numbers, got none"),
    (lambda: delay_embedding(np.ones(5), 2), TypeError, "dimension: want a whole number >= 1, got None"),
    (lambda: delay_embedding(np.ones(5), [1], 2), ValueError, "dimension: want None where lags are"),
    (lambda: delay_embedding([1.0, np.nan], 1, 1), ValueError, "signal: want finite values, got 1 NaN"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), WRONG, ids=[one[2][:40] for one in WRONG])
def test_the_message_names_what_was_wrong(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)


def test_without_dysts_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "dysts", None)
    with pytest.raises(ImportError, match=r"pip install 'isocline\[data\]'"):
        dysts_system("Lorenz")
