"""The pictures of the room: each draws on the axes it is given, or on new ones, and returns them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from isocline._core.checks import check_number, wrong

from .cycles import Cycles
from .measures.series import Array, as_pair, as_series
from .measures.spectrum import smoothed_spectrum

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from mpl_toolkits.mplot3d.axes3d import Axes3D

    from .lyapunov import LyapunovSpectrum

_TRUE, _MADE = "0.45", "C0"  # the data are grey, the model has the colour


def attractor(
    true: npt.ArrayLike,
    generated: npt.ArrayLike | None = None,
    ax: Axes3D | None = None,
    *,
    channels: Sequence[int] | None = None,
    labels: Sequence[str] | None = None,
    most: int = 20_000,
) -> Axes3D:
    """Orbits in space: the true one grey, the generated one in colour, at most ``most`` samples of each.

    Shapes: true ``(T, N)``, generated ``(T', N)``. ``channels`` are the three axes, the first three by
    default; with one or two channels the rest are the first one, a quarter of its period later. What is not
    finite is not drawn. Raises ValueError.
    """
    series = {"true": as_series("true", true)[:most]}
    if generated is not None:
        series["generated"] = as_pair(true, generated)[1][:most]
    count = series["true"].shape[1]
    chosen = list(range(min(3, count))) if channels is None else list(channels)
    if channels is not None and (len(chosen) != 3 or not all(0 <= one < count for one in chosen)):
        raise wrong("channels", f"three of the channels 0 to {count - 1}", chosen)
    drawn: Any = _axes(ax, projection="3d")
    lag = _quarter_period(series["true"][:, chosen[0]]) if len(chosen) < 3 else 0
    for name, color in (("true", _TRUE), ("generated", _MADE)):
        if name in series:
            drawn.plot(*_in_space(series[name][:, chosen], lag), color=color, linewidth=0.6, label=name)
    names = [labels[i] if labels else f"channel {i}" for i in chosen]
    names += [f"{names[0]}, {i * lag} later" for i in range(1, 4 - len(chosen))]
    drawn.set(xlabel=names[0], ylabel=names[1], zlabel=names[2], title="attractor")
    if len(series) > 1:
        drawn.legend()
    return drawn


def _in_space(series: Array, lag: int) -> list[Array]:
    """Three columns of ``(T, 1..3)``: those there are, then the first, one and two ``lag`` later."""
    series = np.where(np.isfinite(series), series, np.nan)
    missing = 3 - series.shape[1]
    length = len(series) - missing * lag
    columns = [series[:length, i] for i in range(series.shape[1])]
    return columns + [series[i * lag : i * lag + length, 0] for i in range(1, missing + 1)]


def _quarter_period(channel: Array) -> int:
    power = np.abs(np.fft.rfft(channel - channel.mean()))
    return int(np.clip(round(len(channel) / (4 * max(1, int(power.argmax())))), 1, max(1, len(channel) // 4)))


def power_spectra(
    true: npt.ArrayLike,
    generated: npt.ArrayLike | None = None,
    axes: Sequence[Axes] | None = None,
    *,
    sigma: float = 20.0,
    sampling_rate: float = 1.0,
    labels: Sequence[str] | None = None,
) -> list[Axes]:
    """Smoothed power spectra, one set of axes per channel (the first four where none are given).

    Shapes: true ``(T, N)``, generated ``(T', N)``. ``sigma`` in bins, as in D_H; frequencies in units of
    ``sampling_rate``. Raises ValueError.
    """
    rate = check_number("sampling_rate", sampling_rate, above=0)
    given = {"true": as_series("true", true)}
    if generated is not None:
        given["generated"] = as_series("generated", generated)
    spectra = {name: smoothed_spectrum(one, sigma=sigma) for name, one in given.items()}
    size = given["true"].shape[1]
    drawn = _row(min(4, size)) if axes is None else list(axes)
    for channel, ax in enumerate(drawn[:size]):
        for name, spectrum in spectra.items():
            frequency = np.fft.rfftfreq(len(given[name]), 1.0 / rate)
            density = spectrum[:, channel] / frequency[1]  # comparable for series of different length
            ax.loglog(frequency[1:], density[1:], color=_TRUE if name == "true" else _MADE, label=name)
        ax.set(xlabel="frequency", title=labels[channel] if labels else f"channel {channel}")
    drawn[0].set_ylabel("share of power")
    if len(spectra) > 1:
        drawn[0].legend()
    return drawn


def gradient_growth(
    log_norms: Mapping[str, npt.ArrayLike], ax: Axes | None = None, *, exponent: float | None = None
) -> Axes:
    """How a gradient grows on its way back through time, with and without forcing: the picture that explains
    GTF.

    ``log_norms`` holds, by name, ``ln |dz_t/dz_0|`` ``(T,)`` as ``product_log_norms`` gives it; ``exponent``,
    the largest Lyapunov exponent per step, adds the line that an unforced gradient must follow. Raises
    ValueError.
    """
    if not log_norms:
        raise wrong("log_norms", "one or more curves by name", "none")
    ax = _axes(ax)
    longest = 0
    for name, curve in log_norms.items():
        decades = np.asarray(curve, np.float64) / math.log(10.0)
        if decades.ndim != 1 or not len(decades):
            raise wrong(f"log_norms[{name!r}]", "shape (steps,)", decades)
        ax.plot(np.arange(1, len(decades) + 1), decades, label=name)
        longest = max(longest, len(decades))
    if exponent is not None:
        ends = np.array([1, longest])
        ax.plot(ends, exponent * ends / math.log(10.0), "--", color="0.5", label="largest Lyapunov exponent")
    ax.axhline(0.0, color="0.7", linewidth=0.8, zorder=0)
    ax.set(xlabel="steps back in time", ylabel="gradient, powers of ten", title="gradient growth")
    ax.legend()
    return ax


def fixed_points_on_attractor(
    states: npt.ArrayLike, found: Cycles | Sequence[Cycles], ax: Axes | None = None, *, most: int = 20_000
) -> Axes:
    """Fixed points and cycles over an orbit in state space: filled where stable, open where not.

    Shape: states ``(T, M)``. Draws the first three states in 3D, or two in the plane if M = 2. Raises
    ValueError.
    """
    orbit = as_series("states", states)[:most]
    groups = [found] if isinstance(found, Cycles) else list(found)
    size = min(3, orbit.shape[1])
    if size < 2 or any(group.orbits.shape[2] != orbit.shape[1] for group in groups):
        raise wrong("states", "at least two states, as many as the fixed points have", f"{orbit.shape[1]}")
    ax = _axes(ax, projection="3d" if size == 3 else None)
    ax.plot(*orbit[:, :size].T, color=_TRUE, linewidth=0.6, zorder=1)
    named: set[str] = set()
    for group in groups:
        for cycle, kind, stable in zip(group.orbits, group.kinds, group.stable, strict=True):
            name = kind if group.order == 1 else f"{kind}, order {group.order}"
            color = "C3" if stable else "C0"
            fill = color if stable else "none"
            place = np.concatenate([cycle, cycle[:1]])[:, :size].T
            marker = "o" if group.order == 1 else "s"
            label = None if name in named else name
            ax.plot(*place, ":", marker=marker, color=color, markerfacecolor=fill, zorder=3, label=label)
            named.add(name)
    names = {"xlabel": "state 0", "ylabel": "state 1"} | ({"zlabel": "state 2"} if size == 3 else {})
    ax.set(
        title="fixed points" if all(group.order == 1 for group in groups) else "fixed points and cycles",
        **names,
    )
    if named:
        ax.legend()
    return ax


def lyapunov_convergence(spectrum: LyapunovSpectrum, ax: Axes | None = None, *, most: int = 5) -> Axes:
    """The running estimates of the ``most`` largest exponents per unit of time, with one standard error at
    the end.
    """
    ax = _axes(ax)
    for i in range(min(most, len(spectrum.exponents))):
        value, error = spectrum.per_time[i], spectrum.standard_error[i] / spectrum.dt
        ax.plot(
            spectrum.running_steps * spectrum.dt, spectrum.running[:, i] / spectrum.dt, label=f"{value:.3g}"
        )
        if math.isfinite(value) and math.isfinite(error):
            ax.axhspan(value - error, value + error, color=f"C{i}", alpha=0.2, linewidth=0)
    ax.axhline(0.0, color="0.7", linewidth=0.8, zorder=0)
    ax.set(xlabel="time", ylabel="exponent", title="Lyapunov exponents", xscale="log")
    ax.legend()
    return ax


def _axes(ax: Axes | None, projection: str | None = None) -> Axes:
    """``ax``, which must have the projection asked for, or new axes of a figure of their own."""
    if ax is None:
        return _figure().add_subplot(projection=projection)
    if projection == "3d" and ax.name != "3d":
        raise wrong(
            "ax", "axes with projection='3d'", f"{ax.name} axes", "figure.add_subplot(projection='3d')"
        )
    return ax


def _row(count: int) -> list[Axes]:
    figure = _figure(width=3.2 * count)
    return list(figure.subplots(1, count, squeeze=False)[0])


def _figure(width: float = 6.4):
    from matplotlib.figure import Figure

    return Figure(figsize=(width, 4.2 if width < 8 else 3.2), layout="constrained")
