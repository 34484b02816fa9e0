"""Lorenz-63 and Lorenz-96 from noisy series: the attractor, the spectrum and the largest exponent come back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...claim import Claim, Expected, Record, Scale
from ...style import GREY, TEAL, new_figure
from .fits import deviation, dropped, finite, run
from .paper import EXPONENT, PAPER

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OWN = "isocline's own, on the paper's protocol"
QUICK = "quick run"
DROPPED = "runs without finite scores"
RATIO = "largest exponent / 0.906"


def measure(records: list[Record]) -> dict[str, list[float]]:
    name = records[0].setting["data"]
    quick = f", {QUICK}" if records[0].setting.get("quick") else ""
    figures = {f"{key}{quick}": finite(records, key) for key in ("D_stsp", "D_H", "PE(20)")}
    if name == "lorenz63":
        figures[f"{RATIO}{quick}"] = [value / EXPONENT for value in finite(records, "exponent")]
    figures[DROPPED] = [float(dropped(records))]
    figures |= {
        f"{key}, median absolute deviation": [deviation(finite(records, key))] for key in ("D_stsp", "D_H")
    }
    floors = np.array([record.values["floors"] for record in records])[0]
    figures |= {
        f"{key}, noise floor": [float(floor)] for key, floor in zip(("D_stsp", "D_H"), floors, strict=False)
    }
    figures["processor seconds of a fit"] = [record.values["fit, cpu s"] for record in records]
    return figures


def plot(records: list[Record]) -> dict[str, Figure]:
    """The best run's attractor beside the true one, and every run's scores."""
    best = min(records, key=lambda record: np.nan_to_num(record.values["D_stsp"], nan=np.inf))
    figure, (truth, made, scores) = new_figure(
        "Left: the test orbit. Middle: a free run of the model with the least D_stsp. Right: D_stsp of every run "
        "against D_H; the cross marks what truth scores against truth.",
        columns=3, height=3.6, width=10.4,
    )  # fmt: skip
    last = best.arrays["truth"].shape[1] - 1 if best.setting["data"] == "lorenz63" else 1
    for ax, key, color in ((truth, "truth", GREY), (made, "made", TEAL)):
        ax.plot(best.arrays[key][:, 0], best.arrays[key][:, last], color=color, linewidth=0.6)
        ax.set(xlabel="first channel", ylabel=f"channel {last + 1}")
    made.set(xlim=truth.get_xlim(), ylim=truth.get_ylim())
    truth.set_title("Data")
    made.set_title("Free run")
    scores.plot([r.values["D_H"] for r in records], [r.values["D_stsp"] for r in records], "o", color=TEAL)
    floors = records[0].values["floors"]
    scores.plot(floors[1], floors[0], "x", color=GREY, markersize=9)
    scores.set(xlabel="D_H", ylabel="D_stsp", xlim=(0, None), ylim=(0, None))
    scores.set_title("Scores")
    return {"attractor": figure}


def _fit(updates: int, hidden: int, alpha: float, length: int, **more: Any) -> dict[str, Any]:
    return {
        "hidden_dim": hidden, "updates": updates, "sequence_length": length,
        "forcing": {"kind": "constant", "alpha": alpha}, **more,
    }  # fmt: skip


def _scale(data: str, samples: int, seeds: int, needs: str, fit: dict[str, Any], steps: int) -> Scale:
    quick = {"quick": True} if fit["updates"] < 20_000 else {}
    return Scale(
        [{"data": data, "samples": samples, "exponent_steps": steps, "fit": fit, **quick}], seeds, needs
    )


LONG = ("small", "paper")
FAST: dict[str, Any] = {"learning_rate": [5e-3, 1e-5]}
LORENZ_63 = Claim(
    name="dynamics/lorenz-63",
    paper=PAPER,
    sentence=(
        "From a Lorenz-63 orbit with 5 % noise, 365 parameters trained by GTF give a free run with the true attractor, "
        "spectrum and largest Lyapunov exponent."
    ),
    expected=(
        Expected("D_stsp", 0.45, "<=", source=OWN, scales=LONG),
        Expected("D_H", 0.11, "<=", source=OWN, scales=LONG),
        Expected("PE(20)", 1.5e-3, "<=", source=OWN, scales=LONG),
        Expected(RATIO, 1.0, "~", 0.05, source="largest exponent 0.906", scales=LONG),
        Expected(f"D_stsp, {QUICK}", 4.0, "<=", source=f"{OWN}; white noise scores 13", scales=("tour",)),
        Expected(f"D_H, {QUICK}", 0.2, "<=", source=OWN, scales=("tour",)),
        Expected(DROPPED, 0, "==", source=OWN),
    ),
    scales={
        "tour": _scale("lorenz63", 20_000, 2, "10 seconds", _fit(12_000, 50, 0.2, 50, **FAST), 1000),
        "small": _scale("lorenz63", 100_000, 5, "3 minutes", _fit(60_000, 50, 0.16, 200, seeds=4), 20_000),
        "paper": _scale("lorenz63", 100_000, 20, "an hour", _fit(250_000, 50, 0.16, 200, seeds=4), 20_000),
    },
    run=run,
    measure=measure,
    plot=plot,
)


LORENZ_96 = Claim(
    name="dynamics/lorenz-96",
    paper=PAPER,
    sentence="The same from a 20-dimensional Lorenz-96 orbit, with 4140 parameters.",
    expected=(
        Expected("D_stsp", 1.68, "<=", 0.3, source="a benchmark aggregator's page: GTF 1.68", scales=LONG),
        Expected("D_H", 0.15, "<=", source=OWN, scales=LONG),
        Expected(f"D_stsp, {QUICK}", 8.0, "<=", source=f"{OWN}; white noise scores 12", scales=("tour",)),
        Expected(DROPPED, 0, "==", source=OWN),
    ),
    scales={
        "tour": _scale("lorenz96", 20_000, 1, "10 seconds", _fit(2000, 100, 0.3, 30, **FAST), 1000),
        "small": _scale("lorenz96", 100_000, 5, "20 minutes", _fit(60_000, 100, 0.2, 50), 1000),
        "paper": _scale("lorenz96", 100_000, 20, "6 hours", _fit(250_000, 100, 0.2, 50), 1000),
    },
    run=run,
    measure=measure,
    plot=plot,
)
