"""A grid as masked linear attention: ``y = (G o scale q k^T) v`` with all of the mask at once, N^2 numbers a head."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .keeping import compiled_for, recomputed
from .masks import Gates, summed_mask


def quadrants(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    gates: Gates,
    direct: Tensor | None,
    directions: Sequence[int],
    scale: float,
) -> Tensor:
    """The sum over directions.

    Shapes: q, k ``(B, X, Y, dk)``; v ``(B, X, Y, dv)``; eight gates ``(B, O, X, Y)`` or None; direct ``(B, X, Y)``; returns
    ``(B, X, Y, dv)``. On a CPU the compiled masks of `cpu`, elsewhere PyTorch's; nothing but the inputs is kept.
    """
    X, Y = q.shape[1:3]
    q, k, v = (tensor.flatten(1, 2) for tensor in (q, k, v))
    if all(gate is None for gate in gates):
        gates = [*gates[:-1], v.new_zeros(len(v), len(directions), X, Y)]
    if compiled_for(q):
        from .cpu import grid_attention

        diagonal = None if direct is None else direct.flatten(1)
        y = grid_attention(q, k, v, stacked(gates), diagonal, list(directions), X, Y, scale)
    else:
        y = attend_again(q * scale, k, v, gates, direct, directions)
    return y.unflatten(1, (X, Y))


def stacked(gates: Gates) -> Tensor:
    """Eight gates ``(B, O, X, Y)``, None as zero, in one tensor ``(8, B, O, N)``."""
    like = next(gate for gate in gates if gate is not None)
    return torch.stack([torch.zeros_like(like) if gate is None else gate for gate in gates]).flatten(3)


def attend(
    q: Tensor, k: Tensor, v: Tensor, gates: Gates, direct: Tensor | None, directions: Sequence[int]
) -> Tensor:
    """``(G o q k^T) v`` in PyTorch: ``(B, N, dv)``."""
    return (summed_mask(gates, direct, directions) * (q @ k.mT)) @ v


def attend_again(
    q: Tensor, k: Tensor, v: Tensor, gates: Gates, direct: Tensor | None, directions: Sequence[int]
) -> Tensor:
    """`attend`, made once more on the way back instead of kept."""
    return recomputed(attend, q, k, v, gates, direct, directions)
