"""What every way of computing is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

Gates = Sequence[Tensor | None]  # S_r, S_d, T_rl, T_ru, T_dl, T_du, M_l, M_u; None is zero
Border = tuple[Tensor, Tensor]


class GridInputs(NamedTuple):
    """O directions of a grid; ``B`` are images and heads. At least one gate is there."""

    q: Tensor  # (B, X, Y, dk)
    k: Tensor  # (B, X, Y, dk)
    v: Tensor  # (B, X, Y, dv)
    gates: Gates  # (B, O, X, Y)
    direct: Tensor | None  # (B, X, Y)
    directions: Sequence[int]
    scale: float

    def flat(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]:
        """q, k, v with nodes in one axis ``(B, N, d)``, all gates in one tensor ``(8, B, O, N)``, direct ``(B, N)``."""
        q, k, v = (t.flatten(1, 2) for t in self[:3])
        return q, k, v, self.stacked().flatten(3), None if self.direct is None else self.direct.flatten(1)

    def stacked(self) -> Tensor:
        """All gates in one tensor ``(8, B, O, X, Y)``."""
        like = next(gate for gate in self.gates if gate is not None)
        return torch.stack([torch.zeros_like(like) if gate is None else gate for gate in self.gates])


class GraphInputs(NamedTuple):
    """Vectors of N nodes, gates of E edges and L arcs; ``...`` are the same axes everywhere."""

    q: Tensor  # (..., N, dk)
    k: Tensor  # (..., N, dk)
    v: Tensor  # (..., N, dv)
    source: Tensor  # (..., E)
    transition: Tensor  # (..., L)
    mark: Tensor  # (..., E)
    direct: Tensor  # (..., N)
