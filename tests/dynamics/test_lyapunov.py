"""Lyapunov exponents: the reference numbers, the exact laws of QR, and Lorenz-63, which is known."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isocline.dynamics.analysis import exponents_along, kaplan_yorke_dimension, lyapunov_spectrum
from isocline.dynamics.maps import shallow_plrnn, shallow_plrnn_jacobian

SIGMA, RHO, BETA, DT = 10.0, 28.0, 8.0 / 3.0, 0.01


@pytest.fixture
def reference(golden):
    with np.load(golden / "dynamics/lyapunov.npz") as file:
        return dict(file)


@pytest.fixture
def model(reference):
    weights = [torch.from_numpy(reference[f"param_{name}"]) for name in ("A", "W1", "W2", "h1", "h2")]
    A, W1, W2, _, h2 = weights
    return lambda z: shallow_plrnn(z, *weights), lambda z: shallow_plrnn_jacobian(z, A, W1, W2, h2)


def _random_jacobians(seed, steps=40, size=3):
    return np.random.default_rng(seed).normal(size=(steps, size, size))


def test_a_linear_map_has_the_logarithms_of_its_eigenvalues(reference):
    jacobians = np.broadcast_to(reference["linear_map"], (2000, 3, 3))
    found = exponents_along(jacobians, settle=500)
    np.testing.assert_allclose(found.exponents, reference["linear_exponents"], rtol=1e-9, atol=1e-12)


def test_the_reference_spectra(reference, model):
    start = torch.from_numpy(reference["z_start"])
    short = lyapunov_spectrum(*model, start, 50, 0)
    np.testing.assert_allclose(short.exponents, reference["spectrum_T50"], rtol=1e-9, atol=1e-12)
    same = lyapunov_spectrum(*model, start, 2000, 0)  # chaotic orbits part after 80 steps
    assert (np.abs(same.exponents - reference["spectrum_T2000"]) < 4 * same.standard_error).all()
    long = lyapunov_spectrum(*model, start.expand(50, 3) * torch.linspace(0.9, 1.1, 50)[:, None], 400, 100)
    np.testing.assert_allclose(long.exponents, reference["spectrum_T2000"], atol=1e-2)
    assert long.dimension == pytest.approx(reference["ky_T2000"].item(), abs=0.05)


def test_forced_exponents_are_free_exponents_plus_the_logarithm(reference, model):
    step, jacobian = model
    alpha, z, jacobians = reference["alpha_gtf"].item(), torch.from_numpy(reference["z_start"]), []
    for _ in range(50):
        jacobians.append(jacobian(z))
        z = step(z)
    free = exponents_along(torch.stack(jacobians))
    forced = exponents_along((1 - alpha) * torch.stack(jacobians))
    np.testing.assert_allclose(forced.exponents, free.exponents + math.log1p(-alpha), atol=1e-12)
    expected = reference["spectrum_T50_scaled_by_1_minus_alpha"]
    np.testing.assert_allclose(forced.exponents, expected, rtol=1e-9, atol=1e-12)


@given(st.integers(0, 10**6), st.floats(0, 0.99), st.integers(2, 5))
def test_forcing_law_for_any_jacobians(seed, alpha, size):
    jacobians = _random_jacobians(seed, size=size)
    moved = exponents_along((1 - alpha) * jacobians).exponents - exponents_along(jacobians).exponents
    np.testing.assert_allclose(moved, math.log1p(-alpha), atol=1e-9)


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 9))
def test_the_sum_is_the_mean_logarithm_of_the_volume(seed, size, every):
    jacobians = _random_jacobians(seed, size=size)
    found = exponents_along(jacobians, every=every)
    expected = np.mean(np.linalg.slogdet(jacobians)[1])
    assert found.exponents.sum() == pytest.approx(expected, rel=1e-7, abs=1e-7)  # products of 9 lose digits
    np.testing.assert_allclose(found.exponents, exponents_along(jacobians).exponents, rtol=1e-6, atol=1e-6)
    assert (np.diff(found.exponents) <= 0).all()


@given(st.integers(0, 10**6))
def test_lapack_gives_the_same_growth(seed):
    jacobians, frame, total = _random_jacobians(seed, size=4), np.eye(4), np.zeros(4)
    for J in jacobians:
        frame, R = np.linalg.qr(J @ frame)
        total += np.log(np.abs(np.diag(R)))
    expected = -np.sort(-total) / len(jacobians)
    np.testing.assert_allclose(exponents_along(jacobians).exponents, expected, rtol=1e-9, atol=1e-9)


def _field(z):
    x, y, w = np.moveaxis(z, -1, 0)
    return np.stack([SIGMA * (y - x), x * (RHO - w) - y, x * y - BETA * w], -1)


def _field_jacobian(z):
    x, y, w = np.moveaxis(z, -1, 0)
    one, zero = np.ones_like(x), np.zeros_like(x)
    rows = [[-SIGMA * one, SIGMA * one, zero], [RHO - w, -one, -x], [y, x, -BETA * one]]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def _lorenz_step(z, substeps=4):
    h = DT / substeps
    for _ in range(substeps):
        k1 = _field(z)
        k2 = _field(z + h / 2 * k1)
        k3 = _field(z + h / 2 * k2)
        k4 = _field(z + h * k3)
        z = z + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return z


def _lorenz_jacobian(z, substeps=4):
    """The derivative of the step itself: the tangent goes through the same stages."""
    h, tangent = DT / substeps, np.broadcast_to(np.eye(3), (*z.shape, 3))
    for _ in range(substeps):
        k1, v1 = _field(z), _field_jacobian(z) @ tangent
        at = z + h / 2 * k1
        k2, v2 = _field(at), _field_jacobian(at) @ (tangent + h / 2 * v1)
        at = z + h / 2 * k2
        k3, v3 = _field(at), _field_jacobian(at) @ (tangent + h / 2 * v2)
        at = z + h * k3
        k4, v4 = _field(at), _field_jacobian(at) @ (tangent + h * v3)
        z = z + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        tangent = tangent + h / 6 * (v1 + 2 * v2 + 2 * v3 + v4)
    return tangent


def test_lorenz63_sum_is_its_divergence_and_the_largest_is_0_906():
    lanes = np.array([0.0, 1.0, 25.0]) + np.random.default_rng(0).normal(size=(60, 3))
    # ten units of time, exp(-9), turn the frame; ten more count
    found = lyapunov_spectrum(_lorenz_step, _lorenz_jacobian, lanes, 2000, 500, dt=DT, settle=1000)
    # the flow contracts volume everywhere at the same rate; RK4 with h = 0.0025 errs by (0.1)^5 / 120 a step
    assert found.per_time.sum() == pytest.approx(-(SIGMA + 1 + BETA), rel=1e-6)
    error = found.standard_error / DT
    assert 0.005 < error[0] < 0.05
    known = np.array([0.9056, 0.0, -14.5723])
    assert (np.abs(found.per_time - known) < 4 * error).all()
    assert found.dimension == pytest.approx(2.062, abs=0.01)
    assert "60 lanes" in found.how


def test_error_of_independent_growth_is_the_textbook_one():
    generator, steps = np.random.default_rng(0), 20_000
    growth = generator.normal(size=(steps, 2)) * [0.5, 0.1] + [1.0, -1.0]
    jacobians = np.exp(growth)[:, :, None] * np.eye(2)
    found = exponents_along(jacobians)
    np.testing.assert_allclose(found.exponents, growth.mean(0), atol=1e-12)
    # from about 140 blocks of 142 steps: 6 % spread
    np.testing.assert_allclose(
        found.standard_error, [0.5 / math.sqrt(steps), 0.1 / math.sqrt(steps)], rtol=0.25
    )
    slow = np.repeat(growth, 50, axis=0)[:steps]  # memory of 50 steps: the error is seven times as large
    slowly = exponents_along(np.exp(slow)[:, :, None] * np.eye(2), block=1000)
    assert slowly.standard_error[0] == pytest.approx(0.5 / math.sqrt(steps / 50), rel=0.5)


def test_lanes_count_like_one_long_orbit(reference, model):
    start = torch.from_numpy(reference["z_start"]) + 0.05 * torch.randn(
        20, 3, generator=torch.Generator().manual_seed(0)
    )
    lanes = lyapunov_spectrum(*model, start, 400, 200, settle=50)
    single = lyapunov_spectrum(*model, start[0], 7000, 200)
    assert lanes.steps == single.steps == 7000
    spread = np.hypot(lanes.standard_error, single.standard_error)
    assert (np.abs(lanes.exponents - single.exponents) < 4 * spread).all()


def test_a_module_needs_no_jacobian_and_runs_by_its_own_generate(reference):
    class Model(torch.nn.Module):
        runs = 0

        def __init__(self):
            super().__init__()
            self.map = torch.nn.Parameter(torch.from_numpy(reference["linear_map"]))

        def forward(self, z):
            raise AssertionError("generate is faster")

        def jacobian(self, z):
            return self.map.expand(*z.shape[:-1], 3, 3)

        def generate(self, z, steps):
            Model.runs += 1
            return torch.stack([torch.linalg.matrix_power(self.map, t) @ z for t in range(1, steps + 1)])

    found = lyapunov_spectrum(Model(), None, np.full(3, 1e-3), 30, 5, settle=25)
    assert Model.runs == 2
    np.testing.assert_allclose(found.exponents[0], math.log(1.2), atol=0.02)


def test_blocks_of_the_orbit_do_not_show(reference, model, monkeypatch):
    start = torch.from_numpy(reference["z_start"])
    whole = lyapunov_spectrum(*model, start, 100, 10, every=3)
    monkeypatch.setattr("isocline.dynamics.lyapunov._CHUNK", 9 * 12)
    parts = lyapunov_spectrum(*model, start, 100, 10, every=3)
    np.testing.assert_array_equal(parts.exponents, whole.exponents)
    np.testing.assert_array_equal(parts.running, whole.running)


def test_a_direction_that_is_lost_is_minus_infinity():
    jacobians = _random_jacobians(0, size=3)
    jacobians[:, 2] = jacobians[:, 0] + jacobians[:, 1]
    found = exponents_along(jacobians)
    assert found.exponents[2] == -math.inf
    assert np.isfinite(found.exponents[:2]).all()
    assert found.to_dict()["exponents"][2] == "-inf"
    assert found.dimension == pytest.approx(kaplan_yorke_dimension(found.exponents))


def test_running_estimate_ends_at_the_result():
    found = exponents_along(_random_jacobians(1, steps=1000), dt=0.5)
    np.testing.assert_allclose(found.running[-1], found.exponents)
    assert found.running_steps[-1] == 1000
    np.testing.assert_allclose(found.per_time, 2 * found.exponents)
    assert str(found).startswith("Lyapunov exponents")
    assert found.plot().get_title() == "Lyapunov exponents"


def test_kaplan_yorke_of_the_reference(reference):
    for spectrum, expected in zip(reference["ky_spectra"], reference["ky_dims"], strict=True):
        assert kaplan_yorke_dimension(spectrum[::-1]) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=6), st.floats(0.01, 100))
def test_kaplan_yorke_does_not_depend_on_the_unit_of_time(exponents, scale):
    found = kaplan_yorke_dimension(exponents)
    assert 0 <= found <= len(exponents)
    if all(abs(one) > 1e-3 for one in exponents):
        assert kaplan_yorke_dimension(scale * np.array(exponents)) == pytest.approx(found, abs=1e-6)


J = _random_jacobians(0)
DOUBLE = (lambda z: 2 * z, lambda z: 2 * np.eye(2)[None].repeat(len(z), 0))
WRONG = [
    (lambda: exponents_along(J[0]), "jacobians: want shape (steps, M, M) or (steps, lanes, M, M)"),
    (lambda: exponents_along(J, settle=40), "settle: want a whole number >= 0 and < 40, got 40"),
    (lambda: exponents_along(J, every=0), "every: want a whole number >= 1, got 0"),
    (lambda: exponents_along(J, block=41), "block: want a whole number >= 1 and <= 40, got 41"),
    (lambda: exponents_along(J, dt=0.0), "dt: want a finite number > 0, got 0.0"),
    (lambda: exponents_along(np.full((3, 2, 2), math.nan)), "jacobians: want finite values, got 12 NaN"),
    (lambda: lyapunov_spectrum(*DOUBLE, np.ones(2), 2000), "z0: want an orbit that stays finite"),
    (lambda: lyapunov_spectrum(*DOUBLE, np.ones((2, 2, 2)), 5), "z0: want shape (M,) or (lanes, M)"),
    (lambda: lyapunov_spectrum(DOUBLE[0], None, np.ones(2), 5), "jacobian: want a function of states"),
    (lambda: lyapunov_spectrum(DOUBLE[0], lambda z: z, np.ones(2), 5, 0), "Jacobians of shape (5, 2, 2)"),
    (lambda: kaplan_yorke_dimension([0.1, math.nan]), "exponents: want one or more numbers"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), WRONG, ids=[message[:40] for _, message in WRONG])
def test_the_message_names_what_was_wrong(call, message):
    with np.errstate(over="ignore"), pytest.raises(ValueError, match="want") as caught:
        call()
    assert message in str(caught.value)


def test_a_blown_up_orbit_names_its_step():
    with np.errstate(over="ignore"), pytest.raises(ValueError, match="at step 1024;"):
        lyapunov_spectrum(*DOUBLE, np.ones(2), 2000, 10)
