"""The solvers against exact answers, second ways and their own theorems."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.optimize import linprog
from sklearn.datasets import load_breast_cancer, load_digits, load_iris

from isocline.linear_model import functional
from isocline.linear_model.coordinates import Coordinates
from isocline.linear_model.kernels import cpu, reference
from isocline.linear_model.kesler import Pairs
from isocline.linear_model.rows import Rows
from isocline.linear_model.solvers.batch import METHODS, batch
from isocline.linear_model.solvers.line import hinge_minimum, separating_point
from isocline.linear_model.solvers.newton import newton
from isocline.linear_model.solvers.packed import Packed
from isocline.linear_model.solvers.perceptron import pairs_perceptron, perceptron
from isocline.linear_model.solvers.relaxation import relaxation

PLAIN = Coordinates()


def signed(Z: np.ndarray) -> Rows:
    """Rows whose signed form is Z."""
    return Rows(np.ascontiguousarray(Z), np.ones(len(Z), np.int8), PLAIN)


def with_intercept(X: np.ndarray, y: np.ndarray) -> Rows:
    return Rows(X, np.where(y, 1, -1).astype(np.int8), Coordinates(bias=1.0))


def lp_separable(rows: Rows) -> bool:
    """The answer of a linear program, on rows and columns of size one: is there theta with every margin at least one?"""
    Z = np.vstack([z.copy() for _, z in rows.blocks()])
    Z = Z / np.abs(Z).max(axis=0, initial=1e-300)
    least = np.linalg.norm(Z, axis=1)
    if (least == 0).any():
        return False
    n, p = Z.shape
    goal, limits = np.append(np.zeros(p), -1.0), [(-1.0, 1.0)] * p + [(None, 1.0)]
    found = linprog(goal, np.column_stack([-Z / least[:, None], np.ones(n)]), np.zeros(n), bounds=limits)
    assume(not 1e-9 < -found.fun < 1e-6)  # too near to call for its tolerance of 1e-7
    return -found.fun > 1e-8


def separates(rows: Rows | Pairs, theta: np.ndarray) -> bool:
    return bool((rows.forward(theta) > 0).all())


small = st.tuples(st.integers(0, 5000), st.integers(2, 40), st.integers(1, 8), st.floats(0.0, 1.0))


def case_of(seed: int, n: int, d: int, noise: float, K: int = 2) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) * 10.0 ** rng.integers(-1, 2, d)
    y = (X @ rng.standard_normal((d, K)) + noise * rng.standard_normal((n, K)) * np.abs(X).mean()).argmax(
        axis=1
    )
    y[:K] = np.arange(K)[: len(y)]
    return X, y


@given(small)
def test_newton_decides_as_the_linear_program_does_and_proves_it(case):
    X, y = case_of(*case)
    rows = with_intercept(X, y)
    walk = newton(rows, max_iter=200)
    if lp_separable(rows):
        assert walk.separated_at is not None
        assert separates(rows, walk.rows.coordinates.theta(*walk.rows.coordinates.plane(walk.theta)))
    else:
        assert walk.refuted
        weights = walk.weights / walk.weights.sum()
        assert weights.min() >= 0
        size = np.abs(X).T @ weights + 1.0
        assert (np.abs(rows.back(weights)) <= 1e-12 * np.append(size, 1.0)).all()


@given(small, st.integers(3, 4))
def test_newton_decides_several_classes_at_once(case, K):
    X, y = case_of(*case, K=K)
    assume(len(np.unique(y)) == K)
    pairs = Pairs(X, y, K, Coordinates(bias=1.0))
    walk = newton(pairs, max_iter=200)
    assert (walk.separated_at is not None) != walk.refuted
    if walk.separated_at is not None:
        assert separates(pairs, walk.theta)
    else:
        pull = pairs.back(walk.weights / walk.weights.sum())
        assert np.abs(pull).max() <= 1e-11 * (1 + np.abs(X).max())


@pytest.mark.parametrize(
    ("digit", "separable"), [(0, True), (3, True), (7, True), (8, False), (9, False)], ids=str
)
def test_newton_on_one_digit_against_the_rest(digit, separable):
    """Separable or not by linear programs on scaled columns: 0 to 7 are, 8 and 9 are not."""
    X, y = load_digits(return_X_y=True)
    walk = newton(with_intercept(X, y == digit), max_iter=100)
    assert (walk.separated_at is not None) == separable
    assert walk.refuted != separable


@pytest.mark.parametrize("change", ["as given", "offset 1e6", "columns 1e-30 to 1e30", "float32"])
def test_newton_needs_a_dozen_steps_for_breast_cancer_however_it_is_given(change):
    """R^2 / mu^2 is 2e8 once standardised: the perceptron would need millions of updates."""
    X, y = load_breast_cancer(return_X_y=True)
    if change == "offset 1e6":
        X = X + 1e6
    elif change == "columns 1e-30 to 1e30":
        X = X * np.logspace(-30, 30, 30)
    elif change == "float32":
        X = X.astype(np.float32)
    walk = newton(with_intercept(X, y), max_iter=40)
    assert walk.separated_at is not None
    assert walk.separated_at <= 20


@given(small)
def test_newton_does_not_depend_on_the_order_of_the_rows(case):
    X, y = case_of(*case)
    order = np.random.default_rng(0).permutation(len(y))
    one, two = (
        newton(with_intercept(X, y), max_iter=200),
        newton(with_intercept(X[order], y[order]), max_iter=200),
    )
    assert (one.separated_at, one.refuted) == (two.separated_at, two.refuted)
    if one.separated_at is not None:
        scale = np.abs(one.theta).max()
        np.testing.assert_allclose(two.theta, one.theta, atol=1e-5 * scale)  # its systems are solved to 1e-8


@pytest.mark.parametrize("method", sorted(METHODS))
@given(seed=st.integers(0, 500))
def test_batch_walks_are_those_of_iterate(method, seed):
    """The second way: `functional.iterate` on the rows written out."""
    rng = np.random.default_rng(seed)
    Z = rng.standard_normal((30, 4)) + 1.2 * rng.standard_normal(4)
    Z = Z[Z @ Z.mean(axis=0) > 0.3]
    assume(len(Z) > 3)
    path = functional.iterate(Z, method, max_iter=40, stop=True)
    walk = batch(signed(Z), method, max_iter=40)
    assert walk.separated_at == path.separated_at
    if path.separated_at:
        np.testing.assert_allclose(walk.theta, path.theta[path.separated_at], rtol=1e-8)


@pytest.mark.parametrize(("n", "count"), [(100, 31), (1000, 301)])
def test_the_worst_case_of_the_batch_perceptron_is_exact(n, count):
    """The smallest k > 0.3 n + 0.2 on the data of Theorem 5.1; the normalised method needs 2 steps."""
    Z = np.tile([0.5, 1.0], (n, 1))
    Z[0] = 0.5, -1.0
    assert batch(signed(Z), "batch_perceptron", max_iter=10_000).separated_at == count
    assert batch(signed(Z), "normalized_batch_perceptron", max_iter=10).separated_at == 2


def test_momentum_reaches_the_widest_margin_and_knows_it(golden):
    data = np.load(golden / "large_step" / "blobs_40x5.npz")
    Z = data["y"][:, None] * data["X"]
    walk = batch(signed(Z), "momentum", max_iter=10_000, stop="margin", margin_tol=1e-3)
    margin = (Z @ walk.theta).min() / np.linalg.norm(walk.theta)
    assert (1 - 1.1e-3) * data["mu"] <= margin <= data["mu"] * (1 + 1e-9)
    upper = np.linalg.norm(walk.weights @ Z) / walk.weights.sum()
    assert data["mu"] * (1 - 1e-9) <= upper <= (1 + 1.1e-3) * data["mu"]


@pytest.mark.parametrize("kernels", [reference, cpu], ids=["reference", "cpu"])
def test_the_perceptron_counts_as_the_golden_runs_do(kernels, golden):
    for name in ("two_point", "worst_case_100", "blobs_40x5", "hard_200x10"):
        data = np.load(golden / "large_step" / f"{name}.npz")
        walk = perceptron(signed(data["y"][:, None] * data["X"]), kernels, max_iter=1000)
        assert walk.separated_at == data["cyclic_updates"]
        np.testing.assert_allclose(walk.theta, data["cyclic_theta"], rtol=1e-9, atol=1e-12)


def test_the_perceptron_in_coordinates_is_the_one_on_rows_written_out():
    X, y = load_iris(return_X_y=True)
    X, y = X[y < 2], y[y < 2]
    at = Coordinates(X.mean(axis=0), 1 / X.std(axis=0), 2.0)
    rows = Rows(X, np.where(y, 1, -1).astype(np.int8), at)
    out = signed(np.vstack([z.copy() for _, z in rows.blocks()]))
    one, two = perceptron(rows, cpu, max_iter=100), perceptron(out, cpu, max_iter=100)
    assert one.separated_at == two.separated_at
    np.testing.assert_allclose(one.theta, two.theta, rtol=1e-12)


def test_two_classes_as_pairs_walk_as_one_plane_at_half_the_rows():
    """With K = 2 the pairs' perceptron moves theta_1 - theta_0 by two rows where the plane moves by one."""
    X, y = load_iris(return_X_y=True)
    X, y = X[y < 2], y[y < 2]
    pairs = pairs_perceptron(Pairs(X, y, 2, PLAIN), max_iter=50)
    plane = perceptron(Rows(X, np.where(y, 1, -1).astype(np.int8), PLAIN), cpu, max_iter=50)
    assert pairs.separated_at == plane.separated_at
    np.testing.assert_allclose(pairs.theta[1] - pairs.theta[0], 2 * plane.theta, rtol=1e-12)


@pytest.mark.parametrize("kernels", [reference, cpu], ids=["reference", "cpu"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("moved", [False, True])
def test_relaxation_separates_and_its_bounds_on_the_margins_hold(kernels, dtype, moved):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((3000, 12))
    y = X @ rng.standard_normal(12) > 0.2
    if moved:
        X = X * np.logspace(-3, 3, 12) + np.logspace(-2, 3, 12)
    X = X.astype(dtype)
    rows = with_intercept(X, y)
    walk = relaxation(rows, kernels, max_passes=500, seed=1)
    assert walk.separated_at is not None
    coef, intercept = walk.plane
    margins = rows.sign * (X.astype(np.float64) @ coef + intercept)
    assert walk.low.min() > 0
    assert (margins >= walk.low).all()
    assert margins.min() / np.linalg.norm(coef) <= walk.upper
    assert (walk.radius >= np.linalg.norm(X, axis=1)).all()


@pytest.mark.parametrize(("slab", "early"), [(1.0, True), (0.02, False)], ids=["wide", "narrow"])
def test_a_long_walk_ends_early_where_the_margin_is_wide(slab, early):
    generator = np.random.default_rng(0)
    X = generator.normal(size=(100_000, 4)).astype(np.float32)
    X[:, 0] += slab * np.where(X[:, 0] > 0, 1, -1)
    rows = with_intercept(X, X[:, 0] > 0)
    walk = relaxation(rows, cpu, max_passes=500, seed=0)
    assert walk.separated_at is not None
    assert walk.low is not None
    assert walk.low.min() > 0
    assert walk.plane is not None
    truth = rows.sign * (X.astype(np.float64) @ walk.plane[0] + walk.plane[1])
    assert (truth >= walk.low).all()
    assert (walk.n_passes < 1.2) == early  # a fifth to learn on, and all to look at


def test_relaxation_gives_up_on_rows_that_no_plane_separates():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((2000, 3)), rng.random(2000) < 0.5
    walk = relaxation(with_intercept(X, y), cpu, max_passes=500, seed=1)
    assert walk.separated_at is None
    coef, intercept = walk.plane
    wrong = np.where(y, 1, -1) * (X @ coef + intercept) <= 0
    np.testing.assert_allclose(walk.errors, wrong.mean(), atol=1e-3)  # bounds may call a right row wrong


@given(st.integers(0, 5000), st.integers(1, 8))
def test_a_separating_point_separates_and_none_is_missed(seed, n):
    rng = np.random.default_rng(seed)
    margins, change = rng.integers(-3, 4, n) + 0.0, rng.integers(-3, 4, n) + 0.0
    t = separating_point(margins, change)
    tried = np.concatenate([np.linspace(1e-3, 20, 4001), 10.0 ** np.arange(2, 6)])
    there = (margins + tried[:, None] * change > 0).all(axis=1).any()
    if t is None:
        assert not there
    else:
        assert t > 0
        assert (margins + t * change > 0).all()


@given(st.integers(0, 5000), st.integers(2, 12), st.booleans())
def test_the_hinge_s_minimum_on_a_line_is_its_least_value(seed, n, weighted):
    rng = np.random.default_rng(seed)
    margins, change = rng.standard_normal(n), rng.standard_normal(n)
    share = rng.uniform(0.1, 1, n) if weighted else None
    lack = np.maximum(0, 1 - margins)
    assume((change * lack * (1 if share is None else share)).sum() > 1e-3)  # downhill at first
    t = hinge_minimum(margins, change, share)

    def value(t):
        return (np.maximum(0, 1 - margins - t * change) ** 2 * (1 if share is None else share)).sum()

    assert value(t) <= min(value(s) for s in np.linspace(0, 2 * t, 101)) + 1e-12


@given(st.integers(1, 30), st.integers(0, 100))
def test_a_packed_matrix_is_the_full_one(p, seed):
    rng = np.random.default_rng(seed)
    A, B, right = rng.standard_normal((p + 3, p)), rng.standard_normal((2, p)), rng.standard_normal((p, 2))
    packed, full = Packed(p), A.T @ A + 0.5 * B.T @ B
    packed.add(A)
    packed.add(B, 0.5)
    np.testing.assert_allclose(np.concatenate(packed.diagonal()), np.diag(full), rtol=1e-12)
    assert packed.factor()
    np.testing.assert_allclose(full @ packed.solve(right), right, atol=1e-6)  # condition numbers reach 1e6
    outer = Packed(p + 3)
    outer.add_outer(A)
    np.testing.assert_allclose(np.concatenate(outer.diagonal()), np.diag(A @ A.T), rtol=1e-12)
    indefinite = Packed(p)
    indefinite.add(A, -1.0)
    assert not indefinite.factor()
