"""Signs and dependence without rounding."""

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import nnls

from isocline.linear_model.exact import exact_dependence, exact_sign

FLOATS = st.floats(-1e100, 1e100)


@given(arrays(np.float64, 4, elements=FLOATS), arrays(np.float64, 4, elements=FLOATS), FLOATS)
def test_sign(row, theta, intercept):
    total = Fraction(intercept) + sum(
        Fraction(a) * Fraction(b) for a, b in zip(row.tolist(), theta.tolist(), strict=True)
    )
    assert exact_sign(row, theta, intercept) == np.sign(float(total > 0) - float(total < 0))


def test_sign_where_float64_sees_nothing():
    row, theta = np.array([1e16, 1.0, -1e16]), np.ones(3)
    assert exact_sign(row, theta, 0.0) == 1
    assert exact_sign(row, theta, -1.0) == 0
    assert (
        exact_sign(np.array([0.1, -0.3]), np.array([3.0, 1.0]), 0.0) == 1
    )  # 3 * 0.1 > 0.3, as float64 has them


@given(st.integers(0, 10_000), st.integers(1, 6))
def test_points_around_zero_are_dependent(seed, d):
    rows = np.random.default_rng(seed).normal(size=(8 * d, d))
    weights, distance = nnls(np.vstack([rows.T, np.ones(8 * d)]), np.append(np.zeros(d), 1.0))
    support = weights > 0
    if distance < 1e-12:
        assert exact_dependence(rows[support], weights[support])
    else:
        assert not exact_dependence(rows, np.full(8 * d, 1 / (8 * d)))


def test_a_hair_makes_the_difference():
    half = np.array([0.5, 0.5])
    assert exact_dependence(np.array([[1.0, 2.0], [-1.0, -2.0]]), half)
    assert not exact_dependence(np.array([[1.0, 2.0], [-1.0, -2.0 + 1e-15]]), half)
    assert exact_dependence(np.array([[0.1, 0.2], [-0.3, -0.6]]), np.array([0.75, 0.25]))
    assert exact_dependence(np.zeros((1, 2)), np.ones(1))
    assert not exact_dependence(np.array([[1.0], [2.0]]), half)  # dependent, but not with weights above zero
    assert not exact_dependence(np.array([[1.0]]), np.ones(1))
