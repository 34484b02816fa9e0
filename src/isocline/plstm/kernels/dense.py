"""A grid as masked linear attention: ``y = (G o scale q k^T) v`` with all of the mask at once, N^2 numbers a head."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from .inputs import Gates, GridInputs
from .keeping import compiled_for, recomputed
from .masks import summed_mask


def quadrants(given: GridInputs) -> Tensor:
    """The sum over directions ``(B, X, Y, dv)``.

    On a CPU the compiled masks of `cpu`, elsewhere PyTorch's; nothing but the inputs is kept.
    """
    X, Y = given.q.shape[1:3]
    if compiled_for(given.q):
        from .cpu import grid_attention

        y = grid_attention(*given.flat(), list(given.directions), X, Y, given.scale)
    else:
        q, k, v = (tensor.flatten(1, 2) for tensor in given[:3])
        y = attend_again(q * given.scale, k, v, given.gates, given.direct, given.directions)
    return y.unflatten(1, (X, Y))


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
