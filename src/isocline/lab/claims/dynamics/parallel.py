"""Parallel in time: with forcing, Newton finds a whole trajectory in a few rounds, whatever its length."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...claim import Claim, Expected, Measurement, Record, Scale
from ...style import ORANGE, SKY, TEAL, label, new_figure
from .gradients import chaotic_model

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAPER = (
    "Parallel-in-Time Training of Recurrent Neural Networks for Dynamical Systems Reconstruction, arXiv 2605.12683; "
    "Lim et al., Parallelizing non-linear sequential models over the sequence length (DEER), ICLR 2024"
)
LENGTHS = (200, 1000, 3000)
ALPHAS = (0.0, 0.03, 0.06, 0.125, 0.25, 0.5)
MOST = 40
LOOKS = dict(zip(LENGTHS, (SKY, TEAL, ORANGE), strict=True))
CAPTION = (
    "Newton iterations until the residual is at rounding, on a model of Lorenz-63, from the forcing signals as first guess. "
    f"Hollow: not within {MOST}; the library then runs the steps one after another."
)


def run(setting: dict[str, Any], seed: int, device: str) -> Measurement:
    """Iterations for each alpha and length, whether Newton certified its result, and its distance from the steps one by
    one.
    """
    import torch

    from isocline.dynamics.functional import forced_rollout
    from isocline.dynamics.kernels.parallel import newton

    model, states = chaotic_model(setting["updates"], seed)
    found = []
    for length in LENGTHS:
        signals = states[1 : length + 1].unsqueeze(1)
        for alpha in ALPHAS:
            with torch.no_grad():
                weight = torch.full_like(signals, alpha)
                path = newton(model.weights(), states[:1], signals, weight, None, most=MOST)
                steps = forced_rollout(*model.weights(), states[:1], signals, alpha, backend="cpu")
                apart = float((path.fed[1:] - torch.lerp(steps, signals, alpha)[:-1]).abs().amax())
            about = {"iterations": path.iterations, "certified": path.converged, "apart": apart}
            found.append({"steps": length, "alpha": alpha, **about})
    return Measurement({"found": found})


MANY = f"iterations, most at any length and alpha ≥ {ALPHAS[2]:g}"
FREE = f"iterations without forcing, T = {LENGTHS[2]} (none within {MOST})"
APART = "largest distance from the steps one by one, where the result was certified"
NEAR = 1e-6  # further from the steps one by one is another trajectory


def measure(records: list[Record]) -> dict[str, list[float]]:
    figures: dict[str, list[float]] = {MANY: [], FREE: [], APART: []}
    for record in records:
        counts = {(one["steps"], one["alpha"]): _count(one) for one in record.values["found"]}
        figures[MANY].append(max(count for (_, alpha), count in counts.items() if alpha >= ALPHAS[2]))
        figures[FREE].append(counts[LENGTHS[2], 0.0])
        figures[APART].append(max(one["apart"] for one in record.values["found"] if one["certified"]))
    return figures


def _count(one: dict[str, Any]) -> float:
    return float(one["iterations"]) if _ended(one) else float("inf")


def _ended(one: dict[str, Any]) -> bool:
    return one["certified"] and one["apart"] < NEAR


def plot(records: list[Record]) -> dict[str, Figure]:
    figure, (ax,) = new_figure(CAPTION)
    found = records[0].values["found"]
    for length in LENGTHS:
        rows = [one for one in found if one["steps"] == length]
        places, counts = [one["alpha"] for one in rows], [min(_count(one), MOST) for one in rows]
        ax.plot(places, counts, color=LOOKS[length])
        for one, count in zip(rows, counts, strict=True):
            fill = LOOKS[length] if _ended(one) else "white"
            ax.plot(one["alpha"], count, "o", color=LOOKS[length], markerfacecolor=fill)
        label(ax, places[0], counts[0], f"T = {length}", LOOKS[length], dx=8)
    ax.set(
        xlabel="strength of forcing, alpha",
        ylabel="Newton iterations",
        yscale="log",
        yticks=[2, 5, 10, 20, 40],
    )
    ax.set_yticklabels(["2", "5", "10", "20", "40"])
    ax.set_title("A long trajectory in a few rounds")
    return {"iterations": figure}


def _scale(seeds: int, updates: int, needs: str) -> Scale:
    return Scale([{"updates": updates}], seeds, needs)


PARALLEL_IN_TIME = Claim(
    name="dynamics/parallel-in-time",
    paper=PAPER,
    sentence=(
        "Forcing makes the map contract, so that Newton on the whole trajectory ends after a few iterations whose number "
        "does not grow with its length; without forcing it does not end."
    ),
    expected=(
        Expected(MANY, 10, "<=", source="isocline's own prototype: 5"),
        Expected(FREE, MOST + 1, ">=", source="isocline's own prototype: none"),
        Expected(APART, 0, "~", 1e-9, source="Newton ends at the sequential trajectory"),
    ),
    scales={
        "tour": _scale(1, 12_000, "5 seconds"),
        "small": _scale(5, 12_000, "20 seconds"),
        "paper": _scale(20, 60_000, "5 minutes"),
    },
    run=run,
    measure=measure,
    plot=plot,
)
