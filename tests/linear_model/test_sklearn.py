"""LargeStepClassifier keeps scikit-learn's contract, and is right about separation on any rows."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import parametrize_with_checks

from isocline.linear_model import LargeStepClassifier, functional

METHODS = [
    "auto", "perceptron", "batch_perceptron", "normalized_batch_perceptron", "lr_gd", "normalized_lr_gd",
    "exp_gd", "smooth_perceptron", "momentum", "newton",
]  # fmt: skip


@parametrize_with_checks([LargeStepClassifier()])
def test_scikit_learn_s_checks(estimator, check):
    """No expected failure. scikit-learn itself skips check_array_api_input unless SCIPY_ARRAY_API is set."""
    check(estimator)


def labelled_rows(seed: int, n: int, d: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows ``(n, d)`` with labels in {0, 1} of a random plane; with noise they may not be separable."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    y = (X @ rng.standard_normal(d) + 0.3 + noise * rng.standard_normal(n) > 0).astype(int)
    y[:2] = 0, 1  # both classes are there
    return X, y


def quiet_fit(X, y, **arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LargeStepClassifier(**arguments).fit(X, y)


rows = st.tuples(
    st.integers(0, 10_000), st.integers(2, 30), st.integers(1, 6), st.sampled_from([0.0, 0.3, 2.0])
)


@given(rows)
def test_auto_agrees_with_the_proof_of_separability_and_its_margins_are_positive(case):
    X, y = labelled_rows(*case)
    model = quiet_fit(X, y)
    assert model.separated_ == (functional.is_separable(X, y).answer == "separable")
    if model.separated_:
        assert ((2 * y - 1) * (X @ model.coef_[0] + model.intercept_[0]) > 0).all()
        assert 0 < model.margin_ <= model.margin_upper_ * (1 + 1e-9)
    else:
        assert model.certificate_.answer == "not separable"


@pytest.mark.parametrize("method", METHODS)
@given(case=rows)
def test_what_a_method_calls_separated_is_separated_within_its_bound(method, case):
    X, y = labelled_rows(*case)
    model = quiet_fit(X, y, method=method, max_iter=300)
    if model.separated_:
        assert ((2 * y - 1) * model.decision_function(X) > 0).all()
        assert model.separation_iter_ <= model.bound_
    assert np.isfinite(model.coef_).all()
    assert np.isfinite(model.intercept_).all()


@pytest.mark.parametrize("method", METHODS)
def test_csr_rows_give_what_dense_rows_give(method):
    X, y = labelled_rows(3, 40, 5, 0.0)
    X[np.abs(X) < 0.5] = 0.0
    y = (X @ np.arange(1, 6) > 0).astype(int)
    for arguments in (
        {"precondition": None, "intercept_scaling": 1.0},
        {"fit_intercept": False, "precondition": None},
    ):
        dense, csr = (quiet_fit(rows, y, method=method, **arguments) for rows in (X, sparse.csr_matrix(X)))
        assert dense.separated_ == csr.separated_
        np.testing.assert_allclose(csr.coef_, dense.coef_, rtol=1e-6)


WRONG = [
    ({"step_size": 0.0}, ValueError, "step_size: want a number > 0 or inf, got 0.0"),
    ({"step_size": -1.0}, ValueError, "step_size: want a number > 0 or inf, got -1.0"),
    ({"step_size": float("nan")}, ValueError, "step_size: want a number > 0 or inf, got nan"),
    ({"method": "percepton"}, ValueError, "did you mean 'perceptron'"),
    ({"stop": "never"}, ValueError, "stop: want one of 'separated', 'margin', 'max_iter', got 'never'"),
    ({"precondition": "wash"}, ValueError, "precondition: want one of"),
    ({"on_nonseparable": "pokcet"}, ValueError, "did you mean 'pocket'"),
    ({"multi_class": "softmax"}, ValueError, "multi_class: want one of 'joint', 'ovr', 'ovo'"),
    ({"max_iter": 0}, ValueError, "max_iter: want a whole number >= 1, got 0"),
    ({"margin_tol": 0.0}, ValueError, "margin_tol: want a number > 0 and <= 1, got 0.0"),
    ({"intercept_scaling": -1.0}, ValueError, "intercept_scaling: want"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "error", "message"), WRONG, ids=lambda value: str(value)[:30])
def test_a_wrong_argument_is_named_at_the_door(arguments, error, message):
    X, y = labelled_rows(0, 20, 3, 0.0)
    with pytest.raises(error) as caught:
        LargeStepClassifier(**arguments).fit(X, y)
    assert message in str(caught.value)


BAD_DATA = [
    (lambda X, y: (np.where(X > 1, np.nan, X), y), "NaN"),
    (lambda X, y: (np.where(X > 1, np.inf, X), y), "infinity"),
    (lambda X, y: (X[:, 0], y), "2D array"),
    (lambda X, y: (X, y[:-1]), "inconsistent numbers of samples"),
    (lambda X, y: (X, np.zeros(len(y))), "y: want at least two classes, got one class"),
    (lambda X, y: (X[:1], y[:1]), "y: want at least two classes, got one class"),
    (lambda X, y: (X, X[:, 0]), "continuous"),
]


@pytest.mark.parametrize(("spoil", "message"), BAD_DATA, ids=[words for _, words in BAD_DATA])
def test_bad_data_is_refused(spoil, message):
    X, y = labelled_rows(0, 20, 3, 0.0)
    with pytest.raises(ValueError, match=message):
        LargeStepClassifier().fit(*spoil(X, y))


@pytest.mark.parametrize("scale", [1e-30, 1e30])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("method", METHODS)
def test_scales_far_from_one_change_nothing(scale, dtype, method):
    X, y = labelled_rows(5, 30, 3, 0.0)
    model = LargeStepClassifier(method=method).fit((X * scale).astype(dtype), y)
    assert model.separated_
    assert np.isfinite(model.coef_).all()
    assert model.margin_ > 0


def test_a_step_of_1e308_is_the_perceptron_limit():
    X, y = labelled_rows(5, 30, 3, 0.0)
    large, limit = (LargeStepClassifier(method="lr_gd", step_size=step).fit(X, y) for step in (1e308, np.inf))
    assert large.separated_
    np.testing.assert_array_equal(large.predict(X), limit.predict(X))


def test_one_column_and_two_rows_are_enough():
    model = LargeStepClassifier().fit([[0.0], [1.0]], ["no", "yes"])
    assert model.separated_
    assert list(model.predict([[-5.0], [5.0]])) == ["no", "yes"]


def test_a_row_of_zeros_is_no_obstacle_with_an_intercept_and_a_proof_without():
    X, y = labelled_rows(5, 30, 3, 0.0)
    X, y = np.vstack([X, np.zeros(3)]), np.r_[y, 1]
    assert not quiet_fit(X, y, fit_intercept=False).separated_
    assert quiet_fit(X, y, fit_intercept=False).certificate_.answer == "not separable"
    assert np.isfinite(quiet_fit(X, y).coef_).all()


@pytest.mark.parametrize("method", METHODS)
def test_rows_that_cannot_be_separated_are_reported_with_the_best_plane_found(method):
    X, y = labelled_rows(7, 60, 2, 3.0)
    model = quiet_fit(X, y, method=method, max_iter=200)
    assert not model.separated_
    assert model.separation_iter_ is None
    assert model.score(X, y) >= max(y.mean(), 1 - y.mean()) - 0.1


def test_on_nonseparable_raises_when_asked():
    X, y = labelled_rows(7, 60, 2, 3.0)
    with pytest.raises(ValueError, match="want classes that a hyperplane separates"):
        LargeStepClassifier(on_nonseparable="raise").fit(X, y)


def test_on_nonseparable_logistic_is_logistic_regression():
    from sklearn.linear_model import LogisticRegression

    X, y = labelled_rows(7, 60, 2, 3.0)
    model, peer = quiet_fit(X, y, on_nonseparable="logistic"), LogisticRegression().fit(X, y)
    assert not model.separated_
    assert (model.predict(X) == peer.predict(X)).mean() > 0.95


def test_a_method_that_runs_out_of_steps_says_so():
    X, y = labelled_rows(5, 30, 3, 0.0)
    with pytest.warns(ConvergenceWarning, match="no separator after 3 iterations of lr_gd"):
        LargeStepClassifier(method="lr_gd", step_size=1e-6, max_iter=3).fit(X, y)


@pytest.mark.parametrize("multi_class", ["joint", "ovr", "ovo"])
def test_many_classes(multi_class):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((90, 2)) * 0.2 + np.repeat(np.array([[0, 3], [3, -2], [-3, -2]]), 30, axis=0)
    y = np.repeat(["a", "b", "c"], 30)
    model = LargeStepClassifier(multi_class=multi_class).fit(X, y)
    assert model.separated_
    assert list(model.class_separated_) == [True] * 3
    assert model.score(X, y) == 1.0


def test_the_margin_stop_comes_as_near_the_best_margin_as_asked():
    X, y = labelled_rows(5, 30, 3, 0.0)
    model = LargeStepClassifier(
        method="momentum", stop="margin", precondition=None, intercept_scaling=1.0, max_iter=100_000
    ).fit(X, y)
    best = functional.max_margin(np.c_[X, np.ones(len(X))], 2 * y - 1).margin
    theta = np.r_[model.coef_[0], model.intercept_]
    reached = ((2 * y - 1) * (np.c_[X, np.ones(len(X))] @ theta)).min() / np.linalg.norm(theta)
    assert reached >= 0.98 * best


def test_the_same_seed_gives_the_same_plane_on_large_rows():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((6000, 200)).astype(np.float32)
    y = (X @ rng.standard_normal(200).astype(np.float32) > 0).astype(int)
    first, second = (LargeStepClassifier(random_state=4).fit(X, y) for _ in range(2))
    assert first.method_ == "relaxation"  # the compiled path was taken
    assert first.separated_
    np.testing.assert_array_equal(first.coef_, second.coef_)


def test_fit_leaves_the_global_generator_and_the_rows_as_they_were():
    X, y = labelled_rows(5, 30, 3, 0.0)
    before, copy = np.random.get_state()[1].copy(), X.copy()  # noqa: NPY002
    X.setflags(write=False)
    LargeStepClassifier().fit(X, y)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    np.testing.assert_array_equal(X, copy)


def test_partial_fit_belongs_to_the_perceptron_and_repeats_its_passes():
    X, y = labelled_rows(5, 30, 3, 0.0)
    assert not hasattr(LargeStepClassifier(), "partial_fit")
    model = LargeStepClassifier(method="perceptron", precondition=None)
    for _ in range(500):
        model.partial_fit(X, y, classes=[0, 1])
        if model.separated_:
            break
    assert model.separated_
    assert model.score(X, y) == 1.0
