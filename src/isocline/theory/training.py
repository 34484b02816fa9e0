"""Gradient flow of an infinitely wide network: what it predicts after any time of training, and with what spread."""

from __future__ import annotations

from dataclasses import dataclass
from math import isinf
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from isocline._core.checks import check_finite, check_number, wrong
from isocline._core.files import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, repr=False)
class Prediction:
    """The Gaussian process of trained networks at test inputs, over draws of the initial weights."""

    mean: Array  # (M, outputs)
    covariance: Array  # (M, M), the same for every output
    time: float  # training time times learning rate

    @property
    def deviation(self) -> Array:
        """``(M,)`` the standard deviation of each prediction over networks."""
        return np.sqrt(self.covariance.diagonal().clip(0.0))

    def __repr__(self) -> str:
        return f"Prediction({len(self.mean)} inputs, {self.mean.shape[1]} outputs, t = {self.time:g})"

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        return {"time": plain(self.time), "mean": plain(self.mean), "covariance": plain(self.covariance)}

    def plot(self, ax: Axes | None = None, x: npt.ArrayLike | None = None) -> Axes:
        """The mean of the first output with two standard deviations, against `x (M,)` or the inputs' order; returns
        the axes.
        """
        if ax is None:
            import matplotlib.pyplot as plt

            ax = plt.subplots()[1]
        at = np.arange(len(self.mean)) if x is None else np.asarray(x, np.float64)
        order = np.argsort(at)
        mean, spread = self.mean[order, 0], 2 * self.deviation[order]
        ax.plot(at[order], mean, label="mean over networks")
        ax.fill_between(at[order], mean - spread, mean + spread, alpha=0.25, label="two deviations")
        ax.set(xlabel="input", ylabel="prediction", title=f"Gradient flow at t = {self.time:g}")
        ax.legend()
        return ax


def gradient_flow(
    K: Array, Theta: Array, y: npt.ArrayLike, t: float = np.inf, *, learning_rate: float = 1.0
) -> Prediction:
    """Gradient flow on ``(1/2) sum |z - y|^2`` from random weights, frozen NTK: the mean and covariance at the test
    inputs.

    `K` and `Theta` are ``(N + M, N + M)`` with the N training inputs first, `y` is ``(N,)`` or ``(N, outputs)``. With
    ``M_t = Theta_aa^-1 (1 - exp(-eta t Theta_aa))`` and ``A = Theta_ba M_t``: ``mean = A y``,
    ``cov = K_bb - A K_ab - K_ba A^T + A K_aa A^T``. A mean loss instead of the sum is a t divided by ``N outputs``.
    Source: PDLT chapter 10. Raises ValueError for wrong shapes, a negative time, or equal training inputs at
    ``t = inf``.
    """
    t = float(check_number("t", t, least=0, finite=False))
    rate = float(check_number("learning_rate", learning_rate, above=0))
    y = np.asarray(y, np.float64)
    y = y[:, None] if y.ndim == 1 else y
    N = len(y)
    if y.ndim != 2 or not 0 < N < len(Theta):
        raise wrong("y", "(N,) or (N, outputs) with fewer rows than inputs", y)
    check_finite("y", y)
    trained, between = Theta[:N, :N], Theta[N:, :N]
    A = _at_the_end(trained, between) if isinf(t) else _on_the_way(trained, between, rate * t)
    cross = A @ K[:N, N:]
    covariance = K[N:, N:] - cross - cross.T + A @ K[:N, :N] @ A.T
    return Prediction(mean=A @ y, covariance=(covariance + covariance.T) / 2, time=rate * t)


def _at_the_end(trained: Array, between: Array) -> Array:
    advice = "leave out equal inputs, or take a finite t"
    refusal = wrong("x_train", "inputs that the NTK tells apart", "a singular NTK", advice)
    try:
        factor = cho_factor(trained, lower=True)
    except LinAlgError as error:
        raise refusal from error
    pivots = factor[0].diagonal() ** 2
    if pivots.min() <= 4 * len(trained) * np.finfo(np.float64).eps * pivots.max():
        raise refusal
    return cho_solve(factor, between.T).T


def _on_the_way(trained: Array, between: Array, time: float) -> Array:
    values, vectors = np.linalg.eigh(trained)
    values = np.maximum(values, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.where(values > 0, -np.expm1(-time * values) / values, time)
    return (between @ vectors * factor) @ vectors.T
