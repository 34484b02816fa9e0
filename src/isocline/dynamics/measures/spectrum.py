"""How far the power spectra of two series lie apart: D_H, the Hellinger distance of smoothed spectra, in [0,
1].

Source: Hess, Monfared, Brenner and Durstewitz 2023, evaluation measures; Mikhaeil et al. 2022.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d

from isocline._core.checks import check_choice, check_number, wrong
from isocline._core.files import plain

from .series import Array, as_pair, as_series, lost_at, refuse_constant, still_channels

BOUNDARIES = (
    "mirror",
    "reflect",
)  # the edge of the spectrum is not repeated | is repeated, SciPy's own default


@dataclass(frozen=True, slots=True, eq=False)
class SpectralDistance:
    """Hellinger distance of spectra; ``float(distance)`` is the mean over channels."""

    value: float  # in [0, 1]; NaN where it is not defined, see `how`
    per_channel: Array  # (N,)
    how: str

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        return f"D_H {self.value:.4g} ({self.how})"

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        return {field.name: plain(getattr(self, field.name)) for field in fields(self)}


def spectral_hellinger(
    true: npt.ArrayLike,
    generated: npt.ArrayLike,
    *,
    sigma: float | None = None,
    sigma_hz: float | None = None,
    sampling_rate: float | None = None,
    boundary: str = "mirror",
) -> SpectralDistance:
    """``H = sqrt(1/2 sum_f (sqrt p_f - sqrt q_f)^2)`` per channel, p and q the spectra of
    ``smoothed_spectrum``.

    Shapes: true and generated ``(T, N)``, the same T: two lengths have different bins. The smoothing is
    ``sigma`` bins (20 where nothing is given), or ``sigma_hz`` in the units of ``sampling_rate``, which does
    not depend on T. A generated channel that never changes has no spectrum and gets the largest distance, 1;
    a series that is not finite gets NaN. Raises ValueError. Source: Hess et al. 2023, D_H.
    """
    real, made = as_pair(true, generated)
    if len(made) != len(real):
        raise wrong("generated", f"{len(real)} samples, as in true", len(made), "cut both to the same length")
    refuse_constant("true", real)
    width = _width_in_bins(len(real), sigma, sigma_hz, sampling_rate)
    how = f"sigma {width:g} bins, {boundary}"
    if (lost := lost_at(made)) is not None:
        nothing = np.full(real.shape[1], math.nan)
        return SpectralDistance(math.nan, nothing, f"{how}: generated is not finite from step {lost}")
    still = still_channels(made)
    p = smoothed_spectrum(real, sigma=width, boundary=boundary)
    q = smoothed_spectrum(np.where(still, real, made), sigma=width, boundary=boundary)
    apart = np.sum((np.sqrt(p) - np.sqrt(q)) ** 2, axis=0)
    per_channel = np.where(still, 1.0, np.sqrt(np.minimum(0.5 * apart, 1.0)))
    if still.any():
        how += f": {still.sum()} of {len(still)} generated channels never change"
    return SpectralDistance(float(per_channel.mean()), per_channel, how)


def smoothed_spectrum(series: npt.ArrayLike, *, sigma: float = 20.0, boundary: str = "mirror") -> Array:
    """The share of power at each frequency: z-score, ``|rfft|^2``, Gaussian smoothing, normalised to sum 1.

    Shapes: series ``(T, N)``; returns ``(T // 2 + 1, N)``, the bin k being the frequency k / T per sample.
    ``sigma`` in bins, cut off at 4 sigma; 0 leaves the spectrum raw. Raises ValueError, also for a constant
    channel.
    """
    values = as_series("series", series)
    refuse_constant("series", values)
    check_number("sigma", sigma, least=0)
    check_choice("boundary", boundary, BOUNDARIES)
    values = values / np.abs(values).max(0)  # the scale does not matter: keep squares away from overflow
    power = np.abs(np.fft.rfft((values - values.mean(0)) / values.std(0), axis=0)) ** 2
    if sigma > 0:
        power = gaussian_filter1d(power, sigma, axis=0, mode=boundary, truncate=4.0)
    power = np.maximum(power, 0.0)
    return power / power.sum(0)


def _width_in_bins(
    samples: int, sigma: float | None, sigma_hz: float | None, sampling_rate: float | None
) -> float:
    if sigma_hz is None:
        return float(check_number("sigma", 20.0 if sigma is None else sigma, least=0))
    if sigma is not None:
        raise wrong("sigma_hz", "None where sigma is given", sigma_hz, "choose bins or Hz")
    if sampling_rate is None:
        raise wrong("sampling_rate", "samples per second where sigma_hz is given", None)
    rate = check_number("sampling_rate", sampling_rate, above=0)
    return float(check_number("sigma_hz", sigma_hz, least=0)) * samples / rate
