"""The compiled loops do what the plain ones do, row for row."""

from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from isocline.linear_model.kernels import cpu, reference

FORMS = [(kind, dtype) for kind in ("dense", "csr", "csr int64") for dtype in (np.float32, np.float64)]


def table_of(X: np.ndarray, kind: str) -> object:
    if kind == "dense":
        return X
    rows, index = sparse.csr_matrix(X), np.int64 if kind == "csr int64" else np.int32
    return rows.data, rows.indices.astype(index), rows.indptr.astype(index)


def labelled(seed: int, n: int, d: int, dtype: type) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = np.where(rng.random((n, d)) < 0.4, 0.0, rng.standard_normal((n, d))).astype(dtype)
    return X, rng.choice([-1, 1], n).astype(np.int8)


class KernelLaws:
    """What every backend has to do; `kernels` is the module."""

    kernels: ModuleType

    def relaxed(self, X, sign, kind, order, *, center, metric, burn, pull=0.8, target=1.0, level=0.5):
        """The plane, drift and state after one visit of `order`, and the mistakes."""
        real = X.dtype.type
        w, drift, state = np.zeros(X.shape[1], X.dtype), np.zeros(X.shape[1], X.dtype), np.zeros(7)
        mistakes = self.kernels.relax(
            table_of(X, kind), sign, order, w, drift, state, center, metric, level, pull, real(target), burn
        )
        return w, drift, state, mistakes

    @pytest.mark.parametrize(("kind", "dtype"), FORMS)
    def test_a_row_that_is_relaxed_alone_comes_as_near_its_target_as_pulled(self, kind, dtype):
        X, sign = labelled(0, 5, 6, dtype)
        for i in range(5):
            w, _, state, mistakes = self.relaxed(
                X, sign, kind, np.array([i], np.int32), center=None, metric=None, burn=1
            )
            level = 0.5 * (state[reference.PLUS] - state[reference.MINUS]) - state[reference.SHIFT]
            margin = sign[i] * (X[i].astype(float) @ w + level)
            assert mistakes == 1  # from zero
            np.testing.assert_allclose(margin, 0.8, rtol=1e-5 if dtype == np.float32 else 1e-12)

    @pytest.mark.parametrize(("kind", "dtype"), FORMS)
    @settings(max_examples=20)
    @given(seed=st.integers(0, 1000), n=st.integers(1, 20), d=st.integers(1, 9), moved=st.booleans())
    def test_the_walk_is_the_plain_one(self, kind, dtype, seed, n, d, moved):
        X, sign = labelled(seed, n, d, dtype)
        rng = np.random.default_rng(seed)
        order = rng.integers(0, n, 3 * n).astype(np.int32)
        at = {"center": None, "metric": None}
        if moved and kind == "dense":
            at = {
                "center": rng.standard_normal(d).astype(dtype),
                "metric": rng.uniform(0.5, 2, d).astype(dtype),
            }
        mine = self.relaxed(X, sign, kind, order, burn=n, **at)
        truth = KernelLaws.relaxed(_Plain(), X.astype(float), sign, kind, order, burn=n, **at)
        tolerance = 2e-4 if dtype == np.float32 else 1e-10  # 60 visits, each a sum of up to 9 products
        for got, expected in zip(mine[:3], truth[:3], strict=True):
            np.testing.assert_allclose(
                got, expected, rtol=tolerance, atol=tolerance * (1 + np.abs(expected).max())
            )

    @pytest.mark.parametrize(("kind", "dtype"), FORMS)
    @settings(max_examples=20)
    @given(seed=st.integers(0, 1000), n=st.integers(1, 20), d=st.integers(1, 40), all_rows=st.booleans())
    def test_margins_and_squares(self, kind, dtype, seed, n, d, all_rows):
        X, sign = labelled(seed, n, d, dtype)
        rng = np.random.default_rng(seed)
        w, rows = rng.standard_normal(d).astype(dtype), rng.integers(0, n, 7).astype(np.int32)
        index = np.arange(n) if all_rows else rows
        out, lengths = np.empty(len(index), dtype), np.empty(len(index), dtype)
        wrong = self.kernels.margins(
            table_of(X, kind), sign, None if all_rows else rows, w, dtype(0.25), out, lengths
        )
        D = X[index].astype(float)
        rtol = 1e-5 if dtype == np.float32 else 1e-13
        bound = rtol * (np.abs(D) @ np.abs(w.astype(float)) + 0.25)
        assert (np.abs(out - sign[index] * (D @ w.astype(float) + 0.25)) <= bound).all()
        np.testing.assert_allclose(lengths, (D * D).sum(axis=1), rtol=rtol)
        assert wrong == np.count_nonzero(~(out > 0))

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize(("kind", "dtype"), FORMS)
    def test_a_value_that_is_not_finite_is_seen_in_the_squares(self, kind, dtype, bad):
        X, sign = labelled(1, 9, 33, dtype)
        X[4, 20] = bad
        out, lengths = np.empty(9, dtype), np.empty(9, dtype)
        w = np.zeros(33, dtype)
        with np.errstate(invalid="ignore"):  # NumPy warns of 0 * inf
            wrong = self.kernels.margins(table_of(X, kind), sign, None, w, dtype(1), out, lengths)
        assert np.flatnonzero(~np.isfinite(lengths)).tolist() == [4]
        assert wrong >= 1

    @pytest.mark.parametrize(("kind", "dtype"), FORMS)
    @settings(max_examples=20)
    @given(
        seed=st.integers(0, 1000), n=st.integers(1, 20), d=st.integers(1, 9), bias=st.sampled_from([0.0, 1.5])
    )
    def test_a_pass_of_the_perceptron_adds_each_row_that_is_wrong_when_its_turn_comes(
        self, kind, dtype, seed, n, d, bias
    ):
        X, sign = labelled(seed, n, d, dtype)
        theta, counts = np.zeros(d + 1), np.zeros(n)
        for _ in range(3):
            before = counts.copy()
            updates = self.kernels.cycle(table_of(X, kind), sign, 0, n, theta, bias, counts)
            assert updates == (counts - before).sum()
        rows = sign[:, None] * np.column_stack([X.astype(float), np.full(n, bias)])
        np.testing.assert_allclose(theta, counts @ rows, atol=1e-10)
        assert counts.max() <= 3


class _Plain(KernelLaws):
    kernels = reference


class TestReference(KernelLaws):
    kernels = reference


class TestCpu(KernelLaws):
    kernels = cpu
