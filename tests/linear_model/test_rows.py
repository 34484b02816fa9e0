"""The rows as an operator agree with the rows written out, dense and CSR, in any coordinates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from isocline.linear_model.coordinates import Coordinates, find_coordinates, moments
from isocline.linear_model.kesler import Pairs
from isocline.linear_model.rows import Rows, mean_square, scores, squares, weighted_sum

HOWS = [None, "center", "auto", "whiten"]


def some(seed: int, n: int, d: int, kind: str, dtype: type) -> tuple[object, np.ndarray]:
    """X in the asked form and the same numbers dense in float64."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) * 10.0 ** rng.integers(-2, 3, d) + rng.integers(-3, 4, d)
    X = np.where(rng.random((n, d)) < 0.3, 0.0, X).astype(dtype)
    forms = {
        "dense": X,
        "fortran": np.asfortranarray(X),
        "csr": sparse.csr_matrix(X),
        "csr int64": sparse.csr_array(X),
    }
    form = forms[kind]
    if kind == "csr int64":
        form.indices, form.indptr = form.indices.astype(np.int64), form.indptr.astype(np.int64)
    return form, X.astype(np.float64)


forms = st.tuples(
    st.integers(0, 1000),
    st.integers(1, 25),
    st.integers(1, 7),
    st.sampled_from(["dense", "fortran", "csr", "csr int64"]),
    st.sampled_from([np.float32, np.float64]),
)


def written_out(X: np.ndarray, sign: np.ndarray, at: Coordinates, length: np.ndarray | None) -> np.ndarray:
    """``Z (n, p)`` by the definition."""
    Z = X if at.center is None else X - at.center
    if at.metric is not None:
        Z = Z * at.metric if at.metric.ndim == 1 else Z @ at.metric
    if at.bias:
        Z = np.column_stack([Z, np.full(len(Z), at.bias)])
    return Z * (sign if length is None else sign * length)[:, None]


@given(forms)
def test_products_with_x_of_any_form_are_those_with_the_numbers(case):
    X, D = some(*case)
    rng = np.random.default_rng(1)
    coef, weights = rng.standard_normal((3, D.shape[1])), rng.standard_normal((D.shape[0], 3))
    size = np.abs(D).max() * D.size
    atol = 1e-15 * max(1.0, size)  # a sum of float64 products, in another order
    np.testing.assert_allclose(scores(X, coef, np.arange(3.0)), D @ coef.T + np.arange(3.0), atol=atol)
    np.testing.assert_allclose(scores(X, coef[0]), D @ coef[0], atol=atol)
    np.testing.assert_allclose(weighted_sum(X, weights), weights.T @ D, atol=atol)
    np.testing.assert_allclose(weighted_sum(X, weights[:, 0]), weights[:, 0] @ D, atol=atol)
    np.testing.assert_allclose(squares(X), (D * D).sum(axis=1), rtol=1e-12)
    share = np.full(len(D), 1 / len(D))
    np.testing.assert_allclose(mean_square(X, share), (D * D).mean(axis=0), rtol=1e-12)


@given(forms, st.sampled_from(HOWS), st.booleans())
def test_the_operator_is_the_signed_rows_written_out(case, how, own_length):
    X, D = some(*case)
    n, d = D.shape
    rng = np.random.default_rng(2)
    sign = rng.choice([-1, 1], n).astype(np.int8)
    length = rng.uniform(0.5, 2, n) if own_length else None
    at = find_coordinates(X, how, 0.7, None)
    rows = Rows(X, sign, at, None, length)
    Z = written_out(D, sign.astype(float), at, length)
    theta, weights = rng.standard_normal(d + 1), rng.standard_normal(n)
    # Coefficients in the features as they came can be much larger than theta: that is what rounding is relative to.
    reach = 1e-13 * (np.abs(D).max() + 1) * (np.abs(at.plane(theta)[0]).sum() + np.abs(theta).sum() + 1) * 2
    np.testing.assert_allclose(rows.forward(theta), Z @ theta, atol=reach)
    widest = 1.0 if at.metric is None else np.abs(at.metric).max()
    np.testing.assert_allclose(
        rows.back(weights), weights @ Z, atol=1e-12 * (np.abs(D).max() + 1) * widest * n
    )
    blocks = np.vstack([z.copy() for _, z in rows.blocks()])
    np.testing.assert_allclose(blocks, Z, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(rows.radius(), np.linalg.norm(Z, axis=1).max(), rtol=1e-9)
    index = np.flatnonzero(rng.random(n) < 0.6)
    if len(index):
        chosen = np.vstack([z.copy() for _, z in rows.blocks(index)])
        np.testing.assert_allclose(chosen, Z[index], rtol=1e-9, atol=1e-12)


@given(forms, st.sampled_from(HOWS))
def test_forward_and_back_are_each_other_s_transpose(case, how):
    X, D = some(*case)
    rng = np.random.default_rng(3)
    rows = Rows(X, rng.choice([-1, 1], len(D)).astype(np.int8), find_coordinates(X, how, 1.0, None))
    theta, weights = rng.standard_normal(rows.shape), rng.standard_normal(rows.n)
    there, back = weights @ rows.forward(theta), theta @ rows.back(weights)
    assert abs(there - back) <= 1e-9 * (1 + np.abs(weights).sum() * np.abs(rows.forward(theta)).max())


@given(forms, st.sampled_from([None, "center", "auto"]), st.booleans(), st.booleans())
def test_the_gram_matrix_is_that_of_the_features(case, how, weighted, chosen):
    X, D = some(*case)
    n, d = D.shape
    rng = np.random.default_rng(4)
    at = find_coordinates(X, how, 1.0, None)
    rows = Rows(X, np.ones(n, np.int8), at)
    index = np.flatnonzero(rng.random(n) < 0.7) if chosen else None
    weights = rng.uniform(0.1, 1, n) if weighted else None
    F = written_out(D, np.ones(n), at, None)[:, :d]
    counted = np.zeros(n)
    counted[slice(None) if index is None else index] = 1.0
    expected = (F * (counted if weights is None else counted * weights)[:, None]).T @ F
    gram = rows.gram(index, weights)
    np.testing.assert_allclose(
        np.concatenate(gram.diagonal()), np.diag(expected), rtol=1e-9, atol=1e-12 * np.trace(expected)
    )
    gram.values[:] += 0  # the factor is checked through what it solves
    for part in gram.diagonal():
        part += 1.0 + np.trace(expected)
    assert gram.factor()
    damped = expected + (1.0 + np.trace(expected)) * np.eye(d)
    right = rng.standard_normal((d, 2))
    np.testing.assert_allclose(damped @ gram.solve(right), right, atol=1e-9)
    np.testing.assert_allclose(damped @ gram.solve(right[:, 0]), right[:, 0], atol=1e-9)


@given(forms, st.sampled_from(HOWS))
def test_a_plane_and_its_theta_are_one(case, how):
    X, D = some(*case)
    at = find_coordinates(X, how, 0.3, None)
    rng = np.random.default_rng(5)
    for shape in ((D.shape[1] + 1,), (4, D.shape[1] + 1)):
        theta = rng.standard_normal(shape)
        again = at.theta(*at.plane(theta))
        np.testing.assert_allclose(again, theta, rtol=1e-6, atol=1e-6)


def test_moments_do_not_overflow_and_find_constant_columns():
    X = np.array([[1e200, 3.0, 1e-200], [-1e200, 3.0, 3e-200]])
    mean, spread = moments(X)
    np.testing.assert_allclose(mean, [0.0, 3.0, 2e-200])
    np.testing.assert_allclose(spread, [1e200, 0.0, 1e-200])


def test_whitened_rows_have_the_unit_matrix_for_second_moment():
    rng = np.random.default_rng(6)
    X = rng.standard_normal((200, 4)) @ rng.standard_normal((4, 4)) + 5
    at = find_coordinates(X, "whiten", 1.0, None)
    Z = written_out(X, np.ones(200), at, None)[:, :4]
    np.testing.assert_allclose(Z.T @ Z / 200, np.eye(4), atol=1e-6)  # but for the ridge: 1e-10 of the largest


def test_centring_needs_an_intercept():
    with pytest.raises(ValueError, match="precondition: want an intercept to centre with"):
        find_coordinates(np.eye(2), "center", 0.0, None)


@given(forms, st.integers(2, 4), st.booleans())
def test_pairs_are_kesler_s_rows_written_out(case, K, own_length):
    X, D = some(*case)
    n, d = D.shape
    rng = np.random.default_rng(7)
    index, length = rng.integers(0, K, n), rng.uniform(0.5, 2, n) if own_length else None
    pairs = Pairs(X, index, K, Coordinates(bias=0.5), None, length)
    A = written_out(D, np.ones(n), pairs.coordinates, length)
    Theta, weights = rng.standard_normal((K, d + 1)), rng.uniform(0, 1, (n, K))
    weights[np.arange(n), index] = 0.0
    margins, pulled = pairs.forward(Theta), pairs.back(weights)
    expected = np.zeros((K, d + 1))
    for i in range(n):
        assert margins[i, index[i]] == np.inf
        for k in set(range(K)) - {int(index[i])}:
            gap = (Theta[index[i]] - Theta[k]) @ A[i]
            np.testing.assert_allclose(margins[i, k], gap, atol=1e-12 * (1 + np.abs(A[i]).sum()) * 10)
            expected[index[i]] += weights[i, k] * A[i]
            expected[k] -= weights[i, k] * A[i]
    np.testing.assert_allclose(pulled, expected, atol=1e-12 * (1 + np.abs(A).sum()))
