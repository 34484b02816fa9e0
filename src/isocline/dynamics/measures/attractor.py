"""What an attractor is like by itself: its dimension, its marginals, and whether a generated run stays near
it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist
from scipy.stats import wasserstein_distance

from isocline._core.checks import check_number, wrong
from isocline._core.files import plain

from .series import Array, as_pair, as_series, refuse_constant


@dataclass(frozen=True, slots=True)
class CorrelationDimension:
    """Slope of the correlation sum, and how far its line fits; ``float(dimension)`` is the slope."""

    value: float
    standard_error: float  # of the slope as a fitted line: a lower bound of the true uncertainty
    how: str

    def __float__(self) -> float:
        return self.value

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        return {field.name: plain(getattr(self, field.name)) for field in fields(self)}


def correlation_dimension(
    series: npt.ArrayLike,
    *,
    points: int = 3000,
    apart: int = 100,
    between: tuple[float, float] = (1e-4, 1e-2),
) -> CorrelationDimension:
    """Slope of ``ln C(r)`` against ``ln r``, C(r) the share of pairs of points closer than r.

    Shape: series ``(T, N)``. Uses ``points`` samples spread evenly over the series, pairs at least ``apart``
    samples distant in time (neighbours in time lie on one orbit), and the radii where C lies ``between`` two
    shares. Raises ValueError. Source: Grassberger and Procaccia 1983; Theiler 1986.
    """
    values = as_series("series", series, least=apart + 10)
    refuse_constant("series", values)
    points = int(check_number("points", points, least=10, integer=True))
    if not 0 < between[0] < between[1] <= 1:
        raise wrong("between", "two shares 0 < low < high <= 1", between)
    when = np.unique(np.linspace(0, len(values) - 1, points).astype(int))
    distances = cdist(values[when], values[when])[np.subtract.outer(when, when) >= apart]
    shares = np.geomspace(*between, 20)
    radii = np.quantile(distances, shares)
    if radii[0] == 0:
        raise wrong("series", "points that differ", f"{np.mean(distances == 0):.1%} of the pairs equal")
    slope, errors = np.polyfit(np.log(radii), np.log(shares), 1, cov=True)
    how = f"{len(when)} points, shares {between[0]:g} to {between[1]:g}"
    return CorrelationDimension(float(slope[0]), math.sqrt(errors[0, 0]), how)


def marginal_distance(true: npt.ArrayLike, generated: npt.ArrayLike) -> Array:
    """Wasserstein-1 distance of each channel's values, in standard deviations of the true channel.

    Shapes: true ``(T, N)``, generated ``(T', N)``; returns ``(N,)``, NaN where generated is not finite.
    Raises ValueError.
    """
    real, made = as_pair(true, generated)
    refuse_constant("true", real)
    distances = [
        wasserstein_distance(one, other) if np.isfinite(other).all() else math.nan
        for one, other in zip(real.T, made.T, strict=True)
    ]
    return np.array(distances) / real.std(0)


def escaped_at(true: npt.ArrayLike, generated: npt.ArrayLike, *, reach: float = 1.0) -> int | None:
    """The first step at which a generated run leaves the true range, widened by ``reach`` ranges, or is not
    finite.

    Shapes: true ``(T, N)``, generated ``(T', N)``; None if it never does. Raises ValueError.
    """
    real, made = as_pair(true, generated, least=1)
    margin = check_number("reach", reach, least=0) * np.ptp(real, axis=0)
    inside = (made >= real.min(0) - margin) & (made <= real.max(0) + margin)  # NaN is not inside
    out = np.flatnonzero(~inside.all(1))
    return int(out[0]) if len(out) else None
