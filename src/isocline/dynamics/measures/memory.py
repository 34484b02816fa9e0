"""How long a series remembers itself: autocorrelation, mutual information, and the predictability time they
give.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from isocline._core.checks import check_number, wrong

from .series import Array, as_pair, as_series, refuse_constant


def autocorrelation(series: npt.ArrayLike, lags: int) -> Array:
    """``(1/T) sum_t x_t x_{t+k} / var(x)`` of the centred channels, at lags k = 0..lags.

    Shapes: series ``(T, N)``, T > lags; returns ``(lags + 1, N)``, 1 at lag 0. Raises ValueError.
    """
    lags = int(check_number("lags", lags, least=1, integer=True))
    values = as_series("series", series, least=lags + 1)
    refuse_constant("series", values)
    centred = (values - values.mean(0)) / values.std(0)
    power = np.abs(np.fft.rfft(centred, 2 * len(centred), axis=0)) ** 2  # padded: no wrap-around
    return np.fft.irfft(power, axis=0)[: lags + 1] / len(centred)


def autocorrelation_error(true: npt.ArrayLike, generated: npt.ArrayLike, lags: int) -> float:
    """Root mean square difference of the autocorrelations of two series ``(T, N)``, ``(T', N)`` over lags
    1..lags.

    Between 0 and 2. Infinite or constant generated series are refused. Raises ValueError.
    """
    real, made = as_pair(true, generated, least=lags + 1)
    apart = autocorrelation(real, lags)[1:] - autocorrelation(made, lags)[1:]
    return float(np.sqrt(np.mean(apart**2)))


def mutual_information(series: npt.ArrayLike, lags: int, *, bins: int = 16) -> Array:
    """``I(x_t; x_{t+k})`` in nats at lags k = 0..lags, from histograms of ``bins`` equally filled bins per
    channel.

    Shapes: series ``(T, N)``, T > lags; returns ``(lags + 1, N)``. Biased upward by about ``(bins - 1)^2 /
    2T``. Raises ValueError. Source: Fraser and Swinney 1986.
    """
    lags = int(check_number("lags", lags, least=1, integer=True))
    bins = int(check_number("bins", bins, least=2, integer=True))
    values = as_series("series", series, least=max(lags + 1, bins))
    refuse_constant("series", values)
    ranks = np.argsort(np.argsort(values, axis=0, kind="stable"), axis=0, kind="stable")
    filled = ranks * bins // len(values)
    found = np.empty((lags + 1, values.shape[1]))
    for lag in range(lags + 1):
        pairs = filled[: len(values) - lag] * bins + filled[lag:]
        for channel in range(values.shape[1]):
            joint = np.bincount(pairs[:, channel], minlength=bins * bins).reshape(bins, bins) / len(pairs)
            independent = joint.sum(1)[:, None] * joint.sum(0)
            some = joint > 0
            found[lag, channel] = np.sum(joint[some] * np.log(joint[some] / independent[some]))
    return found


def predictability_time(
    series: npt.ArrayLike | None = None, *, exponent: float | None = None, lags: int = 500
) -> int:
    """Steps after which a forecast knows little: the interval at which sparse forcing should renew the state.

    ``ln 2 / exponent`` where the largest Lyapunov exponent per step is known; otherwise the smaller of the
    autocorrelation time (first lag below 1/e) and the first minimum of the mutual information, up to
    ``lags``, median over the channels of series ``(T, N)``. Raises ValueError. Source: Mikhaeil et al. 2022;
    Brenner et al. 2022.
    """
    if exponent is not None:
        return max(1, round(math.log(2) / check_number("exponent", exponent, above=0)))
    if series is None:
        raise wrong("series", "a series where no exponent is given", None)
    decayed = autocorrelation(series, lags) < math.exp(-1)
    information = mutual_information(series, lags)
    rising = np.diff(information, axis=0) >= 0
    times = [np.where(hits.any(0), hits.argmax(0), lags) for hits in (decayed, rising)]
    return max(1, int(np.median(np.minimum(times[0], times[1]))))
