"""The race: seconds to the first perfect separator of real data, one thread, against scikit-learn's linear
models."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from math import inf
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from ...claim import Claim, Expected, Measurement, Record, Scale
from ...style import GREY, INK, LINE, OCHRE, ORANGE, PLUM, SKY, TEAL, new_figure
from .data import KNOWN, two_classes
from .paper import PAPER

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OURS = "LargeStepClassifier"
DOUBLING = [2**k for k in range(15)]
# A peer knows no "stop at the first separator", so it is given the best of these settings: for every value of
# its regularisation the smallest number of iterations that separates. Only the one fit with that setting is
# timed.
STRENGTH: dict[str, tuple[str, list[float]]] = {
    "LogisticRegression lbfgs": ("C", [1.0, 1e3, 1e6, 1e9]),
    "LogisticRegression liblinear": ("C", [1.0, 1e3, 1e6, 1e9]),
    "LinearSVC": ("C", [1.0, 1e3, 1e6]),
    "SGDClassifier": ("alpha", [1e-4, 1e-6, 1e-8]),
    "Perceptron": ("alpha", [1e-4]),
}

LOOKS = {
    OURS: ("o", TEAL),
    "LogisticRegression lbfgs": ("s", ORANGE),
    "LogisticRegression liblinear": ("D", OCHRE),
    "LinearSVC": ("^", PLUM),
    "SGDClassifier": ("v", SKY),
    "Perceptron": ("X", GREY),
}
CAPTION = (
    "Wall time of one fit that ends in a perfect separator, one thread: median and range over the rounds. "
    "Each peer runs with the fastest of its settings that separates; the time to find that setting is not "
    "counted. A peer without a mark found no separator while its settings were tried."
)


def model(name: str, **setting: Any) -> Any:
    """The classifier of that name; ``alpha`` of the perceptron has no effect, as it has no penalty."""
    from sklearn.linear_model import LogisticRegression, Perceptron, SGDClassifier
    from sklearn.svm import LinearSVC

    from isocline.linear_model import LargeStepClassifier

    kinds: dict[str, tuple[type, dict[str, Any]]] = {
        OURS: (LargeStepClassifier, {}),
        "LogisticRegression lbfgs": (LogisticRegression, {}),
        "LogisticRegression liblinear": (LogisticRegression, {"solver": "liblinear"}),
        "LinearSVC": (LinearSVC, {"random_state": 0}),
        "SGDClassifier": (SGDClassifier, {"tol": None, "random_state": 0}),
        "Perceptron": (Perceptron, {"tol": None, "random_state": 0}),
    }
    kind, fixed = kinds[name]
    return kind(**fixed, **setting)


def run(setting: dict[str, Any], seed: int, device: str) -> Measurement:
    """Seconds per fit, round by round, of our default and of every peer that separates within its budget.

    Models take turns. A round's figure is the best of as many fits as take about 20 ms, so that a moment in
    which the machine did something else does not count against anyone.
    """
    X, y = two_classes(setting["data"], setting.get("n"), fetch=setting.get("fetch", False))
    seconds_of(X, y, OURS, {})  # compile and load before anything is timed
    chosen: dict[str, dict[str, Any] | None] = {OURS: {}}
    chosen |= {name: cheapest(X, y, name, setting["budget"]) for name in STRENGTH}
    running = {name: about for name, about in chosen.items() if about is not None}
    fits = {name: _fits(seconds_of(X, y, name, about)[0]) for name, about in running.items()}
    times: dict[str, list[float]] = {name: [] for name in running}
    for _ in range(setting["rounds"]):
        for name, about in running.items():
            found = [seconds_of(X, y, name, about) for _ in range(fits[name])]
            times[name].append(min(seconds if separates else inf for seconds, separates in found))
    return Measurement({"seconds": times, "settings": chosen, "n": len(X), "d": X.shape[1]})


def _fits(seconds: float) -> int:
    return max(1, min(20, round(0.02 / seconds)))


def seconds_of(X: np.ndarray, y: np.ndarray, name: str, setting: dict[str, Any]) -> tuple[float, bool]:
    """One fit: its wall time in seconds, and whether every margin is positive."""
    estimator = model(name, **setting)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged is what we are looking at
        start = time.perf_counter()
        estimator.fit(X, y)
        seconds = time.perf_counter() - start
    return seconds, bool((y * estimator.decision_function(X)).min() > 0)


def cheapest(X: np.ndarray, y: np.ndarray, name: str, budget: float) -> dict[str, Any] | None:
    """The peer's fastest setting that separates; None when none does before `budget` seconds are spent on
    looking."""
    best: tuple[float, dict[str, Any]] | None = None
    left = budget
    for strengths in _strengths(name):
        for iterations in DOUBLING:
            setting = {**strengths, "max_iter": iterations}
            seconds, separates = seconds_of(X, y, name, setting)
            left -= seconds
            if separates and (best is None or seconds < best[0]):
                best = (seconds, setting)
            if separates or 2 * seconds > left:  # the next one takes about twice as long
                break
    return None if best is None else best[1]


def _strengths(name: str) -> Iterator[dict[str, float]]:
    parameter, values = STRENGTH[name]
    return ({parameter: value} for value in values)


def measure(records: list[Record]) -> dict[str, list[float]]:
    """The ratio that is promised, and for information every model's milliseconds with the settings it ran
    with."""
    figures = {_figure(record.setting["data"]): ratios(record) for record in records}
    for record in records:
        for name, times in record.values["seconds"].items():
            words = ", ".join(f"{key}={value:g}" for key, value in record.values["settings"][name].items())
            figures[f"{record.setting['data']}: {name}({words}), ms"] = [1000 * seconds for seconds in times]
    return figures


def ratios(record: Record) -> list[float]:
    """Best peer over ours, round by round; the best peer is the one with the least median."""
    times = record.values["seconds"]
    peers = [name for name in times if name != OURS]
    best = min(peers, key=lambda name: median(times[name]), default=None)
    if best is None:
        return [inf] * len(times[OURS])
    return [theirs / ours for theirs, ours in zip(times[best], times[OURS], strict=True)]


def plot(records: list[Record]) -> dict[str, Figure]:
    figure, (ax,) = new_figure(CAPTION, height=1.3 + 0.95 * len(records))
    for place, record in enumerate(reversed(records)):
        _draw_data_set(ax, place, record, named=place == len(records) - 1)
    ax.set_yticks(range(len(records)), [_describe(record) for record in reversed(records)], color=INK)
    ax.set(xscale="log", xlabel="seconds per fit", ylim=(-0.6, len(records) - 0.4))
    ax.grid(axis="y", visible=False)
    ax.set_title("Time to the first perfect separator")
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), labelspacing=0.9)
    return {"race": figure}


def _draw_data_set(ax: Axes, place: int, record: Record, *, named: bool) -> None:
    for i, (name, (marker, color)) in enumerate(LOOKS.items()):
        times = record.values["seconds"].get(name, [np.nan])
        height = place + 0.3 - 0.12 * i
        ax.plot([min(times), max(times)], [height, height], color=color, linewidth=1.6, alpha=0.6)
        ax.plot(
            median(times),
            height,
            marker,
            color=color,
            markersize=10 if name == OURS else 6.5,
            label=name if named else None,
            zorder=3,
        )
    ax.axhline(place - 0.5, color=LINE, linewidth=0.8)


def _describe(record: Record) -> str:
    return f"{record.setting['data']}\n{record.values['n']} × {record.values['d']}"


def _figure(data: str) -> str:
    return f"{data}: best peer's time / ours"


def _scale(data: list[str], rounds: int, budget: float, needs: str, **images: Any) -> Scale:
    """rounds: fits per model and data set; budget: seconds to look for a peer's setting; images: for image
    sets, n at most so many, fetch when they are not on this machine.
    """
    about = {"rounds": rounds, "budget": budget}
    settings = [{"data": name, **about, **({} if name in KNOWN else images)} for name in data]
    return Scale(settings, 1, needs)


PAIRS = ["fashion-mnist 1/8", "fashion-mnist 5/9"]

TIME_TO_SEPARATOR = Claim(
    name="linear_model/time-to-separator",
    paper="isocline's own claim, on the purpose of the paper: " + PAPER,
    sentence=(
        "On separable real data LargeStepClassifier reaches the first perfect separator no later than the "
        "best of scikit-learn's linear models."
    ),
    expected=[
        *(Expected(_figure(data), 1.0, ">=", source="isocline's own") for data in KNOWN),
        Expected(_figure(PAIRS[0]), 1.0, ">=", source="isocline's own", optional=True),
        Expected(
            _figure(PAIRS[1]),
            1.0,
            ">=",
            source="isocline's own",
            scales=("small", "paper"),
            optional=True,
        ),
    ],
    scales={
        "tour": _scale([*KNOWN, PAIRS[0]], 7, 0.4, "15 seconds, nothing else running", n=2000),
        "small": _scale([*KNOWN, *PAIRS], 25, 20.0, "10 minutes, nothing else running", n=5000, fetch=True),
        "paper": _scale(
            [*KNOWN, *PAIRS], 25, 300.0, "an hour, nothing else running, Fashion-MNIST", fetch=True
        ),
    },
    run=run,
    measure=measure,
    plot=plot,
    alone=True,
)
