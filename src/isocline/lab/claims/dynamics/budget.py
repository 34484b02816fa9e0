"""GTF against the ways before it, on one budget: same data, same model, same number of updates."""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING, Any

from ...claim import Claim, Expected, Record, Scale
from ...style import SOFT, new_figure
from .fits import dropped, finite, run
from .paper import COLORS, NAMES, PAPER

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORCINGS: dict[str, dict[str, Any]] = {
    "gtf": {"kind": "constant", "alpha": 0.2},
    "agtf": {"kind": "adaptive", "method": "arithmetic_mean"},
    "stf": {"kind": "none"},
    "sparse": {"kind": "sparse", "interval": 25},
}
KEYS = ("D_stsp", "D_H")


def measure(records: list[Record]) -> dict[str, list[float]]:
    figures: dict[str, list[float]] = {}
    for method, rows in _by_method(records).items():
        for key in KEYS:
            figures[f"{NAMES[method]}: {key}"] = finite(rows, key)
        figures[f"{NAMES[method]}: runs without finite scores"] = [float(dropped(rows))]
    gtf = _median(figures[f"{NAMES['gtf']}: D_stsp"])
    for method in ("stf", "sparse"):
        name = f"{NAMES[method]}: D_stsp"
        if name in figures:
            figures[_ratio(method)] = [_median(figures[name]) / gtf]
    return figures


def _ratio(method: str) -> str:
    return f"D_stsp of {NAMES[method]} / D_stsp of GTF"


def _median(values: list[float]) -> float:
    return median(values) if values else math.inf  # no run had finite scores


def _by_method(records: list[Record]) -> dict[str, list[Record]]:
    found = {name: [record for record in records if record.setting["method"] == name] for name in FORCINGS}
    return {name: rows for name, rows in found.items() if rows}


def plot(records: list[Record]) -> dict[str, Figure]:
    """What each method's best run looks like, and all scores."""
    found = _by_method(records)
    figure, axes = new_figure(
        "A free run of the best model of each method, first against last channel, with the median D_stsp over seeds.",
        columns=len(found), width=10.4, height=3.2,
    )  # fmt: skip
    for ax, (method, rows) in zip(axes, found.items(), strict=True):
        scores = finite(rows, "D_stsp")
        best = min(
            rows,
            key=lambda row: (
                row.values["D_stsp"] if row.values["D_stsp"] == row.values["D_stsp"] else math.inf
            ),
        )
        truth, made = best.arrays["truth"], best.arrays["made"]
        ax.plot(truth[:, 0], truth[:, 2], color=SOFT, linewidth=0.3, alpha=0.5)
        limits = {"xlim": ax.get_xlim(), "ylim": ax.get_ylim()}
        ax.plot(made[:, 0], made[:, 2], color=COLORS[method], linewidth=0.7)
        ax.set(xlabel="x", ylabel="z" if method == "gtf" else None, **limits)
        ax.set_title(f"{NAMES[method].partition(' (')[0]}: {_median(scores):.3g}")
    return {"free-runs": figure}


def _scale(
    updates: int, samples: int, length: int, seeds: int, needs: str, methods: tuple[str, ...], **fit: Any
) -> Scale:
    """GTF and its rivals; cut sequences (STF) have the predictability time of the system, ln 2 / 0.906 = 77 steps."""
    settings = []
    for method in methods:
        steps = 77 if method == "stf" else length
        made = {
            "hidden_dim": 50,
            "updates": updates,
            "sequence_length": steps,
            "forcing": FORCINGS[method],
            **fit,
        }
        settings.append(
            {"data": "lorenz63", "method": method, "samples": samples, "exponent_steps": 1000, "fit": made}
        )
    return Scale(settings, seeds, needs)


ALL = tuple(FORCINGS)
SAME_BUDGET = Claim(
    name="dynamics/same-budget",
    paper=PAPER,
    sentence=(
        "With the same model and the same number of updates, forcing a little at every step gives a better attractor than "
        "none on cut sequences, and than replacing the state now and then."
    ),
    expected=(
        Expected(_ratio("stf"), 1.0, ">=", source="Table 1: 7.1 / 4.3 on ECG, 14 / 2.1 on EEG"),
        Expected(_ratio("sparse"), 1.0, ">=", source="Table 1 and section 4", scales=("small", "paper")),
        Expected(f"{NAMES['gtf']}: runs without finite scores", 0, source="isocline's own"),
    ),
    scales={
        "tour": _scale(
            8000, 20_000, 100, 1, "10 seconds", ("gtf", "agtf", "stf"), learning_rate=[5e-3, 1e-5]
        ),
        "small": _scale(20_000, 100_000, 200, 5, "2 hours, most of them for sparse forcing", ALL),
        "paper": _scale(60_000, 100_000, 200, 20, "a day, most of it for sparse forcing", ALL),
    },
    run=run,
    measure=measure,
    plot=plot,
)
