"""The door of the measures: what a series is, and when a generated one stopped being one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from isocline._core.checks import check_finite, wrong

Array = npt.NDArray[np.float64]


def as_series(
    argument: str, series: npt.ArrayLike | torch.Tensor, *, least: int = 2, finite: bool = True
) -> Array:
    """``series`` as float64 of shape ``(T, N)``, time first, with T >= ``least`` and N >= 1.

    Takes anything NumPy takes, and tensors of any device. Raises ValueError, also for NaN and infinity unless
    ``finite`` is False.
    """
    if isinstance(series, torch.Tensor):
        series = series.detach().cpu().double().numpy()
    try:
        array = np.asarray(series, np.float64, order="C")
    except (TypeError, ValueError) as error:
        raise wrong(argument, "numbers in an array (time, channels)", type(series).__name__) from error
    if array.ndim == 1:
        raise wrong(argument, "shape (time, channels)", array, "one channel is series[:, None]")
    if array.ndim != 2 or array.shape[1] == 0:
        raise wrong(argument, "shape (time, channels)", array)
    if len(array) < least:
        raise wrong(argument, f"at least {least} samples", len(array), "give a longer series")
    if finite:
        check_finite(argument, array)
    return array


def as_pair(true: npt.ArrayLike, generated: npt.ArrayLike, *, least: int = 2) -> tuple[Array, Array]:
    """The true series, which must be finite, and the generated one, which need not be, over the same
    channels.
    """
    real = as_series("true", true, least=least)
    made = as_series("generated", generated, least=least, finite=False)
    if made.shape[1] != real.shape[1]:
        raise wrong("generated", f"{real.shape[1]} channels, as in true", f"{made.shape[1]}")
    return real, made


def lost_at(series: Array) -> int | None:
    """The first step that is not finite; None if all are."""
    with np.errstate(over="ignore", invalid="ignore"):  # the sum of finite numbers may leave them
        if np.isfinite(series.sum()):
            return None
    bad = np.flatnonzero(~np.isfinite(series).all(1))
    return int(bad[0]) if len(bad) else None


def still_channels(series: Array) -> npt.NDArray[np.bool_]:
    """``(N,)`` which channels never change by more than rounding (1e-12 of their largest value)."""
    return np.ptp(series, axis=0) <= 1e-12 * np.abs(series).max(0)


def refuse_constant(argument: str, series: Array) -> None:
    """Raise a ValueError that names the channels of ``series`` that never change."""
    still = np.flatnonzero(still_channels(series))
    if len(still):
        shown = ", ".join(map(str, still[:5])) + (", ..." if len(still) > 5 else "")
        raise wrong(argument, "channels that change", f"constant channel {shown}", "drop these channels")
