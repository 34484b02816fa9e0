"""RAdam and the penalties of the compiled training loop, on flat parameters."""

from __future__ import annotations

import math

from isocline._core.compiling import inlined

from .simd import number

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
LONGEST = 2 / (1 - BETA_2) - 1  # the length of the approximated average, rho_inf


@inlined
def radam(theta, gradient, moments, squares, count, step, rate):
    """One update in place, step = 1, 2, ...; as ``torch.optim.RAdam`` at its defaults (Liu et al. 2020)."""
    shrunk = BETA_2**step
    unbias_1, unbias_2 = 1 - BETA_1**step, 1 - shrunk
    length = LONGEST - 2 * step * shrunk / unbias_2
    one, two = number(theta, 1 - BETA_1), number(theta, 1 - BETA_2)
    keep, eps = number(theta, BETA_2), number(theta, EPSILON)
    if length > 5:
        shorter = (length - 4) * (length - 2) * LONGEST / ((LONGEST - 4) * (LONGEST - 2) * length)
        scale = number(theta, rate / unbias_1 * math.sqrt(shorter * unbias_2))
    else:
        scale = number(theta, rate / unbias_1)
    for p in range(count):
        g = gradient[p]
        moments[p] += one * (g - moments[p])
        squares[p] = keep * squares[p] + two * g * g
        if length > 5:
            theta[p] -= scale * moments[p] / (math.sqrt(squares[p]) + eps)
        else:
            theta[p] -= scale * moments[p]


@inlined
def penalise(theta, gradient, M, at, count, shrinkage, observation):
    """Add the gradients of ``shrinkage`` (A toward 1, all else of the map toward 0) and of the lift's
    squares.
    """
    two = number(theta, 2)
    strength, other = number(theta, shrinkage), number(theta, observation)
    for p in range(M):
        gradient[p] -= two * strength * (1 - theta[p])
    for p in range(M, at):
        gradient[p] += two * strength * theta[p]
    for p in range(at, count):
        gradient[p] += two * other * theta[p]
