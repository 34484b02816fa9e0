"""What every solver hands back: where it stands, and what it has learned about the rows."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(slots=True)
class Walk:
    """A walk through parameter space, with the best point seen so far in its pocket."""

    method: str
    rows: Any  # the operator it walked on, in whose coordinates theta is
    theta: Array  # the first separator, or else the pocket: the point with the least errors
    errors: float = inf  # the share of the rows' weight with margin <= 0 at theta
    separated_at: int | None = None  # the iteration of the first separator
    n_iter: int = 0
    n_passes: float = 0.0  # how often the rows were read
    weights: Array | None = None  # simplex weights of the rows (or pairs): Z^T w bounds the margin from above
    upper: float = inf  # a bound on the margin of any plane, in the features as they came
    low: Array | None = None  # (n,) lower bounds on the margins of the plane, rounding included
    radius: float | None = None  # the longest row as it came
    refuted: bool = False  # the weights balance to rounding: there is no separator
    second: "Walk | None" = None  # asked, when this one was stuck, whether there is a separator at all
    plane: tuple[Array, Any] | None = None  # (coef, intercept), where that and not theta was verified

    def keep(self, theta: Array, errors: float) -> bool:
        """Put theta in the pocket if it has fewer errors; True if it has none."""
        if errors < self.errors:
            self.theta, self.errors = theta, errors
        return errors == 0.0


Stuck = Callable[[], "Walk"]  # asks Newton's method


def hopeless(walk: Walk, stuck: Stuck | None) -> bool:
    """Ask once whether there is a separator; if there is none, keep what was learned and say so."""
    if stuck is None or walk.second is not None:
        return False
    walk.second = stuck()
    return walk.second.refuted


def error_share(margins: Array, share: Array | None) -> float:
    """The share of the rows' weight whose margin is not above zero.

    Shapes: ``(n,)``, or ``(n, K)`` gaps to every class.
    """
    right = margins > 0 if margins.ndim == 1 else (margins > 0).all(axis=1)
    return 1.0 - np.count_nonzero(right) / len(margins) if share is None else float(share[~right].sum())
