"""How far a generated attractor lies from the true one in state space: D_stsp, by bins and by mixtures.

Notation: ``p`` true, ``q`` generated, N channels, m bins per channel, e smoothing count. All in nats, true
from generated, that is KL(p || q). Source: Hess, Monfared, Brenner and Durstewitz 2023, evaluation measures;
Koppe et al. 2019 for the binned, Brenner et al. 2022 for the mixture form.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from isocline._core.checks import check_choice, check_number, wrong
from isocline._core.files import plain

from .series import Array, as_pair, as_series, lost_at, refuse_constant

_LARGEST_CODE = 2**62  # cells are numbered in int64


@dataclass(frozen=True, slots=True)
class Divergence:
    """A state-space divergence and how it was got; ``float(divergence)`` is its value."""

    value: float  # nats; NaN where it is not defined, see `how`
    standard_error: float | None  # of the Monte-Carlo mean; None: no sampling was needed
    inside: tuple[int, int] | None  # points of (true, generated) in the box that was binned
    how: str

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        spread = "" if self.standard_error is None else f" +- {self.standard_error:.2g}"
        return f"D_stsp {self.value:.4g}{spread} ({self.how})"

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        return {field.name: plain(getattr(self, field.name)) for field in fields(self)}


def state_space_divergence(
    true: npt.ArrayLike,
    generated: npt.ArrayLike,
    *,
    bins: int | None = None,
    mixture: float | None = None,
    variant: str = "default",
    seed: int = 0,
) -> Divergence:
    """D_stsp of two series ``(T, N)`` and ``(T', N)``: by ``bins`` per channel, or by a ``mixture`` of this
    variance.

    Where neither is given: 30 bins below 6 channels, a mixture of variance 1 from there on, as in the paper.
    Bins have the variants "default", "legacy" and "minmax_drop0" (see ``binned_divergence``), mixtures
    "default" and "symmetric" (see ``mixture_divergence``); numbers of different variants cannot be compared.
    A generated series that is not finite has no divergence: the value is NaN and `how` says from which step.
    Raises ValueError.
    """
    if bins is not None and mixture is not None:
        raise wrong("mixture", "None where bins is given", mixture, "choose one of the two")
    if bins is None and mixture is None:
        bins, mixture = (30, None) if as_series("true", true).shape[1] < 6 else (None, 1.0)
    if mixture is None:
        return binned_divergence(true, generated, bins=30 if bins is None else bins, variant=variant)
    symmetric = check_choice("variant", variant, ["default", "symmetric"]) == "symmetric"
    return mixture_divergence(true, generated, variance=mixture, symmetric=symmetric, seed=seed)


def _margin_box(series: Array) -> tuple[Array, Array]:
    margin = 0.1 * series.std(0, ddof=1)
    return series.min(0) - margin, series.max(0) + margin


def _deviation_box(series: Array) -> tuple[Array, Array]:
    reach = 2.0 * series.std(0, ddof=1)
    return -reach, reach


def _tight_box(series: Array) -> tuple[Array, Array]:
    return series.min(0), series.max(0)


# The box of the true series (low, high), and the first bin of every channel that counts.
BOXES: dict[str, tuple[Callable[[Array], tuple[Array, Array]], int]] = {
    "default": (_margin_box, 0),
    "legacy": (_deviation_box, 0),
    "minmax_drop0": (_tight_box, 1),
}


def binned_divergence(
    true: npt.ArrayLike,
    generated: npt.ArrayLike,
    *,
    bins: int = 30,
    variant: str = "default",
    smoothing: float = 1e-5,
) -> Divergence:
    """``sum_cells p ln(p / q)`` with ``p = (c + e) / (n + e m^N)``: c of the n true points in the box lie in
    the cell.

    Shapes: true ``(T, N)``, generated ``(T', N)``; any N, since only occupied cells are stored and the m^N -
    occupied empty ones enter as one exact term. Bins are half-open; points outside the box are left out. The
    box is that of the true series: "default" [min - 0.1 s, max + 0.1 s] with s the standard deviation (ddof
    1); "legacy" [-2s, 2s]; "minmax_drop0" [min, max] with the first bin of every channel left out, a slip
    that circulates and is here only to compare with published numbers. NaN where no point of one of the two
    lies inside. Raises ValueError. Source: Hess et al. 2023, D_stsp; Brenner et al. 2022 for "legacy".
    """
    real, made = as_pair(true, generated)
    bins = int(check_number("bins", bins, least=2, integer=True))
    check_number("smoothing", smoothing, above=0)
    check_choice("variant", variant, BOXES)
    refuse_constant("true", real)
    how = f"{bins} bins, {variant}"
    if (lost := lost_at(made)) is not None:
        return Divergence(math.nan, None, None, f"{how}: generated is not finite from step {lost}")
    box, first = BOXES[variant]
    low, high = box(real)
    cells = [_inside(series, low, high, bins, first) for series in (real, made)]
    inside = (len(cells[0]), len(cells[1]))
    if 0 in inside:
        which = "generated" if inside[1] == 0 else "true"
        return Divergence(math.nan, None, inside, f"{how}: no {which} point inside the box")
    _, where = np.unique(_numbered(np.concatenate(cells), bins), return_inverse=True)
    counts = [
        np.bincount(part, minlength=where.max() + 1) for part in (where[: inside[0]], where[inside[0] :])
    ]
    value = _smoothed_divergence(counts[0], counts[1], bins ** real.shape[1], smoothing)
    return Divergence(value, None, inside, how)


def _inside(series: Array, low: Array, high: Array, bins: int, first: int) -> npt.NDArray[np.int64]:
    """``(n, N)`` bin numbers of the points inside [low, high), of bin ``first`` or later in every channel."""
    with np.errstate(over="ignore"):
        place = np.floor((series - low) / (high - low) * bins)
    return place[((place >= first) & (place < bins)).all(1)].astype(np.int64)


def _numbered(places: npt.NDArray[np.int64], bins: int) -> npt.NDArray[np.int64]:
    """One number per row of ``(n, N)``, equal for equal rows; ranks replace numbers before they outgrow
    int64.
    """
    code, size = np.zeros(len(places), np.int64), 1
    for column in places.T:
        if size * bins > _LARGEST_CODE:
            code, size = np.unique(code, return_inverse=True)[1], len(places)
        code, size = code * bins + column, size * bins
    return code


def _smoothed_divergence(
    p_counts: npt.NDArray[np.int64], q_counts: npt.NDArray[np.int64], cells: int, smoothing: float
) -> float:
    """``sum p ln(p/q)`` over all ``cells``, given the counts of those occupied by either; logarithms
    throughout.
    """
    log_empty = math.log(smoothing)
    log_p, log_q = (
        np.logaddexp(math.log(counts.sum()), log_empty + math.log(cells)) for counts in (p_counts, q_counts)
    )
    ratio = np.log(p_counts + smoothing) - np.log(q_counts + smoothing) + (log_q - log_p)
    occupied = np.sum(np.exp(np.log(p_counts + smoothing) - log_p) * ratio)
    rest = cells - len(p_counts)
    empty = math.exp(math.log(rest) + log_empty - log_p) * (log_q - log_p) if rest else 0.0
    return float(occupied + empty)


def mixture_divergence(
    true: npt.ArrayLike,
    generated: npt.ArrayLike,
    *,
    variance: float = 1.0,
    samples: int = 1000,
    points: int = 10_000,
    symmetric: bool = False,
    seed: int = 0,
) -> Divergence:
    """``mean(ln p - ln q)`` over ``samples`` draws from p, with its Monte-Carlo standard error.

    p and q put an isotropic Gaussian of ``variance`` (squared units of the series) on each of the first
    ``points`` points of true ``(T, N)`` and generated ``(T', N)``. ``symmetric`` takes the mean of both
    directions. Logarithms throughout: no sample underflows, however far off the model is. Raises ValueError.
    Source: Brenner et al. 2022, Hess et al. 2023, D_stsp for high dimensions.
    """
    real, made = as_pair(true, generated)
    check_number("variance", variance, above=0)
    samples = int(check_number("samples", samples, least=2, integer=True))
    points = int(check_number("points", points, least=1, integer=True))
    how = f"mixture, variance {variance:g}, {samples} samples, seed {seed}" + (
        ", symmetric" if symmetric else ""
    )
    if (lost := lost_at(made)) is not None:
        return Divergence(math.nan, None, None, f"{how}: generated is not finite from step {lost}")
    real, made = real[:points], made[:points].clip(-1e70, 1e70)  # far enough, with finite squares
    generator = np.random.default_rng(seed)
    means, errors = [], []
    for p, q in [(real, made), (made, real)][: 2 if symmetric else 1]:
        centres = p[generator.integers(len(p), size=samples)]
        at = centres + math.sqrt(variance) * generator.standard_normal(centres.shape)
        ratio = mixture_log_density(at, p, variance) - mixture_log_density(at, q, variance)
        means.append(ratio.mean())
        errors.append(ratio.std(ddof=1) / math.sqrt(samples))
    return Divergence(float(np.mean(means)), float(np.linalg.norm(errors) / len(errors)), None, how)


def mixture_log_density(at: Array, centres: Array, variance: float) -> Array:
    """``ln (1/K) sum_k exp(-|x - mu_k|^2 / (2 variance))``: the mixture up to the normaliser of one Gaussian.

    Shapes: at ``(S, N)``, centres ``(K, N)``; returns ``(S,)``. The normaliser depends on N and variance
    alone and cancels in every ratio.
    """
    at, centres = at - at.mean(0), centres - at.mean(0)  # squares of small numbers cancel less
    lengths = np.sum(centres**2, 1)
    density = np.empty(len(at))
    for begin in range(0, len(at), 256):
        block = at[begin : begin + 256]
        squares = np.sum(block**2, 1)[:, None] + lengths - 2.0 * block @ centres.T
        density[begin : begin + 256] = logsumexp(squares / (-2.0 * variance), axis=1)
    return density - math.log(len(centres))
