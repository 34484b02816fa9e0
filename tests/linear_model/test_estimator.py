"""LargeStepClassifier beyond scikit-learn's contract: what it reports, on every kind of rows."""

import pickle
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from isocline.linear_model import LargeStepClassifier, functional
from isocline.linear_model.estimator import NotSeparableError


def quiet(X, y, sample_weight=None, **arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LargeStepClassifier(**arguments).fit(X, y, sample_weight)


def large(dtype=np.float32, margin=0.3, n=6000, d=200):
    """Rows for which relaxation is tried first, outside a slab around a plane."""
    rng = np.random.default_rng(0)
    X, normal = rng.standard_normal((n, d)), rng.standard_normal(d)
    normal /= np.linalg.norm(normal)
    score = X @ normal + 0.1
    y = score > 0
    X += np.outer(np.where(y, 1, -1) * np.maximum(0, margin - np.abs(score)), normal)
    return X.astype(dtype), y.astype(int)


def iris_pair(first, second):
    X, y = load_iris(return_X_y=True)
    keep = (y == first) | (y == second)
    return X[keep], y[keep]


@given(st.integers(0, 3000), st.integers(4, 40), st.integers(1, 5), st.booleans())
def test_the_margins_enclose_the_best_one(seed, n, d, fit_intercept):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) * 10.0 ** rng.integers(-1, 2, d)
    score = X @ rng.standard_normal(d) + 0.5 * fit_intercept
    y = (score > 0).astype(int)
    if len(np.unique(y)) < 2:
        return
    model = LargeStepClassifier(fit_intercept=fit_intercept).fit(X, y)
    assert model.separated_
    sign = 2 * y - 1
    reached = (sign * (X @ model.coef_[0] + model.intercept_[0])).min() / np.linalg.norm(model.coef_)
    np.testing.assert_allclose(model.margin_, reached, rtol=1e-6)
    best = functional.max_margin(X, y, fit_intercept=fit_intercept)
    assert model.margin_ <= best.upper * (1 + 1e-9)
    assert model.margin_upper_ >= best.margin * (1 - 1e-9)
    np.testing.assert_allclose(model.radius_, np.linalg.norm(X, axis=1).max(), rtol=1e-12)
    assert model.certificate_.verify(X, y, fit_intercept=fit_intercept)


@pytest.mark.parametrize("kind", ["float32", "float64", "fortran", "csr", "csr int64", "moved", "sorted"])
def test_large_rows_are_separated_by_relaxation_and_checked_in_float64(kind):
    X, y = large(np.float64 if kind == "float64" else np.float32)
    if kind == "fortran":
        X = np.asfortranarray(X)
    elif kind.startswith("csr"):
        X = sparse.csr_array(X)
        if kind == "csr int64":
            X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    elif kind == "moved":
        X = (X * np.logspace(-2, 2, X.shape[1]) + np.logspace(-1, 2, X.shape[1])).astype(np.float32)
    elif kind == "sorted":
        order = np.argsort(y)
        X, y = X[order], y[order]
    model = LargeStepClassifier(random_state=3).fit(X, y)
    assert model.separated_
    assert model.method_ == "relaxation"  # the path this test is about
    dense = X.toarray() if sparse.issparse(X) else X
    margins = (2 * y - 1) * (dense.astype(np.float64) @ model.coef_[0] + model.intercept_[0])
    assert margins.min() > 0
    assert 0 < model.margin_ <= margins.min() / np.linalg.norm(model.coef_) * (1 + 1e-6)
    assert model.margin_upper_ >= model.margin_
    assert (model.predict(X) == y).all()


@pytest.mark.parametrize("noise", ["all labels random", "one row wrong"])
def test_large_rows_that_are_not_separable_are_proved_so_and_the_pocket_is_good(noise):
    X, y = large(d=160, n=9000)
    rng = np.random.default_rng(1)
    if noise == "all labels random":
        y = rng.integers(0, 2, len(y))
    else:
        X[1], y[1] = X[0], 1 - y[0]
    model = quiet(X, y)
    assert not model.separated_
    assert model.certificate_.answer == "not separable"
    assert model.certificate_.verify(X, y)
    wrong = (model.predict(X) != y).sum()
    assert wrong <= (len(y) * 0.48 if noise == "all labels random" else 3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [(0, 0), (4321, 77)])
def test_a_value_that_is_not_finite_is_found_in_large_rows_too(bad, at):
    """These are checked by the pass that computes the margins, not by one of its own."""
    X, y = large()
    X[at] = bad
    with pytest.raises(
        ValueError, match=rf"X: want finite values, got 1 .* the first at \({at[0]}, {at[1]}\)"
    ):
        LargeStepClassifier().fit(X, y)


def test_large_rows_of_three_classes_are_checked_before_anything_is_done():
    X, y = large()
    X[5, 5] = np.nan
    with pytest.raises(ValueError, match="1 NaN"):
        LargeStepClassifier().fit(X, np.arange(len(y)) % 3)


@pytest.mark.parametrize("dtype", [np.float16, np.int8, np.int64, np.uint8, bool])
def test_other_number_types_are_taken(dtype):
    X, y = iris_pair(0, 1)
    X = (X * 10).astype(dtype) if dtype is not bool else np.median(X, axis=0) < X
    model = quiet(X, y)
    assert model.coef_.dtype == np.float64
    assert model.separated_ == (functional.is_separable(X.astype(float), y).answer == "separable")


def test_a_csr_matrix_with_repeated_entries_means_their_sum_and_is_left_alone():
    X, y = iris_pair(0, 1)
    plain = sparse.coo_matrix(X)
    twice = sparse.csr_matrix((len(y), X.shape[1]))
    twice.data = np.tile(plain.data / 2, 2)
    order = np.argsort(np.tile(plain.row, 2), kind="stable")
    twice.data, twice.indices = twice.data[order], np.tile(plain.col, 2)[order].astype(np.int32)
    twice.indptr = np.searchsorted(np.sort(np.tile(plain.row, 2)), np.arange(len(y) + 1)).astype(np.int32)
    stored = twice.nnz
    model = LargeStepClassifier().fit(twice, y)
    assert twice.nnz == stored
    np.testing.assert_allclose(
        model.coef_, LargeStepClassifier().fit(sparse.csr_matrix(X), y).coef_, rtol=1e-9
    )


@given(st.integers(0, 500), st.sampled_from(["auto", "normalized_batch_perceptron", "lr_gd"]))
@settings(max_examples=30)
def test_a_weight_is_a_number_of_equal_rows(seed, method):
    rng = np.random.default_rng(seed)
    X, y, weight = rng.standard_normal((30, 3)), rng.integers(0, 2, 30), rng.integers(0, 4, 30)
    weight[:2], y[:2] = 1, (0, 1)
    weighted = quiet(X, y, weight, method=method, max_iter=80)
    repeated = quiet(X.repeat(weight, axis=0), y.repeat(weight), method=method, max_iter=80)
    assert weighted.separated_ == repeated.separated_
    if method != "auto" and not repeated.separated_:
        return  # without a separator a perceptron's path is chaotic: rounding decides which point is kept
    size = np.abs(repeated.coef_).max() + np.abs(repeated.intercept_).max()
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, atol=1e-6 * size)


def test_a_row_of_no_weight_is_no_row():
    X, y = iris_pair(0, 1)
    X[0] = X[60]  # would contradict
    assert not quiet(X, y).separated_
    weight = np.ones(len(y))
    weight[0] = 0.0
    assert quiet(X, y, weight).separated_
    with pytest.raises(ValueError, match="at least two classes"):
        LargeStepClassifier().fit(X, y, y.astype(float))
    with pytest.raises(
        ValueError, match=r"at least one (weight above zero|non-zero number)"
    ):  # or scikit-learn's
        LargeStepClassifier().fit(X, y, 0.0 * y)
    with pytest.raises(ValueError, match="sample_weight: want weights >= 0, got -1 at row 3"):
        LargeStepClassifier().fit(X, y, np.where(np.arange(len(y)) == 3, -1.0, 1.0))


def test_class_weights_decide_which_errors_the_pocket_avoids():
    X, y = iris_pair(1, 2)
    for heavy in (1, 2):
        model = quiet(X, y, class_weight={heavy: 1000.0})
        assert (model.predict(X)[y == heavy] == heavy).all()
    balanced = quiet(X, y, class_weight="balanced")
    np.testing.assert_allclose(balanced.coef_, quiet(X, y).coef_)  # 50 of each


def test_weights_turn_the_perceptron_into_its_batch_form():
    X, y = iris_pair(0, 1)
    model = LargeStepClassifier("perceptron").fit(X, y, np.where(y, 2.0, 1.0))
    assert model.method_ == "normalized_batch_perceptron"
    assert LargeStepClassifier("perceptron").fit(X, y).method_ == "perceptron"


@pytest.mark.parametrize("multi_class", ["joint", "ovr", "ovo"])
def test_each_class_is_reported(multi_class):
    """Iris: setosa is apart, the other two overlap."""
    X, y = load_iris(return_X_y=True)
    model = quiet(X, y, multi_class=multi_class)
    assert not model.separated_
    proofs = model.certificate_ if isinstance(model.certificate_, tuple) else (model.certificate_,)
    assert len(proofs) == {"joint": 1, "ovr": 3, "ovo": 3}[multi_class]
    assert {proof.answer for proof in proofs} <= {"separable", "not separable"}
    if multi_class != "joint":
        assert model.class_separated_.tolist() == [True, False, False]
    assert model.score(X, y) >= 0.9
    assert model.decision_function(X).shape == (150, 3)


@pytest.mark.parametrize("multi_class", ["joint", "ovo"])
def test_ten_digits_are_separable_jointly_and_in_pairs_though_not_one_against_the_rest(multi_class):
    X, y = load_digits(return_X_y=True)
    model = LargeStepClassifier(multi_class=multi_class).fit(X, y)
    assert model.separated_
    assert model.class_separated_.all()
    assert (model.predict(X) == y).all()


def test_digits_one_against_the_rest_are_separable_but_for_8_and_9():
    X, y = load_digits(return_X_y=True)
    model = quiet(X, y, multi_class="ovr")
    assert np.flatnonzero(~model.class_separated_).tolist() == [8, 9]
    for digit in (8, 9):
        assert model.certificate_[digit].answer == "not separable"
        assert model.certificate_[digit].verify(X, y == digit)


def test_a_joint_refutation_balances_the_pairs():
    X, y = load_iris(return_X_y=True)
    model = quiet(X, y)
    weights = model.certificate_.weights
    assert weights.shape == (150, 3)
    assert weights.min() >= 0
    assert (weights[np.arange(150), y] == 0).all()
    for k in range(3):  # what is added to class k, the samples' own less what others lose to it
        pull = weights[y == k].sum(axis=1) @ X[y == k] - weights[:, k] @ X
        assert np.abs(pull).max() <= 1e-12 * X.max()


@pytest.mark.parametrize("multi_class", ["joint", "ovr", "ovo"])
def test_logistic_takes_over_where_there_is_no_separator(multi_class):
    X, y = load_iris(return_X_y=True)
    model = quiet(X, y, on_nonseparable="logistic", multi_class=multi_class)
    peer = LogisticRegression(max_iter=1000).fit(X, y)
    assert not model.separated_
    assert (model.predict(X) == peer.predict(X)).mean() > 0.9


def test_raise_says_what_was_proved():
    X, y = iris_pair(1, 2)
    with pytest.raises(
        NotSeparableError, match=r"got Certificate\(not separable; .*; use 'pocket' or 'logistic'"
    ):
        LargeStepClassifier(on_nonseparable="raise").fit(X, y)


def test_stop_margin_is_the_support_vector_machine():
    X, y = load_digits(return_X_y=True)
    X, y = X[(y == 3) | (y == 8)], y[(y == 3) | (y == 8)]
    model = LargeStepClassifier(stop="margin", margin_tol=1e-3).fit(X, y)
    best = functional.max_margin(X, y, fit_intercept=True)
    assert (1 - 1e-3) * best.margin <= model.margin_ <= best.margin * (1 + 1e-9)
    assert model.margin_upper_ - model.margin_ <= 1e-3 * model.margin_upper_
    assert model.certificate_.verify(X, y)


def test_a_warm_start_that_separates_stays_and_another_goes_on():
    X, y = load_breast_cancer(return_X_y=True)
    model = LargeStepClassifier(warm_start=True).fit(X, y)
    before = model.coef_.copy()
    model.fit(X, y)
    assert model.method_ == "warm start"
    assert model.separation_iter_ == 0
    np.testing.assert_array_equal(model.coef_, before)
    X, y = iris_pair(0, 1)
    cold = quiet(X, y, method="batch_perceptron", precondition=None, max_iter=10_000)
    assert cold.separation_iter_ > 3
    warm = LargeStepClassifier("batch_perceptron", precondition=None, max_iter=2, warm_start=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        steps = next(2 * k for k in range(1, 5000) if warm.fit(X, y).separated_)
    assert steps > 2
    assert warm.bound_ == np.inf  # the theorems start from zero


def test_methods_that_run_out_say_what_newton_knows():
    """Without a separator the methods only wander, so that after a while Newton's method is asked."""
    X, y = iris_pair(1, 2)
    model = LargeStepClassifier("lr_gd", step_size=10.0).fit(X, y)  # no warning: it is proved
    assert model.certificate_.answer == "not separable"
    assert model.n_iter_ < 10_000
    X, y = load_breast_cancer(return_X_y=True)
    with pytest.warns(ConvergenceWarning, match="no separator after 150 iterations of batch_perceptron"):
        slow = LargeStepClassifier("batch_perceptron", max_iter=150).fit(X, y)
    assert not slow.separated_
    assert slow.certificate_.answer == "separable"
    assert slow.certificate_.verify(X, y)


def test_pieces_in_order_are_the_perceptron_of_the_whole():
    X, y = iris_pair(0, 1)
    whole = LargeStepClassifier("perceptron", precondition=None, intercept_scaling=1.0).fit(X, y)
    pieces = LargeStepClassifier("perceptron", precondition=None, intercept_scaling=1.0)
    for _ in range(whole.n_iter_):
        for part in np.array_split(np.arange(len(y)), 7):
            pieces.partial_fit(X[part], y[part], classes=[0, 1])
    np.testing.assert_allclose(pieces.coef_, whole.coef_, rtol=1e-12)
    np.testing.assert_allclose(pieces.intercept_, whole.intercept_, rtol=1e-12)
    assert pieces.updates_ == whole.separation_iter_


@pytest.mark.parametrize(
    ("y", "arguments", "message"),
    [
        ([0, 2], {"classes": [0, 1]}, r"y: want labels among \[0, 1\], got \[2\]; list all classes"),
        ([0, 1], {"classes": [0, 1], "sample_weight": [1, 2]}, "sample_weight: want weights that are alike"),
        ([0, 0], {}, "y: want at least two classes"),
    ],
)
def test_pieces_that_do_not_fit_are_refused(y, arguments, message):
    with pytest.raises(ValueError, match=message):
        LargeStepClassifier("perceptron").partial_fit([[0.0], [1.0]], y, **arguments)


def test_pieces_of_several_classes_come_to_separate_them():
    rng = np.random.default_rng(0)
    X = (
        np.repeat(np.array([[0.0, 4.0], [4.0, -3.0], [-4.0, -3.0]]), 20, axis=0)
        + rng.standard_normal((60, 2)) / 4
    )
    y = np.repeat(["a", "b", "c"], 20)
    model = LargeStepClassifier("perceptron")
    for _ in range(50):
        model.partial_fit(X, y)
    assert model.separated_
    assert model.score(X, y) == 1.0
    with pytest.raises(ValueError, match="classes: want the same as at the first call"):
        model.partial_fit(X, y, classes=["a", "b"])


@pytest.mark.parametrize("method", ["auto", "perceptron", "momentum"])
def test_a_model_survives_pickling_and_cloning(method):
    X, y = iris_pair(0, 1)
    model = LargeStepClassifier(method).fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.decision_function(X), model.decision_function(X))
    assert clone(model).get_params() == model.get_params()
    assert model.certificate_.to_dict()["answer"] == "separable"


def test_the_bound_of_a_theorem_covers_the_golden_runs(golden):
    for name in ("two_point", "worst_case_100", "blobs_40x5", "hard_200x10"):
        data = np.load(golden / "large_step" / f"{name}.npz")
        for method, key in (("batch_perceptron", "bp_sep"), ("normalized_batch_perceptron", "nbp_sep")):
            model = LargeStepClassifier(method, fit_intercept=False, precondition=None).fit(
                data["X"], data["y"]
            )
            assert model.separation_iter_ == data[key]
            assert data[key] <= model.bound_ < np.inf
            np.testing.assert_allclose(model.radius_, data["R"], rtol=1e-12)
            assert model.margin_ <= data["mu"] * (1 + 1e-9) <= model.margin_upper_ * (1 + 1e-6)


def test_a_warning_means_that_nothing_was_proved():
    X, y = load_digits(return_X_y=True)  # two of the ten against the rest: certainly not separable
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = LargeStepClassifier(multi_class="ovr").fit(X, y)
    assert [proof.answer for proof in model.certificate_] == ["separable"] * 8 + ["not separable"] * 2


def test_one_class_is_named():
    with pytest.raises(ValueError, match=r"y: want at least two classes, got one class, 1; "):
        LargeStepClassifier().fit([[0.0], [1.0]], np.ones(2, int))
