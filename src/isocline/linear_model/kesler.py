"""Several classes as signed rows (Kesler): a row for every wrong class of every sample, as an operator, never
formed.

With ``Theta (K, p)`` the margin of sample i against class k is ``(theta_{y_i} - theta_k)^T a_i``; all are
positive when every sample's own class scores highest, strictly. Source: Duda & Hart 1973, section 5.12; the
margin is that of the bound for K classes in `bounds`.
"""

from dataclasses import dataclass
from math import inf, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from isocline.linear_model.coordinates import Coordinates
from isocline.linear_model.rows import Rows, scores, weighted_sum

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pairs:
    """All pairs (sample, wrong class) of K classes; as `rows.Rows`, with margins and weights of shape ``(n,
    K)``.

    The margin against the own class is infinite, and its weight is zero.
    """

    X: Any  # (n, d) dense or CSR
    index: npt.NDArray[np.intp]  # (n,) classes 0 .. K - 1
    classes: int
    coordinates: Coordinates
    share: Array | None = None
    length: Array | None = None

    @property
    def n(self) -> int:
        return len(self.index)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of theta."""
        return self.classes, self.coordinates.size(self.X.shape[1])

    @property
    def pair_share(self) -> Array | None:
        """`share` in the shape of the margins."""
        return None if self.share is None else np.broadcast_to(self.share[:, None], (self.n, self.classes))

    def forward(self, theta: Array) -> Array:
        """Margins ``(n, K)``."""
        out = scores(self.X, *self.coordinates.plane(theta))
        own = np.arange(self.n), self.index
        np.subtract(out[own][:, None], out, out=out)
        if self.length is not None:
            out *= self.length[:, None]
        out[own] = inf
        return out

    def back(self, weights: Array) -> Array:
        """The sum of the pairs' rows, weighted ``(n, K)``: ``(K, p)``."""
        pulls = -weights if self.length is None else -weights * self.length[:, None]
        pulls[np.arange(self.n), self.index] = -pulls.sum(axis=1)
        out = self.coordinates.pull(weighted_sum(self.X, pulls), pulls.sum(axis=0))
        return out - out.mean(axis=0)  # zero but for rounding, which would drift where no margin sees it

    def features(self) -> Rows:
        """The samples without their classes: for sums of squares."""
        return Rows(self.X, np.ones(self.n, np.int8), self.coordinates, self.share, self.length)

    def radius(self) -> float:
        """``max ||a_i||``; the pairs' rows are longer by the root of two."""
        return self.features().radius()


def pair_radius(rows: Rows | Pairs) -> float:
    """The longest signed row."""
    return rows.radius() * (sqrt(2.0) if isinstance(rows, Pairs) else 1.0)
