"""The figures of a report, each with the sentence under it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import pictures
from .findings import Findings
from .measures.series import Array, still_channels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .estimator import Reconstructor

PERIODS = 12  # of the fastest channel's oscillation, in the picture over time
LEAST_DECADE = -20  # of a gradient that is shown: less is nothing
LEAST_POWER = 1e-8  # of the largest: D_H compares square roots
Captioned = tuple["Figure", str]


def figures_of(fitted: Reconstructor, found: Findings, names: Sequence[str]) -> dict[str, Captioned]:
    """All figures by name; those that the model has no picture for are left out."""
    truth, made = (fitted.standard_.invert(x) for x in (found.known.series, found.scores.generated))
    figures = {
        "attractor": _attractor(truth, made, names),
        "series": _series(truth, made, names, float(fitted.dt)),
        "gradients": _gradients(found),
        "training": _training(fitted),
    }
    if np.isfinite(made).all():
        made = None if still_channels(made).any() else made  # what is at rest has no spectrum
        figures["spectra"] = _spectra(truth, made, names, float(fitted.dt))
    if found.scores.lyapunov is not None:
        figures["lyapunov"] = _lyapunov(found)
    if found.member.setup.latent_dim > 1:
        figures["fixed-points"] = _fixed_points(found)
    return figures


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _attractor(truth: Array, made: Array, names: Sequence[str]) -> Captioned:
    figure = _figure(9.6, 4.4)
    limits: dict[str, Any] = {}
    for place, (title, one) in enumerate((("the data", truth), ("the model, running freely", made)), 1):
        axes: Any = figure.add_subplot(1, 2, place, projection="3d")
        pictures.attractor(np.where(np.isfinite(one), one, 0), ax=axes, labels=names)
        axes.get_lines()[0].set_color("0.35" if place == 1 else "C0")
        axes.set_title(title)
        limits = limits or {f"{which}lim": getattr(axes, f"get_{which}lim")() for which in "xyz"}
        axes.set(**limits)
    return figure, "The attractor of the data and that of the model, from the same first sample."


def _series(truth: Array, made: Array, names: Sequence[str], dt: float) -> Captioned:
    count = min(3, truth.shape[1])
    length = min(len(truth), max(200, PERIODS * _period(truth)))
    figure = _figure(9.6, 1.2 + 1.2 * count)
    times = dt * np.arange(length)
    for channel, ax in enumerate(figure.subplots(count, 1, sharex=True, squeeze=False)[:, 0]):
        ax.plot(times, truth[:length, channel], color="0.55", linewidth=1.0, label="data")
        ax.plot(times, made[:length, channel], color="C0", linewidth=1.0, label="model")
        ax.set_ylabel(names[channel])
        low, high = truth[:, channel].min(), truth[:, channel].max()
        ax.set_ylim(low - 0.2 * (high - low), high + 0.2 * (high - low))
    figure.axes[0].legend(loc="upper right", ncols=2)
    figure.axes[-1].set_xlabel("time")
    return figure, (
        "Over time. The free run need not follow the data, which no model of a chaotic system can for long; it must "
        "look like them."
    )


def _period(truth: Array) -> int:
    """Samples between every other crossing of the mean, of the channel that crosses most often."""
    above = truth > truth.mean(0)
    crossings = (above[1:] != above[:-1]).sum(0).max()
    return max(2, 2 * len(truth) // max(1, int(crossings)))


def _spectra(truth: Array, made: Array | None, names: Sequence[str], dt: float) -> Captioned:
    count = min(4, truth.shape[1])
    figure = _figure(9.6, 3.0)
    axes = list(figure.subplots(1, count, squeeze=False)[0])
    pictures.power_spectra(truth, made, axes, sampling_rate=1 / dt, labels=names)
    for ax in axes:
        low, high = ax.get_ylim()
        ax.set_ylim(max(low, LEAST_POWER * high), high)
    return figure, "Smoothed power spectra, as D_H compares them, as far down as they could matter to it."


def _gradients(found: Findings) -> Captioned:
    figure = _figure(7.2, 3.4)
    exponents = found.scores.lyapunov
    rate = None if exponents is None else float(exponents.exponents[0])
    ax = pictures.gradient_growth(found.growth, figure.add_subplot(), exponent=rate)
    ax.set_ylim(bottom=max(ax.get_ylim()[0], LEAST_DECADE))
    return figure, (
        "How a gradient grows on its way back along the data. Without forcing it follows the largest Lyapunov "
        "exponent; every step of forcing takes a factor 1 - alpha from it."
    )


def _lyapunov(found: Findings) -> Captioned:
    figure = _figure(7.2, 3.2)
    assert found.scores.lyapunov is not None
    ax = pictures.lyapunov_convergence(found.scores.lyapunov, figure.add_subplot())
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return (
        figure,
        "The running estimates of the largest exponents per unit of time, one standard error shaded.",
    )


def _fixed_points(found: Findings) -> Captioned:
    states = found.member.signals(found.known.series[:20_000])
    figure = _figure(6.4, 5.0)
    space = figure.add_subplot(projection="3d" if states.shape[1] > 2 else None)
    reach = 3 * np.ptp(states, axis=0)
    inside = (np.abs(found.fixed_points.points - states.mean(0)) <= reach).all(1)
    pictures.fixed_points_on_attractor(states, found.fixed_points.only(inside), space)
    left = int((~inside).sum())
    more = f" {left} lie far outside and are not drawn." if left else ""
    return (
        figure,
        f"Fixed points on the data's attractor, in the states of the model; filled ones attract.{more}",
    )


def _training(fitted: Reconstructor) -> Captioned:
    figure = _figure(9.6, 2.8)
    axes = figure.subplots(1, 3)
    updates = [row["update"] for row in fitted.history_]
    for ax, (key, title) in zip(
        axes,
        (("loss", "loss"), ("alpha", "alpha"), ("validation", "validation score")),
        strict=True,
    ):
        for r in range(len(fitted.members_)):
            values = [np.nan if row[key][r] is None else row[key][r] for row in fitted.history_]
            ax.plot(updates, np.where(np.isfinite(values), values, np.nan), linewidth=1.2)
        ax.set(title=title, xlabel="updates")
        if key != "alpha":
            ax.set_yscale("log")
    for member in fitted.members_:
        if member.validation is not None and np.isfinite(member.validation.value):
            axes[2].plot(member.validation.update, member.validation.value, "o", color="0.2", markersize=4)
    if fitted.truth_ is not None and np.isfinite(fitted.truth_):
        axes[2].axhline(fitted.truth_, color="0.6", linewidth=0.8, linestyle="--")
    return figure, (
        "Training, one line for each member: mean squared error under forcing, strength of forcing, and the score of "
        "the free runs (dashed: of stretches of the recording itself). Dots: the snapshots kept."
    )
