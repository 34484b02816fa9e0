"""The measuring device: a network that reads the factors of a picture, and the gate that a decoder must pass.

It learns from renders whose factors are independent, so that it cannot share the spurious correlation of the decoder that it
measures. A rotation shows in bars only: it is learned from bars, and is no attribute that a method is scored on.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from isocline._core.checks import check_number, check_shape
from isocline._core.seeds import seeded, torch_generator
from isocline.datasets.shapes import FACTORS, SHAPES, render, sample_factors

if TYPE_CHECKING:
    from .decoder import Decoder

SIZE = 24
PIXELS = 3 * SIZE * SIZE
SCORED = FACTORS[:5]  # what methods are scored on, beside the shape: all but the rotation
BAR = SHAPES.index("bar")
KEPT = 0.9  # correlation and accuracy that the gate asks for


class Regressor(nn.Module):
    """Pictures ``(N, 3, 24, 24)`` to ``(N, 9)``: the six factors in [-1, 1], then three shape logits. Source: own benchmark."""

    def __init__(self, hidden: int = 256) -> None:
        super().__init__()
        hidden = check_number("hidden", hidden, least=1, integer=True)
        self.hidden = hidden
        self.layers = nn.Sequential(
            nn.Linear(PIXELS, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden // 2),
            nn.SiLU(),
            nn.Linear(hidden // 2, len(FACTORS) + len(SHAPES)),
        )

    def forward(self, images: Tensor) -> Tensor:
        check_shape("images", images, f"n 3 {SIZE} {SIZE}")
        return self.layers(4 * images.flatten(1) - 1)  # the ground, 0.1, near zero; values of unit size

    def extra_repr(self) -> str:
        return f"hidden={self.hidden}"


def train_regressor(
    updates: int = 5000, seed: int = 0, *, hidden: int = 256, batch: int = 256, lr: float = 2e-3
) -> Regressor:
    """A regressor after `updates` steps of Adam on fresh renders with independent factors, in float32.

    The loss is Huber's of the factors (the rotation's of bars only) plus a tenth of the cross-entropy of the shape. The same
    seed gives the same weights. Source: own benchmark.
    """
    updates = check_number("updates", updates, least=1, integer=True)
    generator = torch_generator(seed)
    with seeded(seed):
        regressor = Regressor(hidden).float()
    optimizer = torch.optim.Adam(regressor.parameters(), lr=lr, fused=True)
    schedule = one_cycle(optimizer, updates)
    for _ in range(updates):
        images, factors, shape = renders(batch, generator=generator)
        found = regressor(images)
        loss = _loss(found, factors, shape)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return regressor.eval().requires_grad_(False)


def _loss(found: Tensor, factors: Tensor, shape: Tensor) -> Tensor:
    counts = torch.ones_like(factors)
    counts[:, FACTORS.index("rotation")] = (shape == BAR).to(factors)
    away = nn.functional.smooth_l1_loss(found[:, : len(FACTORS)], factors, beta=0.1, reduction="none")
    return (away * counts).mean() + 0.1 * nn.functional.cross_entropy(found[:, len(FACTORS) :], shape)


def one_cycle(optimizer: torch.optim.Optimizer, updates: int) -> torch.optim.lr_scheduler.LambdaLR:
    """The rate's course: a tenth of the updates up, then a half cosine down to nearly nothing."""

    def share(step: int) -> float:
        warm = max(updates // 10, 1)
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(updates - warm, 1))) + 1e-3

    return torch.optim.lr_scheduler.LambdaLR(optimizer, share)


def renders(
    count: int, *, spurious: float = 0.0, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Fresh pictures ``(count, 3, 24, 24)`` in float32, their factors ``(count, 6)`` and shapes ``(count,)``."""
    factors, shape = sample_factors(count, spurious=spurious, generator=generator)
    factors = factors.float()
    return render(factors, shape, size=SIZE), factors, shape


@torch.no_grad()
def errors(regressor: nn.Module, *, count: int = 4000, seed: int = 1) -> dict[str, float]:
    """Mean absolute error of every factor (the rotation's over bars), and the accuracy of the ``"shape"``, on fresh renders."""
    images, factors, shape = renders(count, generator=torch_generator(seed))
    found = regressor(images)
    away = (found[:, : len(FACTORS)] - factors).abs()
    figures = {name: away[:, i] for i, name in enumerate(FACTORS)}
    figures["rotation"] = figures["rotation"][shape == BAR]
    right = {"shape": (found[:, len(FACTORS) :].argmax(1) == shape).float()}
    return {name: value.mean().item() for name, value in (figures | right).items()}


@torch.no_grad()
def gate(decoder: Decoder, regressor: nn.Module, *, count: int = 2000, seed: int = 2) -> dict[str, object]:
    """Does the decoder keep every factor? Renders with independent factors are encoded, decoded and measured.

    ``"measured"``: the correlation of the measured with the true factor (the rotation's over bars), and the share of right
    ``"shape"`` s; ``"kept"``: which of them are at least 0.9; ``"passed"``: whether the attributes that methods are scored on
    (all but rotation and shape) are kept; ``"every"``: whether all are. Source: own benchmark.
    """
    images, factors, shape = renders(count, generator=torch_generator(seed))
    found = regressor(decoder(decoder.encode(images)))
    measured = {}
    for i, name in enumerate(FACTORS):
        rows = shape == BAR if name == "rotation" else slice(None)
        measured[name] = correlation(found[rows, i], factors[rows, i])
    measured["shape"] = (found[:, len(FACTORS) :].argmax(1) == shape).float().mean().item()
    kept = {name: value >= KEPT for name, value in measured.items()}
    passed = all(kept[name] for name in SCORED)
    return {"measured": measured, "kept": kept, "passed": passed, "every": all(kept.values())}


@torch.no_grad()
def entanglement(decoder: Decoder, regressor: nn.Module, *, count: int = 4000, seed: int = 3) -> float:
    """The correlation of measured hue and scale among pictures decoded from the prior."""
    w = torch.randn(count, decoder.latent_dim, generator=torch_generator(seed), dtype=torch.float32)
    found = regressor(decoder(w))
    return correlation(found[:, FACTORS.index("hue")], found[:, FACTORS.index("scale")])


def correlation(a: Tensor, b: Tensor) -> float:
    """Pearson's, of ``(N,)`` and ``(N,)``; zero where either does not vary."""
    a, b = a.double() - a.double().mean(), b.double() - b.double().mean()
    spread = (a.square().sum() * b.square().sum()).sqrt()
    return ((a * b).sum() / spread.clamp_min(1e-12)).item()
