"""The rules of large-step gradient descent on signed rows, in NumPy and float64.

Signed rows ``Z (n, d)`` are ``z_i = y_i a_i`` with labels ``y_i`` in {-1, +1}; margins are ``m = Z theta``. A
vector separates when every margin is positive, strictly. A rule adds ``gamma Z^T w`` to theta, with weights
``w >= 0`` that depend on the margins alone, so a rule *is* its weights. All of them work on ``u = theta /
gamma`` and its margins: then the step size enters as ``sigma(-gamma m)`` only, none overflows, and ``gamma =
inf``, where the perceptrons are, is the same formula.

Source: Tyurin, *From Logistic Regression to the Perceptron Algorithm*, arXiv 2412.08424 (AAAI 2025). Symbols:
gamma the step size, ``sigma(t) = 1 / (1 + exp(-t))``, f the mean logistic loss, ``R = max ||a_i||``, mu the
hard margin ``max over ||theta|| = 1 of min m``, ``S = {i: m_i <= 0}``.
"""

from collections.abc import Callable, Iterator
from functools import partial
from math import inf, isinf

import numpy as np
import numpy.typing as npt

from isocline._core.checks import check_choice, check_finite, check_number, wrong
from isocline.linear_model import paths
from isocline.linear_model.bounds import iteration_bound
from isocline.linear_model.margin import MaxMargin, max_margin
from isocline.linear_model.paths import Tie
from isocline.linear_model.separability import Separability, is_separable
from isocline.linear_model.trajectory import OWN_SCALE, Record, Step, Trajectory, gather

__all__ = [
    "METHODS",
    "WEIGHTS",
    "MaxMargin",
    "Separability",
    "Trajectory",
    "batch_perceptron_weights",
    "class_margins",
    "class_weights",
    "exp_gd_weights",
    "is_separable",
    "iterate",
    "iteration_bound",
    "log_beta",
    "logistic_loss",
    "lr_gd_weights",
    "max_margin",
    "mistake",
    "normalized_batch_perceptron_weights",
    "normalized_lr_gd_weights",
]

Array = npt.NDArray[np.float64]
WeightRule = Callable[..., Array]


def softplus(x: npt.ArrayLike) -> Array:
    """``log(1 + exp(x))``, elementwise and without overflow."""
    return np.logaddexp(0.0, np.asarray(x, np.float64))


def mistake(margins: npt.ArrayLike, step_size: float = inf, *, tie: float = 1.0) -> Array:
    """How wrong a row is, 0 to 1: ``sigma(-gamma m)``; in the limit 1 where ``m < 0``, `tie` where ``m = 0``.

    Shapes: margins of ``theta / gamma``, any shape; returns the same. A perceptron has ``tie = 1``; the limit
    itself is 1/2. Source: the factor of z_i in -grad f (paper, Observation 1).
    """
    m = np.asarray(margins, np.float64)
    if isinf(step_size):
        return np.where(m < 0, 1.0, np.where(m == 0, tie, 0.0))
    with np.errstate(over="ignore", under="ignore"):
        return np.exp(-softplus(step_size * m))


def lr_gd_weights(
    margins: npt.ArrayLike, step_size: float = inf, *, tie: float = 1.0, share: Array | None = None
) -> Array:
    """LR+GD: ``w_i = s_i sigma(-gamma m_i)`` with ``s_i = 1/n``, so that ``Z^T w = -grad f``.

    Shapes: margins ``(n,)``; share ``(n,)`` what each row counts, above zero and summing to one; returns
    ``(n,)``.
    Source: paper, Theorem 3.2: at ``step_size = inf`` this is the batch perceptron.
    """
    rates = mistake(margins, step_size, tie=tie)
    return rates / len(rates) if share is None else rates * share


def batch_perceptron_weights(
    margins: npt.ArrayLike, step_size: float = inf, *, tie: float = 1.0, share: Array | None = None
) -> Array:
    """Batch perceptron: ``w_i = s_i`` on the rows with ``m_i <= 0``. The step size only scales theta.

    Its first step is half as long: ``tie = 1/2`` at theta = 0, which is what sigma(0) = 1/2 leaves behind.
    Shapes: as `lr_gd_weights`. Source: paper, Theorems 3.2 and 3.3.
    """
    return lr_gd_weights(margins, inf, tie=tie, share=share)


def normalized_lr_gd_weights(
    margins: npt.ArrayLike, step_size: float = inf, *, tie: float = 1.0, share: Array | None = None
) -> Array:
    """Normalized LR+GD: ``w = softmax(log s_i + log sigma(-gamma m_i))``, so that ``Z^T w = -beta grad f``.

    A convex combination of the rows while any is wrong; at ``step_size = inf`` all zeros after separation.
    Shapes: as `lr_gd_weights`. Source: paper, Theorem 6.1.
    """
    if isinf(step_size):
        weights = lr_gd_weights(margins, inf, tie=tie, share=share)
        total = weights.sum()
        return weights / total if total > 0 else weights
    logs, _ = _log_mistake(margins, step_size)
    return _softmax(logs if share is None else logs + np.log(share))


def normalized_batch_perceptron_weights(
    margins: npt.ArrayLike, step_size: float = inf, *, tie: float = 1.0, share: Array | None = None
) -> Array:
    """Normalized batch perceptron: the mean over the rows with ``m_i <= 0``. The step size only scales theta.

    Shapes: as `lr_gd_weights`. Source: paper, Theorem 5.3.
    """
    return normalized_lr_gd_weights(margins, inf, tie=tie, share=share)


def exp_gd_weights(
    margins: npt.ArrayLike, step_size: float = inf, *, tie: float = 1.0, share: Array | None = None
) -> Array:
    """Normalized GD on the exponential loss: ``w = softmax(log s_i - gamma m_i)``; in the limit, the least m.

    Shapes: as `lr_gd_weights`; `tie` belongs to the common signature and has no part here.
    Source: Zhang et al. 2025, arXiv 2504.04105 (the step adapted to the risk, for the exponential loss).
    """
    m = np.asarray(margins, np.float64)
    above = m - m.min()
    if isinf(step_size):
        least = (above == 0).astype(np.float64) if share is None else np.where(above == 0, share, 0.0)
        return least / least.sum()
    with np.errstate(over="ignore"):
        logs = -step_size * above
    return _softmax(logs if share is None else logs + np.log(share))


def log_beta(
    margins: npt.ArrayLike, step_size: float = inf, *, tie: float = 1.0, share: Array | None = None
) -> float:
    """``log beta = -log sum_i s_i sigma(-gamma m_i)``: the normalisation of Normalized LR+GD, in log scale.

    Infinite where beta diverges: when separated rows meet an infinite step, or one whose ``gamma m``
    overflows.
    Source: paper, section 6.
    """
    if isinf(step_size):
        total = float(lr_gd_weights(margins, inf, tie=tie, share=share).sum())
        return -np.log(total) if total > 0 else inf
    logs, base = _log_mistake(margins, step_size)
    logs = logs - np.log(len(logs)) if share is None else logs + np.log(share)
    return base - float(np.logaddexp.reduce(logs))


def logistic_loss(margins: npt.ArrayLike, step_size: float = 1.0) -> float:
    """``f = mean log(1 + exp(-gamma m))``; with an infinite step the limit of ``f / gamma``, ``mean max(0,
    -m)``.

    Shapes: margins ``(n,)``. Source: paper, section 1.
    """
    slope, rest = _loss_parts(np.asarray(margins, np.float64), step_size)
    return slope if isinf(step_size) else step_size * slope + rest


def class_margins(scores: npt.ArrayLike, y: npt.ArrayLike, step_size: float = inf) -> tuple[Array, Array]:
    """The margin of each row among K classes, and how its step is shared among the wrong classes.

    The soft margin ``M_i = -log sum_{k != y_i} exp(-gamma (s_iy - s_ik)) / gamma`` is the one with
    ``sigma(-gamma M_i) = 1 - p_{i, y_i}``; in the limit it is the least margin, and wrong classes that tie
    share alike.
    Shapes: scores of ``Theta / gamma`` ``(n, K)``, y ``(n,)`` class indices; returns ``(n,)`` and ``(n, K)``,
    whose rows sum to one and are zero at ``y_i``. Source: softmax regression, as Kesler's construction has
    it.
    """
    s, index = np.asarray(scores, np.float64), np.asarray(y)
    here = np.arange(len(s))
    gaps = s[here, index][:, None] - s
    gaps[here, index] = inf
    least = gaps.min(axis=1)
    above = gaps - least[:, None]
    if isinf(step_size):
        shares = (above == 0).astype(np.float64)
        return least, shares / shares.sum(axis=1, keepdims=True)
    with np.errstate(over="ignore", under="ignore"):
        shares = np.exp(-step_size * above)
    total = shares.sum(axis=1)
    return least - np.log(total) / step_size, shares / total[:, None]


def class_weights(
    scores: npt.ArrayLike,
    y: npt.ArrayLike,
    step_size: float = inf,
    *,
    rule: WeightRule = normalized_lr_gd_weights,
    tie: float = 1.0,
    share: Array | None = None,
) -> Array:
    """``Theta <- Theta + gamma W^T X`` for K classes: a binary rule's weights on soft margins, shared out.

    Shapes: scores of ``Theta / gamma`` ``(n, K)``, y ``(n,)`` class indices; returns ``W (n, K)``, whose rows
    sum to zero. With K = 2 this is the binary rule at twice the step size, for ``theta_1 - theta_0``.
    """
    margins, shares = class_margins(scores, y, step_size)
    rows = rule(margins, step_size, tie=tie, share=share)
    weights = -rows[:, None] * shares
    weights[np.arange(len(rows)), np.asarray(y)] = rows
    return weights


def _log_mistake(margins: npt.ArrayLike, step_size: float) -> tuple[Array, float]:
    """``log sigma(-gamma m) + base`` and ``base = gamma max(0, min m)``: the largest stays finite."""
    m = np.asarray(margins, np.float64)
    least = max(0.0, float(m.min()))
    with np.errstate(over="ignore", under="ignore"):
        logs = -(step_size * (np.maximum(m, 0.0) - least) + np.log1p(np.exp(-step_size * np.abs(m))))
        return logs, float(np.float64(step_size) * least)


def _softmax(logs: Array) -> Array:
    with np.errstate(under="ignore"):
        weights = np.exp(logs - logs.max())
        return weights / weights.sum()


def _loss_parts(m: Array, step_size: float) -> tuple[float, float]:
    """``f = gamma * first + second``: neither part overflows."""
    slope = float(np.maximum(-m, 0.0).mean())
    if isinf(step_size):
        return slope, 0.0
    with np.errstate(over="ignore", under="ignore"):
        return slope, float(np.log1p(np.exp(-step_size * np.abs(m))).mean())


WEIGHTS: dict[str, WeightRule] = {
    "batch_perceptron": batch_perceptron_weights,
    "normalized_batch_perceptron": normalized_batch_perceptron_weights,
    "lr_gd": lr_gd_weights,
    "normalized_lr_gd": normalized_lr_gd_weights,
    "exp_gd": exp_gd_weights,
}
METHODS: dict[str, Callable[[Array, float, Tie], Iterator[Step]]] = {
    "perceptron": paths.perceptron,
    **{name: partial(paths.weighted, rule) for name, rule in WEIGHTS.items()},
    "smooth_perceptron": paths.smooth_perceptron,
    "momentum": paths.momentum,
    "newton": paths.newton,
}


def iterate(
    Z: npt.ArrayLike,
    method: str = "normalized_lr_gd",
    step_size: float = inf,
    max_iter: int = 50,
    *,
    tie: Tie = "wrong",
    stop: bool = False,
) -> Trajectory:
    """Run a method from theta = 0 on signed rows and keep every iterate.

    Shapes: Z ``(n, d)``, anything `numpy.asarray` takes; the trajectory has ``max_iter + 1`` iterates, or,
    with `stop`, ends at the first separator. The perceptron counts an iterate per update. `tie` says what a
    margin of exactly zero weighs in the limit ``step_size = inf``: "wrong" 1, as the perceptrons have it
    (their first step apart, which is half); "half" 1/2, which is the limit of LR+GD. At finite steps sigma(0)
    = 1/2 decides and `tie` has no part.
    Raises: ValueError for rows that are not (n, d), not finite or of sizes whose squares leave float64; for a
    step size that is not above zero, and for one given to a method that has none (smooth_perceptron,
    momentum, newton).

    >>> iterate([[1.0, -1.0], [1.0, 4.0]], "batch_perceptron", max_iter=3).separated_at
    2
    """
    check_choice("method", method, METHODS)
    check_choice("tie", tie, ("wrong", "half"))
    gamma = float(check_number("step_size", step_size, above=0, finite=False))
    steps = int(check_number("max_iter", max_iter, least=0, integer=True))
    if method in OWN_SCALE and not isinf(gamma):
        raise wrong(
            "step_size", f"none with method {method!r}", step_size, "leave it out: the method has its own"
        )
    rows = _signed_rows(Z)
    records, separated_at = list[Record](), None
    for t, step in enumerate(METHODS[method](rows, gamma, tie)):
        records.append(_recorded(step, method, gamma, weight=0.5 if t == 0 or tie == "half" else 1.0))
        if separated_at is None and records[-1].errors == 0:
            separated_at = t
        if t == steps or (stop and separated_at is not None):
            break
    return gather(records, rows, separated_at, method=method, step_size=gamma, tie=tie)


def _recorded(step: Step, method: str, gamma: float, *, weight: float) -> Record:
    m = step.margins
    beta = 0.0
    if "normalized" in method:
        beta = log_beta(m, inf if "perceptron" in method else gamma, tie=weight)
    slope, rest = _loss_parts(m, 1.0 if method in OWN_SCALE else gamma)
    length, wrong_rows = float(np.linalg.norm(step.step)), int(np.count_nonzero(~(m > 0)))
    return Record(step.theta, float(m.min()), wrong_rows, slope, rest, beta, length, step.row)


def _signed_rows(Z: npt.ArrayLike) -> Array:
    rows = np.asarray(Z, np.float64, order="C")
    if rows.ndim != 2 or 0 in rows.shape:
        raise wrong("Z", "signed rows (n, d) with n >= 1 and d >= 1", f"{rows.shape}", "pass y[:, None] * X")
    check_finite("Z", rows)
    size = float(np.abs(rows).max())
    if size and not 1e-150 < size < 1e150:
        raise wrong("Z", "a largest entry between 1e-150 and 1e150", size, "divide Z by it")
    return rows
