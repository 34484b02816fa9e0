"""What an iteration leaves behind: every iterate with its margins, loss and mistakes."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isinf
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from isocline._core.files import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = npt.NDArray[np.float64]
OWN_SCALE = ("smooth_perceptron", "momentum", "newton")  # they choose the length of their steps themselves


class Step(NamedTuple):
    """What a path yields: theta / step_size, its margins, the step that follows, the row a perceptron
    took.
    """

    theta: Array
    margins: Array
    step: Array
    row: int = -1


class Record(NamedTuple):
    """What is kept of a step; the loss is ``step_size * slope + rest``."""

    theta: Array
    least: float
    errors: int
    slope: float
    rest: float
    log_beta: float
    length: float
    row: int


@dataclass(frozen=True, slots=True, repr=False)
class Trajectory:
    """The iterates of one run on signed rows ``(n, d)``; T is the number of updates kept.

    `direction` is theta / step_size and always finite. `theta`, `loss` and `margins` are what they are called
    when `unit` is 1. When the step size is infinite, or so large that they would overflow, `unit` is the step
    size and they are divided by it: the loss is then ``f / gamma``, which tends to the perceptron loss ``mean
    max(0, -m)``.
    """

    method: str
    step_size: float
    tie: str
    unit: float  # 1, or step_size
    separated_at: int | None  # the first iterate with all margins > 0
    direction: Array  # (T + 1, d)
    loss: Array  # (T + 1,) mean logistic loss / unit
    min_margin: Array  # (T + 1,) least margin / unit
    errors: npt.NDArray[np.int64]  # (T + 1,) rows with margin <= 0
    step_length: Array  # (T,) / step_size: for lr_gd ||grad f||, for normalized_lr_gd beta ||grad f||
    log_beta: Array | None  # (T,) of the normalized methods
    picked: npt.NDArray[np.int64] | None  # (T,) rows the cyclic perceptron added, -1 once separated
    rows: Array  # (n, d) as given

    @property
    def theta(self) -> Array:
        """``(T + 1, d)`` the iterates / unit."""
        return self.direction * self._scale

    @property
    def margins(self) -> Array:
        """``(T + 1, n)`` the margins of every iterate / unit, computed when asked for: they may be many."""
        return np.stack([self.rows @ direction for direction in self.direction]) * self._scale

    @property
    def _scale(self) -> float:
        return self.step_size if self.unit == 1 and not isinf(self.step_size) else 1.0

    @property
    def accuracy(self) -> Array:
        """``(T + 1,)`` the share of rows with a positive margin."""
        return 1.0 - self.errors / len(self.rows)

    @property
    def epochs(self) -> int | None:
        """Passes over the rows that made an update, for the cyclic perceptron; None for the others."""
        if self.picked is None:
            return None
        order = self.picked[self.picked >= 0]
        return int(len(order) > 0) + int(np.count_nonzero(np.diff(order) <= 0))

    def __len__(self) -> int:
        return len(self.direction)

    def __repr__(self) -> str:
        n, d = self.rows.shape
        end = "not separated" if self.separated_at is None else f"separated at {self.separated_at}"
        return (
            f"Trajectory({self.method}, step_size={self.step_size:g}, {n} rows in {d} dimensions: "
            f"{end}, {len(self) - 1} updates, {self.errors[-1]} wrong at the end)"
        )

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types; infinities as words. The rows and their margins are left out."""
        names = (
            "method",
            "step_size",
            "tie",
            "unit",
            "separated_at",
            "loss",
            "min_margin",
            "errors",
            "step_length",
        )
        values = {name: getattr(self, name) for name in (*names, "log_beta", "picked")}
        return {"theta": plain(self.theta), **{name: plain(value) for name, value in values.items()}}

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Wrong rows (steps) and the loss (line, right axis) against iterations; returns the axes."""
        if ax is None:
            import matplotlib.pyplot as plt

            ax = plt.subplots()[1]
        time = np.arange(len(self))
        ax.step(time, self.errors, where="post", color="C0", label="wrong rows")
        ax.set(xlabel="iteration", ylabel="wrong rows", title=f"{self.method}, step {self.step_size:g}")
        right = ax.twinx()
        right.plot(time, self.loss, color="C1", label="loss")
        right.set_ylabel("logistic loss" if self.unit == 1.0 else "logistic loss / step")
        if self.separated_at is not None:
            ax.axvline(self.separated_at, color="0.5", linestyle=":", label="separated")
        ax.legend(loc="upper right")
        return ax


def gather(
    records: Sequence[Record],
    rows: Array,
    separated_at: int | None,
    *,
    method: str,
    step_size: float,
    tie: str,
) -> Trajectory:
    """A `Trajectory` from what was kept of each step."""
    columns = {name: np.array([getattr(r, name) for r in records]) for name in Record._fields}
    slope, least = columns["slope"], columns["least"]
    unit, largest = 1.0, max(np.abs(columns["theta"]).max(), slope.max(), np.abs(least).max())
    if method not in OWN_SCALE and (isinf(step_size) or largest > 1e300 / step_size):
        unit = step_size
    scale = 1.0 if unit != 1.0 or isinf(step_size) else step_size
    return Trajectory(
        method=method,
        step_size=step_size,
        tie=tie,
        unit=unit,
        separated_at=separated_at,
        direction=columns["theta"],
        loss=scale * slope + columns["rest"] / unit,
        min_margin=scale * least,
        errors=columns["errors"],
        step_length=columns["length"][:-1],
        log_beta=columns["log_beta"][:-1] if "normalized" in method else None,
        picked=columns["row"][:-1] if method == "perceptron" else None,
        rows=rows,
    )
