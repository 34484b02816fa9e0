"""A grid cut into tiles: dense inside, and states on the borders between them. Memory grows with the number of nodes.

Tiles on one antidiagonal do not see each other and are computed together; the states that leave them enter the next. A
tile of side c costs ``c^2`` numbers of mask a node and reads and writes ``2 c`` states, each ``dk dv`` numbers, for ``c^2``
nodes. Heads are taken a few at a time and are computed once more on the way back, so nothing but the inputs is kept.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from .inputs import Border, GridInputs
from .keeping import compiled_for, recomputed
from .masks import rows_mask

SIDE = 8  # of a tile: about what balances border states against masks for dk = dv = 64
TOGETHER = {"cpu": 256 << 20, "cuda": 2 << 30}  # bytes of states in flight


def quadrants(given: GridInputs, border: Border | None = None, side: int = SIDE) -> tuple[Tensor, Border]:
    """The sum over directions ``(B, X, Y, dv)`` and the states that leave.

    A border is what enters at x = 0 ``(B, O, Y, dk, dv)`` and at y = 0 ``(B, O, X, dk, dv)``, or what leaves. Source: the
    paper's chunked recurrence, with the mask of a tile made by the recursion itself.
    """
    q, k, v = given.q * given.scale, given.k, given.v
    (B, X, Y, dk), dv = q.shape, v.shape[-1]
    directions, all_gates = given.directions, given.stacked()
    if border is None:
        border = q.new_zeros(B, len(directions), Y, dk, dv), q.new_zeros(B, len(directions), X, dk, dv)
    numbers = 6 * X * Y * dk * dv * 2 // min(side, X, Y)
    each = max(1, TOGETHER.get(q.device.type, TOGETHER["cuda"]) // (numbers * q.element_size()))
    found = []
    for first in range(0, B, each):
        b = slice(first, first + each)
        for o, direction in enumerate(directions):
            tensors = (q[b], k[b], v[b], all_gates[:, b, o], border[0][b, o], border[1][b, o])
            found.append(recomputed(one_direction, *tensors, direction, side))
    O = len(directions)
    y, right, down = (
        [torch.cat([part[which] for part in found[o::O]]) for o in range(O)] for which in range(3)
    )
    total = sum(y[1:], y[0])
    if given.direct is not None:
        total = total + (given.direct * (q * k).sum(-1)).unsqueeze(-1) * v
    return total, (torch.stack(right, 1), torch.stack(down, 1))


def one_direction(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    gates: Tensor,
    right: Tensor,
    down: Tensor,
    direction: int,
    side: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """`sweep` on the grid as a direction sees it, and back. Gates are ``(8, B, X, Y)``."""
    flips = [axis for axis in (1, 2) if direction & axis]
    along = [[1] if axis in flips else [] for axis in (2, 1)]  # R runs along Y, U along X
    q, k, v = (tensor.flip(flips) for tensor in (q, k, v))
    gates = gates.flip([axis + 1 for axis in flips])
    y, right, down = sweep(q, k, v, gates, right.flip(along[0]), down.flip(along[1]), side)
    return y.flip(flips), right.flip(along[0]), down.flip(along[1])


def sweep(
    q: Tensor, k: Tensor, v: Tensor, gates: Tensor, right: Tensor, down: Tensor, side: int
) -> tuple[Tensor, Tensor, Tensor]:
    """All tiles, one antidiagonal after another, from (0, 0) along +X and +Y."""
    (B, X, Y, dk), dv = q.shape, v.shape[-1]
    (nx, cx), (ny, cy) = _cut(X, side), _cut(Y, side)
    gates = _filled_up(gates, X, Y, nx * cx, ny * cy)
    q, k, v = (_tiles(tensor, nx, cx, ny, cy).flatten(3, 4) for tensor in (q, k, v))
    masks = _masks(_tiles(gates.flatten(0, 1), nx, cx, ny, cy).unflatten(0, (8, B)).flatten(1, 3))
    masks = masks.unflatten(0, (B, nx * ny))
    q, k, v = (tensor.flatten(1, 2) for tensor in (q, k, v))
    rights = list(_strips(right, ny, cy).flatten(3).unbind(1))  # of each column of tiles: (B, cy, dk dv)
    downs = list(_strips(down, nx, cx).flatten(3).unbind(1))
    order: list[int] = []
    rows: list[Tensor] = []
    for t in range(nx + ny - 1):
        tiles = [(i, t - i) for i in range(max(0, t - ny + 1), min(nx, t + 1))]
        where = slice(tiles[0][0] * ny + tiles[0][1], tiles[-1][0] * ny + tiles[-1][1] + 1, max(1, ny - 1))
        enters = torch.stack([torch.cat([rights[j], downs[i]], 1) for i, j in tiles], 1)
        y, leaves = tile(q[:, where], k[:, where], v[:, where], masks[:, where], enters)
        for m, (i, j) in enumerate(tiles):
            rights[j], downs[i] = leaves[:, m, :cy], leaves[:, m, cy:]
            order.append(i * ny + j)
        rows.append(y)
    place = sorted(range(nx * ny), key=order.__getitem__)
    y = torch.cat(rows, 1)[:, place].unflatten(1, (nx, ny)).unflatten(3, (cx, cy))
    y = y.transpose(2, 3).flatten(3, 4).flatten(1, 2)[:, :X, :Y]
    return (
        y,
        torch.cat(rights, 1)[:, :Y].unflatten(2, (dk, dv)),
        torch.cat(downs, 1)[:, :X].unflatten(2, (dk, dv)),
    )


def tile(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, enters: Tensor) -> tuple[Tensor, Tensor]:
    """Some tiles, each with its mask and the states that enter: what their nodes read, and the states that leave.

    Shapes: q, k ``(B, m, n, dk)``; v ``(B, m, n, dv)``; mask ``(B, m, n + b, n + b)``; enters ``(B, m, b, dk dv)``; returns
    ``(B, m, n, dv)`` and ``(B, m, b, dk dv)``.
    """
    (n, dk), dv = q.shape[-2:], v.shape[-1]
    inside, read = mask[..., :n, :n], mask[..., :n, n:]
    written, through = mask[..., n:, :n], mask[..., n:, n:]
    states = enters.unflatten(-1, (dk, dv)).transpose(-3, -2).flatten(-2)  # (B, m, dk, b dv)
    seen = (q @ states).unflatten(-1, (-1, dv))
    y = (inside * (q @ k.mT)) @ v + (read.unsqueeze(-2) @ seen).squeeze(-2)
    keys = (written.unsqueeze(-2) * k.mT.unsqueeze(-3)).flatten(-3, -2)  # (B, m, b dk, n)
    return y, through @ enters + (keys @ v).unflatten(-2, (-1, dk)).flatten(-2)


def _cut(length: int, side: int) -> tuple[int, int]:
    """How many tiles, and their side: as even as can be, so that fewer than one row a tile is added."""
    count = -(-length // side)
    return count, -(-length // count)


def _filled_up(gates: Tensor, X: int, Y: int, to_x: int, to_y: int) -> Tensor:
    """Add nodes that pass states straight on and neither read nor write."""
    if (to_x, to_y) == (X, Y):
        return gates
    grown = pad(gates, (0, to_y - Y, 0, to_x - X))
    outside = pad(gates.new_zeros(X, Y), (0, to_y - Y, 0, to_x - X), value=1.0)
    straight = gates.new_tensor([0, 0, 1, 0, 0, 1, 0, 0]).view(8, 1, 1, 1)
    return grown + straight * outside


def _tiles(field: Tensor, nx: int, cx: int, ny: int, cy: int) -> Tensor:
    """``(B, X, Y, ...)`` as ``(B, nx, ny, cx, cy, ...)``, zero beyond the grid."""
    X, Y = field.shape[1:3]
    rest = (0, 0) * (field.dim() - 3)
    field = pad(field, (*rest, 0, ny * cy - Y, 0, nx * cx - X))
    return field.unflatten(2, (ny, cy)).unflatten(1, (nx, cx)).transpose(2, 3)


def _strips(states: Tensor, count: int, side: int) -> Tensor:
    """``(B, length, dk, dv)`` as ``(B, count, side, dk, dv)``."""
    return pad(states, (0, 0, 0, 0, 0, count * side - states.shape[1])).unflatten(1, (count, side))


def _masks(gates: Tensor) -> Tensor:
    """Masks with borders of gates ``(8, P, cx, cy)``."""
    if compiled_for(gates):
        from .cpu import tile_masks

        return tile_masks(gates)
    return rows_mask(list(gates), borders=True)
