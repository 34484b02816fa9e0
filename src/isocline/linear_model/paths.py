"""The paths of the methods: all their iterates from theta = 0 on signed rows, without end.

Each yields `Step`s: theta / step_size, its margins, and the step to the next iterate.
"""

from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from isocline.linear_model.newton import damping, newton_direction
from isocline.linear_model.trajectory import Step

Array = npt.NDArray[np.float64]
Tie = Literal["wrong", "half"]


def weighted(rule: Callable[..., Array], rows: Array, step_size: float, tie: Tie) -> Iterator[Step]:
    """Any rule that is weights on the rows: ``theta <- theta + Z^T w``."""
    theta, weight = np.zeros(rows.shape[1]), 0.5  # at theta = 0 every margin is 0, and sigma(0) = 1/2
    while True:
        margins = rows @ theta
        step = rule(margins, step_size, tie=weight) @ rows
        yield Step(theta, margins, step)
        theta, weight = theta + step, (1.0 if tie == "wrong" else 0.5)


def perceptron(rows: Array, step_size: float, tie: Tie) -> Iterator[Step]:
    """One update per iterate: the next row in cyclic order with ``m <= 0`` is added. Source: Novikoff
    1962.
    """
    theta, start = np.zeros(rows.shape[1]), 0
    while True:
        margins = rows @ theta
        wrong_rows = np.flatnonzero(margins <= 0)
        if len(wrong_rows) == 0:
            yield Step(theta, margins, np.zeros_like(theta))
            continue
        row = int(wrong_rows[np.searchsorted(wrong_rows, start) % len(wrong_rows)])
        yield Step(theta, margins, rows[row], row)
        theta, start = theta + rows[row], (row + 1) % len(rows)


def smooth_perceptron(rows: Array, step_size: float, tie: Tie) -> Iterator[Step]:
    """Smooth perceptron on rows of length at most 1; theta_0 is the mean row. Source: Soheili & Pena 2012."""
    radius, nu = _radius(rows), 2.0
    unit = rows / radius
    theta = unit.mean(axis=0)
    margins = unit @ theta
    weights = softmax(-margins / nu)
    pull = weights @ unit
    k = 0
    while True:
        tau = 2.0 / (k + 3)
        entropy = softmax(-margins / nu) @ unit
        following = (1 - tau) * (theta + tau * pull) + tau**2 * entropy
        yield Step(theta, radius * margins, following - theta)
        theta, nu, k = following, (1 - tau) * nu, k + 1
        margins = unit @ theta
        pull = (1 - tau) * pull + tau * (softmax(-margins / nu) @ unit)


def momentum(rows: Array, step_size: float, tie: Tie) -> Iterator[Step]:
    """Dual momentum towards the maximum margin, on rows of length at most 1. Source: Ji, Srebro & Telgarsky
    2021.
    """
    radius = _radius(rows)
    unit = rows / radius
    theta, velocity = np.zeros(rows.shape[1]), np.zeros(rows.shape[1])
    t = 0
    while True:
        margins = unit @ theta
        pull = softmax(-margins) @ unit
        velocity = t / (t + 1) * (velocity + pull)
        yield Step(theta, radius * margins, velocity + pull)
        theta, t = theta + (velocity + pull), t + 1


def newton(rows: Array, step_size: float, tie: Tie) -> Iterator[Step]:
    """Damped Newton on the logistic loss with a tiny ridge; rests at the first separator."""
    largest = np.abs(rows).max(axis=0)
    scale = 1.0 / np.where(largest > 1e-300, largest, 1.0)
    scaled, theta = rows * scale, np.zeros(rows.shape[1])
    while True:
        margins, step = rows @ (theta * scale), np.zeros_like(theta)
        if margins.min() <= 0:
            step, decrement = newton_direction(margins, [(slice(None), scaled)])
            step = damping(margins, scaled @ step, decrement) * step
        yield Step(theta * scale, margins, step * scale)
        theta = theta + step


def _radius(rows: Array) -> float:
    return float(np.sqrt(np.einsum("nd,nd->n", rows, rows).max())) or 1.0
