"""How many iterations each rule needs at most, from the radius of the data and their margin."""

from math import inf, isinf, log, sqrt

import numpy as np
import numpy.typing as npt

from isocline._core.checks import check_choice, check_number, wrong


def iteration_bound(
    method: str,
    radius: float,
    margin: float,
    n: int,
    step_size: float = inf,
    *,
    sample_weight: npt.ArrayLike | None = None,
    classes: int = 2,
) -> float:
    """The first separator from theta = 0 comes after at most so many iterations (of the perceptron: updates).

    `radius` is ``R = max ||a_i||``, `margin` any lower bound above zero on the hard margin mu (the margin of
    any separator will do: the bound is then valid after the fact). `sample_weight (n,)` > 0 replaces ``n`` by
    ``r = sum s / min s``. For `classes` > 2 the margin is ``mu_K = max over ||Theta||_F = 1 of min (theta_y -
    theta_k)^T a``. Momentum and Newton have no bound: inf.
    Source: paper, Theorems 3.3, 5.2, 5.3 and 6.1; the finite-step bound of LR+GD, weights, classes and exp_gd
    follow the proof of Theorem 6.1; smooth perceptron: Soheili & Pena 2012.

    >>> iteration_bound("perceptron", radius=2.0, margin=0.5, n=100)
    16.0
    """
    R, mu, K = _checked(method, radius, margin, n, step_size, classes)
    r = float(n) if sample_weight is None else _weight_ratio(sample_weight, n)
    rows = 1 if K == 2 else 2  # two of K classes meet in one row of length sqrt(2) ||a||
    novikoff = rows * (R / mu) * (R / mu)
    scale = mu * sqrt(step_size) * mu * sqrt(step_size)  # gamma mu^2, infinite for the limit
    soft = log((K - 1) * (2 * r - 1)) / scale
    batch = r * (novikoff - (K - 1) / K) + 1  # weights sum to (K - 1) / K first, to 1 / r or more later
    match method:
        case "perceptron" | "normalized_batch_perceptron":
            return novikoff
        case "normalized_lr_gd":
            return novikoff + 2 * soft
        case "exp_gd":
            return novikoff + 2 * log((K - 1) * r) / scale
        case "batch_perceptron":
            return batch
        case "lr_gd":
            return batch if isinf(step_size) else 2 * r * novikoff + 4 * r * soft
        case "smooth_perceptron":
            return max(0.0, 2 * sqrt(2 * log(n)) * R / mu - 1)
        case _:
            return inf


def _checked(
    method: str, radius: float, margin: float, n: int, step_size: float, classes: int
) -> tuple[float, float, int]:
    check_choice("method", method, BOUNDED)
    check_number("n", n, least=1, integer=True)
    check_number("step_size", step_size, above=0, finite=False)
    K = int(check_number("classes", classes, least=2, integer=True))
    R, mu = float(check_number("radius", radius, above=0)), float(check_number("margin", margin, above=0))
    if K > 2 and method == "smooth_perceptron":
        raise wrong("classes", "2 with smooth_perceptron", classes, "no bound is known for more")
    return R, mu, K


def _weight_ratio(sample_weight: npt.ArrayLike, n: int) -> float:
    weight = np.asarray(sample_weight, np.float64)
    if weight.shape != (n,):
        raise wrong("sample_weight", f"one weight a row, ({n},)", weight.shape)
    if not (np.isfinite(weight).all() and weight.min() > 0):
        do = "drop the rows that weigh nothing, also from n"
        raise wrong("sample_weight", "finite weights > 0", weight.min(), do)
    return float(weight.sum() / weight.min())


BOUNDED = (
    "perceptron",
    "batch_perceptron",
    "normalized_batch_perceptron",
    "lr_gd",
    "normalized_lr_gd",
    "exp_gd",
    "smooth_perceptron",
    "momentum",
    "newton",
)
