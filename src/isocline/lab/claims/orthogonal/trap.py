"""The widespread regulariser pads its self-convolution by 1: it is content with layers that are far from orthogonal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from isocline._core.seeds import torch_generator
from isocline.orthogonal import ConvShape, lorth
from isocline.orthogonal.frequencies import block_values
from isocline.orthogonal.initial import block_kernel

from ...claim import Claim, Expected, Measurement, Record, Scale
from ...style import GREY, ORANGE, TEAL, label, new_figure
from .layers import glorot
from .paper import PAPER

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CONTENT = "its loss where it ends, padding 1"
RANGE = "largest minus smallest singular value where it ends, padding 1"
RIGHT = "largest minus smallest singular value where it ends, L_orth"
CONDEMNED = "its loss of an exactly orthogonal (8, 2, 3, 2) kernel, padding 1"
CAPTION = (
    "A 3 × 3 layer from 12 to 8 channels, stride 1, after 1500 steps of Adam on each loss: all its singular values on a 16 × 16 "
    "image. "
    "With padding 1, sixteen of the 25 lags are not looked at; the loss says zero, and the layer is not orthogonal."
)


def padded_by_one(K: Tensor, stride: int) -> Tensor:
    """``||conv(K, K, padding 1) - I||^2``, the identity in the middle: right only for a kernel of 2 taps, at stride 1."""
    G = F.conv2d(K, K, stride=stride, padding=1)
    target = torch.zeros_like(G)
    target[..., G.shape[-2] // 2, G.shape[-1] // 2] = torch.eye(len(K), dtype=K.dtype)
    return (G - target).square().sum()


LOSSES = {"padding 1": lambda K: padded_by_one(K, 1), "L_orth": lorth}


def run(setting: dict[str, Any], seed: int, device: str) -> Measurement:
    generator = torch_generator(seed)
    strided = block_kernel(ConvShape(8, 2, 3, 2), generator)
    values: dict[str, float] = {"condemned": float(padded_by_one(strided, 2))}
    shape, arrays = ConvShape(8, 12, 3), {}
    start = glorot(shape.weight_shape, generator).float()
    for name, loss in LOSSES.items():
        K = start.clone().requires_grad_()
        optimizer = torch.optim.Adam([K], lr=0.01)
        for _ in range(setting["steps"]):
            optimizer.zero_grad(set_to_none=True)
            loss(K).backward()
            optimizer.step()
        values[name] = float(loss(K.detach()))
        found, counts = block_values(K.detach().double(), shape, (16, 16))
        every = found.flatten(1).repeat_interleave(counts, 0).flatten().sort(descending=True).values
        arrays[name] = every.numpy()
    return Measurement(values, arrays)


def measure(records: list[Record]) -> dict[str, list[float]]:
    return {
        CONTENT: [r.values["padding 1"] for r in records],
        RANGE: [float(np.ptp(r.arrays["padding 1"])) for r in records],
        RIGHT: [float(np.ptp(r.arrays["L_orth"])) for r in records],
        CONDEMNED: [r.values["condemned"] for r in records],
    }


def plot(records: list[Record]) -> dict[str, Figure]:
    figure, (ax,) = new_figure(CAPTION, height=4.0)
    for record in records:
        for name, color in (("padding 1", ORANGE), ("L_orth", TEAL)):
            values = record.arrays[name]
            ax.plot(np.linspace(0, 100, len(values)), values, color=color, linewidth=1.5, alpha=0.8)
    if records:
        values = records[0].arrays["padding 1"]
        words = f"padding 1, whose loss is {records[0].values['padding 1']:.0e}"
        label(ax, 12, float(values[len(values) // 8]), words, ORANGE, dx=8, dy=12)
        label(ax, 88, 1.0, "L_orth", TEAL, dx=0, dy=9)
    ax.axhline(1.0, color=GREY, linewidth=0.8, linestyle="--", zorder=0)
    ax.set(xlabel="share of the singular values, %", ylabel="singular value", xlim=(0, 100), ylim=(0, None))
    ax.set_title("The loss is zero, the layer is not orthogonal")
    return {"trap": figure}


def _scale(seeds: int, needs: str) -> Scale:
    return Scale([{"steps": 1500}], seeds, needs)


TRAP = Claim(
    name="orthogonal/padding-trap",
    paper=PAPER,
    sentence=(
        "The self-convolution of the regulariser needs the padding ⌊(k − 1) / S⌋ S. With padding 1, as it is widely copied, it "
        "condemns orthogonal kernels of stride 2 and is content with kernels of stride 1 that are not orthogonal."
    ),
    expected=(
        Expected(CONTENT, 0.0, "==", 1e-3, source="lags beyond the padding are not looked at"),
        Expected(RANGE, 0.5, ">=", source="lags beyond the padding are not looked at"),
        Expected(RIGHT, 0.0, "==", 0.02, source="L_orth = 0 if and only if orthogonal"),
        Expected(CONDEMNED, 16.0, "==", 1e-9, source="the lags taken are ±1: zero lag is never sampled"),
    ),
    scales={
        "tour": _scale(1, "2 seconds"),
        "small": _scale(20, "a minute"),
        "paper": _scale(100, "5 minutes"),
    },
    run=run,
    measure=measure,
    plot=plot,
)
