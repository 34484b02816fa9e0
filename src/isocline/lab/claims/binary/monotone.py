"""The exact law behind the picture: the error of ReSTE falls as its power grows, at every point; other estimators' does not."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from isocline._core.seeds import torch_generator
from isocline.binary.estimators import make_estimator
from isocline.binary.functional import reste_primitive
from isocline.binary.indicators import estimating_error

from ...claim import Claim, Expected, Measurement, Record, Scale
from ...style import GREY, ORANGE, PALETTE, TEAL, label, new_figure
from .paper import PAPER

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RISES = "places and powers where the error rises with the power"
WORSE = "places and powers where ReSTE errs more than the identity"
SUMS = "weight tensors and powers where the published error rises"
FAR = "{}: share of places where it errs more than the identity, at its worst sharpness"
OTHERS = {"ede": "EDE", "rbnn": "RBNN", "dsq": "DSQ", "fda": "FDA"}
POWERS = np.unique(np.concatenate([np.linspace(1, 10, 91), np.geomspace(10, 1000, 60)]))
SHARPNESS = {
    "ede": [{"t": t} for t in np.geomspace(1e-3, 10, 25)],
    "rbnn": [{"t": t} for t in np.geomspace(1e-2, 10, 25)],
    "dsq": [{"a": a} for a in np.linspace(0.9, 0.02, 25)],
    "fda": [{"w": w} for w in np.linspace(0.2, 2.0, 25)],
}
SLACK = 1e-12  # of a power and a difference in float64, relative to the values' size
SHOWN = (1.0, 1.5, 2.0, 3.0, 10.0)
CAPTION = (
    "Left: ReSTE's primitive sign(z) |z|^(1/o). As o grows every point moves towards the sign, none away (the lemma). Middle: "
    "its error |f(z) - sign(z)|. Right: the published error e of the same Gaussian weights (deviation 0.3), over that of the "
    "identity, as each estimator is sharpened from its first constants to its last."
)


def run(setting: dict[str, Any], seed: int, device: str) -> Measurement:
    """Random values of every size, the corners, and tensors of Gaussian weights."""
    generator = torch_generator(seed)
    drawn = 10 ** (12 * torch.rand(setting["places"], generator=generator, dtype=torch.float64) - 8)
    z = torch.cat([drawn, -drawn, torch.tensor([0.0, 1.0, -1.0, 0.1, 1.5], dtype=torch.float64)])
    errors = torch.stack([(reste_primitive(z, float(o)) - _sign(z)).abs() for o in POWERS])
    size = SLACK * (1 + z.abs())
    weights = [
        deviation * torch.randn(4096, generator=generator, dtype=torch.float64)
        for deviation in (0.02, 0.3, 3.0)
    ]
    sums = np.array(
        [[float(estimating_error(w, partial(reste_primitive, o=float(o)))) for o in POWERS] for w in weights]
    )
    values: dict[str, float] = {
        "rises": int((errors[1:] > errors[:-1] + size).sum()),
        "worse": int((errors > errors[0] + size).sum()),
        "sums": int((np.diff(sums, axis=1) > SLACK * sums[:, 1:]).sum()),
        "compared": errors.numel(),
    }
    near = torch.linspace(-2, 2, 2001, dtype=torch.float64)
    curves = {"reste": _curve("reste", [{"o": o} for o in POWERS if o <= 10], weights[1], near)[1]}
    for name, steps in SHARPNESS.items():
        worse, curves[name] = _curve(name, steps, weights[1], near)
        values[name] = max(worse)
    return Measurement(values, curves)


def _sign(z: torch.Tensor) -> torch.Tensor:
    return torch.where(z >= 0, 1.0, -1.0).to(z.dtype)


def _curve(
    name: str, steps: list[dict[str, float]], weights: torch.Tensor, near: torch.Tensor
) -> tuple[list[float], np.ndarray]:
    """For each sharpness: the share of places where it errs more than the identity; its error over the identity's."""
    flat = float(estimating_error(weights, lambda z: z))
    shares, curve = [], []
    for step in steps:
        estimator = make_estimator(name)
        for parameter, value in step.items():
            getattr(estimator, parameter).fill_(value)
        off = (estimator.primitive(near) - _sign(near)).abs()
        shares.append(float((off > (near - _sign(near)).abs() + SLACK).double().mean()))
        curve.append(float(estimating_error(weights, estimator.primitive)) / flat)
    return shares, np.array(curve)


def measure(records: list[Record]) -> dict[str, list[float]]:
    figures = {
        RISES: [float(r.values["rises"]) for r in records],
        WORSE: [float(r.values["worse"]) for r in records],
        SUMS: [float(r.values["sums"]) for r in records],
    }
    for name, title in OTHERS.items():
        figures[FAR.format(title)] = [r.values[name] for r in records]
    return figures


def plot(records: list[Record]) -> dict[str, Figure]:
    figure, (left, middle, right) = new_figure(CAPTION, columns=3, width=11.4, height=3.8)
    z = np.linspace(-2, 2, 801)
    for i, o in enumerate(SHOWN):
        f = np.sign(z) * np.abs(z) ** (1 / o)
        shade = 0.25 + 0.75 * i / (len(SHOWN) - 1)
        left.plot(z, f, color=TEAL, alpha=shade)
        middle.plot(z[z > 0], np.abs(f - np.sign(z))[z > 0], color=TEAL, alpha=shade)
        label(left, 2, f[-1], f"o = {o:g}", TEAL, dy=-2 if o == 3 else 0)
    left.plot(z, np.sign(z), color=ORANGE, linewidth=1.2)
    label(left, -1.9, -0.72, "sign", ORANGE)
    left.set(xlabel="z", xlim=(-2, 2), title="Towards the sign")
    middle.set(xlabel="z", xlim=(0, 2), ylim=(0, 1), ylabel="|f(z) − sign(z)|", title="Everywhere less error")
    right.axhline(1.0, color=GREY, linewidth=1)
    curves = records[0].arrays
    apart = {"reste": -5, "fda": 5, "ede": 3, "rbnn": -3}
    for name, color in zip(["reste", *OTHERS], PALETTE, strict=False):
        share = np.linspace(0, 1, len(curves[name]))
        right.plot(share, curves[name], color=color)
        label(
            right,
            1.0,
            float(curves[name][-1]),
            ({"reste": "ReSTE"} | OTHERS)[name],
            color,
            dy=apart.get(name, 0),
        )
    right.set(
        xlabel="from flat to sharp",
        ylabel="error e over the identity's",
        xlim=(0, 1),
        ylim=(0, None),
        title="Rational or not",
    )
    return {"law": figure}


MONOTONE = Claim(
    name="binary/error-falls",
    paper=PAPER,
    sentence="ReSTE's error never rises with its power, at any value, so it never exceeds that of the plain estimator.",
    expected=(
        Expected(RISES, 0.0, source="lemma on the estimating error"),
        Expected(WORSE, 0.0, source="rational estimators, section 3"),
        Expected(SUMS, 0.0, source="indicator e, section 3"),
        Expected(FAR.format("EDE"), 0.1, ">=", source="section 3: not rational, so more than 0"),
        Expected(FAR.format("RBNN"), 0.1, ">=", source="section 3: not rational, so more than 0"),
        Expected(FAR.format("FDA"), 0.1, ">=", source="section 3: not rational, so more than 0"),
        Expected(
            FAR.format("DSQ"),
            0.0,
            source="ours: rational where the paper has it not, with one bit and levels -1, 1",
        ),
    ),
    scales={
        "tour": Scale([{"places": 2000}], 3, "2 seconds"),
        "small": Scale([{"places": 100_000}], 10, "a minute"),
        "paper": Scale([{"places": 1_000_000}], 10, "ten minutes: the paper proves what is measured here"),
    },
    run=run,
    measure=measure,
    plot=plot,
)
