"""The sign, ReSTE, its schedule: reference vectors, and the laws that hold for any power."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isocline.binary import functional as F

from .drawn import reals

POWERS = st.floats(1, 50)


@pytest.fixture
def grid(golden):
    return np.load(golden / "binary" / "reste_grid.npz")


def test_both_signs(grid):
    x = torch.tensor(grid["x"])
    np.testing.assert_array_equal(F.sign(x), grid["sign_pm1"])
    np.testing.assert_array_equal(F.sign(x, "zero"), grid["sign_zero_is_zero"])


@pytest.mark.parametrize("i", range(5))
def test_the_slope_and_what_it_is_the_slope_of(grid, i):
    x, o = torch.tensor(grid["x"]), float(grid["o"][i])
    np.testing.assert_allclose(F.reste_primitive(x, o), grid["estimator"][i], rtol=1e-12)
    for j, (t, m) in enumerate(zip(grid["t"], grid["m"], strict=True)):
        np.testing.assert_allclose(
            F.reste_truncated(x, o, t, m), grid["estimator_truncated"][i, j], rtol=1e-12
        )
        np.testing.assert_allclose(F.reste_surrogate(x, o, t, m), grid["surrogate_grad"][i, j], rtol=1e-12)


@pytest.mark.parametrize("i", range(5))
def test_in_single_precision_but_for_the_neighbours_of_the_thresholds(grid, i):
    x, o = grid["x"], float(grid["o"][i])
    for j, (t, m) in enumerate(zip(grid["t"], grid["m"], strict=True)):
        near = sum(np.abs(np.abs(x) - edge) < 1e-12 for edge in (t, m)) > 0
        apart = ~near | np.isin(np.abs(x), (t, m))
        found = F.reste_surrogate(torch.tensor(x[apart]).float(), o, t, m)
        np.testing.assert_allclose(found, grid["surrogate_grad"][i, j][apart], rtol=1e-5)


def test_the_schedule(golden):
    stored = np.load(golden / "binary" / "schedule.npz")
    for o_end, epochs in ((3, 1000), (10, 20), (1, 5)):
        found = [F.power(epoch / epochs, o_end) for epoch in range(epochs)]
        np.testing.assert_allclose(found, stored[f"o_end{o_end}_epochs{epochs}"], rtol=1e-12)
    assert F.power(torch.tensor(0.5)) == pytest.approx(F.power(0.5))


@given(reals(), POWERS, POWERS)
def test_the_error_to_the_sign_never_grows_with_the_power(x, o, further):
    o, further = sorted((o, further))
    error = [(F.reste_primitive(x, power) - torch.sign(x)).abs() for power in (1, o, further)]
    assert (error[1] <= error[0] + 1e-12).all()  # "rational": at least as near as the identity
    assert (error[2] <= error[1] + 1e-12).all()


@given(reals(), POWERS, st.floats(0.01, 1), st.floats(1, 3))
def test_the_slope_is_even_bounded_by_its_plateau_and_nothing_beyond_t(x, o, m, t):
    g = F.reste_surrogate(x, o, t, m)
    torch.testing.assert_close(g, F.reste_surrogate(-x, o, t, m))
    assert (g[x.abs() > t] == 0).all()
    assert (g[x.abs() <= t] > 0).all()
    assert (g <= m ** (1 / o - 1) * (1 + 1e-12)).all()
    assert m ** (1 / o - 1) <= 1 / m * (1 + 1e-12)


@given(st.floats(1, 20), st.floats(0.01, 1))
def test_beyond_the_plateau_it_falls_by_the_factor_o(o, m):
    at, above = torch.tensor([m, np.nextafter(m, 9)], dtype=torch.float64)
    fall = F.reste_surrogate(at, o, 1.5, m) / F.reste_surrogate(above, o, 1.5, m)
    assert float(fall) == pytest.approx(o, rel=1e-9)


def test_power_one_is_a_clipped_straight_through():
    x = torch.linspace(-3, 3, 61)
    torch.testing.assert_close(F.reste_surrogate(x, 1.0), (x.abs() <= 1.5).double())


@pytest.mark.parametrize("o", [1.0, 1.7, 3.0])
def test_between_the_truncations_it_is_the_derivative_of_the_power(o):
    x = torch.tensor([-1.4, -0.5, 0.2, 0.9], requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: F.reste_primitive(z, o), x)
    (slope,) = torch.autograd.grad(F.reste_primitive(x, o).sum(), x)
    torch.testing.assert_close(F.reste_surrogate(x.detach(), o), slope)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_no_dtype_overflows_and_all_are_kept(dtype):
    tiny = torch.finfo(dtype).tiny
    x = torch.tensor([0.0, tiny, -tiny, 0.05, 0.5, 2, torch.inf, -torch.inf], dtype=dtype)
    for o in (1.0, 3.0, 10.0):
        g = F.reste_surrogate(x, torch.tensor(o), torch.tensor(1.5), torch.tensor(0.1))
        assert g.dtype == dtype
        want = F.reste_surrogate(x.double(), o)
        torch.testing.assert_close(g.double(), want, rtol=2 * torch.finfo(dtype).eps, atol=0)
    assert F.sign(x).dtype == dtype


def test_the_scale_of_each_mode():
    w = torch.tensor([[1.0, -3.0], [0.0, 0.5]])
    assert F.weight_scale(w, "none") is None
    assert float(F.weight_scale(w, "tensor")) == 1.125
    assert F.weight_scale(w.reshape(2, 1, 2, 1), "channel").shape == (2, 1, 1, 1)


def test_nan_is_never_a_bit():
    x = torch.tensor([float("nan"), 1.0])
    for zero in ("one", "zero"):
        assert F.sign(x, zero).isnan().tolist() == [True, False]
    assert F.reste_surrogate(x, 3.0).isnan().tolist() == [True, False]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: F.binarize(torch.ones(3).int()), TypeError, "x: want a floating-point tensor, got a tensor"),
        (lambda: F.binarize(torch.ones(3), "rest"), ValueError, "estimator: want one of 'reste'"),
        (lambda: F.binarize(torch.ones(3), 3), TypeError, "estimator: want a name or an Estimator, got 3"),
        (lambda: F.weight_scale(torch.ones(3), "layer"), ValueError, "mode: want one of 'none'"),
    ],
)
def test_wrong_calls_are_answered(call, error, message):
    with pytest.raises(error, match=message):
        call()
