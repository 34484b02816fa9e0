"""Two images in one, with the classes of both: mixup and cutmix, for a whole batch at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor

from isocline._core.checks import check_number, check_shape


@dataclass(frozen=True, slots=True)
class Mix:
    """Which mixing happens to a batch; by default none.

    Of the two, if both may happen, one is drawn for each batch. An image's partner is the one as far from the end of the batch as
    it is from its beginning.
    """

    mixup: float = 0.0  # alpha of Beta(alpha, alpha), the law of the first image's share; 0: never
    cutmix: float = 0.0
    switch: float = 0.5  # how often it is cutmix where both may be
    probability: float = 1.0  # of a batch to be mixed at all

    def __post_init__(self) -> None:
        for name in ("mixup", "cutmix"):
            check_number(name, getattr(self, name), least=0, below=math.inf)
        for name in ("switch", "probability"):
            check_number(name, getattr(self, name), least=0, most=1)

    @property
    def active(self) -> bool:
        return self.probability > 0 and (self.mixup > 0 or self.cutmix > 0)


def mixed(images: Tensor, how: Mix, generator: Generator | None = None) -> tuple[Tensor, float]:
    """A batch mixed with itself in reversed order, and the share of each image that is its own: see `soft_targets`.

    Shapes: ``(B, C, H, W)``; returns the same, and a number in [0, 1], 1 where nothing was mixed. generator, on the CPU: None
    draws from torch's global one. Raises: ValueError for another shape.
    """
    check_shape("images", images, "B C H W")
    if not how.active:
        return images, 1.0
    # as many numbers whatever happens, so that what is drawn next does not hang on them
    happens, which, top, left, seed = torch.rand(5, generator=generator, dtype=torch.float64).tolist()
    if happens >= how.probability:
        return images, 1.0
    cuts = which < (how.switch if how.mixup and how.cutmix else float(how.cutmix > 0))
    share = beta_share(how.cutmix if cuts else how.mixup, int(seed * 2**53))
    return cutmix(images, share, (top, left)) if cuts else (mixup(images, share), share)


def soft_targets(labels: Tensor, share: float, classes: int, dtype: torch.dtype | None = None) -> Tensor:
    """The share of every class in a batch that was mixed with itself reversed. Shapes: ``(B,)``; returns ``(B, classes)``.

    >>> soft_targets(torch.tensor([0, 2]), 0.75, 3)
    tensor([[0.7500, 0.0000, 0.2500],
            [0.2500, 0.0000, 0.7500]])
    """
    ones = torch.nn.functional.one_hot(labels, classes).to(dtype or torch.get_default_dtype())
    return mixup(ones, share)


def beta_share(alpha: float, seed: int) -> float:
    """One number of Beta(alpha, alpha), from a seed."""
    return float(np.random.default_rng(seed).beta(alpha, alpha))


def mixup(batch: Tensor, share: float) -> Tensor:
    """``share x + (1 - share) reversed(x)``, of images or of targets. Shapes: ``(B, ...)``; returns the same.

    Source: Zhang et al. 2018, *mixup: Beyond Empirical Risk Minimization*, section 2 (a batch with itself, their section 3).
    """
    return torch.lerp(batch.flip(0), batch, share)


def cutmix(images: Tensor, share: float, place: tuple[float, float]) -> tuple[Tensor, float]:
    """A box of each image replaced by the same box of its partner, and the share of the image that is left.

    The box has ``1 - share`` of the area and its middle at `place`, shares of height and width in [0, 1); what hangs over the
    border is cut off, and the share that is returned counts pixels. Shapes: ``(B, C, H, W)``; returns the same and a number.
    Source: Yun et al. 2019, *CutMix*, section 3.1 and appendix (the box).
    """
    H, W = images.shape[-2:]
    edges = [_cut(side, at, math.sqrt(1 - share)) for side, at in zip((H, W), place, strict=True)]
    (top, bottom), (left, right) = edges
    out = images.clone()
    out[..., top:bottom, left:right] = images.flip(0)[..., top:bottom, left:right]
    return out, 1 - (bottom - top) * (right - left) / (H * W)


def _cut(side: int, at: float, ratio: float) -> tuple[int, int]:
    length, middle = int(side * ratio), int(side * at)
    return max(0, middle - length // 2), min(side, middle - length // 2 + length)
