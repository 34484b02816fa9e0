"""The picture that explains the paper: gradients of a chaotic model explode, and a little forcing holds them."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from isocline.datasets.chaotic import lorenz63

from ...claim import SCALES, Claim, Expected, Measurement, Record, Scale
from ...style import GREY, ORANGE, PLUM, SKY, TEAL, label, new_figure
from .paper import PAPER

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

    from isocline.dynamics.models import ShallowPLRNN

STRENGTHS = ("none", "half of critical", "four times critical", "worst case")
LOOKS = dict(zip(STRENGTHS, (ORANGE, PLUM, SKY, TEAL), strict=True))
SHOWN = 400  # points of a curve
FLOOR = -30.0  # powers of ten at which a curve of the picture ends


@cache  # two claims look at it
def chaotic_model(updates: int, seed: int) -> tuple[ShallowPLRNN, Tensor]:
    """A model trained on Lorenz-63 in a second or two, in float64, and states ``(T, M)`` along a test orbit."""
    import torch

    from isocline.dynamics.estimator import Reconstructor
    from isocline.dynamics.schedules import ConstantForcing

    series = lorenz63(30_001, dt=0.02, seed=3).series
    estimator = Reconstructor(
        hidden_dim=50, sequence_length=50, updates=updates, forcing=ConstantForcing(0.25),
        learning_rate=(5e-3, 1e-5), random_state=seed, dt=0.02,
    ).fit(series[:20_000])  # fmt: skip
    return estimator.model_, torch.from_numpy(estimator.standard_.apply(series[20_000:]))


def run(setting: dict[str, Any], seed: int, device: str) -> Measurement:
    """The adjoint of a loss at the last step only, on its way back over T steps, for each strength of forcing.

    Loss and forcing signals are those of a window of T steps; ``grown`` is ``log10 |dl/dz_t| / |dl/dz_T|``.
    """
    import torch

    from isocline.dynamics.functional import critical_alpha, forced_rollout, product_log_norms
    from isocline.dynamics.lyapunov import exponents_along

    model, states = chaotic_model(setting["updates"], seed)
    T = setting["steps"]
    signals = states[1 : T + 1].unsqueeze(1)
    free = model.generate(states[:1], 2000)[-1]
    orbit = torch.cat([free[None], model.generate(free, 9999)])[:, 0]
    rate = float(exponents_along(model.jacobian(orbit)).exponents[0])
    worst = float(torch.linalg.matrix_norm(model.jacobian(states), 2).amax())
    alphas = dict(
        zip(
            STRENGTHS, (0.0, 0.5 * critical_alpha(rate), 4 * critical_alpha(rate), 1 - 1 / worst), strict=True
        )
    )
    grown, backs = {}, {}
    for name, alpha in alphas.items():
        with torch.no_grad():
            visited = _fed(
                forced_rollout(*model.weights(), states[:1], signals, alpha), states[:1], signals, alpha
            )
            jacobians = model.jacobian(visited[:, 0]).mT.flip(0)
            grown[name] = product_log_norms(jacobians, alpha=alpha).numpy() / math.log(10)
        backs[name] = _adjoint_of_the_loss(model, states[:1], signals, alpha)
    shift = _forced_exponent_shift(model, orbit, 0.3)
    values = {"alphas": alphas, "rate": rate, "adjoint": backs, "shift": shift, "steps": T}
    places = np.unique(np.geomspace(1, T, SHOWN).astype(int)) - 1
    return Measurement(values, {"places": places, **{name: grown[name][places] for name in STRENGTHS}})


def _fed(predicted: Tensor, z0: Tensor, signals: Tensor, alpha: float) -> Tensor:
    """The states at which Jacobians act: z_0 and the forced ones."""
    import torch

    return torch.cat([z0[None], torch.lerp(predicted, signals, alpha)[:-1]])


def _adjoint_of_the_loss(model: ShallowPLRNN, z0: Tensor, signals: Tensor, alpha: float) -> float:
    """``log10`` of the largest adjoint of the summed squared error over its largest slope, by autograd's own way back.

    The gradient with respect to a drive added at step t is the adjoint at t.
    """
    import torch

    from isocline.dynamics.functional import forced_rollout

    T, _, M = signals.shape
    drive = torch.zeros(T, 1, M, dtype=signals.dtype, requires_grad=True)
    predicted = forced_rollout(
        *model.weights(), z0, signals, alpha, C=torch.eye(M, dtype=signals.dtype), inputs=drive
    )
    error = predicted - signals
    (adjoint,) = torch.autograd.grad(error.square().sum(), drive)
    largest = float(torch.linalg.vector_norm(adjoint, dim=2).amax())
    slope = float(2 * torch.linalg.vector_norm(error.detach(), dim=2).amax())
    return math.log10(largest / slope) if math.isfinite(largest) else math.inf


def _forced_exponent_shift(model: ShallowPLRNN, orbit: Tensor, alpha: float) -> float:
    """Largest distance of (forced - free exponents along one orbit) from ln(1 - alpha)."""
    from isocline.dynamics.lyapunov import exponents_along

    jacobians = model.jacobian(orbit[:2000])
    free, forced = (exponents_along(scale * jacobians).exponents for scale in (1.0, 1 - alpha))
    return float(np.abs(forced - free - math.log1p(-alpha)).max())


def _adjoint(name: str, steps: int) -> str:
    return f"largest adjoint over T = {steps}, {name}: powers of ten"


def measure(records: list[Record]) -> dict[str, list[float]]:
    figures: dict[str, list[float]] = {}
    for record in records:
        for name, value in record.values["adjoint"].items():
            figures.setdefault(_adjoint(name, record.values["steps"]), []).append(value)
        figures.setdefault(SHIFT, []).append(record.values["shift"])
        for name, alpha in record.values["alphas"].items():
            figures.setdefault(f"alpha, {name}", []).append(alpha)
    return figures


def plot(records: list[Record]) -> dict[str, Figure]:
    record = max(records, key=lambda one: one.values["steps"])
    figure, (ax,) = new_figure(
        "Size of a gradient that is followed back along one trajectory, without forcing and with three strengths of it, "
        "on a model of Lorenz-63. Critical: the forcing that just offsets the largest Lyapunov exponent. Worst case: "
        "the paper's alpha*, one minus the inverse of the largest singular value met. A curve ends where it falls below "
        "10⁻³⁰."
    )
    steps = record.arrays["places"] + 1
    for name in STRENGTHS:
        below = record.arrays[name] < FLOOR
        shown = slice(int(below.argmax()) if below.any() else len(steps))
        curve = record.arrays[name][shown]
        ax.plot(steps[shown], curve, color=LOOKS[name])
        words = f"{name}, alpha {record.values['alphas'][name]:.3g}" if name != "none" else "no forcing"
        below_others = (
            -13 if name == "worst case" else 0
        )  # its curve ends left of another, at the same height
        label(ax, steps[shown][-1], curve[-1], words, LOOKS[name], dy=below_others)
    ax.axhline(0, color=GREY, linewidth=0.8)
    ax.set(
        xlabel="steps back in time", ylabel="gradient, powers of ten", xlim=(0, steps[-1]), ylim=(-44, None)
    )
    ax.set_title("Gradients without and with forcing")
    return {"gradients": figure}


SHIFT = "forced exponents minus free ones: largest distance from ln(1 − α)"
LONG = 10_000


def _scale(seeds: int, updates: int, needs: str) -> Scale:
    return Scale([{"steps": LONG, "updates": updates}], seeds, needs)


BOUNDED_GRADIENTS = Claim(
    name="dynamics/bounded-gradients",
    paper=PAPER,
    sentence=(
        "Over 10 000 steps of a chaotic system gradients exceed 10³⁰ without forcing; from alpha* on they stay bounded, "
        "and four times the forcing that offsets the exponent is enough."
    ),
    expected=(
        Expected(_adjoint("none", LONG), 30, ">=", source="Proposition 1: chaos, exploding gradients"),
        Expected(
            _adjoint("worst case", LONG),
            math.log10(LONG),
            "<=",
            source="Proposition 2: at most g T at alpha*",
        ),
        Expected(_adjoint("four times critical", LONG), math.log10(LONG), "<=", source="isocline's own"),
        Expected(SHIFT, 0, "~", 1e-9, source="forced exponents = free exponents + ln(1 − α)", scales=SCALES),
    ),
    scales={
        "tour": _scale(1, 12_000, "4 seconds"),
        "small": _scale(5, 12_000, "15 seconds"),
        "paper": _scale(20, 60_000, "5 minutes"),
    },
    run=run,
    measure=measure,
    plot=plot,
)
