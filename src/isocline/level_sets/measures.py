"""What is measured of a blind spot: how near it looks, and how sure the model is between the images."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from isocline._core.rest import at_rest
from isocline.level_sets.adapters import Model, are_probabilities
from isocline.level_sets.functional import hull_grid


def rmse(a: Tensor, b: Tensor) -> Tensor:
    """Root of the mean squared difference. Shapes: ``(B, ...)``; returns ``(B,)``. Source: BSSF, Table 1 (l2 over root size)."""
    return (a - b).flatten(1).square().mean(1).sqrt()


def largest_difference(a: Tensor, b: Tensor) -> Tensor:
    """Largest absolute difference. Shapes: ``(B, ...)``; returns ``(B,)``."""
    return (a - b).flatten(1).abs().amax(1)


def ssim(a: Tensor, b: Tensor, window: int = 7) -> Tensor:
    """Structural similarity, the mean over windows and channels of values in [0, 1].

    Shapes: ``(B, C, H, W)``, H and W >= window; returns ``(B,)``. Source: Wang et al. 2004, eq. 13, uniform windows with
    unbiased variances, K = (0.01, 0.03), as scikit-image has it.
    """
    share = window**2 / (window**2 - 1)
    a, b = a.double(), b.double()
    ma, mb = (avg_pool2d(x, window, 1) for x in (a, b))
    va = share * (avg_pool2d(a * a, window, 1) - ma * ma)
    vb = share * (avg_pool2d(b * b, window, 1) - mb * mb)
    cov = share * (avg_pool2d(a * b, window, 1) - ma * mb)
    luminance = (2 * ma * mb + 1e-4) / (ma**2 + mb**2 + 1e-4)
    return (luminance * (2 * cov + 9e-4) / (va + vb + 9e-4)).flatten(1).mean(1)


@torch.no_grad()
def confidence(model: Model, x: Tensor, label: Tensor, batch: int = 32) -> Tensor:
    """The probability of each one's label. Shapes: x ``(B, ...)``, label ``(B,)``; returns ``(B,)``."""
    found = []
    with at_rest(model):
        for images, labels in zip(x.split(batch), label.split(batch), strict=True):
            output = model(images)
            p = output if are_probabilities(output) else output.softmax(1)
            found.append(p.gather(1, labels[:, None])[:, 0])
    return torch.cat(found)


def segment_confidence(model: Model, start: Tensor, end: Tensor, label: Tensor, points: int = 21) -> Tensor:
    """Probability of the label at `points` even steps of the straight segment: ``(B, points)``, both ends included."""
    t = torch.linspace(0, 1, points, dtype=start.dtype, device=start.device)
    return torch.stack(
        [
            confidence(model, torch.lerp(a, b, t.view(-1, *[1] * a.ndim)), y.expand(points))
            for a, b, y in zip(start, end, label, strict=True)
        ]
    )


def hull_confidence(
    model: Model, source: Tensor, first: Tensor, second: Tensor, label: Tensor, n: int = 10
) -> Tensor:
    """Probability of the label on the grid `functional.hull_grid` of the triangle source, first, second.

    Shapes: images ``(...)`` without a batch, label a scalar; returns ``((n + 1) (n + 2) / 2,)``. Source: BSSF, section 4.
    """
    corners = torch.stack([source, first, second])
    weights = hull_grid(n).to(corners)
    points = (weights @ corners.flatten(1)).reshape(len(weights), *source.shape)
    return confidence(model, points, label.expand(len(weights)))
