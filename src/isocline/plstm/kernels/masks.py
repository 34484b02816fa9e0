"""The mask ``G`` of a grid in PyTorch: for every target and source the sum over all paths between them.

Here a grid is seen in the frame of its direction, from (0, 0) along +X and +Y; gates are ``(B, X, Y)``. Nodes are
numbered ``n = x Y + y``. With borders the mask has ``Y + X`` further sources, the states that enter at x = 0 and y = 0,
and as many further targets, those that leave.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from .inputs import Gates
from .products import segment_products


def rows_mask(gates: Gates, *, borders: bool = False) -> Tensor:
    """Any four transitions, row after row: along a row the states that go down are one triangular product.

    In a row, ``U[y+1] = T_du U[y] + (T_dl R[y] + S_d)`` is a chain: ``U = L (U_0, T_dl R + S_d)`` with the products L of
    T_du; then ``R <- T_rl R + T_ru U + S_r``. Shapes: eight gates ``(B, X, Y)``, None is zero; returns ``(B, N, N)``,
    with borders ``(B, N + Y + X, N + Y + X)``. Source: the recursion, for all sources at once.
    """
    S_r, S_d, T_rl, T_ru, T_dl, T_du, M_l, M_u = _filled(gates)
    B, X, Y = S_r.shape
    N, S = X * Y, X * Y + (X + Y if borders else 0)
    eye = torch.eye(S, dtype=S_r.dtype, device=S_r.device)
    chains = segment_products(T_du)
    right = eye[N : N + Y].expand(B, Y, S) if borders else S_r.new_zeros(B, Y, S)
    nothing, rows, down = S_r.new_zeros(B, 1, S), [], []
    for x in range(X):
        here = (x * Y, S - (x + 1) * Y)
        enters = eye[N + Y + x].expand(B, 1, S) if borders else nothing
        made = pad(torch.diag_embed(S_d[:, x]), here) + T_dl[:, x, :, None] * right
        U = chains[:, x] @ torch.cat([enters, made], 1)
        rows.append(M_l[:, x, :, None] * right + M_u[:, x, :, None] * U[:, :Y])
        right = T_rl[:, x, :, None] * right + T_ru[:, x, :, None] * U[:, :Y]
        right = right + pad(torch.diag_embed(S_r[:, x]), here)
        down.append(U[:, Y:])
    return torch.cat([*rows, right, *down] if borders else rows, 1)


def separable_mask(gates: Gates) -> Tensor:
    """One turn only (D-mode): an outer product of the path along the source's column and along the target's row.

    For chirality L, with ``A[x0](y1, y0) = S_d(x0, y0) T_d ... T_d`` down the column of the source::

        G = M_l(x1, y1) T_r ... T_r (along the row) (T_turn(x0, y1) A[x0](y1, y0) + [y1 = y0] S_r(x0, y0))   if x1 > x0
        G = M_u(x0, y1) A[x0](y1, y0)                                                                      if x1 = x0

    and chirality R is the same with the axes swapped. Shapes: as `rows_mask`; T_dl or T_ru is None. Source: the
    paper's D-mode, where one path joins any two nodes.
    """
    S_r, S_d, T_rl, T_ru, T_dl, T_du, M_l, M_u = gates
    if T_dl is not None:
        swapped = (S_d, S_r, T_du, T_dl, T_ru, T_rl, M_u, M_l)
        mask = separable_mask([None if gate is None else gate.mT for gate in swapped])
        like = next(gate for gate in gates if gate is not None)
        X, Y = like.shape[1:]
        return mask.unflatten(2, (Y, X)).unflatten(1, (Y, X)).permute(0, 2, 1, 4, 3).flatten(3).flatten(1, 2)
    S_r, S_d, T_r, turn, _, T_d, M_l, M_u = _filled(gates)
    along_row = M_l.mT.unsqueeze(-1) * segment_products(T_r.mT)[..., :-1, 1:]  # (B, y1, x1, x0)
    down_column = segment_products(T_d)[..., :-1, 1:] * S_d.unsqueeze(-2)  # (B, x0, y1, y0)
    turned = turn.unsqueeze(-1) * down_column + torch.diag_embed(S_r)
    mask = along_row.permute(0, 2, 1, 3).unsqueeze(-1) * turned.transpose(1, 2).unsqueeze(1)
    straight = torch.diag_embed((M_u.unsqueeze(-1) * down_column).permute(0, 2, 3, 1), dim1=1, dim2=3)
    return (mask + straight).flatten(3).flatten(1, 2)  # (B, x1, y1, x0, y0) before


def summed_mask(gates: Gates, direct: Tensor | None, directions: Sequence[int]) -> Tensor:
    """The masks of all directions, each flipped back on targets and sources, and the direct gate on the diagonal.

    Shapes: gates ``(B, O, X, Y)`` in the frame of the grid; direct ``(B, X, Y)``; returns ``(B, N, N)``. Source: the
    paper's section on directions.
    """
    like = next(gate for gate in gates if gate is not None)
    X, Y = like.shape[2:]
    one_turn = gates[3] is None or gates[4] is None
    total = None if direct is None else torch.diag_embed(direct.flatten(1))
    for o, direction in enumerate(directions):
        flips = [axis for axis in (1, 2) if direction & axis]
        frame = [None if gate is None else gate[:, o].flip(flips) for gate in gates]
        mask = (
            (separable_mask(frame) if one_turn else rows_mask(frame))
            .unflatten(2, (X, Y))
            .unflatten(1, (X, Y))
        )
        mask = mask.flip([*flips, *(axis + 2 for axis in flips)]).flatten(3).flatten(1, 2)
        total = mask if total is None else total + mask
    assert total is not None
    return total


def _filled(gates: Gates) -> list[Tensor]:
    like = next(gate for gate in gates if gate is not None)
    return [torch.zeros_like(like) if gate is None else gate for gate in gates]
