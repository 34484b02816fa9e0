"""The paper's parallel algorithm in plain PyTorch, written from its description: neighbouring tiles are merged until one is left.

A peer for the benchmark, not a part of the library. Of a tile it keeps transitions from border to border, sources from
nodes to borders, marks from borders to nodes, and the mask inside; four tiles A (0, 0), B (1, 0), C (0, 1), D (1, 1) become
one. Sides are powers of two, others are filled up; nodes come out in the order of the merging.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad


def grid(q: Tensor, k: Tensor, v: Tensor, gates: list[Tensor]) -> Tensor:
    """Four directions; q, k, v ``(B, X, Y, d)``, eight gates ``(B, 4, X, Y)`` in the order of the library's reference."""
    (_, X, Y, dk), side = q.shape, 1
    while side < max(X, Y):
        side *= 2
    order = _order(side)
    total = 0
    for direction in range(4):
        flips = [axis for axis in (1, 2) if direction & axis]
        filled = [pad(gate[:, direction].flip(flips), (0, side - Y, 0, side - X)) for gate in gates]
        mask = grid_mask(filled)[:, order][:, :, order].unflatten(2, (side, side)).unflatten(1, (side, side))
        total = total + mask[:, :X, :Y, :X, :Y].flip([*flips, *(axis + 2 for axis in flips)])
    products = dk**-0.5 * q.flatten(1, 2) @ k.flatten(1, 2).mT
    return ((total.flatten(3).flatten(1, 2) * products) @ v.flatten(1, 2)).unflatten(1, (X, Y))


def grid_mask(gates: list[Tensor]) -> Tensor:
    """The mask of one direction, ``(B, N, N)``, of gates ``(B, n, n)``."""
    S_r, S_d, rl, ru, dl, du, M_l, M_u = (gate[..., None, None] for gate in gates)
    tiles = [S_r, S_d, rl, ru, dl, du, M_l, M_u, torch.zeros_like(S_r)]
    while tiles[0].shape[1] > 1:
        tiles = merged(*([t[:, i::2, j::2] for j in (0, 1) for i in (0, 1)] for t in tiles))
    return tiles[-1][:, 0, 0]


def merged(Sr, Sd, rl, ru, dl, du, Ml, Mu, G):
    """Four tiles, each argument a list [A, B, C, D], as one."""
    A, B, C, D = range(4)
    round_b, round_c = dl[B] @ rl[A], ru[C] @ dl[A]
    round_bu, round_cu = dl[B] @ ru[A], ru[C] @ du[A]
    new_rl = block([[rl[B] @ rl[A], None], [ru[D] @ round_b + rl[D] @ round_c, rl[D] @ rl[C]]])
    new_du = block([[du[C] @ du[A], None], [dl[D] @ round_cu + du[D] @ round_bu, du[D] @ du[B]]])
    new_ru = block([[rl[B] @ ru[A], ru[B]], [rl[D] @ round_cu + ru[D] @ round_bu, ru[D] @ du[B]]])
    new_dl = block([[du[C] @ dl[A], dl[C]], [du[D] @ round_b + dl[D] @ round_c, dl[D] @ rl[C]]])
    past_b, past_c = dl[B] @ Sr[A], ru[C] @ Sd[A]
    new_Sr = block(
        [
            [rl[B] @ Sr[A], Sr[B], None, None],
            [ru[D] @ past_b + rl[D] @ past_c, ru[D] @ Sd[B], rl[D] @ Sr[C], Sr[D]],
        ]
    )
    new_Sd = block(
        [
            [du[C] @ Sd[A], None, Sd[C], None],
            [dl[D] @ past_c + du[D] @ past_b, du[D] @ Sd[B], dl[D] @ Sr[C], Sd[D]],
        ]
    )
    new_Ml = block(
        [
            [Ml[A], None],
            [Ml[B] @ rl[A], None],
            [Mu[C] @ dl[A], Ml[C]],
            [Ml[D] @ round_c + Mu[D] @ round_b, Ml[D] @ rl[C]],
        ]
    )
    new_Mu = block(
        [
            [Mu[A], None],
            [Ml[B] @ ru[A], Mu[B]],
            [Mu[C] @ du[A], None],
            [Ml[D] @ round_cu + Mu[D] @ round_bu, Mu[D] @ du[B]],
        ]
    )
    new_G = block([
        [G[A], None, None, None],
        [Ml[B] @ Sr[A], G[B], None, None],
        [Mu[C] @ Sd[A], None, G[C], None],
        [Mu[D] @ past_b + Ml[D] @ past_c, Mu[D] @ Sd[B], Ml[D] @ Sr[C], G[D]],
    ])  # fmt: skip
    return [new_Sr, new_Sd, new_rl, new_ru, new_dl, new_du, new_Ml, new_Mu, new_G]


def block(rows: list[list[Tensor | None]]) -> Tensor:
    """A block matrix; None is zero."""
    heights = [next(part.shape[-2] for part in row if part is not None) for row in rows]
    columns = list(zip(*rows, strict=True))
    widths = [next(part.shape[-1] for part in column if part is not None) for column in columns]
    like = next(part for part in rows[0] if part is not None)
    filled = [
        torch.cat(
            [
                like.new_zeros(*like.shape[:-2], h, w) if p is None else p
                for p, w in zip(row, widths, strict=True)
            ],
            -1,
        )
        for row, h in zip(rows, heights, strict=True)
    ]
    return torch.cat(filled, -2)


def _order(side: int) -> Tensor:
    """Where node ``x side + y`` stands after merging."""
    x, y = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    place, weight, half = torch.zeros_like(x), 1, 1
    while half < side:
        place = place + weight * (((x // half) % 2) + 2 * ((y // half) % 2))
        weight, half = weight * 4, half * 2
    return place.flatten()


def line(
    q: Tensor, k: Tensor, v: Tensor, S: Tensor, T: Tensor, M: Tensor, D: Tensor, chunk: int = 64
) -> Tensor:
    """A sequence: neighbours merged up to chunks, then chunk after chunk; q ``(B, N, dk)``, gates ``(B, N)``, N divisible."""
    q = q * q.shape[-1] ** -0.5
    S, M, G = S.unsqueeze(-1), M.unsqueeze(-1), D[..., None, None]
    while S.shape[-1] < chunk:
        (low, high), (T0, T1) = (slice(None, None, 2), slice(1, None, 2)), (T[:, ::2, None], T[:, 1::2, None])
        corner = M[:, high].unsqueeze(-1) * S[:, low].unsqueeze(-2)
        G = block([[G[:, low], None], [corner, G[:, high]]])
        S = torch.cat([T1 * S[:, low], S[:, high]], -1)
        M = torch.cat([M[:, low], M[:, high] * T0], -1)
        T = (T1 * T0).squeeze(-1)
    q, k, v = (t.unflatten(1, (-1, chunk)) for t in (q, k, v))
    inside = ((q @ k.mT) * G) @ v
    C, rows = 0.0 * k[:, 0].mT @ v[:, 0], []
    for n in range(q.shape[1]):
        rows.append((q[:, n] * M[:, n, :, None]) @ C)
        C = T[:, n, None, None] * C + (k[:, n] * S[:, n, :, None]).mT @ v[:, n]
    return (inside + torch.stack(rows, 1)).flatten(1, 2)
