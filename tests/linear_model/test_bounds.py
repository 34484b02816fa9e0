"""Every bound holds on data drawn to break it: weights, classes and imbalance included."""

import re
from math import inf

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from isocline.linear_model.functional import WEIGHTS, class_weights, iterate, iteration_bound, max_margin

COORDINATES = st.floats(-3, 3, allow_subnormal=False)
STEPS = st.one_of(st.just(inf), st.floats(0.05, 1e6))


@st.composite
def separable(draw):
    """Signed rows with a margin of at least 0.1 along the first axis, and their exact radius and margin."""
    n, d = draw(st.integers(2, 24)), draw(st.integers(1, 4))
    rows = draw(arrays(np.float64, (n, d), elements=COORDINATES))
    rows[:, 0] = draw(st.sampled_from([0.1, 0.3, 1.0])) + np.abs(rows[:, 0])
    if draw(st.booleans()):  # one sample against copies of another, as in the paper's worst case
        rows[1:] = rows[1]
    return rows, np.linalg.norm(rows, axis=1).max(), max_margin(rows, np.ones(n), tol=1e-9).margin


def run_to_separation(rows, rule, step, share, limit):
    """Updates of a weighted rule until every margin is positive; its first step has ties of one half."""
    u, t = np.zeros(rows.shape[1]), 0
    while (rows @ u).min() <= 0:
        u = u + rule(rows @ u, step, tie=0.5 if t == 0 else 1.0, share=share) @ rows
        t += 1
        assert t <= limit * (1 + 1e-9)  # the bound is itself rounded
    return t


class TestBinary:
    @given(separable(), st.sampled_from(sorted(WEIGHTS)), STEPS)
    def test_gradient_rules(self, data, method, step):
        rows, radius, margin = data
        bound = iteration_bound(method, radius, margin, len(rows), step)
        assume(bound < 3e4)
        assert run_to_separation(rows, WEIGHTS[method], step, None, bound) >= 1

    @given(separable(), st.sampled_from(["perceptron", "smooth_perceptron"]))
    def test_the_others(self, data, method):
        rows, radius, margin = data
        bound = iteration_bound(method, radius, margin, len(rows))
        at = iterate(rows, method, max_iter=int(bound) + 1, stop=True).separated_at
        assert at is not None
        assert at <= bound * (1 + 1e-9)  # the bound is itself rounded

    @given(separable(), st.data(), st.sampled_from(sorted(WEIGHTS)), STEPS)
    def test_sample_weights(self, data, drawn, method, step):
        rows, radius, margin = data
        weight = drawn.draw(arrays(np.float64, len(rows), elements=st.floats(0.05, 20)))
        bound = iteration_bound(method, radius, margin, len(rows), step, sample_weight=weight)
        assume(bound < 3e4)
        run_to_separation(rows, WEIGHTS[method], step, weight / weight.sum(), bound)

    def test_the_worst_case_is_within_its_bounds_and_not_far(self):
        rows = np.tile([0.5, 1.0], (1000, 1))
        rows[0] = [0.5, -1.0]
        geometry = (1.25**0.5, 0.5, 1000)
        assert 301 <= iteration_bound("batch_perceptron", *geometry) == pytest.approx(5000 - 500 + 1)
        assert iteration_bound("lr_gd", *geometry, 100.0) >= 308
        for step, count in ((100.0, 2), (10.0, 2), (1.0, 16), (0.1, 157)):
            assert count <= iteration_bound("normalized_lr_gd", *geometry, step)


class TestClasses:
    @given(st.integers(0, 10_000), st.integers(2, 4), STEPS, st.sampled_from(sorted(WEIGHTS)), st.booleans())
    def test_k_classes(self, seed, K, step, method, weighted):
        rng = np.random.default_rng(seed)
        X, truth = rng.normal(size=(15, 3)), rng.normal(size=(K, 3))
        y = (X @ truth.T).argmax(axis=1)
        pairs = [(i, k) for i in range(15) for k in range(K) if k != y[i]]
        kesler = np.array([np.kron(np.eye(K)[y[i]] - np.eye(K)[k], X[i]) for i, k in pairs])
        margin = max_margin(kesler, np.ones(len(kesler)), tol=1e-9).margin
        radius = np.linalg.norm(X, axis=1).max()
        weight = rng.uniform(0.2, 5, 15) if weighted else np.ones(15)
        if K == 2:  # mu_K is of Theta: sqrt(2) times the binary margin; gamma counts double
            bound = iteration_bound(method, radius, margin / 2**0.5, 15, 2 * step, sample_weight=weight)
        else:
            bound = iteration_bound(method, radius, margin, 15, step, sample_weight=weight, classes=K)
        assume(bound < 3000)
        theta, t = np.zeros((K, 3)), 0
        while (kesler @ theta.ravel()).min() <= 0:
            tie = (K - 1) / K if t == 0 else 1.0
            share = weight / weight.sum()
            w = class_weights(X @ theta.T, y, step, rule=WEIGHTS[method], tie=tie, share=share)
            theta, t = theta + w.T @ X, t + 1
            assert t <= bound * (1 + 1e-9)

    def test_two_classes_in_the_formula_for_many(self):
        # mu_2 = sqrt(2) mu: the formula for K classes gives back Theorem 6.1 with gamma doubled.
        R, mu, n, step = 2.0, 0.5, 30, 3.0
        many = 2 * R**2 / (2 * mu**2) + 2 * np.log(2 * n - 1) / (step * 2 * mu**2)
        assert iteration_bound("normalized_lr_gd", R, mu, n, 2 * step) == pytest.approx(many)


class TestFormulas:
    def test_each(self):
        R, mu, n, step = 2.0, 0.5, 30, 3.0
        ratio, log = 16.0, np.log(59)
        expected = {
            "perceptron": ratio,
            "normalized_batch_perceptron": ratio,
            "batch_perceptron": 30 * ratio - 15 + 1,
            "lr_gd": 60 * ratio + 4 * 30 * log / (step * mu**2),
            "normalized_lr_gd": ratio + 2 * log / (step * mu**2),
            "exp_gd": ratio + 2 * np.log(30) / (step * mu**2),
            "smooth_perceptron": 2 * np.sqrt(2 * np.log(30)) * 4 - 1,
            "momentum": inf,
            "newton": inf,
        }
        for method, value in expected.items():
            assert iteration_bound(method, R, mu, n, step) == pytest.approx(value)
        assert iteration_bound("lr_gd", R, mu, n) == iteration_bound("batch_perceptron", R, mu, n)

    def test_infinite_and_huge_steps_leave_no_logarithm(self):
        assert iteration_bound("normalized_lr_gd", 1.0, 1e-30, 10, 1e308) == pytest.approx(1e60)
        assert iteration_bound("normalized_lr_gd", 1e30, 1e30, 10) == 1.0

    def test_equal_weights_are_no_weights(self):
        for method in WEIGHTS:
            assert iteration_bound(method, 2.0, 0.5, 7, 1.0, sample_weight=np.full(7, 3.0)) == pytest.approx(
                iteration_bound(method, 2.0, 0.5, 7, 1.0)
            )


WRONG = [
    ({"method": "perceptrom"}, "method: want one of"),
    ({"radius": 0.0}, "radius: want a finite number > 0, got 0.0"),
    ({"margin": -1.0}, "margin: want a finite number > 0, got -1.0"),
    ({"n": 0}, "n: want a whole number >= 1, got 0"),
    ({"step_size": 0.0}, "step_size: want a number > 0 or inf, got 0.0"),
    ({"classes": 1}, "classes: want a whole number >= 2, got 1"),
    ({"method": "smooth_perceptron", "classes": 3}, "classes: want 2 with smooth_perceptron, got 3"),
    ({"sample_weight": [1.0]}, r"sample_weight: want one weight a row, \(5,\)"),
    ({"sample_weight": [1.0, 1, 0, 1, 1]}, "sample_weight: want finite weights > 0, got 0.0; drop the rows"),
]


@pytest.mark.parametrize(("call", "message"), WRONG, ids=[re.sub(r"\W+", " ", m)[:40] for _, m in WRONG])
def test_wrong_calls(call, message):
    with pytest.raises(ValueError, match=message):
        iteration_bound(**{"method": "lr_gd", "radius": 1.0, "margin": 0.5, "n": 5, **call})
