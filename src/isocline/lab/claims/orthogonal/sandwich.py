"""Between the bounds: how far from orthogonal L_orth lets a layer be, and how tight the certified bounds are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from isocline._core.seeds import torch_generator
from isocline.orthogonal import certified_bounds, residual, singular_values

from ...claim import Claim, Expected, Measurement, Record, Scale
from ...style import GREY, ORANGE, PLUM, TEAL, label, new_figure
from .layers import near_orthogonal
from .paper import PAPER

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOWER = "L_orth / min(M, C S²) over err_s², largest"
OURS = "err_s² over alpha L_orth without the channel factor, largest"
THEIRS = "err_s² over the paper's alpha L_orth, largest"
ABOVE = "singular values above the certified bound"
QUICK = "quick bound over the largest singular value, nearly orthogonal layers"
SHARP = "bound from a grid of 32 over the largest singular value, most"
NOISES = (1e-3, 1e-2, 1e-1, 1.0)
LAYERS = (
    (8, 8, 3, 1),
    (16, 16, 3, 1),
    (32, 32, 3, 1),
    (24, 48, 3, 1),
    (32, 8, 3, 2),
    (32, 32, 3, 2),
    (36, 6, 5, 2),
)
CAPTION = (
    "Left: orthogonal kernels plus four sizes of noise. Their spectral residual err_s over sqrt(L_orth) (dots) lies between the "
    "lower bound and the two upper ones, of which the paper's grows with the width. Right: the certified bound on the largest "
    "singular value, over that value at one image size."
)


def run(setting: dict[str, Any], seed: int, device: str) -> Measurement:
    M, C, k, S = setting["layer"]
    rows = []
    for index, noise in enumerate(NOISES):
        generator = torch_generator(len(NOISES) * seed + index)
        conv = near_orthogonal((M, C, k, S), 2, noise, generator)
        quick, sharp = certified_bounds(conv), certified_bounds(conv, grid=32)
        N = setting["N"]
        off = residual(conv, N)
        top = float(singular_values(conv, S * N)[0])
        rows.append(
            (off.l_orth, off.err_s, quick.alpha, quick.alpha_paper, top, quick.sigma_max, sharp.sigma_max)
        )
    return Measurement({}, {"rows": np.array(rows)})


def measure(records: list[Record]) -> dict[str, list[float]]:
    figures: dict[str, list[float]] = {name: [] for name in (LOWER, OURS, THEIRS, ABOVE, QUICK, SHARP)}
    for record in records:
        M, C, _, S = record.setting["layer"]
        L, err, alpha, paper, top, quick, sharp = record.arrays["rows"].T
        figures[LOWER].append(float((L / min(M, C * S * S) / err**2).max()))
        figures[OURS].append(float((err**2 / alpha / L).max()))
        figures[THEIRS].append(float((err**2 / paper / L).max()))
        figures[ABOVE].append(float((top > np.minimum(quick, sharp)).sum()))
        figures[QUICK].append(float((quick / top)[: NOISES.index(1e-2) + 1].max()))
        figures[SHARP].append(float((sharp / top).max()))
    return figures


def plot(records: list[Record]) -> dict[str, Figure]:
    figure, (left, right) = new_figure(CAPTION, columns=2, width=10.6, height=4.4)
    layers, least = list(dict.fromkeys(tuple(r.setting["layer"]) for r in records)), 1.0
    for x, layer in enumerate(layers):
        rows = np.concatenate([r.arrays["rows"] for r in records if tuple(r.setting["layer"]) == layer])
        L, err, alpha, paper, top, quick, sharp = rows.T
        left.plot(x + np.linspace(-0.2, 0.2, len(L)), err / L**0.5, "o", color=TEAL, markersize=4)
        least = 1 / min(layer[0], layer[1] * layer[3] ** 2) ** 0.5
        for value, color in ((least, GREY), (alpha[0] ** 0.5, ORANGE), (paper[0] ** 0.5, PLUM)):
            left.plot([x - 0.36, x + 0.36], [value, value], color=color, linewidth=2)
        noise = np.tile(NOISES, len(L) // len(NOISES))
        right.plot(noise, quick / top, color=ORANGE, alpha=0.55, linewidth=1.2, marker="o", markersize=3)
        right.plot(noise, sharp / top, color=TEAL, alpha=0.7, linewidth=1.2, marker="o", markersize=3)
    left.set_xticks(range(len(layers)), [f"{C}→{M}\nk {k}, S {S}" for M, C, k, S in layers], fontsize=8)
    left.set(yscale="log", ylabel="err_s / sqrt(L_orth)", xlim=(-0.6, len(layers) + 1.3))
    left.grid(axis="x", visible=False)
    end = len(layers) - 0.55
    last = records[-1].arrays["rows"][0] if records else np.ones(7)
    label(left, end, last[3] ** 0.5, "paper", PLUM)
    label(left, end, last[2] ** 0.5, "ours", ORANGE)
    label(left, end, least, "lower", GREY)
    left.set_title("err_s is between its bounds")
    right.set(
        xscale="log", xlabel="noise added to an orthogonal kernel", ylabel="bound / largest singular value"
    )
    right.set_ylim(0.98, None)
    right.axhline(1.0, color="0.5", linewidth=0.9)
    words: dict[str, Any] = {"xycoords": "axes fraction", "fontsize": 9, "fontweight": "bold"}
    right.annotate("two moments, a millisecond", (0.04, 0.7), color=ORANGE, **words)
    right.annotate("grid of 32 × 32", (0.04, 0.13), color=TEAL, **words)
    right.set_title("Certified for every size and padding")
    return {"sandwich": figure}


def _scale(N: int, seeds: int, needs: str) -> Scale:
    return Scale([{"layer": list(layer), "N": N} for layer in LAYERS], seeds, needs)


SANDWICH = Claim(
    name="orthogonal/bounds",
    paper=PAPER,
    sentence=(
        "L_orth holds the spectral residual from both sides, L / min(M, C S²) ≤ err_s² ≤ alpha L; the channels the paper has "
        "in alpha are not needed, and one bound on the largest singular value holds for every image size and padding."
    ),
    expected=(
        Expected(LOWER, 1.0, "<=", 1e-9, source="spectral stability theorem"),
        Expected(THEIRS, 1.0, "<=", source="spectral stability theorem"),
        Expected(OURS, 1.0, "<=", source="ours: the residual as a sum over lags"),
        Expected(ABOVE, 0.0, source="ours: two bounds for every size"),
        Expected(QUICK, 1.02, "<=", source="ours: two moments of the Gram matrices"),
        Expected(SHARP, 1.03, "<=", source="ours: 1 / cos(π (q − 1) / 64)²"),
    ),
    scales={
        "tour": _scale(16, 1, "6 seconds"),
        "small": _scale(32, 5, "3 minutes"),
        "paper": _scale(64, 10, "half an hour: the paper proves what is measured here"),
    },
    run=run,
    measure=measure,
    plot=plot,
)
