"""A linear classifier that is finished at the first perfect separator."""

import warnings
from math import inf
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _ovr_decision_function
from sklearn.utils.validation import check_is_fitted, check_random_state, validate_data

from isocline._core.checks import check_choice, check_finite, check_number, wrong
from isocline.linear_model.labels import classes_of, many, shares
from isocline.linear_model.multiclass import STRATEGIES, Fit, Start, Task, logistic, pair
from isocline.linear_model.rows import scores, squares
from isocline.linear_model.solvers.auto import is_large
from isocline.linear_model.solvers.choice import METHODS, PRECONDITIONS, Settings
from isocline.linear_model.solvers.online import one_bias, online

Array = npt.NDArray[np.float64]
TYPES = [np.float64, np.float32]


class NotSeparableError(ValueError):
    """With ``on_nonseparable="raise"``: no separator was found."""


def _walks_in_order(classifier: "LargeStepClassifier") -> bool:
    if classifier.method != "perceptron":
        raise AttributeError(f"partial_fit: want method='perceptron', got {classifier.method!r}")
    return True


class LargeStepClassifier(ClassifierMixin, BaseEstimator):
    """A linear classifier that trains until every row is on its right side, and no longer.

    Large steps turn gradient descent on the logistic loss into a perceptron, so the first perfect separator,
    not a small loss, is the end. Rows ``X (n, d)`` are dense or CSR and are never copied; the answer is checked
    in float64 on the rows as they came. When no separator exists, the best plane found (the pocket) is kept and
    `certificate_` proves it.

    method
        ``"auto"`` takes Newton's method for small data and relaxation with repairs for large ones; the others
        are the paper's and its neighbours': perceptron, batch_perceptron, normalized_batch_perceptron, lr_gd,
        normalized_lr_gd, exp_gd, smooth_perceptron, momentum, newton. Sample weights turn the perceptron into
        its normalized batch form: a row is added whole or not at all.
    step_size
        gamma of the gradient methods, > 0; inf is the perceptron limit. What counts is ``gamma R^2``.
    max_iter
        Iterations (passes, for the perceptron); None takes 200 for auto and newton, 1000 passes, 10 000 for the
        others.
    fit_intercept, intercept_scaling
        A constant column of this size, "auto" for the usual length of the centred rows.
    precondition
        The coordinates to walk in: "auto" (centred, of equal spread), "center", "whiten", "rows" (unit length)
        or None. They change the number of steps and not the task.
    stop
        "separated"; "margin" goes on until ``margin_upper_ - margin_ <= margin_tol margin_upper_``, measured in
        the coordinates of `precondition`; "max_iter".
    on_nonseparable
        "pocket", "logistic" (go on with regularised logistic regression) or "raise" (`NotSeparableError`).
    multi_class
        "joint" (every row's class leads all others), "ovr" or "ovo".
    class_weight, warm_start, random_state
        As in scikit-learn; ``random_state=None`` is seed 0.

    Learned: `coef_`, `intercept_`, `classes_`, `n_features_in_`; `separated_`, `class_separated_`,
    `separation_iter_` (None: never), `n_iter_`, `n_passes_` over the rows, `method_`; `margin_` (``min_i m_i /
    ||coef||``, in the units of X), `margin_upper_` (no plane has more), `radius_` (the longest row), `bound_`
    (the theorem's limit on the iterations), `certificate_` (one, or one a class).

    Raises ValueError for an argument outside these choices, data that are not finite, and fewer than two
    classes; warns with ConvergenceWarning when the iterations ended without an answer.
    Source: Tyurin, *From Logistic Regression to the Perceptron Algorithm*, arXiv 2412.08424.

    >>> model = LargeStepClassifier().fit([[0.0], [1.0], [3.0]], ["no", "no", "yes"])
    >>> model.separated_, model.certificate_.answer
    (True, 'separable')
    """

    def __init__(
        self,
        method="auto",
        step_size=inf,
        max_iter=None,
        fit_intercept=True,
        intercept_scaling="auto",
        precondition="auto",
        stop="separated",
        margin_tol=1e-2,
        on_nonseparable="pocket",
        multi_class="joint",
        class_weight=None,
        warm_start=False,
        random_state=None,
    ):
        self.method = method
        self.step_size = step_size
        self.max_iter = max_iter
        self.fit_intercept = fit_intercept
        self.intercept_scaling = intercept_scaling
        self.precondition = precondition
        self.stop = stop
        self.margin_tol = margin_tol
        self.on_nonseparable = on_nonseparable
        self.multi_class = multi_class
        self.class_weight = class_weight
        self.warm_start = warm_start
        self.random_state = random_state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "LargeStepClassifier":
        """Walk to the first separator of the rows ``X (n, d)`` by their labels ``y (n,)``, or to a proof that
        there is none.

        ``sample_weight (n,)``, where weights differ, turns method="perceptron", which adds a row or does not, into
        "normalized_batch_perceptron".
        """
        settings = self._settings()
        plain = isinstance(X, np.ndarray) and X.ndim == 2
        late = self.method == "auto" and plain and is_large(X)  # a pass over the rows checks as it goes
        found: Any = X  # the stubs of validate_data want text
        X, y = validate_data(
            self,
            found,
            y,
            accept_sparse="csr",
            dtype=TYPES,
            ensure_all_finite=not late,
            accept_large_sparse=True,
        )
        if sparse.issparse(X) and not X.has_canonical_format:
            X = X.copy()
            X.sum_duplicates()
        classes, index = classes_of(y)
        if late and (len(classes) > 2 or not is_large(X)):
            check_finite("X", X)
        share = None
        if sample_weight is not None or self.class_weight is not None:
            weight = shares(X, index, classes, sample_weight, self.class_weight)
            kept = np.flatnonzero(weight)
            if len(kept) < len(weight):
                X, weight = X[kept], weight[kept]
                classes, index = many(*np.unique(classes[index[kept]], return_inverse=True))
            share = None if weight.min() == weight.max() else weight / weight.sum()
        task = Task(X, index, len(classes), share, settings, self._seed())
        fit = (pair if len(classes) == 2 else STRATEGIES[self.multi_class])(task, self._start(classes))
        self.classes_ = classes
        self._learn(fit, task)
        return self

    def _settings(self) -> Settings:
        check_choice("method", self.method, METHODS)
        check_choice("precondition", self.precondition, PRECONDITIONS)
        check_choice("stop", self.stop, ("separated", "margin", "max_iter"))
        check_choice("on_nonseparable", self.on_nonseparable, ("pocket", "logistic", "raise"))
        check_choice("multi_class", self.multi_class, tuple(STRATEGIES))
        step_size = float(check_number("step_size", self.step_size, above=0, finite=False))
        check_number("margin_tol", self.margin_tol, above=0, most=1)
        if self.max_iter is not None:
            check_number("max_iter", self.max_iter, least=1, integer=True)
        if self.intercept_scaling != "auto":
            check_number("intercept_scaling", self.intercept_scaling, above=0)
        return Settings(
            self.method, step_size, self.max_iter, bool(self.fit_intercept), self.intercept_scaling,
            self.precondition, self.stop, float(self.margin_tol),
        )  # fmt: skip

    def _seed(self) -> int:
        if self.random_state is None:
            return 0
        return int(check_random_state(self.random_state).randint(2**31))

    def _start(self, classes: npt.NDArray[Any]) -> Start | None:
        if not self.warm_start or not hasattr(self, "coef_") or not np.array_equal(self.classes_, classes):
            return None
        if self.coef_.shape[1] != self.n_features_in_:  # pyright: ignore[reportAttributeAccessIssue]
            return None
        return self.coef_, self.intercept_

    def _learn(self, fit: Fit, task: Task) -> None:
        """Set what the fit has found; act on what it has not."""
        walks, verdicts = [part.walk for part in fit.parts], [part.verdict for part in fit.parts]
        self.coef_, self.intercept_ = fit.coef, fit.intercept
        self.class_separated_ = fit.class_separated
        self.separated_ = all(verdict.separated for verdict in verdicts)
        self.separation_iter_ = max(walk.separated_at or 0 for walk in walks) if self.separated_ else None
        self.n_iter_, self.n_passes_ = (
            max(walk.n_iter for walk in walks),
            sum(walk.n_passes for walk in walks),
        )
        self.method_ = walks[0].method if len({walk.method for walk in walks}) == 1 else self.method
        self.margin_ = min(verdict.margin for verdict in verdicts)
        self.margin_upper_ = min(verdict.upper for verdict in verdicts)
        self.bound_ = max(part.bound for part in fit.parts)
        self.radius_ = float(np.sqrt(max(squares(task.X)))) if walks[0].radius is None else walks[0].radius
        proofs = tuple(verdict.certificate for verdict in verdicts)
        self.certificate_ = proofs[0] if len(proofs) == 1 else proofs
        if not self.separated_:
            missed = [part.certificate.answer for part in verdicts if not part.separated]
            self._without_separator(task, proved=all(answer == "not separable" for answer in missed))

    def _without_separator(self, task: Task, *, proved: bool) -> None:
        if self.on_nonseparable == "raise":
            found = str(self.certificate_)
            raise NotSeparableError(
                f"y: want classes that a hyperplane separates, got {found}; use 'pocket' or 'logistic'"
            )
        if not proved:
            warnings.warn(
                f"no separator after {self.n_iter_} iterations of {self.method_}, and no proof that there is none; "
                "raise max_iter, or use method='auto'",
                ConvergenceWarning,
                stacklevel=3,
            )
        if self.on_nonseparable == "logistic":
            weight = None if task.share is None else task.share * len(task.share)
            self.coef_, self.intercept_ = logistic(task, self.multi_class, weight)

    @available_if(_walks_in_order)
    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None
    ) -> "LargeStepClassifier":
        """One pass of the perceptron over more rows, in their order; `classes` lists all there will be, at
        the first call.

        Weights must be alike: the perceptron adds a row or does not. The rows are taken as they are (no
        `precondition`). `separated_` is True when the pass found nothing to add.
        """
        settings = self._settings()
        first = not hasattr(self, "theta_")
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=TYPES, reset=first)
        if first:
            known = np.unique(classes if classes is not None else y)
            self.classes_, self.n_iter_, self.updates_ = many(known, np.empty(0, np.intp))[0], 0, 0
            self._bias = one_bias(X, settings)
            self.theta_ = np.zeros((1 if len(known) == 2 else len(known), X.shape[1] + 1))
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise wrong(
                "classes",
                f"the same as at the first call, {self.classes_.tolist()}",
                np.unique(classes).tolist(),
            )
        index = np.searchsorted(self.classes_, y)
        if not np.array_equal(self.classes_[np.minimum(index, len(self.classes_) - 1)], y):
            unknown = np.setdiff1d(y, self.classes_).tolist()
            raise wrong(
                "y",
                f"labels among {self.classes_.tolist()}",
                unknown,
                "list all classes at the first partial_fit",
            )
        if sample_weight is not None and np.ptp(np.asarray(sample_weight, np.float64)) > 0:
            raise wrong(
                "sample_weight",
                "weights that are alike",
                "different ones",
                "fit() takes them, with method='auto'",
            )
        made = online(X, index, self.theta_, self._bias)
        self.n_iter_, self.updates_, self.separated_ = self.n_iter_ + 1, self.updates_ + made, made == 0
        self.coef_, self.intercept_ = self.theta_[:, :-1].copy(), self._bias * self.theta_[:, -1]
        return self

    def decision_function(self, X: Any) -> Array:
        """Scores: positive for the second of two classes ``(n,)``, or one a class ``(n, K)``."""
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=TYPES, reset=False)
        out = scores(X, self.coef_, self.intercept_)
        if len(self.classes_) == 2:
            return out[:, 0]
        if len(self.coef_) == len(self.classes_) and self.multi_class != "ovo":
            return out
        return _ovr_decision_function(out < 0, -out, len(self.classes_))

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """The class of every row ``(n,)``."""
        found = self.decision_function(X)
        return self.classes_[(found > 0).astype(np.intp) if found.ndim == 1 else found.argmax(axis=1)]
