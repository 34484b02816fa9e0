"""Several classes: jointly (Kesler), each against the rest, or pair by pair. Two classes are one pair."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import combinations
from math import inf
from typing import Any

import numpy as np
import numpy.typing as npt

from isocline.linear_model.bounds import iteration_bound
from isocline.linear_model.coordinates import Coordinates
from isocline.linear_model.kesler import Pairs
from isocline.linear_model.margin import max_margin
from isocline.linear_model.report import (
    Certificate,
    Verdict,
    by_balance,
    cleaned,
    imbalance,
    relative,
    verdict,
)
from isocline.linear_model.rows import Rows, weighted_sum
from isocline.linear_model.solvers.choice import Settings, in_coordinates, walk
from isocline.linear_model.solvers.walk import Walk

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]
Start = tuple[Array, Array]  # coef, intercept


@dataclass(frozen=True, slots=True)
class Task:
    """Rows with K classes, and how to walk."""

    X: Any
    index: Index  # (n,) classes 0 .. K - 1
    classes: int
    share: Array | None
    settings: Settings
    seed: int


@dataclass(frozen=True, slots=True)
class Part:
    """One problem's walk, its verdict, and the iterations that a theorem allows the method."""

    walk: Walk
    verdict: Verdict
    bound: float


@dataclass(frozen=True, slots=True)
class Fit:
    """Planes ``coef (k, d)``, ``intercept (k,)``: one for two classes or each pair, or one a class."""

    parts: list[Part]
    coef: Array
    intercept: Array
    class_separated: npt.NDArray[np.bool_]  # (K,)


def two_classes(task: Task, sign: npt.NDArray[np.int8], start: Start | None = None) -> Part:
    """Walk and judge one pair of classes, labelled by sign."""
    settings = task.settings
    given = Rows(
        task.X,
        sign,
        in_coordinates(Rows(task.X, sign, Coordinates()), replace(settings, precondition=None)).coordinates,
        task.share,
    )
    rows = in_coordinates(given, settings)
    if start is not None:
        stay = Walk("warm start", given, np.zeros(given.shape), separated_at=0, n_iter=1, plane=start)
        judged = verdict(given, stay)
        if judged.separated:
            return Part(stay, judged, inf)
    first = None if start is None or settings.decides else rows.coordinates.theta(*start)
    walked = walk(rows, settings, task.seed, first)
    judged = verdict(given, walked)
    if judged.separated and settings.decides and settings.stop == "margin":
        judged = widest(given, judged, settings)
    bound = theorem(walked, settings, 2) if judged.separated and start is None else inf
    return Part(walked, judged, bound)


def widest(rows: Rows, judged: Verdict, settings: Settings) -> Verdict:
    """The separator of (nearly) the widest margin in place of the first one."""
    best = max_margin(rows.X, rows.sign, fit_intercept=settings.fit_intercept, tol=settings.margin_tol)
    if not best.margin > judged.margin:
        return judged
    coef, intercept = best.theta, np.asarray(best.intercept)
    proof = replace(judged.certificate, theta=coef, intercept=intercept, how=best.how)
    return Verdict(coef, intercept, True, best.margin, best.upper, proof)


def theorem(walked: Walk, settings: Settings, classes: int) -> float:
    """What the theorem of the method allows, given the margin reached, in the coordinates walked in."""
    rows = walked.rows
    if walked.method in ("newton", "relaxation", "momentum") or (
        classes > 2 and walked.method == "smooth_perceptron"
    ):
        return inf
    margin = float(rows.forward(walked.theta).min()) / float(np.linalg.norm(walked.theta))
    radius = rows.radius()
    if not (margin > 0 and radius > 0):
        return inf
    return iteration_bound(
        walked.method, radius, margin, rows.n, settings.step_size, sample_weight=rows.share, classes=classes
    )


def pair(task: Task, start: Start | None) -> Fit:
    """Two classes; the second is the positive one."""
    sign = task.index.astype(np.int8)
    sign *= 2
    sign -= 1
    part = two_classes(task, sign, None if start is None else (start[0][0], start[1][0]))
    both = np.full(2, part.verdict.separated)
    return Fit([part], part.verdict.coef[None], np.atleast_1d(part.verdict.intercept), both)


def one_against_rest(task: Task, start: Start | None) -> Fit:
    """A plane a class."""
    parts = [
        two_classes(
            task, np.where(task.index == k, 1, -1).astype(np.int8), start and (start[0][k], start[1][k])
        )
        for k in range(task.classes)
    ]
    return stacked(parts, np.array([part.verdict.separated for part in parts]))


def one_against_one(task: Task, start: Start | None) -> Fit:
    """A plane for every pair of classes, in the order (0, 1), (0, 2), ..., positive for the first; rows of
    others are left out.
    """
    parts, separated = [], np.ones(task.classes, np.bool_)
    for at, (first, second) in enumerate(combinations(range(task.classes), 2)):
        rows = np.flatnonzero((task.index == first) | (task.index == second))
        share = None if task.share is None else task.share[rows] / task.share[rows].sum()
        few = replace(task, X=task.X[rows], index=task.index[rows], share=share)
        sign = np.where(few.index == first, 1, -1).astype(np.int8)
        parts.append(two_classes(few, sign, start and (start[0][at], start[1][at])))
        if not parts[-1].verdict.separated:
            separated[[first, second]] = False
    return stacked(parts, separated)


def stacked(parts: list[Part], separated: npt.NDArray[np.bool_]) -> Fit:
    coef = np.stack([part.verdict.coef for part in parts])
    return Fit(parts, coef, np.array([float(part.verdict.intercept) for part in parts]), separated)


def joint(task: Task, start: Start | None) -> Fit:
    """One score a class; separated when every row scores its own class highest, strictly."""
    settings = task.settings
    rows = in_coordinates(Pairs(task.X, task.index, task.classes, Coordinates(), task.share), settings)
    first = None if start is None else rows.coordinates.theta(*start)
    if settings.decides and settings.stop == "margin":
        settings = replace(settings, method="momentum")
    walked = walk(rows, settings, task.seed, first)
    coef, intercept = rows.coordinates.plane(walked.theta)
    gaps = replace(rows, length=None).forward(walked.theta)
    size = float(np.abs(task.X.data if hasattr(task.X, "indptr") else task.X).max(initial=0.0))
    doubt = (
        4.6e-16
        * (task.X.shape[1] + 4)
        * (float(np.abs(coef).sum(axis=1).max()) * size + np.abs(intercept).max())
    )
    least, separated = float(gaps.min()), bool(gaps.min() > doubt)
    margin = relative(least, coef.ravel())
    upper = max(margin, joint_upper_bound(rows, walked.weights))
    if separated:
        proof = Certificate(
            "separable", coef, intercept, None, 0.0, f"every row's class leads by at least {least:.3g}"
        )
    else:
        proof = joint_refutation(rows, walked)
    judged = Verdict(coef, intercept, separated, margin, upper, proof)
    right = np.array([bool((gaps[task.index == k] > doubt).all()) for k in range(task.classes)])
    bound = theorem(walked, settings, task.classes) if separated and start is None else inf
    return Fit([Part(walked, judged, bound)], coef, intercept, right)


def joint_refutation(rows: Pairs, walked: Walk) -> Certificate:
    """Weights of the pairs (row, wrong class) that cancel, if the walk, or the one it asked, ended at such."""
    last = walked.second or walked
    if not last.refuted or last.weights is None:
        how = f"no separator and no balance of weights after {walked.n_iter} iterations of {walked.method}"
        return Certificate("undecided", None, None, None, inf, how)
    weights = cleaned(last)
    return by_balance(weights, imbalance(rows, weights))


def joint_upper_bound(rows: Pairs, weights: Array | None) -> float:
    """``||sum of weighted pairs||_F`` for simplex weights that leave the intercepts alone: the class means',
    or the walk's.
    """
    sizes = np.bincount(rows.index, minlength=rows.classes)
    means = 1.0 / sizes[rows.index]
    alike = np.repeat(means[:, None], rows.classes, axis=1)
    bounds = []
    for candidate in (alike, weights):
        if candidate is None or candidate.shape != alike.shape:
            continue
        signed = (
            -candidate if rows.length is None or candidate is alike else -candidate * rows.length[:, None]
        )
        own = np.arange(rows.n), rows.index
        signed[own] = 0.0
        mass = -float(signed.sum())
        signed[own] = -signed.sum(axis=1)
        if mass > 0 and (not rows.coordinates.bias or np.abs(signed.sum(axis=0)).max() <= 1e-9 * mass):
            bounds.append(float(np.linalg.norm(weighted_sum(rows.X, signed))) / mass)
    return min(bounds, default=inf)


STRATEGIES: dict[str, Callable[[Task, Start | None], Fit]] = {
    "joint": joint,
    "ovr": one_against_rest,
    "ovo": one_against_one,
}


def logistic(task: Task, multi_class: str, weight: Array | None) -> Start:
    """Ordinary regularised logistic regression in place of a pocket: coef and intercept in the layout of the
    strategy.
    """
    from sklearn.linear_model import LogisticRegression

    def fitted(rows: Any, labels: Any) -> Start:
        model = LogisticRegression(max_iter=1000, fit_intercept=task.settings.fit_intercept)
        model.fit(task.X[rows], labels, None if weight is None else weight[rows])
        return model.coef_, np.broadcast_to(model.intercept_, len(model.coef_)).astype(np.float64)

    everything = slice(None)
    if task.classes == 2 or multi_class == "joint":
        return fitted(everything, task.index)
    if multi_class == "ovr":
        found = [fitted(everything, task.index == k) for k in range(task.classes)]
    else:
        pairs = [np.flatnonzero(np.isin(task.index, both)) for both in combinations(range(task.classes), 2)]
        found = [fitted(rows, task.index[rows] == task.index[rows].min()) for rows in pairs]
    return np.vstack([coef for coef, _ in found]), np.concatenate([intercept for _, intercept in found])
