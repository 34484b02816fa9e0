"""The maximum margin, held between its two proofs."""

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.svm import SVC

from isocline.linear_model import margin as module
from isocline.linear_model.margin import max_margin


def holds(X, y, found, fit_intercept):
    """Both proofs, from the data alone."""
    sign = (
        np.where(np.asarray(y) == np.unique(y)[-1], 1.0, -1.0) if len(np.unique(y)) > 1 else np.ones(len(y))
    )
    X = np.asarray(X.toarray() if sparse.issparse(X) else X, np.float64)
    size = np.abs(X).max()
    np.testing.assert_allclose(np.linalg.norm(found.theta), 1.0, rtol=1e-12)
    assert (sign * (X @ found.theta + found.intercept)).min() == pytest.approx(found.margin, abs=1e-12 * size)
    assert (found.weights >= 0).all()
    assert found.weights.sum() == pytest.approx(1.0)
    assert np.linalg.norm((found.weights * sign) @ X) == pytest.approx(found.upper, abs=1e-12 * size)
    assert found.margin <= found.upper
    assert found.gap == found.upper - found.margin
    if fit_intercept:
        assert found.weights @ sign == pytest.approx(0.0, abs=1e-12)
    else:
        assert found.intercept == 0.0


@pytest.mark.parametrize("name", ["two_point", "worst_case_100", "blobs_40x5", "hard_200x10", "ties_3x2"])
def test_golden(golden, name):
    with np.load(golden / "large_step" / f"{name}.npz") as g:
        found = max_margin(g["X"], g["y"])
        holds(g["X"], g["y"], found, False)
        assert found.margin == pytest.approx(float(g["mu"]), rel=1e-10)
        assert found.upper == pytest.approx(float(g["mu_dual"]), rel=1e-10)
        np.testing.assert_allclose(found.theta, g["theta_maxmargin"], atol=1e-10)


class TestRealData:
    def test_iris_against_a_support_vector_machine(self):
        X, y = load_iris(return_X_y=True)
        X, y = X[:100], y[:100]
        found = max_margin(X, y, fit_intercept=True)
        holds(X, y, found, True)
        machine = SVC(kernel="linear", C=1e8, tol=1e-10).fit(X, y)
        length = np.linalg.norm(machine.coef_)
        assert found.margin == pytest.approx(1 / length, rel=1e-5)  # libsvm stops at about 1e-6
        assert found.gap < 1e-12
        np.testing.assert_allclose(found.theta, machine.coef_[0] / length, atol=1e-5)
        assert found.intercept == pytest.approx(machine.intercept_[0] / length, rel=1e-5)

    def test_breast_cancer(self):
        # R / mu is near 1e8 on the raw columns.
        X, y = load_breast_cancer(return_X_y=True)
        found = max_margin(X, y, fit_intercept=True)
        holds(X, y, found, True)
        assert found.gap < 1e-9 * found.upper

    def test_digits_dense_and_sparse(self):
        X, y = load_digits(return_X_y=True)
        pair = (y == 1) | (y == 8)
        dense = max_margin(X[pair], y[pair])
        other = max_margin(sparse.csr_array(X[pair]), y[pair])
        holds(X[pair], y[pair], dense, False)
        assert dense.gap < 1e-9 * dense.upper
        assert other.margin == pytest.approx(dense.margin, rel=1e-9)
        assert (16 * 64**0.5 / dense.margin) ** 2 > 1972  # the radius is at most 16 sqrt(64)


class TestLaws:
    @given(st.integers(0, 10_000), st.integers(2, 40), st.integers(1, 6), st.booleans())
    def test_the_gap_closes(self, seed, n, d, fit_intercept):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(n, d))
        y = rng.permutation(np.arange(n) % 2)
        X[:, 0] = (np.abs(X[:, 0]) + 0.1) * (2 * y - 1)
        found = max_margin(X, y, fit_intercept=fit_intercept)
        holds(X, y, found, fit_intercept)
        assert found.gap <= 1e-9 * found.upper
        assert found.margin >= 0.1 * (1 - 1e-12)

    @given(st.integers(0, 10_000), st.integers(-120, 120))
    def test_scale_rotation_and_shift(self, seed, exponent):
        rng = np.random.default_rng(seed)
        X, y = rng.normal(size=(20, 3)), np.arange(20) % 2
        X[:, 0] = (np.abs(X[:, 0]) + 0.1) * (2 * y - 1)
        turn, c = np.linalg.qr(rng.normal(size=(3, 3)))[0], 10.0**exponent
        plain, turned = max_margin(X, y), max_margin(c * (X @ turn), y)
        assert turned.margin == pytest.approx(c * plain.margin, rel=1e-9)
        np.testing.assert_allclose(turned.theta, plain.theta @ turn, atol=1e-8)
        here, there = (max_margin(X + shift, y, fit_intercept=True) for shift in (0.0, rng.normal(size=3)))
        assert there.margin == pytest.approx(here.margin, rel=1e-9)
        assert here.margin >= plain.margin * (1 - 1e-9)  # an intercept can only help

    def test_duplicates_and_far_rows_change_nothing(self):
        rng = np.random.default_rng(0)
        X, y = rng.normal(size=(20, 3)), np.arange(20) % 2
        X[:, 0] = (np.abs(X[:, 0]) + 0.1) * (2 * y - 1)
        mu = max_margin(X, y).margin
        assert max_margin(np.r_[X, X, 3 * X], np.r_[y, y, y]).margin == pytest.approx(mu, rel=1e-10)


class TestLargeProblems:
    def test_a_working_set_is_enough(self):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(6000, 20)).astype(np.float32)
        along = X @ rng.normal(size=20)
        X, y = X[np.abs(along) > 1], along[np.abs(along) > 1] > 0
        found = max_margin(X, y, fit_intercept=True)
        holds(X, y, found, True)
        assert found.gap < 1e-9 * found.upper
        assert int(re.search(r"on (\d+) of", found.how)[1]) < len(X) / 4

    def test_momentum_takes_over_and_says_how_far_it_got(self, monkeypatch):
        monkeypatch.setattr(module, "_ACTIVE", 0)
        X, y = load_digits(return_X_y=True)
        pair = (y == 1) | (y == 8)
        for fit_intercept in (False, True):
            found = max_margin(X[pair], y[pair], fit_intercept=fit_intercept, tol=5e-3, max_rounds=500)
            holds(X[pair], y[pair], found, fit_intercept)
            assert "momentum" in found.how
            assert 0 < found.gap <= 5e-3 * found.upper

    def test_wide_rows(self):
        X = sparse.random(60, 500, 0.1, random_state=0, format="csr")
        found = max_margin(X, np.arange(60) % 2)
        holds(X, np.arange(60) % 2, found, False)
        assert found.gap < 1e-9 * found.upper


def test_result():
    found = max_margin([[2.0, 0.0], [0.0, -2.0]], [1, 0])
    assert found.margin == pytest.approx(2**0.5)
    assert repr(found).startswith("MaxMargin(1.41421, gap ")
    data = json.loads(json.dumps(found.to_dict()))
    assert data["gap"] == found.gap
    assert len(data["weights"]) == 2


WRONG = [
    (([[0.0], [1.0], [2.0]], [0, 1, 0]), {}, "X: want rows that a hyperplane separates, got none found"),
    (([[0.0], [1.0]], [0, 0]), {"fit_intercept": True}, "y: want labels of two classes"),
    (([[0.0], [1.0]], [0, 1]), {"tol": -1.0}, "tol: want a finite number >= 0|tol: want a number >= 0"),
    (([[0.0], [1.0]], [0, 1]), {"max_rounds": 0}, "max_rounds: want a whole number >= 1, got 0"),
]


@pytest.mark.parametrize(("args", "options", "message"), WRONG, ids=range(len(WRONG)))
def test_wrong_calls(args, options, message):
    with pytest.raises(ValueError, match=message):
        max_margin(*args, **options)
