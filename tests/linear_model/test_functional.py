"""The rules against the reference vectors, the paper's exact counts, and the laws they obey."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from isocline.linear_model import functional as F

SETS = ("two_point", "worst_case_100", "blobs_40x5", "hard_200x10", "ties_3x2")
STEPS = {"1": 1.0, "10": 10.0, "1000": 1e3, "1e+06": 1e6}
RULES = {"lrgd": "lr_gd", "nlrgd": "normalized_lr_gd"}
HUGE = 1e308

margins = arrays(np.float64, st.integers(1, 30), elements=st.floats(-1e300, 1e300))
steps = st.one_of(st.just(np.inf), st.floats(1e-300, HUGE), st.sampled_from([1.0, HUGE]))


def read(golden: Path, name: str):
    with np.load(golden / "large_step" / f"{name}.npz") as file:
        data = dict(file)
    return data, data["y"][:, None] * data["X"]


def worst_case(n: int):
    """One sample against n - 1: R^2 / mu^2 = 5 whatever n is."""
    rows = np.tile([0.5, 1.0], (n, 1))
    rows[0] = [0.5, -1.0]
    return rows


def rows_with_margin(rng, n: int, d: int, margin: float = 0.2):
    rows, direction = rng.normal(size=(n, d)), np.eye(d)[0]
    rows[:, 0] = margin + np.abs(rows[:, 0])
    return rows, direction


class TestGolden:
    @pytest.mark.parametrize("name", SETS)
    @pytest.mark.parametrize(
        ("method", "key"), [("batch_perceptron", "bp"), ("normalized_batch_perceptron", "nbp")]
    )
    def test_perceptrons(self, golden, name, method, key):
        g, rows = read(golden, name)
        run = F.iterate(rows, method, max_iter=max(50, int(g[f"{key}_sep"])))
        assert run.separated_at == g[f"{key}_sep"]
        np.testing.assert_allclose(run.theta[:51], g[f"{key}_iterates"], atol=1e-12)  # 50 sums of a few rows
        if key == "bp":
            np.testing.assert_array_equal(run.errors[: run.separated_at], g["bp_misclassified"])

    @pytest.mark.parametrize("name", SETS)
    def test_cyclic(self, golden, name):
        g, rows = read(golden, name)
        run = F.iterate(rows, "perceptron", max_iter=int(g["cyclic_updates"]) + 3)
        assert (run.separated_at, run.epochs) == (g["cyclic_updates"], g["cyclic_epochs_with_updates"])
        np.testing.assert_allclose(run.theta[-1], g["cyclic_theta"], atol=1e-12)
        assert (run.picked[-3:] == -1).all()  # at rest

    @pytest.mark.parametrize("name", SETS)
    def test_accelerated(self, golden, name):
        g, rows = read(golden, name)
        assert F.iterate(rows, "smooth_perceptron", max_iter=70).separated_at == g["smooth_sep"]
        at = F.iterate(rows, "momentum", max_iter=70).separated_at
        # In ties_3x2 theta_1 has a margin of exactly zero, which rounding decides: one more or one less.
        assert abs(at - g["momentum_sep"]) <= (1 if name == "ties_3x2" else 0)

    @pytest.mark.parametrize("step", STEPS)
    @pytest.mark.parametrize("rule", RULES)
    @pytest.mark.parametrize("name", SETS)
    def test_finite_steps(self, golden, name, rule, step):
        g, rows = read(golden, name)
        key, gamma = f"{rule}_g{step}_", STEPS[step]
        at = int(g[key + "sep"])
        run = F.iterate(rows, RULES[rule], gamma, max_iter=max(50, at + at // 10))
        # Beyond 50 steps the normalised path is chaotic: another processor's rounding moves the count.
        slack = at // 10 if rule == "nlrgd" and at > 50 else 0
        assert abs(run.separated_at - at) <= slack
        off = np.abs(run.theta[:51] - g[key + "iterates"]).max(axis=1) / gamma
        assert off[:11].max() < 1e-9
        assert off.max() < (1e-3 if rule == "nlrgd" else 1e-8)  # rounding grows along the chaotic path
        np.testing.assert_array_equal(np.round(run.accuracy[:51] - g[key + "acc"], 12), 0)
        np.testing.assert_allclose(run.loss[:11] / gamma, g[key + "loss"][:11] / gamma, atol=1e-9)
        np.testing.assert_allclose(run.loss[:51] / gamma, g[key + "loss"] / gamma, atol=1e-3)
        np.testing.assert_allclose(run.step_length[:10], g[key + "gradnorm"][:10], atol=1e-9)
        np.testing.assert_allclose(run.step_length[:50], g[key + "gradnorm"], atol=1e-3)
        if rule == "nlrgd":
            np.testing.assert_allclose(run.log_beta[:10], g[key + "logbeta"][:10], rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(run.log_beta[:50], g[key + "logbeta"], rtol=1e-3, atol=1e-3)

    @pytest.mark.parametrize("name", SETS)
    def test_distance_to_the_limit(self, golden, name):
        g, rows = read(golden, name)
        for key, finite, limit in (
            ("bp", "lr_gd", "batch_perceptron"),
            ("nbp", "normalized_lr_gd", "normalized_batch_perceptron"),
        ):
            last = min(50, int(g[f"{key}_sep"])) + 1
            end = F.iterate(rows, limit, max_iter=50).theta[:last]
            for gamma, expected in zip(g["limit_gammas"], g[f"limit_err_{key}"], strict=True):
                run = F.iterate(rows, finite, float(gamma), max_iter=50)
                off = np.abs(run.direction[:last] - end).max()
                assert off == pytest.approx(expected, rel=1e-3, abs=1e-9)


class TestExactCounts:
    """Table 1, first row, and Theorem 5.1."""

    @pytest.mark.parametrize(("step", "count"), [(100.0, 2), (10.0, 2), (1.0, 16), (0.1, 157)])
    def test_normalized_is_flat(self, step, count):
        assert F.iterate(worst_case(1000), "normalized_lr_gd", step, 400).separated_at == count

    def test_lr_gd_grows_with_n(self):
        assert F.iterate(worst_case(1000), "lr_gd", 100.0, 400).separated_at == 308

    @pytest.mark.parametrize(("n", "count"), [(100, 31), (1000, 301), (10_000, 3001)])
    def test_batch_perceptron(self, n, count):
        assert F.iterate(worst_case(n), "batch_perceptron", max_iter=3100, stop=True).separated_at == count

    def test_loss_explodes_one_step_before_the_end(self):
        # Theorem 4.1: f(theta_1) is about gamma / 8, the gradient about sqrt(2) / 2, and theta_2 separates.
        run = F.iterate([[1.0, -1.0], [1.0, 4.0]], "lr_gd", 1e4, 2)
        np.testing.assert_allclose(run.theta[1] / 1e4, [0.5, 0.75])
        assert run.loss[1] == pytest.approx(1e4 / 8, rel=1e-3)
        assert run.step_length[1] == pytest.approx(np.sqrt(2) / 2, rel=1e-6)
        assert run.separated_at == 2
        assert run.loss[2] < 1e-300
        np.testing.assert_allclose(run.direction[2], [1.0, 0.25], atol=1e-12)

    def test_where_the_margin_goes_after_separation(self, golden):
        g, rows = read(golden, "blobs_40x5")

        def reached(method, step=np.inf):
            run = F.iterate(rows, method, step, 1000)
            return run.margins[-1].min() / np.linalg.norm(run.theta[-1]) / float(g["mu"])

        assert reached("lr_gd", 1e3) == pytest.approx(0.305, abs=1e-3)  # frozen
        assert reached("normalized_lr_gd", 1.0) == pytest.approx(0.9979, abs=1e-4)
        assert reached("normalized_lr_gd", 1e3) == pytest.approx(0.9899, abs=1e-3)
        assert reached("momentum") == pytest.approx(0.99986, abs=1e-5)


class TestWeights:
    @given(margins, steps)
    def test_normalized_weights_are_convex(self, m, step):
        for rule in (F.normalized_lr_gd_weights, F.exp_gd_weights, F.normalized_batch_perceptron_weights):
            w = rule(m, step)
            assert (w >= 0).all()
            at_rest = rule is not F.exp_gd_weights and np.isinf(step) and (m > 0).all()
            at_rest |= rule is F.normalized_batch_perceptron_weights and (m > 0).all()
            assert w.sum() == pytest.approx(0.0 if at_rest else 1.0, abs=1e-12)

    @given(margins, steps)
    def test_the_worse_weigh_more(self, m, step):
        for rule in F.WEIGHTS.values():
            assert (np.diff(rule(np.sort(m), step)) <= 0).all()

    @given(arrays(np.float64, st.integers(1, 20), elements=st.floats(-30, 30)), st.floats(0.01, 10))
    def test_against_the_plain_formulas(self, m, step):
        sigma = 1 / (1 + np.exp(step * m))
        np.testing.assert_allclose(F.mistake(m, step), sigma, rtol=1e-12)
        np.testing.assert_allclose(F.lr_gd_weights(m, step), sigma / len(m), rtol=1e-12)
        np.testing.assert_allclose(
            F.normalized_lr_gd_weights(m, step), sigma / sigma.sum(), rtol=1e-9, atol=1e-300
        )
        np.testing.assert_allclose(F.log_beta(m, step), -np.log(sigma.mean()), rtol=1e-9, atol=1e-12)
        tail = np.exp(-step * m)
        np.testing.assert_allclose(F.exp_gd_weights(m, step), tail / tail.sum(), rtol=1e-9)
        np.testing.assert_allclose(F.logistic_loss(m, step), np.log1p(np.exp(-step * m)).mean(), rtol=1e-9)

    @given(margins, steps)
    def test_nothing_overflows(self, m, step):
        assert np.isfinite(F.lr_gd_weights(m, step)).all()
        assert not np.isnan(F.log_beta(m, step))
        assert F.logistic_loss(m, step) >= 0

    @given(
        arrays(np.float64, 6, elements=st.floats(-3, 3)),
        arrays(np.int64, 6, elements=st.integers(1, 4)),
        steps,
    )
    def test_a_whole_share_is_a_repeated_row(self, m, times, step):
        share = times / times.sum()
        for rule in F.WEIGHTS.values():
            repeated = rule(np.repeat(m, times), step)
            summed = np.add.reduceat(repeated, np.concatenate([[0], np.cumsum(times)[:-1]]))
            np.testing.assert_allclose(rule(m, step, share=share), summed, rtol=1e-9, atol=1e-15)
        expected = F.log_beta(np.repeat(m, times), step)
        assert F.log_beta(m, step, share=share) == pytest.approx(expected, rel=1e-9, abs=1e-12)

    def test_ties(self):
        m = np.array([-1.0, 0.0, 2.0])
        np.testing.assert_array_equal(F.mistake(m), [1, 1, 0])
        np.testing.assert_array_equal(F.mistake(m, tie=0.5), [1, 0.5, 0])
        np.testing.assert_allclose(F.mistake(m, 1e9), [1, 0.5, 0])

    def test_beta_at_the_limit(self):
        assert F.log_beta([-1.0, 0.0, 2.0, 3.0]) == pytest.approx(
            np.log(4 / 2)
        )  # n / |S|, zero margins included
        assert F.log_beta([-1.0, 0.0, 2.0, 3.0], tie=0.5) == pytest.approx(np.log(4 / 1.5))
        assert F.log_beta([1.0, 2.0]) == np.inf
        run = F.iterate([[1.0, 0.0], [0.0, 1.0], [1.0, -1.0]], "normalized_batch_perceptron", max_iter=4)
        np.testing.assert_allclose(
            run.log_beta, np.log(3 / np.array([1.5, 1, 1, 1]))
        )  # mean sigma(0) is 1/2 at first

    def test_shares_of_very_different_size(self):
        share = np.array([1e-300, 1.0])
        w = F.normalized_lr_gd_weights([-1.0, 800.0], 1.0, share=share / share.sum())
        np.testing.assert_allclose(w, [1.0, 0.0], atol=1e-30)  # 1e-300 sigma(1) against exp(-800)

    def test_without_a_formula_that_overflows(self):
        # 1 / mean(sigmoid(-m)) is inf * 0 here: every sigmoid underflows at margins above 745.
        w = F.normalized_lr_gd_weights([2000.0, 2001.0, 2000.0], 1.0)
        np.testing.assert_allclose(w, np.array([1, np.exp(-1), 1]) / (2 + np.exp(-1)), rtol=1e-12)
        assert F.log_beta([2000.0, 2001.0, 2000.0], 1.0) == pytest.approx(2000 + np.log(3 / (2 + np.exp(-1))))


class TestClasses:
    @given(arrays(np.float64, (5, 4), elements=st.floats(-3, 3)), st.floats(0.1, 5))
    def test_soft_margins_are_the_softmax(self, scores, step):
        y = np.array([0, 1, 2, 3, 0])
        p = np.exp(step * scores) / np.exp(step * scores).sum(axis=1, keepdims=True)
        m, shares = F.class_margins(scores, y, step)
        wrong = np.where(np.arange(4) == y[:, None], 0, p)
        missed = wrong.sum(axis=1, keepdims=True)  # 1 - p of the own class, without its cancellation
        np.testing.assert_allclose(F.mistake(m, step), missed[:, 0], rtol=1e-9)
        np.testing.assert_allclose(shares, wrong / missed, rtol=1e-9)
        plain = np.eye(4)[y] * missed - wrong  # the rule as the paper's formula has it, for softmax
        np.testing.assert_allclose(F.class_weights(scores, y, step), plain / missed.sum(), rtol=1e-8)

    @given(arrays(np.float64, 8, elements=st.floats(-3, 3)), steps.map(lambda step: step / 2))
    def test_two_classes_are_the_binary_rule_at_twice_the_step(self, m, step):
        y = np.array([0, 1] * 4)
        scores = np.zeros((8, 2))
        scores[:, 1] = np.where(
            y == 1, m, -m
        )  # (theta_1 - theta_0) x / step; the binary direction is half of it
        for rule in F.WEIGHTS.values():
            w = F.class_weights(scores, y, step, rule=rule)
            np.testing.assert_allclose(w[np.arange(8), y], rule(m / 2, 2 * step), atol=1e-9)
            np.testing.assert_allclose(w.sum(axis=1), 0, atol=1e-15)

    def test_a_run_with_two_classes(self, golden):
        g, rows = read(golden, "hard_200x10")
        X, y = g["X"], (g["y"] > 0).astype(int)
        theta = np.zeros((2, 10))
        for t, binary in enumerate(F.iterate(rows, "normalized_lr_gd", 2.0, 20).theta):
            np.testing.assert_allclose(theta[1] - theta[0], binary, atol=1e-9, err_msg=str(t))
            theta = theta + F.class_weights(X @ theta.T, y, 1.0).T @ X

    def test_wrong_classes_that_tie_share(self):
        m, shares = F.class_margins([[1.0, 1.0, 1.0], [0.0, 5.0, 1.0]], [0, 1])
        np.testing.assert_array_equal(m, [0.0, 4.0])
        np.testing.assert_array_equal(shares, [[0, 0.5, 0.5], [0, 0, 1]])


@pytest.mark.parametrize("method", ["lr_gd", "normalized_lr_gd", "exp_gd"])
class TestLaws:
    @given(seed=st.integers(0, 1000), power=st.integers(-40, 40), step=st.floats(0.1, 100))
    def test_a_step_on_scaled_data(self, method, seed, power, step):
        # gamma on c A is c^2 gamma on A; with c a power of two, to the last bit.
        rows, _ = rows_with_margin(np.random.default_rng(seed), 12, 3)
        c = 2.0**power
        one, other = F.iterate(rows, method, step * c**2, 30), F.iterate(c * rows, method, step, 30)
        np.testing.assert_array_equal(c * one.direction, other.direction)
        np.testing.assert_array_equal(one.errors, other.errors)

    @given(seed=st.integers(0, 1000), step=st.floats(0.1, 100))
    def test_order_and_rotation_of_the_data(self, method, seed, step):
        rng = np.random.default_rng(seed)
        rows, _ = rows_with_margin(rng, 12, 3)
        turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        plain = F.iterate(rows, method, step, 6).direction
        turned = F.iterate(rows[rng.permutation(12)] @ turn, method, step, 6).direction
        np.testing.assert_allclose(turned, plain @ turn, atol=1e-6)  # 6 steps of a chaotic map amplify 1e-16

    @given(seed=st.integers(0, 1000))
    def test_the_limit_of_large_steps(self, method, seed):
        rows, _ = rows_with_margin(np.random.default_rng(seed), 12, 3)
        limit = F.iterate(rows, method, np.inf, 5)
        nearest = np.abs(limit.margins[1:]).min()  # a margin near zero is decided by a larger step only
        if method == "exp_gd":
            nearest = min(np.diff(np.sort(m)[:2])[0] for m in limit.margins[1:])
        if nearest > 1e-6:
            at = F.iterate(rows, method, 1e10, 5)
            last = 6 if limit.separated_at is None else limit.separated_at + 1
            np.testing.assert_allclose(at.direction[:last], limit.direction[:last], atol=1e-9)


class TestTies:
    rows = ((1.0, 0.0), (0.0, 1.0), (1.0, -1.0))

    def test_lr_gd_has_its_own_limit_where_margins_are_exactly_zero(self):
        assert F.iterate(self.rows, "batch_perceptron", max_iter=10).separated_at == 4
        assert F.iterate(self.rows, "lr_gd", tie="half", max_iter=10).separated_at == 2
        for step in (1.0, 10.0, 1e3, 1e6, HUGE):
            assert F.iterate(self.rows, "lr_gd", step, 10).separated_at == 2

    def test_half_is_where_large_steps_go(self):
        half = F.iterate(self.rows, "lr_gd", tie="half", max_iter=2)
        np.testing.assert_allclose(
            F.iterate(self.rows, "lr_gd", 1e12, 2).direction, half.direction, atol=1e-12
        )


class TestEdges:
    @pytest.mark.parametrize("method", F.METHODS)
    @pytest.mark.parametrize("scale", [1e-140, 1e-30, 1.0, 1e30, 1e140])
    def test_any_scale(self, method, scale):
        rows, _ = rows_with_margin(np.random.default_rng(0), 20, 3)
        run = F.iterate(scale * rows, method, max_iter=300)
        assert run.separated_at is not None
        for values in (run.theta, run.loss, run.step_length, run.min_margin):
            assert np.isfinite(values).all()

    @pytest.mark.parametrize(
        "method", ["lr_gd", "normalized_lr_gd", "exp_gd", "perceptron", "batch_perceptron"]
    )
    @pytest.mark.parametrize("step", [5e-324, 1e-300, 1e300, HUGE])
    def test_any_step(self, method, step):
        run = F.iterate(worst_case(50), method, step, 40)
        for values in (run.theta, run.direction, run.loss, run.margins, run.min_margin, run.step_length):
            assert np.isfinite(values).all()
        assert run.unit == (step if step == HUGE else run.unit)
        assert (run.loss >= 0).all()

    def test_a_huge_step_is_the_limit(self):
        for finite, limit in (
            ("lr_gd", "batch_perceptron"),
            ("normalized_lr_gd", "normalized_batch_perceptron"),
        ):
            a, b = F.iterate(worst_case(50), finite, HUGE, 40), F.iterate(worst_case(50), limit, max_iter=40)
            assert a.separated_at == b.separated_at
            until = slice(0, a.separated_at + 1)
            np.testing.assert_allclose(a.theta[until], b.theta[until], rtol=1e-12)
            np.testing.assert_allclose(a.loss[until], b.loss[until], atol=1e-300)

    @pytest.mark.parametrize("method", F.METHODS)
    def test_one_row_and_one_column(self, method):
        run = F.iterate([[2.0]], method, max_iter=3)
        assert run.separated_at == (0 if method == "smooth_perceptron" else 1)
        assert np.isfinite(run.theta).all()

    @pytest.mark.parametrize("method", F.METHODS)
    def test_zero_columns_stay_zero_and_zero_rows_never_separate(self, method):
        rows = np.array([[1.0, 0.0, 2.0], [1.0, 0.0, -1.0]])
        assert (F.iterate(rows, method, max_iter=20).theta[:, 1] == 0).all()
        with_zero = F.iterate(np.vstack([rows, np.zeros(3)]), method, max_iter=20)
        assert with_zero.separated_at is None
        assert np.isfinite(with_zero.theta).all()

    @pytest.mark.parametrize("method", F.METHODS)
    def test_rows_that_cannot_be_separated_do_no_harm(self, method):
        rows = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
        run = F.iterate(rows, method, max_iter=200)
        assert run.separated_at is None
        assert np.isfinite(run.theta).all()
        assert run.errors.min() >= 1

    def test_what_it_takes_as_rows(self):
        rows = worst_case(10)
        expected = F.iterate(rows, "lr_gd", 1.0, 5).theta
        for form in (rows.tolist(), torch.tensor(rows), rows.astype(np.float32), np.asfortranarray(rows)):
            np.testing.assert_array_equal(F.iterate(form, "lr_gd", 1.0, 5).theta, expected)
        assert F.iterate(rows.astype(int), "lr_gd", 1.0, 5).theta.dtype == np.float64

    def test_rows_are_left_as_they_are(self):
        rows = worst_case(10)
        before = rows.copy()
        for method in F.METHODS:
            F.iterate(rows, method, max_iter=5)
        np.testing.assert_array_equal(rows, before)

    def test_stopping_cuts_the_same_path(self):
        full, cut = (
            F.iterate(worst_case(100), "batch_perceptron", max_iter=50, stop=s) for s in (False, True)
        )
        assert len(cut) == cut.separated_at + 1 == 32
        np.testing.assert_array_equal(full.theta[:32], cut.theta)
        assert (full.theta[31:] == full.theta[31]).all()  # at rest after separation


WRONG = [
    ({"Z": [1.0, 2.0]}, r"Z: want signed rows \(n, d\).*got \(2,\); pass y\[:, None\] \* X"),
    ({"Z": np.zeros((0, 2))}, r"Z: want signed rows"),
    ({"Z": [[1.0, np.nan]]}, r"Z: want finite values, got 1 NaN of 2, the first at \(0, 1\)"),
    ({"Z": [[1.0, np.inf]]}, r"Z: want finite values, got 1 infinite"),
    (
        {"Z": [[1e200, 1.0]]},
        r"Z: want a largest entry between 1e-150 and 1e150, got 1e\+200; divide Z by it",
    ),
    ({"method": "perceptrom"}, r"method: want one of .* did you mean 'perceptron'"),
    ({"step_size": 0}, r"step_size: want a number > 0.*got 0"),
    ({"step_size": -1.0}, r"step_size: want .* got -1.0"),
    ({"step_size": float("nan")}, r"step_size: want .* got nan"),
    (
        {"method": "newton", "step_size": 1.0},
        r"step_size: want none with method 'newton', got 1.0; leave it out",
    ),
    ({"max_iter": -1}, r"max_iter: want a whole number >= 0, got -1"),
    ({"tie": "right"}, r"tie: want one of 'wrong', 'half', got 'right'"),
]


@pytest.mark.parametrize(("call", "message"), WRONG, ids=[re.sub(r"\W+", " ", m)[:40] for _, m in WRONG])
def test_wrong_calls(call, message):
    with pytest.raises(ValueError, match=message):
        F.iterate(**{"Z": worst_case(4), **call})


def test_wrong_types():
    with pytest.raises(TypeError, match="max_iter: want a whole number"):
        F.iterate(worst_case(4), max_iter=2.5)
    with pytest.raises(TypeError, match="step_size: want a number"):
        F.iterate(worst_case(4), step_size="1")
