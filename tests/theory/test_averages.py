"""Averages over one Gaussian: golden values, closed forms, three ways of writing a derivative, and many digits."""

from dataclasses import fields

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isocline.theory import Activation
from isocline.theory.averages import (
    Averages,
    _by_derivatives,
    _by_parts,
    _by_weights,
    mean_square,
    single_averages,
)
from isocline.theory.quadrature import line_rule

VARIANCES = np.array([0.01, 0.1, 0.5, 1.0, 3.0, 10.0, 30.0])
NAMES = [field.name for field in fields(Averages)]


@pytest.mark.parametrize("name", ["tanh", "sin", "gelu"])
def test_golden_averages(golden, name):
    data = np.load(golden / "effective_theory" / "gaussian_moments.npz")
    found = single_averages(Activation(name), data["K"])
    assert {key.removeprefix(f"{name}_") for key in data.files if key.startswith(name)} >= set(NAMES) - {
        "K", "g1", "var_ss", "var_pp", "cov_sp"
    }  # fmt: skip
    for key in NAMES[1:]:
        stored = data.get(f"{name}_{'sspp_par' if key == 'g1' else key}")
        if stored is not None:  # sin at K = 30: averages of 1e-13 and less are rounding on both sides
            np.testing.assert_allclose(getattr(found, key), stored, rtol=1e-9, atol=1e-12, err_msg=key)


@given(below=st.floats(-2, 2), variance=st.floats(1e-3, 1e3))
def test_scale_invariant_averages_are_those_of_quadrature(below, variance):
    activation = Activation(f"leaky_relu({below!r})")
    K = np.array([variance])
    exact = single_averages(activation, K)
    activation.slopes = None  # as if it were not known
    numeric = single_averages(activation, K)
    for name, unit in {
        "ss": K,
        "s4": K**2,
        "pp": 1,
        "p4": 1,
        "s2p2": K,
        "g1": 1,
        "var_ss": K**2,
        "cov_sp": K,
    }.items():
        np.testing.assert_allclose(
            getattr(numeric, name) / unit, getattr(exact, name) / unit, atol=1e-12, err_msg=name
        )


@pytest.mark.parametrize("name", ["tanh", "erf", "gelu", "swish", "mish", "sigmoid"])
def test_derivatives_inside_by_parts_and_by_weights_agree(name):
    activation = Activation(name)
    z, w = activation.line(VARIANCES[1:])
    s, p, q, r = activation.derivatives(z)
    inside = _by_derivatives(VARIANCES[1:], z, w, s, p, q, r)
    for other in (
        _by_parts(VARIANCES[1:], z, w, s, p, q),
        _by_weights(activation, VARIANCES[1:], z, w, s, p, q),
    ):
        for key in set(inside) & set(other):
            if not np.isnan(other[key]).any():  # atol: weights lose eps / K^2 digits
                np.testing.assert_allclose(other[key], inside[key], rtol=1e-9, atol=1e-11, err_msg=key)


@pytest.mark.parametrize("name", ["relu6", "hard_tanh", "elu", "selu", "hard_swish", "gelu", "tanh"])
def test_derivatives_with_respect_to_the_variance_are_slopes_of_the_averages(name):
    activation = Activation(name)
    K, step = np.array([0.7, 2.0, 5.0]), 1e-4

    def slope(key):  # central difference of fourth order
        at = {k: getattr(single_averages(activation, K + k * step), key) for k in (-2, -1, 1, 2)}
        return (8 * (at[1] - at[-1]) - (at[2] - at[-2])) / (12 * step)

    here = single_averages(activation, K)
    for derivative, of in (("g1", "ss"), ("g2", "g1"), ("dpp", "pp"), ("d2pp", "dpp")):
        np.testing.assert_allclose(
            getattr(here, derivative), slope(of), rtol=1e-7, atol=1e-9, err_msg=derivative
        )
    np.testing.assert_allclose(here.sq, here.g1 - here.pp, atol=1e-12)


def test_many_digits_at_tiny_variance():
    """GELU at K = 6e-14, where forms with 1 / K^2 have no digit left, against 50 digits."""
    K = 6e-14
    found = single_averages(Activation("gelu"), np.array([K]))
    with mpmath.workdps(50):
        step = mpmath.mpf(1) / 10
        exact = dict.fromkeys(("ss", "pp", "g1", "dpp", "rp", "spp2", "q2p2"), mpmath.mpf(0))
        squares = [mpmath.mpf(0), mpmath.mpf(0)]
        for i in range(-130, 131):
            x = step * i
            z, weight = mpmath.sqrt(K) * x, step * mpmath.npdf(x)
            density, below = mpmath.npdf(z), mpmath.ncdf(z)
            s, p, q, r = z * below, below + z * density, density * (2 - z * z), density * z * (z * z - 4)
            terms = {"ss": s * s, "pp": p * p, "g1": p * p + s * q, "dpp": q * q + p * r, "rp": p * r}
            terms |= {"spp2": s * p * p * q, "q2p2": q * q * p * p}
            for key, term in terms.items():
                exact[key] += weight * term
            squares[0] += weight * p**2
            squares[1] += weight * p**4
        variance = float(squares[1] - squares[0] ** 2)
        values = {key: float(value) for key, value in exact.items()}
    for key, value in values.items():
        assert float(getattr(found, key)[0]) == pytest.approx(value, rel=1e-8), key
    assert float(found.var_pp[0]) == pytest.approx(variance, rel=1e-8)


@given(variance=st.floats(1e-4, 1e3), power=st.integers(0, 6))
def test_the_line_integrates_polynomials_and_kinks_exactly(variance, power):
    z, w = line_rule(np.array([variance]), (0.0, 1.3))
    moment = float((w * z ** (2 * power)).sum()) / variance**power
    assert moment == pytest.approx(float(np.prod(np.arange(1, 2 * power, 2))), rel=1e-12)
    beyond = float((w * (z > 1.3)).sum())
    assert beyond == pytest.approx(float(mpmath.ncdf(-1.3 / mpmath.sqrt(variance))), abs=1e-13)


def test_averages_with_the_square_of_a_delta_are_nan():
    found = single_averages(Activation("hard_tanh"), VARIANCES)
    assert all(np.isnan(getattr(found, name)).all() for name in ("q2", "rp", "q2p2", "rp3"))
    assert all(np.isfinite(getattr(found, name)).all() for name in ("g1", "g2", "dpp", "d2pp", "spp2", "sq"))


def test_mean_square_is_the_average_the_kernel_needs():
    for name in ("tanh", "relu", "mish"):
        activation = Activation(name)
        expected = single_averages(activation, np.array([2.5])).ss[0]
        assert mean_square(activation, 2.5) == pytest.approx(expected, rel=1e-14)
