"""The compiled loops do what the plain ones do, on dense and on CSR rows; the plain ones do what the formulas say."""

import numpy as np
import pytest
from scipy import sparse

from isocline.linear_model import functional
from isocline.linear_model.kernels import cpu, reference

STATE = 7


def problem(n: int, d: int, dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """Rows ``(n, d)``, half of them zeros, and labels ``(n,)``."""
    rng = np.random.default_rng(n * d)
    X = rng.standard_normal((n, d)) * (rng.random((n, d)) < 0.5)
    return X.astype(dtype), np.where(X @ rng.standard_normal(d) > 0, 1, -1).astype(np.int8)


def table_of(X: np.ndarray, kind: str):
    csr = sparse.csr_matrix(X)
    return X if kind == "dense" else (csr.data, csr.indices, csr.indptr)


@pytest.fixture(params=["reference", "cpu"])
def kernels(request):
    return {"reference": reference, "cpu": cpu}[request.param]


kinds = pytest.mark.parametrize("kind", ["dense", "csr"])
sizes = pytest.mark.parametrize(("n", "d"), [(1, 1), (7, 3), (40, 17)])


@kinds
@sizes
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 1e-5)])
def test_margins_and_lengths(kernels, kind, n, d, dtype, tolerance):
    X, sign = problem(n, d, dtype)
    w = np.linspace(-1, 1, d).astype(dtype)
    truth = sign * (X.astype(np.float64) @ w + 0.25)
    for rows in (None, np.arange(n)[::-2].copy()):
        kept = slice(None) if rows is None else rows
        out, squares = (np.full(len(truth[kept]), np.nan, dtype) for _ in range(2))
        wrong = kernels.margins(table_of(X, kind), sign, rows, w, 0.25, out, squares)
        np.testing.assert_allclose(out, truth[kept], rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(squares, np.square(X[kept]).sum(axis=1), rtol=tolerance, atol=tolerance)
        assert wrong == (truth[kept] <= 0).sum()


@kinds
def test_a_row_that_is_not_finite_never_counts_as_right(kernels, kind):
    X, sign = problem(7, 3, np.float64)
    X[2, 1], X[4, 0] = np.nan, np.inf
    out, squares = np.empty(7), np.empty(7)
    kernels.margins(table_of(X, kind), sign, None, np.ones(3), 0.0, out, squares)
    assert not np.isfinite(out[[2, 4]]).any()
    assert not np.isfinite(squares[[2, 4]]).any()


@kinds
def test_a_cycle_is_the_perceptron_of_the_formulas(kernels, kind):
    X, sign = problem(40, 17, np.float64)
    theta, counts, updates = np.zeros(18), np.zeros(40, np.int64), 0
    for _ in range(200):
        made = kernels.cycle(table_of(X, kind), sign, 0, 40, theta, 1.0, counts)
        updates += made
        if made == 0:
            break
    signed = sign[:, None] * np.c_[X, np.ones(40)]
    path = functional.iterate(signed, "perceptron", max_iter=5000, stop=True)
    assert path.separated_at == updates > 0
    np.testing.assert_allclose(theta, path.theta[-1], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(
        counts @ signed, theta, rtol=1e-12, atol=1e-12
    )  # theta is the rows it was given


def walk(kernels, kind, X, sign, *, center, metric, burn):
    n, d = X.shape
    w, drift, state = np.zeros(d, X.dtype), np.zeros(d, X.dtype), np.zeros(STATE)
    order = np.random.default_rng(0).integers(0, n, 4 * n)
    mistakes = kernels.relax(
        table_of(X, kind), sign, order, w, drift, state, center, metric, 0.5, 1.0, 1.0, burn
    )
    return mistakes, w, drift, state


@pytest.mark.parametrize(
    ("kind", "moved"), [("dense", "neither"), ("csr", "neither"), ("dense", "center"), ("dense", "both")]
)
@sizes
def test_compiled_relaxation_is_the_plain_one(kind, moved, n, d):
    X, sign = problem(n, d, np.float64)
    center = None if moved == "neither" else X.mean(axis=0)
    metric = None if moved == "neither" else np.linspace(0.5, 2.0, d) if moved == "both" else np.ones(d)
    plain = walk(reference, kind, X, sign, center=center, metric=metric, burn=n)
    compiled = walk(cpu, kind, X, sign, center=center, metric=metric, burn=n)
    assert plain[0] == compiled[0]
    for ours, theirs in zip(compiled[1:], plain[1:], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)  # sums in another order, 160 visits


@kinds
def test_relaxation_puts_the_visited_row_at_its_target(kernels, kind):
    X, sign = problem(7, 3, np.float64)
    row = int(np.argmax(np.abs(X).sum(axis=1)))
    w, state = np.zeros(3), np.zeros(STATE)
    order = np.array([row])
    kernels.relax(table_of(X, kind), sign, order, w, np.zeros(3), state, None, None, 0.5, 1.0, 1.0, 9)
    level = 0.5 * (state[reference.PLUS] - state[reference.MINUS])
    assert sign[row] * (X[row] @ w + level) == pytest.approx(1.0, abs=1e-12)
