"""The rows as an operator are the rows as a matrix, which is written out here and nowhere else."""

import numpy as np
import pytest
from scipy import sparse

from isocline.linear_model.coordinates import Coordinates, find_coordinates, moments
from isocline.linear_model.rows import Rows, blocks_of, scores, squares, weighted_sum


def case(how: str | None, bias: float, dtype: type, kind: str, *, length: bool = False):
    rng = np.random.default_rng(3)
    X = (rng.standard_normal((23, 5)) * [1, 10, 0.1, 2, 1] + [0, 3, 0, -1, 5]).astype(dtype)
    X[:, 2] = 0.0
    sign = np.where(rng.random(23) < 0.5, 1, -1).astype(np.int8)
    coordinates = find_coordinates(X, how, bias, None)
    lengths = rng.random(23) + 0.5 if length else None
    data = X if kind == "dense" else sparse.csr_matrix(X)
    return Rows(data, sign, coordinates, length=lengths), explicit(X, sign, coordinates, lengths)


def explicit(X, sign, coordinates: Coordinates, length) -> np.ndarray:
    """``Z (n, p)``, formed."""
    Z = X.astype(np.float64)
    if coordinates.center is not None:
        Z = Z - coordinates.center
    if coordinates.metric is not None:
        Z = Z * coordinates.metric if coordinates.metric.ndim == 1 else Z @ coordinates.metric
    if coordinates.bias:
        Z = np.c_[Z, np.full(len(Z), coordinates.bias)]
    Z = sign[:, None] * Z
    return Z if length is None else length[:, None] * Z


hows = pytest.mark.parametrize(
    ("how", "bias"),
    [(None, 0.0), (None, 2.0), ("center", 1.0), ("auto", 1.5), ("auto", 0.0), ("whiten", 1.0)],
)
kinds = pytest.mark.parametrize("kind", ["dense", "csr"])
dtypes = pytest.mark.parametrize("dtype", [np.float64, np.float32])


@hows
@kinds
@dtypes
@pytest.mark.parametrize("length", [False, True])
def test_forward_back_and_radius(how, bias, kind, dtype, length):
    rows, Z = case(how, bias, dtype, kind, length=length)
    theta, weights = np.linspace(-1, 2, Z.shape[1]), np.linspace(0, 1, len(Z))
    assert rows.shape == (Z.shape[1],)
    size = np.abs(Z).max()
    np.testing.assert_allclose(rows.forward(theta), Z @ theta, rtol=1e-9, atol=1e-9 * size)
    np.testing.assert_allclose(rows.back(weights), Z.T @ weights, rtol=1e-9, atol=1e-9 * size)
    assert rows.radius() == pytest.approx(np.linalg.norm(Z, axis=1).max())


@hows
@kinds
def test_back_is_the_transpose_of_forward(how, bias, kind):
    rows, Z = case(how, bias, np.float64, kind)
    rng = np.random.default_rng(0)
    theta, weights = rng.standard_normal(Z.shape[1]), rng.standard_normal(len(Z))
    assert weights @ rows.forward(theta) == pytest.approx(rows.back(weights) @ theta)


@hows
def test_a_plane_and_its_theta_are_the_same_thing(how, bias):
    rows, Z = case(how, bias, np.float64, "dense")
    theta = np.linspace(-1, 2, Z.shape[1])
    coef, intercept = rows.coordinates.plane(theta)
    np.testing.assert_allclose(rows.sign * (rows.X @ coef + intercept), Z @ theta, rtol=1e-9, atol=1e-9)
    if bias or rows.coordinates.center is None:
        np.testing.assert_allclose(rows.coordinates.theta(coef, intercept), theta, rtol=1e-6, atol=1e-6)


def test_whitened_rows_have_unit_second_moment():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 4)) @ rng.standard_normal((4, 4)) + 7
    at = find_coordinates(X, "whiten", 1.0, None)
    white = (X - at.center) @ at.metric
    np.testing.assert_allclose(white.T @ white / len(X), np.eye(4), atol=1e-6)  # ridged by 1e-10 of the trace


@kinds
def test_moments_by_share_are_those_of_repeated_rows(kind):
    rng = np.random.default_rng(0)
    X, times = rng.standard_normal((20, 3)), rng.integers(1, 5, 20)
    data = X if kind == "dense" else sparse.csr_matrix(X)
    mean, spread = moments(data, times / times.sum())
    repeated = np.repeat(X, times, axis=0)
    np.testing.assert_allclose(mean, repeated.mean(axis=0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(spread, repeated.std(axis=0), rtol=1e-12)


@kinds
@dtypes
def test_the_plain_sums(kind, dtype):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((50, 4)).astype(dtype)
    data = X if kind == "dense" else sparse.csr_matrix(X)
    truth, weights, coef = X.astype(np.float64), rng.random((50, 2)), rng.standard_normal((2, 4))
    np.testing.assert_allclose(
        scores(data, coef, [1.0, 2.0]), truth @ coef.T + [1.0, 2.0], rtol=1e-12, atol=1e-12
    )
    np.testing.assert_allclose(weighted_sum(data, weights), weights.T @ truth, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(squares(data), np.square(truth).sum(axis=1), rtol=1e-6)
    np.testing.assert_array_equal(np.vstack([block for _, block in blocks_of(data)]), truth)
