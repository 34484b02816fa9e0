"""A plane that walks over large data: relaxation steps with compiled loops, and what is known of every row."""

from dataclasses import InitVar, dataclass, field
from math import inf
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from isocline._core.checks import check_finite
from isocline.linear_model.coordinates import Coordinates
from isocline.linear_model.kernels.reference import (
    COUNT,
    DRIFT_MINUS,
    DRIFT_PLUS,
    DRIFT_SHIFT,
    MINUS,
    PLUS,
    SHIFT,
)
from isocline.linear_model.rows import Data, Rows, weighted_sum

Array = npt.NDArray[Any]
BIAS = 0.1  # the intercept's column squared, in units of the mean square of the rows
# Rows, and numbers, from which centre, metric and bias are found: about right will do.
LENT, AHEAD = 25, 1 << 12  # rows of a class that share the weight it lacks in a bound; where to look first
CHOSEN = 500  # rows that choose between the mean of a walk and its end
BURN, EARLY = 0.4, 0.6  # of a long walk: where its mean begins, and where it is first tried on fresh rows
TRIED, LONG, MANY = (
    1000,
    10,
    12,
)  # so many fresh rows; a walk is long with so many times as many rows, and so many a column
SAMPLE, SAMPLED = 512, 1 << 17
ALIKE = 3.0  # columns whose spread differs by less need no metric
ORDINARY = 1e30  # float32 squares hold between 1 / this and this; other data walk in float64


def sampled(X: Data) -> Data:
    """Some rows, evenly spread, in float64; the other rows are seen to be finite with their margins."""
    count = min(SAMPLE, max(64, SAMPLED // X.shape[1]))
    sample = X[:: max(1, X.shape[0] // count)].astype(np.float64)
    if not np.isfinite(sample.sum()):
        check_finite("X", X.data if sparse.issparse(X) else X)
    return sample


def sampled_coordinates(sample: Data, intercept: float) -> Coordinates:
    """Centre and spread of a sample of dense rows, where they matter, and an intercept's column of modest
    size. The sample is used up.

    CSR rows, and columns that are alike anyway, stay where they are.
    """
    if sparse.issparse(sample):
        return Coordinates(
            bias=intercept and (BIAS * float(np.square(sample.data).sum()) / sample.shape[0]) ** 0.5
        )
    first = sample[0].copy()
    sample -= first  # so that a sum of squares does not cancel
    center = sample.mean(axis=0)
    spread = np.sqrt(np.maximum(0.0, np.einsum("ij,ij->j", sample, sample) / len(sample) - np.square(center)))
    center += first
    if not intercept:
        spread = np.hypot(spread, center)
    spread[spread == 0] = spread.max() or 1.0
    if spread.max() <= ALIKE * spread.min() and (not intercept or (np.abs(center) <= 0.5 * spread).all()):
        return Coordinates(bias=intercept and float(np.linalg.norm(spread)) * BIAS**0.5)
    return Coordinates(center if intercept else None, 1.0 / spread, intercept and (BIAS * len(spread)) ** 0.5)


@dataclass(slots=True)
class Plane:
    """``x . w + level``, moved by `kernels.relax` in the coordinates of its rows (centre and a scale a
    column, or neither).
    """

    rows: Rows
    kernels: Any
    length: InitVar[float]  # the square of a long row's
    w: Array = field(init=False)  # (d,) of the type the passes are done in
    center: Array | None = field(init=False)
    metric: Array | None = field(init=False)
    table: Any = field(init=False)
    state: Array = field(default_factory=lambda: np.zeros(7))
    visits: int = 0

    def __post_init__(self, length: float) -> None:
        X, at, d = self.rows.X, self.rows.coordinates, self.rows.X.shape[1]
        self.table = (X.data, X.indices, X.indptr) if sparse.issparse(X) else X
        sizes = [length]
        if at.metric is not None:
            sizes += [float(at.metric.min()) ** 2, float(at.metric.max()) ** 2]
        real = X.dtype if all(1 / ORDINARY < size < ORDINARY for size in sizes) else np.dtype(np.float64)
        self.w, self.center, self.metric = np.zeros(d, real), None, None
        if at.metric is not None:
            self.metric = np.square(at.metric).astype(real)
            self.center = (np.zeros(d) if at.center is None else at.center).astype(real)

    @property
    def level(self) -> float:
        """The plane's level as the passes use it: rounded to their type."""
        bias2 = self.rows.coordinates.bias**2
        return float(self.w.dtype.type(bias2 * (self.state[PLUS] - self.state[MINUS]) - self.state[SHIFT]))

    def relax(self, order: Array, *, pull: float = 1.0, target: float = 1.0) -> int:
        """Visit the rows of `order` once; returns how many came with a margin that is not above zero."""
        return self._relax(order, self.w[:0], pull, target, len(order))

    def learn(self, order: Array, *, pull: float) -> None:
        """Visit the rows of `order` once, then stand at the mean of the walk's later part, if that has fewer
        rows wrong. A long walk ends early where its mean is far on the right side of rows it has not met.
        """
        drift, early = np.zeros_like(self.w), int(EARLY * len(order))
        self.state[[DRIFT_PLUS, DRIFT_MINUS, COUNT, DRIFT_SHIFT]] = 0.0
        if early >= max(LONG * TRIED, MANY * len(self.w)):
            self._relax(order[:early], drift, pull, 1.0, int(BURN * len(order)))
            end = self._to_mean(drift)
            if self._clear_of(order[early :: max(1, (len(order) - early) // TRIED)]):
                return
            self.w, self.state = end
            self._relax(order[early:], drift, pull, 1.0, 0)
        else:
            self._relax(order, drift, pull, 1.0, len(order) // 2)
        sample = order[:: max(1, len(order) // CHOSEN)]
        mistakes = self.margins(sample)[0]
        end = self._to_mean(drift)
        if self.margins(sample)[0] > mistakes:
            self.w, self.state = end

    def _to_mean(self, drift: Array) -> tuple[Array, Array]:
        """Stand at the mean of the walk; returns where it stood, and its state."""
        end, count = (self.w, self.state.copy()), max(1.0, float(self.state[COUNT]))
        self.w = drift / -self.w.dtype.type(count)
        self.w += end[0]
        self.state[[PLUS, MINUS, SHIFT]] -= self.state[[DRIFT_PLUS, DRIFT_MINUS, DRIFT_SHIFT]] / count
        return end

    def _clear_of(self, fresh: Array) -> bool:
        """These margins let hope that all are above zero: the least is more than a third of the lowest tenth.

        (Of Gaussian margins the least of 1000 lies 2 spreads below the lowest tenth, the least of 100 000 one
        spread lower: half as far again.)
        """
        margins = np.sort(self.margins(fresh)[1])
        return bool(3 * margins[0] > margins[len(margins) // 10])

    def _relax(self, order: Array, drift: Array, pull: float, target: float, burn: int) -> int:
        self.visits += len(order)
        return self.kernels.relax(
            self.table, self.rows.sign, order, self.w, drift, self.state, self.center, self.metric,
            self.rows.coordinates.bias**2, pull, target, burn,
        )  # fmt: skip

    def margins(self, index: Array | None = None) -> tuple[int, Array, Array]:
        """How many of these rows (None: all) are not right, their margins, and ``||x_i||^2``."""
        count, real = self.rows.n if index is None else len(index), self.w.dtype
        out, lengths = np.empty(count, real), np.empty(count, real)
        self.visits += count
        wrong = self.kernels.margins(
            self.table, self.rows.sign, index, self.w, real.type(self.level), out, lengths
        )
        return wrong, out, lengths

    def margin_bound(self) -> float:
        """No plane has a wider margin, in the features as they came: the walk's own weights say so.

        They are ``g >= 0`` with ``w = metric sum_i g_i y_i (x_i - center)``. Where there is an intercept, the
        lighter class gets the missing weight, spread over some of its rows. A rounding a visit is added.
        """
        X, sign, (plus, minus) = self.rows.X, self.rows.sign, self.state[:2].tolist()
        if not (plus > 0 and minus > 0):
            return inf
        total, slack = self.w.astype(np.float64), 1.0 + self.visits * float(np.finfo(self.w.dtype).eps)
        if self.metric is not None and self.center is not None:
            total /= self.metric
            total += self.center * np.float64(plus - minus)
        if not self.rows.coordinates.bias:
            return slack * float(np.linalg.norm(total)) / (plus + minus)
        lighter = -1 if plus > minus else 1
        few = np.flatnonzero(sign[:AHEAD] == lighter)[:LENT]
        if len(few) == 0:
            few = np.flatnonzero(sign == lighter)[:LENT]
        some = X[few].astype(np.float64)
        total += weighted_sum(some, np.full(some.shape[0], lighter * abs(plus - minus) / some.shape[0]))
        return slack * float(np.linalg.norm(total)) / (2 * max(plus, minus))


class Lookout:
    """A lower bound on every row's margin, kept while the plane moves by little; rounding is in it.

    Margins computed in the type of the rows are off by at most ``(k + 4) u (||x|| ||w|| + |level|)`` for k
    products; where that leaves a doubt the row is looked at in float64.
    """

    def __init__(self, plane: Plane) -> None:
        self.plane, n = plane, plane.rows.n
        X = plane.rows.X
        self.terms = 4 + (int(np.diff(X.indptr).max(initial=0)) if sparse.issparse(X) else X.shape[1])
        self.every = np.arange(n, dtype=np.int32 if n < 2**31 else np.int64)
        _, self.low, lengths = plane.margins()
        if not np.isfinite(lengths).all():
            check_finite("X", X.data if sparse.issparse(X) else X)
        self.norms = np.sqrt(lengths, out=lengths)
        self.norms *= 1.0 + 1e-5
        self.longest = float(self.norms.max())
        self._settle(None)

    def moved(self, w: Array, level: float) -> None:
        """The plane has moved here from ``(w, level)``: lower the bounds, and look again at the rows whose
        bound is not above zero. `w` is used up.
        """
        w -= self.plane.w
        distance = float(np.linalg.norm(w)) * (1 + 1e-5)
        with np.errstate(invalid="ignore", over="ignore"):
            self.low -= distance * self.norms + abs(self.plane.level - level) * (1 + 1e-5)
            self.low *= 1.0 - np.finfo(self.low.dtype).eps  # rounding must not lift a bound
        again = self.every[~(self.low > 0)]
        _, self.low[again], _ = self.plane.margins(again)
        self._settle(again)

    def _settle(self, index: Array | None) -> None:
        """Take the rounding off fresh margins, and settle in float64 what it leaves in doubt."""
        plane, X = self.plane, self.plane.rows.X
        w, level = plane.w.astype(np.float64), plane.level
        length, unit = float(np.linalg.norm(w)), self.terms * float(np.finfo(plane.w.dtype).eps)
        least = unit * (length * self.longest + abs(level))
        if index is None:
            index = np.flatnonzero(~(self.low > least))
            self.low -= self.low.dtype.type(least)
            self.low[index] += self.low.dtype.type(least)
        fresh = self.low[index]
        doubt = unit * (length * self.norms[index] + abs(level))
        self.low[index] = fresh - doubt
        unsure = index[np.abs(fresh) <= doubt]
        step = max(1, (1 << 16) // X.shape[1])
        for start in range(0, len(unsure), step):
            part = unsure[start : start + step]
            m = plane.rows.sign[part] * np.asarray(X[part].astype(np.float64) @ w + level)
            error = self.terms * 2.3e-16 * (length * self.norms[part] + abs(level))
            about = np.finfo(self.low.dtype)
            self.low[part] = np.where(m > error, np.maximum((m - error) * (1 - about.eps), about.tiny), -inf)

    @property
    def wrong(self) -> Array:
        """The rows whose margin is not known to be above zero."""
        return self.every[~(self.low > 0)]
