"""Along a line: is there a separator on it, and where is a loss low enough?"""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def separating_point(margins: Array, change: Array) -> float | None:
    """A ``t > 0`` with ``margins + t change > 0`` throughout, well inside the interval of all of them; None
    when there is none.

    Whatever rule chose the direction, this finds a separator on its ray at the cost of looking at the margins
    once.
    """
    wrong = margins <= 0
    steps = change[wrong]
    if steps.size and not steps.min() > 0:
        return None
    low = float((-margins[wrong] / steps).max(initial=0.0))
    falling = change < 0
    with np.errstate(over="ignore"):
        high = float((margins[falling] / -change[falling]).min(initial=np.inf))
    if not low < high:
        return None
    return (low + high) / 2 if high < np.inf else 2 * low + 1.0


def logistic_step(
    margins: Array, change: Array, share: Array | None, decrement: float, slow: float
) -> tuple[float, bool]:
    """How far to go on ``f = sum_i s_i log(1 + exp(-m_i))``: 1, 2, 4, 8, as long as f keeps falling, or else the
    first of 1/2, 1/4, ... that lowers f by a tenth of what its slope, `decrement`, promises.

    Where rows are being separated f is nearly exponential, and Newton's own step is too short.
    Also: whether the slope promises less than a share `slow` of f. Source: Boyd & Vandenberghe, algorithm 9.2.
    """

    def at(t: float) -> float:
        opposite = np.multiply(change, -t)
        opposite -= margins
        return _logistic_loss(opposite, share)

    now, t = _logistic_loss(np.negative(margins), share), 1.0
    lowest = at(t)
    if lowest <= now - 0.1 * decrement:
        while t < 8.0 and (further := at(2 * t)) < lowest:
            t, lowest = 2 * t, further
        return t, decrement < slow * now
    while t > 1e-6 and not lowest <= now - 0.1 * t * decrement:
        t /= 2
        lowest = at(t)
    return t, decrement < slow * now


def _logistic_loss(opposite: Array, share: Array | None) -> float:
    """``sum_i s_i log(1 + exp(-m_i))`` from ``-m``, which is overwritten."""
    losses = np.logaddexp(0.0, opposite, out=opposite)
    return float(losses.sum() if share is None else np.vdot(losses, share))


def logistic_scale(margins: Array, share: Array | None) -> float:
    """About the ``t > 0`` at which the logistic loss of ``t margins`` is least."""
    usual = float(np.median(np.abs(margins))) or 1.0
    tried = [2.0**k / usual for k in range(-2, 14)]
    return min(tried, key=lambda scale: _logistic_loss(margins * -scale, share))


def hinge_minimum(margins: Array, change: Array, share: Array | None) -> float:
    """The ``t > 0`` where ``1/2 sum_i s_i max(0, 1 - m_i - t c_i)^2`` is least: Newton on its slope,
    bracketed.

    The slope is piecewise linear and rising, so that Newton ends on the right piece after a few steps.
    """
    low, high, t = 0.0, np.inf, 1.0
    for _ in range(60):
        lack = 1.0 - margins
        lack -= t * change
        on = lack > 0
        moving = change[on]
        weighted = moving if share is None else moving * share[on]
        slope, curve = -float(weighted @ lack[on]), float(weighted @ moving)
        low, high = (t, high) if slope < 0 else (low, t)
        following = t - slope / curve if curve > 0 else high
        if not low < following < high:
            following = (low + high) / 2 if high < np.inf else 2 * t
        if abs(following - t) <= 1e-13 * t:
            return following
        t = following
    return t
