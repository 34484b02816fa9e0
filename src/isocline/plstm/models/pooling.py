"""One vector for an image, out of one for each patch."""

from __future__ import annotations

import torch
from torch import Tensor

POOLINGS = ("corners", "mean", "sum", "center", "cls")


def corners(x: Tensor) -> Tensor:
    """The corner patches side by side: (0, 0), (-1, 0), (0, -1), (-1, -1). Shapes: ``(B, X, Y, D)`` to ``(B, 4 D)``."""
    return torch.cat([x[:, 0, 0], x[:, -1, 0], x[:, 0, -1], x[:, -1, -1]], -1)


def attended(x: Tensor, vector: Tensor) -> Tensor:
    """The mean of all patches with weights ``softmax(<x, vector> / sqrt(D))``.

    Shapes: x ``(B, X, Y, D)``, vector ``(D,)``; returns ``(B, D)``.
    """
    flat = x.flatten(1, 2)
    weights = torch.softmax(flat @ vector.to(flat.dtype) / flat.shape[-1] ** 0.5, -1)
    return (weights[:, None] @ flat)[:, 0]


def pool(x: Tensor, how: str, vector: Tensor | None = None) -> Tensor:
    """Pool ``(B, X, Y, D)`` by one of `POOLINGS`; "cls" takes the learned vector. Returns ``(B, 4 D)`` or ``(B, D)``."""
    if how == "corners":
        return corners(x)
    if how == "center":
        return x[:, x.shape[1] // 2, x.shape[2] // 2]
    if how == "cls" and vector is not None:
        return attended(x, vector)
    return x.mean((1, 2)) if how == "mean" else x.sum((1, 2))
