"""Three answers, each with a proof that is checked against the data, never a wrong one."""

import json
import re
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import sparse
from scipy.optimize import linprog
from sklearn.datasets import load_breast_cancer, load_digits, load_iris

from isocline.linear_model import functional, searches
from isocline.linear_model.labelled import labelled
from isocline.linear_model.separability import Separability, _proved, is_separable


@pytest.fixture(scope="module")
def digits():
    return load_digits(return_X_y=True)


def decided(X, y, answer, **options):
    """The answer is as expected and proved; it says so for CSR, too."""
    found = is_separable(X, y, **options)
    assert (found.answer, found.verify(X, y)) == (answer, True), found
    other = is_separable(sparse.csr_array(np.asarray(X, float)), y, **options)
    assert (other.answer, other.verify(X, y)) == (answer, True), other
    return found


def by_linear_program(X, y, fit_intercept):
    """Another way, safe on small whole numbers: either margins of one can be had, or none at all."""
    z = np.where(np.asarray(y) == 1, 1, -1)[:, None] * (np.c_[X, np.ones(len(X))] if fit_intercept else X)
    result = linprog(np.zeros(z.shape[1]), -z, -np.ones(len(z)), bounds=(None, None), method="highs")
    return "separable" if result.status == 0 else "not separable"


class TestRealData:
    def test_iris(self):
        X, y = load_iris(return_X_y=True)
        decided(X[:100], y[:100], "separable")
        decided(X[50:], y[50:], "not separable")
        decided(X[50:], y[50:], "not separable", fit_intercept=False)

    def test_every_pair_of_digits(self, digits):
        X, y = digits
        for a, b in combinations(range(10), 2):
            pair = (y == a) | (y == b)
            found = is_separable(X[pair], y[pair])
            assert found.answer == "separable"
            assert found.verify(X[pair], y[pair])

    @pytest.mark.parametrize("digit", range(10))
    def test_one_digit_against_the_rest(self, digits, digit):
        X, y = digits
        decided(X, y == digit, "separable" if digit < 8 else "not separable")

    @pytest.mark.parametrize("standardized", [False, True])
    def test_breast_cancer(self, standardized):
        X, y = load_breast_cancer(return_X_y=True)
        X = (X - X.mean(axis=0)) / X.std(axis=0) if standardized else X
        assert decided(X, y, "separable").margin > 1e-7


class TestNeverWrong:
    @given(
        arrays(np.int64, st.tuples(st.integers(2, 9), st.integers(1, 3)), elements=st.integers(-2, 2)),
        st.data(),
        st.booleans(),
    )
    def test_small_whole_numbers(self, X, data, fit_intercept):
        y = data.draw(
            arrays(np.int64, len(X), elements=st.integers(0, 1)).filter(lambda y: 0 < y.sum() < len(y))
        )
        decided(X, y, by_linear_program(X, y, fit_intercept), fit_intercept=fit_intercept)

    @given(st.integers(0, 10_000), st.integers(1, 5), st.integers(-70, 70), st.booleans())
    def test_gaussian_data_of_any_scale(self, seed, d, exponent, fit_intercept):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(30, d)) * 10.0 ** (2 * exponent * rng.uniform(0, 1, d))
        y = X[:, 0] > (np.median(X[:, 0]) if fit_intercept else 0.0)
        y[:2] = [False, True]
        X[:2, 0] = np.abs(X[:2, 0]) * [-1, 1] + (np.median(X[:, 0]) if fit_intercept else 0.0)
        decided(X, y, "separable", fit_intercept=fit_intercept)
        y = rng.permutation(y)
        found = is_separable(X, y, fit_intercept=fit_intercept)
        assert found.answer != "undecided"
        assert found.verify(X, y)

    @pytest.mark.parametrize(
        "search", ["class_means", "contradictions", "hinge", "logistic", "linear_program"]
    )
    @given(arrays(np.int64, (8, 2), elements=st.integers(-2, 2)), st.integers(1, 254))
    def test_each_search_alone(self, search, X, code):
        y = np.array([code >> i & 1 for i in range(8)])
        rows = labelled(X, y, fit_intercept=True)
        for _, theta, weights in getattr(searches, search)(rows):
            for found in (_proved(rows, "", theta, None), _proved(rows, "", None, weights)):
                assert found is None or found.answer == by_linear_program(X, y, True)


class TestHardCases:
    def test_touching_and_contradicting(self):
        decided([[0.0], [1.0], [1.0], [2.0]], [0, 0, 1, 1], "not separable")
        decided(
            [[0.0, 0], [1, 0], [1, 1], [1, -1]], [0, 0, 1, 1], "not separable"
        )  # a point on the other class's edge
        decided([[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0], "not separable")
        decided([[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 1], "separable")
        assert "contradict" in is_separable([[1.0], [1.0]], [0, 1]).how
        assert is_separable([[0.0, 1], [-0.0, 1]], [0, 1]).answer == "not separable"  # -0.0 is 0.0

    def test_through_the_origin(self):
        zero = is_separable([[0.0, 0.0], [1.0, 0.0]], [0, 1], fit_intercept=False)
        assert (zero.answer, zero.how) == ("not separable", "a row of zeros")
        decided([[-1.0, 2], [1, -2], [5, 5]], [0, 0, 1], "not separable", fit_intercept=False)
        decided([[-1.0, 2], [1, -2], [5, 5]], [0, 1, 1], "separable", fit_intercept=False)
        decided([[2.0], [3.0]], [0, 1], "not separable", fit_intercept=False)
        decided([[2.0], [3.0]], [0, 1], "separable")
        decided(
            [[1.0, 0], [0, 1], [1, -1]], [1, 1, 1], "separable", fit_intercept=False
        )  # signed rows, one class

    def test_by_one_rounding(self):
        found = decided([[1.0], [np.nextafter(1.0, 2.0)]], [0, 1], "separable")
        assert found.margin == pytest.approx(np.finfo(float).eps / 2)
        decided([[1e10], [np.nextafter(1e10, 2e10)], [-1e10]], [0, 1, 0], "separable")
        decided([[1.0], [np.nextafter(1.0, 2.0)], [np.nextafter(1.0, 0.0)]], [0, 1, 1], "not separable")

    def test_nearly_on_a_line_is_left_undecided(self):
        # On the line they alternate; rounded to float64 they lie a hair beside it, and who knows where.
        X = np.array([[0.1, 0.7], [0.2, 0.8], [0.3, 0.9], [0.15, 0.75]])
        found = is_separable(X, [0, 1, 0, 1])
        assert found.answer in ("undecided", "not separable", "separable")
        assert found.verify(X, [0, 1, 0, 1]) == (found.answer != "undecided")

    def test_far_from_the_origin(self):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(200, 3)) + 1e7
        decided(X, X[:, 0] > 1e7, "separable")
        decided(X, rng.random(200) < 0.5, "not separable")

    def test_dependent_columns(self):
        rng = np.random.default_rng(0)
        kind = np.eye(20)[rng.integers(0, 20, 300)]  # one-hot: they sum to the intercept's column
        decided(np.c_[kind, kind, np.zeros(300)], rng.random(300) < 0.5, "not separable")

    def test_float32_and_wide(self):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(400, 30)).astype(np.float32)
        along = X @ rng.normal(size=30)
        assert is_separable(X[np.abs(along) > 0.5], along[np.abs(along) > 0.5] > 0).verify(
            X[np.abs(along) > 0.5].astype(float), along[np.abs(along) > 0.5] > 0
        )
        wide = sparse.random(150, 1500, 0.01, random_state=0, format="csr")
        found = is_separable(wide, np.arange(150) % 2)
        assert found.verify(wide, np.arange(150) % 2) == (found.answer != "undecided")
        text = wide[np.diff(wide.indptr) > 0]
        by_sum = np.asarray(text[:, :750].sum(axis=1)).ravel() > np.asarray(text[:, 750:].sum(axis=1)).ravel()
        assert is_separable(text, by_sum).answer == "separable"
        assert is_separable(text, by_sum).verify(text, by_sum)

    def test_wide_and_not_separable(self):
        rng = np.random.default_rng(0)
        few = rng.normal(size=(40, 1))
        X = np.zeros((40, 1100))
        X[:, [0]] = few
        decided(X, rng.random(40) < 0.5, "not separable")

    def test_without_the_linear_program(self):
        assert is_separable([[0.0], [1.0]], [0, 1], lp=False).answer == "separable"

    def test_labels_of_any_kind(self):
        X = [[0.0], [1.0], [2.0]]
        for y in (
            [-1, -1, 1],
            ["a", "a", "b"],
            [False, False, True],
            [0.5, 0.5, 7.0],
            np.array([1, 1, 2], np.uint8),
        ):
            found = is_separable(X, y)
            assert found.verify(X, y)
            assert found.theta[0] > 0  # towards the second class in sorted order


class TestTheProofIsChecked:
    def test_a_separator_of_other_data_proves_nothing(self):
        X, y = load_iris(return_X_y=True)
        found = is_separable(X[:100], y[:100])
        assert not found.verify(X[:100], 1 - y[:100])
        assert not found.verify(X[50:], y[50:])
        assert not found.verify(-X[:100], y[:100])

    def test_balancing_weights_of_other_data_prove_nothing(self):
        X, y = load_iris(return_X_y=True)
        found = is_separable(X[50:], y[50:])
        flipped = y[50:].copy()
        flipped[np.argmax(found.weights)] = 3 - flipped[np.argmax(found.weights)]
        assert not found.verify(X[50:], flipped)
        assert not found.verify(X[:100], y[:100])

    @given(st.integers(0, 1000))
    def test_no_weights_prove_that_separable_rows_are_not(self, seed):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(12, 2))
        y = (X[:, 0] > 0).astype(int)
        if 0 < y.sum() < 12:
            for weights in (rng.uniform(size=12), np.eye(12)[0], np.ones(12), np.zeros(12), -np.ones(12)):
                claim = Separability("not separable", None, 0.0, weights, 0.0, True, "made up")
                assert not claim.verify(X, y)

    def test_a_margin_of_zero_is_no_margin(self):
        claim = Separability("separable", np.array([1.0]), -1.0, None, 0.0, True, "made up")
        assert not claim.verify([[0.0], [1.0]], [0, 1])
        assert not Separability("separable", np.zeros(1), 0.0, None, 0.0, True, "made up").verify(
            [[0.0], [1.0]], [0, 1]
        )

    def test_undecided_proves_nothing(self):
        assert not Separability("undecided", None, 0.0, None, 0.0, True, "").verify([[0.0], [1.0]], [0, 1])


def test_the_margin_is_the_distance_to_the_plane():
    X = np.array([[0.0, 0.0], [3.0, 4.0], [3.0, 5.0]])
    found = is_separable(X, [0, 1, 1])
    distance = np.abs(X @ found.theta + found.intercept) / np.linalg.norm(found.theta)
    assert distance.min() == pytest.approx(found.margin)


def test_how_it_prints_and_goes_to_json():
    found = is_separable([[0.0], [1.0]], [0, 1])
    assert repr(found) == "Separability(separable, margin 0.5; the difference of the class means)"
    assert json.loads(json.dumps(found.to_dict()))["answer"] == "separable"
    assert functional.is_separable is is_separable


WRONG = [
    (([[0.0], [1.0]], [0, 0]), "y: want labels of two classes, got 1: 0; there is nothing to separate"),
    (([[0.0], [1.0], [2.0]], [0, 1, 2]), "y: want labels of two classes, got 3: 0, 1, 2; ask pair by pair"),
    (([[0.0], [1.0]], [0, 1, 1]), r"y: want one label a row, \(2,\), got \(3,\)"),
    (([[0.0], [np.nan]], [0, 1]), r"X: want finite values, got 1 NaN of 2, the first at \(1, 0\)"),
    (([[0.0], [1.0]], [0, np.nan]), "y: want finite values, got 1 NaN"),
    (([0.0, 1.0], [0, 1]), r"X: want rows \(n, d\) .* got \(2,\); X.reshape\(-1, 1\) is one feature"),
    ((np.zeros((0, 2)), []), r"X: want rows \(n, d\)"),
    (
        ([[0.0], [1e200]], [0, 1]),
        "X: want a largest entry between 1e-150 and 1e.150, got 1e.200; divide X by it",
    ),
    ((sparse.csr_array([[0.0], [np.inf]]), [0, 1]), "X: want finite values, got 1 infinite"),
]


@pytest.mark.parametrize(("call", "message"), WRONG, ids=[re.sub(r"\W+", " ", m)[:40] for _, m in WRONG])
def test_wrong_calls(call, message):
    with pytest.raises(ValueError, match=message):
        is_separable(*call)


def test_wrong_types():
    with pytest.raises(TypeError, match="X: want real numbers, got dtype complex128"):
        is_separable(np.array([[1j], [2j]]), [0, 1])


def test_the_data_are_left_as_they_are():
    X = sparse.csr_array(np.array([[0.0, 1.0], [2.0, 0.0]]))
    X.data[0] = 0.0  # an explicit zero stays one
    before = X.copy()
    is_separable(X, [0, 1])
    assert X.nnz == before.nnz == 2
    np.testing.assert_array_equal(X.toarray(), before.toarray())
