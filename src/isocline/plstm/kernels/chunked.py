"""A sequence in chunks: masked attention inside each, and one state from chunk to chunk.

Inside a chunk the mask is ``G_ts = M_t (T_{t-1} ... T_{s+1}) S_s`` for s < t, with ``D_t`` on the diagonal; the products come
from `products`, so zero and negative transitions are exact. Chunks are computed once more on the way back: what is kept
are the inputs. Source: the paper's chunkwise form; as linear attention see `linear_attention`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from .keeping import compiled_for, recomputed
from .products import chunk_masks, matrix_products, segment_products

CHUNK = 64  # about dk = dv: as much work inside a chunk as for its state
CHUNK_OF_MATRICES = 16
CHAIN = 64  # chunks whose states are one triangular product


def plstm_1d(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    source: Tensor,
    transition: Tensor,
    mark: Tensor,
    direct: Tensor | None,
    state: Tensor,
    chunk: int = CHUNK,
) -> tuple[Tensor, Tensor]:
    """As `reference.plstm_1d`; one channel goes the fast way, and on a CPU the compiled one."""
    channels = {t.shape[-1] for t in (q, k, v, transition)} | {mark.shape[2]}
    if channels != {1}:
        chunk = min(chunk, CHUNK_OF_MATRICES)
        return recomputed(matrix_gates, q, k, v, source, transition, mark, direct, state, chunk)
    N, cut = q.shape[1], _cut(q.shape[1], chunk)
    vectors = [_chunks(t.squeeze(-1), *cut) for t in (q, k, v)]
    passing = _chunks(transition.flatten(1), *cut, value=1.0)
    direct = torch.zeros_like(mark) if direct is None else direct
    source, mark, direct = (_chunks(gate.flatten(1), *cut) for gate in (source, mark, direct))
    gates, state = torch.stack([source, passing, mark, direct]), state.squeeze(-1)
    if compiled_for(q):
        from .cpu_lines import line_attention

        y, state = line_attention(*vectors, gates, state)
    else:
        y, state = recomputed(attend, *vectors, gates, state)
    return y.flatten(1, 2)[:, :N].unsqueeze(-1), state.unsqueeze(-1)


def attend(q: Tensor, k: Tensor, v: Tensor, gates: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Masked attention in each chunk, and the states between them, in PyTorch.

    Shapes: q, k ``(B, n, C, dk)``; v ``(B, n, C, dv)``; gates S, T, M, D ``(4, B, n, C)``; state ``(B, dk, dv)``; returns y
    ``(B, n, C, dv)`` and the last state.
    """
    mask = chunk_masks(*gates)
    written = (k * mask[..., -1, :-1].unsqueeze(-1)).mT @ v
    enters, state = _states(mask[..., -1, -1], written.flatten(2), state.flatten(1))
    states = enters.unflatten(2, written.shape[2:])
    y = ((q @ k.mT) * mask[..., :-1, :-1]) @ v + (q * mask[..., :-1, -1:]) @ states
    return y, state.unflatten(1, written.shape[2:])


def matrix_gates(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    source: Tensor,
    transition: Tensor,
    mark: Tensor,
    direct: Tensor | None,
    state: Tensor,
    chunk: int,
) -> tuple[Tensor, Tensor]:
    """Gates of several channels (state tracking); shapes as in `reference`."""
    N, count, C = q.shape[1], *_cut(q.shape[1], chunk)
    eye = torch.eye(transition.shape[-1], dtype=q.dtype, device=q.device)
    rest = eye.expand(len(q), count * C - N, *eye.shape)
    L = matrix_products(torch.cat([transition, rest], 1).unflatten(1, (count, C)))
    q, k, v, source, mark = (_chunks(t, count, C) for t in (q, k, v, source, mark))
    y = torch.einsum("bntdi,bnsdj->bntsij", q, k)
    inside = torch.einsum("bntoia,bntsac,bnscjl->bntsoijl", mark, L[:, :, :C, 1:], source)
    if direct is not None:
        diagonal = torch.eye(C, dtype=q.dtype, device=q.device)
        inside = inside + torch.einsum("bntoijl,ts->bntsoijl", _chunks(direct, count, C), diagonal)
    y = torch.einsum("bntsij,bntsoijl,bnsvl->bntvo", y, inside, v)
    ends = torch.einsum("bnsac,bnscjl,bnsdj->bnsadl", L[:, :, C, 1:], source, k)
    written = torch.einsum("bnsadl,bnsvl->bndva", ends, v)
    enters = []
    for n in range(count):
        enters.append(state)
        state = torch.einsum("bac,bdvc->bdva", L[:, n, C, 0], state) + written[:, n]
    reads = torch.einsum("bntoia,bntac,bntdi->bntodc", mark, L[:, :, :C, 0], q)
    y = y + torch.einsum("bntodc,bndvc->bntvo", reads, torch.stack(enters, 1))
    return y.flatten(1, 2)[:, :N], state


def _states(decay: Tensor, written: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """The state that enters each chunk ``(B, count, F)`` and the last, for decay ``(B, count)`` and written ``(B, count, F)``."""
    found = []
    for first in range(0, decay.shape[1], CHAIN):
        some = slice(first, first + CHAIN)
        chain = segment_products(decay[:, some]) @ torch.cat([state.unsqueeze(1), written[:, some]], 1)
        found.append(chain[:, :-1])
        state = chain[:, -1]
    return torch.cat(found, 1), state


def _cut(length: int, chunk: int) -> tuple[int, int]:
    """How many chunks, and their length: as even as can be."""
    count = -(-length // chunk)
    return count, -(-length // count)


def _chunks(t: Tensor, count: int, C: int, value: float = 0.0) -> Tensor:
    """``(B, N, ...)`` as ``(B, count, C, ...)``, filled up with `value`."""
    if count * C == t.shape[1]:
        return t.unflatten(1, (count, C))
    return pad(t, (*(0, 0) * (t.dim() - 2), 0, count * C - t.shape[1]), value=value).unflatten(1, (count, C))
