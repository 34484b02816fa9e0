"""How far a blind spot is from what it looks like."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from isocline._core.checks import wrong
from isocline.level_sets.measures import largest_difference, rmse, ssim


def image_distance(
    a: Tensor, b: Tensor, lpips: Callable[[Tensor, Tensor], Tensor] | None = None
) -> dict[str, Tensor]:
    """``rmse``, ``linf``, for images of at least 7 x 7 ``ssim``, and with a network for it ``lpips``.

    lpips: takes two batches in [-1, 1], as the published one does. Shapes: a, b ``(B, ...)`` in [0, 1]; returns ``(B,)`` each.
    Raises: ValueError for shapes that differ. Source: BSSF, Table 1.

    >>> import torch
    >>> image_distance(torch.zeros(1, 4), torch.full((1, 4), 0.5))["rmse"]
    tensor([0.5000])
    """
    if a.shape != b.shape or a.dim() < 2:
        raise wrong("b", f"the shape of a, (B, ...), {tuple(a.shape)}", b)
    found = {"rmse": rmse(a, b), "linf": largest_difference(a, b)}
    if a.dim() == 4 and min(a.shape[2:]) >= 7:
        found["ssim"] = ssim(a, b)
    if lpips is not None:
        found["lpips"] = lpips(2 * a - 1, 2 * b - 1).detach().reshape(-1)
    return found
