"""One number for every image size: the residual's square is N^d L_orth, from the size on at which lags stop wrapping."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from isocline._core.seeds import torch_generator
from isocline.orthogonal import residual

from ...claim import Claim, Expected, Measurement, Record, Scale
from ...style import PALETTE, label, new_figure
from .layers import near_orthogonal
from .paper import PAPER

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXACT = "largest |err_F² / (N^d L_orth) − 1| with S N ≥ 2 k − 1"
BELOW = "share of smaller sizes at which the identity fails"
CAPTION = (
    "The squared Frobenius norm of the orthogonality residual over N^d L_orth, for layers (M, C, k, S) near an orthogonal one. "
    "Left of the dashed line the image is smaller than 2 k − 1, lags wrap around it, and the identity fails."
)
# Each overlaps itself, so that lags exist at all.
LAYERS = (
    (8, 8, 3, 1, 2),
    (6, 3, 5, 1, 2),
    (12, 4, 5, 2, 2),
    (5, 9, 7, 1, 1),
    (4, 6, 4, 1, 1),
    (3, 2, 3, 1, 3),
)


def run(setting: dict[str, Any], seed: int, device: str) -> Measurement:
    M, C, k, S, d = setting["layer"]
    generator = torch_generator(seed)
    conv = near_orthogonal((M, C, k, S), d, setting["noise"], generator)
    sizes = range(1, setting["sizes"] + 1)
    found = [residual(conv, N) for N in sizes]
    ratio = np.array([one.err_F_sq / one.predicted for one in found])
    return Measurement({}, {"ratio": ratio, "holds": np.array([one.holds for one in found])})


def measure(records: list[Record]) -> dict[str, list[float]]:
    off = [np.abs(r.arrays["ratio"] - 1) for r in records]
    holds = [r.arrays["holds"].astype(bool) for r in records]
    below = [float((o[~h] > 1e-6).mean()) for o, h in zip(off, holds, strict=True) if (~h).any()]
    return {EXACT: [float(o[h].max()) for o, h in zip(off, holds, strict=True)], BELOW: below}


def plot(records: list[Record]) -> dict[str, Figure]:
    figure, (ax,) = new_figure(CAPTION, height=4.4)
    seen: set[tuple[int, ...]] = set()
    for record in records:
        M, C, k, S, d = layer = tuple(record.setting["layer"])
        if layer in seen:
            continue
        color = PALETTE[len(seen) % len(PALETTE)]
        seen.add(layer)
        ratio = record.arrays["ratio"]
        x = S * np.arange(1, len(ratio) + 1) / (2 * k - 1)
        ax.plot(x, ratio, color=color, marker="o", markersize=4, linewidth=1.3)
        label(ax, x[0], ratio[0], f"({M}, {C}, {k}, {S}), {d}-D", color, dx=5, dy=4)
    ax.axvline(1.0, color="0.5", linestyle="--", linewidth=0.9)
    ax.axhline(1.0, color="0.5", linewidth=0.9)
    ax.set(xscale="log", yscale="log", xlabel="image side S N over 2 k − 1", ylabel="err_F² / (N^d L_orth)")
    ax.set_xticks([0.1, 0.2, 0.5, 1, 2], ["0.1", "0.2", "0.5", "1", "2"])
    ax.set_yticks([0.6, 0.8, 1, 1.5, 2, 2.5], ["0.6", "0.8", "1", "1.5", "2", "2.5"])
    ax.minorticks_off()
    ax.set_title("From 2 k − 1 on, one number holds for every size")
    return {"sizes": figure}


def _scale(sizes: int, seeds: int, needs: str) -> Scale:
    return Scale(
        [
            {"layer": list(layer), "noise": 0.1, "sizes": min(sizes, 8) if layer[4] == 3 else sizes}
            for layer in LAYERS
        ],
        seeds,
        needs,
    )


SIZES = Claim(
    name="orthogonal/every-size",
    paper=PAPER,
    sentence=(
        "The orthogonality residual of the layer's matrix is N^d L_orth, exactly, for every image of at least 2 k − 1: the "
        "regulariser of a small kernel speaks for images of any size."
    ),
    expected=(
        Expected(EXACT, 0.0, "==", 1e-9, source="scalability theorem"),
        Expected(BELOW, 0.5, ">=", source="the theorem's condition is needed"),
    ),
    scales={
        "tour": _scale(14, 1, "2 seconds"),
        "small": _scale(24, 5, "a minute"),
        "paper": _scale(40, 20, "10 minutes: the paper proves what is measured here"),
    },
    run=run,
    measure=measure,
    plot=plot,
)
