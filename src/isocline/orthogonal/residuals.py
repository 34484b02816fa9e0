"""How far a layer is from orthogonal at an image size, and how that follows from L_orth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import prod
from typing import Any

from torch import nn

from isocline._core.files import plain
from isocline.orthogonal.functional import lorth
from isocline.orthogonal.shapes import per_axis, weight_of
from isocline.orthogonal.spectrum import singular_values


@dataclass(frozen=True, slots=True)
class Residual:
    """Of ``KK KK^T - I`` or ``KK^T KK - I``, whichever is smaller, with N outputs a side and circular padding; exact.

    predicted: ``N^d L_orth``, equal to err_F_sq when `holds`: ``S N >= 2 (D (k - 1) + 1) - 1`` on every axis. On a
    smaller image the kernel meets itself around the border.
    """

    err_F_sq: float
    err_s: float
    l_orth: float
    predicted: float
    holds: bool
    N: tuple[int, ...]

    def __str__(self) -> str:
        size = "x".join(map(str, self.N))
        tail = "" if self.holds else "; the image is too small for the identity"
        return f"N = {size}: err_F^2 = {self.err_F_sq:.6g}, N^d L_orth = {self.predicted:.6g}, err_s = {self.err_s:.4g}{tail}"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {field.name: plain(getattr(self, field.name)) for field in fields(self)}


def residual(conv: nn.Module, N: int | Sequence[int]) -> Residual:
    """The orthogonality residual of a layer with N outputs a side: from all its singular values, and from ``N^d L_orth``.

    N: one number or one an axis (of a transposed convolution: inputs a side). Raises TypeError for what is no torch
    convolution, ValueError for N < 1. Source: AMM, scalability theorem.

    >>> conv = nn.Conv1d(1, 1, 2)
    >>> _ = nn.init.constant_(conv.weight, 0.5)
    >>> print(residual(conv, 4))
    N = 4: err_F^2 = 1.5, N^d L_orth = 1.5, err_s = 1
    """
    weight, shape = weight_of(conv)
    sizes = per_axis("N", N, len(shape.k))
    inputs = sizes if shape.transposed else tuple(n * S for n, S in zip(sizes, shape.S, strict=True))
    off = singular_values(conv, inputs).double().square() - 1
    l_orth = float(lorth(weight, shape.S, shape.D, shape.groups))
    spans = [D * (k - 1) + 1 for k, D in zip(shape.k, shape.D, strict=True)]
    holds = all(n * S >= 2 * span - 1 for n, S, span in zip(sizes, shape.S, spans, strict=True))
    return Residual(
        float(off.square().sum()), float(off.abs().max()), l_orth, prod(sizes) * l_orth, holds, sizes
    )
