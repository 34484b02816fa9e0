"""A proof is accepted when it is one, and only then."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isocline.linear_model import certificate
from isocline.linear_model.certificate import balances, certain_margin, polished
from isocline.linear_model.labelled import labelled


def overlapping(seed=0, n=60, d=3):
    """Rows that cannot be separated, as both classes have one weighted mean, and the weights that balance them."""
    rng = np.random.default_rng(seed)
    X, y, weights = rng.normal(size=(n, d)), rng.permutation(np.arange(n) % 2), rng.uniform(0.5, 1.5, n)
    for label in (0, 1):
        weights[y == label] /= weights[y == label].sum()
        X[y == label] -= weights[y == label] @ X[y == label]
    rows = labelled(X, y, fit_intercept=True)
    weights = polished(rows, weights)
    assert weights is not None
    return rows, weights, rng


def residual(rows, weights):
    return np.linalg.norm(rows.back(weights)) / weights.sum()


class TestMargin:
    X = np.array([[-1.0], [-2.0], [1.0], [3.0]])
    rows = labelled(X, [0, 0, 1, 1], fit_intercept=True)

    def test_is_the_distance(self):
        assert certain_margin(self.rows, np.array([2.0]), 0.0) == 1.0
        assert certain_margin(self.rows, np.array([1e-200]), 0.0) == pytest.approx(1.0)
        assert certain_margin(self.rows, np.array([1e200]), 0.0) == pytest.approx(1.0)

    @pytest.mark.parametrize("intercept", [-1.0, 1.0, 2.5, -3.5, np.inf, np.nan])
    def test_every_row_counts(self, intercept):
        assert certain_margin(self.rows, np.array([1.0]), intercept) is None

    def test_blocks_do_not_matter(self, monkeypatch):
        for entries in (1, 2, 3):
            monkeypatch.setattr(certificate, "_ENTRIES", entries)
            assert certain_margin(self.rows, np.array([1.0]), 0.0) == 1.0
            assert certain_margin(self.rows, np.array([1.0]), 1.0) is None
            assert certain_margin(self.rows, np.array([1.0]), -1.0) is None

    def test_beyond_rounding(self):
        # 3 * 0.1 > 0.3, as float64 has them; in float64 arithmetic the two are not told apart for certain.
        rows = labelled(np.array([[0.1, -0.3], [-0.1, 0.3]]), [1, 0], fit_intercept=False)
        assert certain_margin(rows, np.array([3.0, 1.0]), 0.0) is not None
        rows = labelled(np.array([[0.5, -1.5], [-0.5, 1.5]]), [1, 0], fit_intercept=False)
        assert certain_margin(rows, np.array([3.0, 1.0]), 0.0) is None  # exactly zero

    def test_what_overflows_is_looked_at(self):
        rows = labelled(np.array([[1e140], [-1e140]]), [1, 0], fit_intercept=False)
        assert certain_margin(rows, np.array([1e200]), 0.0) is not None
        assert certain_margin(rows, np.array([-1e200]), 0.0) is None

    def test_many_doubtful_rows_are_no_proof(self, monkeypatch):
        monkeypatch.setattr(certificate, "_DOUBTFUL_ROWS", 1)
        rows = labelled(np.array([[0.1, -0.3], [-0.1, 0.3]]), [1, 0], fit_intercept=False)
        assert certain_margin(rows, np.array([3.0, 1.0]), 0.0) is None


class TestBalance:
    def test_polishing_ends_at_rounding(self):
        rows, weights, rng = overlapping()
        rough = weights * (1 + 1e-3 * rng.normal(size=60))
        assert residual(rows, rough) > 1e-5
        assert residual(rows, polished(rows, rough)) < 1e-16
        assert np.abs(polished(rows, rough) / weights - 1).max() < 0.02

    def test_polishing_refuses_weights_below_zero(self):
        rows = labelled([[-1.0], [1.0], [2.0]], [0, 1, 1], fit_intercept=False)  # separable: nothing balances
        assert polished(rows, np.ones(3)) is None

    def test_polishing_keeps_zeros(self):
        rows, weights, _ = overlapping()
        some = np.where(np.arange(60) < 45, weights, 0.0)
        again = polished(rows, some)
        assert (again[45:] == 0).all()
        assert balances(rows, again)

    @given(st.integers(0, 500), st.integers(1, 6))
    def test_what_balances_is_accepted(self, seed, d):
        rows, weights, _ = overlapping(seed, 80, d)
        assert balances(rows, weights)
        assert balances(rows, 1e-6 * weights)
        assert balances(rows, 1e6 * weights)

    def test_what_does_not_is_refused(self):
        rows, weights, rng = overlapping()
        assert not balances(rows, np.zeros(60))
        assert not balances(rows, -weights)
        assert not balances(rows, np.where(np.arange(60) == 3, np.nan, weights))
        assert not balances(rows, rng.uniform(size=60) * (rows.sign > 0))  # one class alone
        assert not balances(rows, np.eye(60)[0])

    @pytest.mark.parametrize("power", range(1, 16))
    def test_a_thin_margin_is_still_a_margin(self, power):
        # Nearly balanced, and separable by 10^-power along a direction that no scaling of columns brings out.
        thin = 10.0**-power
        flat = np.array([[x, thin] for x in np.linspace(-1, 1, 70)])
        turn = np.array([[np.cos(0.5), np.sin(0.5)], [-np.sin(0.5), np.cos(0.5)]])
        rows = labelled(flat @ turn, np.ones(70), fit_intercept=False)
        assert residual(rows, np.ones(70)) < 5 * thin
        for weights in (np.ones(70), polished(rows, np.ones(70))):
            assert weights is None or not balances(rows, weights)

    def test_few_rows_in_a_plane_are_settled_in_whole_numbers(self):
        rows = labelled([[0.0, 0, 1], [2, 0, 1], [1, 0, 1]], [0, 0, 1], fit_intercept=True)
        assert balances(rows, np.array([0.25, 0.25, 0.5]))
        assert not balances(rows, np.array([0.5, 0.0, 0.5]))
