"""Where the answer is known: level sets that are planes and spheres."""

from __future__ import annotations

from typing import Any

import torch

from isocline._core.seeds import torch_generator
from isocline.level_sets import functional

from ...claim import Claim, Expected, Measurement, Record, Scale
from .paper import PAPER

PLANE = "linear model: one step of eta = 1 from the best blind spot there is"
RESIDUAL = "linear model: what stays of the distance, less |w (x_t - x_s)| / |w|"
DRIFT = "sphere: rise of |x|² in a step, less eta² |v⊥|², relative"
SPHERE = "sphere, each step corrected: distance from it after 200 steps"


def run(setting: dict[str, Any], seed: int, device: str) -> Measurement:
    generator = torch_generator(seed)
    size = setting["size"]
    source, target, w = (torch.randn(16, size, generator=generator, dtype=torch.float64) for _ in range(3))
    v = target - source
    end = source + functional.tangent(v, w)
    along = (w * v).sum(1, keepdim=True) / w.square().sum(1, keepdim=True)
    left = (target - end).norm(dim=1) - (w * v).sum(1).abs() / w.norm(dim=1)
    x, level, eta, rises = source.clone(), source.square().sum(1), 0.05, []
    for step in range(200):
        before = x.square().sum(1)
        side = functional.tangent(target - x, 2 * x)
        x = x + eta * side
        if step < 20:
            predicted = eta**2 * side.square().sum(1)
            rises.append(((x.square().sum(1) - before - predicted) / before).abs().max())
        for _ in range(4):  # Newton's error is squared each time
            x = functional.corrected(x, 2 * x, x.square().sum(1) - level)
    return Measurement(
        {
            "plane": float((end - (target - along * w)).abs().max()),
            "residual": float(left.abs().max()),
            "drift": float(torch.stack(rises).max()),
            "sphere": float((x.square().sum(1) / level - 1).abs().max()),
        }
    )


def measure(records: list[Record]) -> dict[str, list[float]]:
    names = {PLANE: "plane", RESIDUAL: "residual", DRIFT: "drift", SPHERE: "sphere"}
    return {figure: [record.values[name] for record in records] for figure, name in names.items()}


TOYS = Claim(
    name="level_sets/toys",
    paper=PAPER,
    sentence=(
        "On a linear model one step reaches the best blind spot exactly; on a sphere a step rises by eta² |v⊥|², and the "
        "correction brings it back."
    ),
    expected=tuple(
        Expected(figure, 0.0, "==", 1e-10, source="closed form")
        for figure in (PLANE, RESIDUAL, DRIFT, SPHERE)
    ),
    scales={
        "tour": Scale([{"size": 50}], 5, "a second"),
        "small": Scale([{"size": 50}, {"size": 3000}], 20, "10 seconds"),
        "paper": Scale([{"size": 150_528}], 20, "a minute"),
    },
    run=run,
    measure=measure,
)
