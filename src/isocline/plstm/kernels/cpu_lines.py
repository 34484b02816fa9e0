"""A sequence on a CPU: the compiled recursion, or chunks with compiled masks and products by BLAS, a few heads at a time.

On the way there the recursion is the faster one as long as a state stays in the cache; the way back is always in chunks. Both
ways are one operator each, and only the inputs are kept between them, as in `cpu`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from . import paths, states
from .cpu import again, over_heads
from .keeping import full_precision

TOGETHER = 1 << 18  # numbers of masks made together: they stay in the cache
CARRIED = 1 << 15  # numbers of a state up to which it is carried from token to token


@torch.library.custom_op("isocline::line_attention", mutates_args=(), device_types="cpu")
def line_attention(q: Tensor, k: Tensor, v: Tensor, gates: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """y ``(B, n, C, dv)`` and the last state ``(B, dk, dv)``.

    Shapes: q, k ``(B, n, C, dk)``; v ``(B, n, C, dv)``; gates S, T, M, D ``(4, B, n, C)``; state ``(B, dk, dv)``.
    """
    if state[0].numel() <= CARRIED:
        return _token_by_token(q, k, v, gates, state)
    with full_precision():
        y, last = torch.empty_like(v, memory_format=torch.contiguous_format), torch.empty_like(state)
        for b in _blocks(q):
            masks, some = _masks(gates[:, b]), [t[b].flatten(0, 1) for t in (q, k, v)]
            products = torch.bmm(some[0], some[1].mT).mul_(masks[:, :-1, :-1])
            enters, last[b] = _states(some[1], some[2], masks, state[b])
            inside = torch.bmm(products, some[2])
            y[b] = inside.baddbmm_(some[0] * masks[:, :-1, -1:], enters.flatten(0, 1)).unflatten(
                0, y[b].shape[:2]
            )
        return y, last


def _token_by_token(q: Tensor, k: Tensor, v: Tensor, gates: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    y = torch.empty_like(v, memory_format=torch.contiguous_format)
    held = state.mT.clone(memory_format=torch.contiguous_format)
    vectors = [t.flatten(1, 2).contiguous() for t in (q, k, v)]
    over_heads(states.read_line, gates.flatten(2), *vectors, held, y.flatten(1, 2))
    return y, held.mT.contiguous()


@line_attention.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, gates: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(v, memory_format=torch.contiguous_format), torch.empty_like(state)


@torch.library.custom_op("isocline::line_attention_backward", mutates_args=(), device_types="cpu")
def line_attention_backward(
    slope: Tensor, slope_of_last: Tensor, q: Tensor, k: Tensor, v: Tensor, gates: Tensor, state: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """dl/dq, dl/dk, dl/dv, dl/dgates, dl/dstate for slope = dl/dy and dl/d(last state)."""
    with full_precision():
        found = [torch.empty_like(t, memory_format=torch.contiguous_format) for t in (q, k, v, gates, state)]
        for b in _blocks(q):
            parts = _back(slope[b], slope_of_last[b], q[b], k[b], v[b], gates[:, b], state[b])
            for whole, part in zip(found[:3], parts, strict=False):
                whole[b] = part.view(whole[b].shape)
            found[3][:, b], found[4][b] = parts[3], parts[4]
        return found[0], found[1], found[2], found[3], found[4]


@line_attention_backward.register_fake
def _(
    slope: Tensor, slope_of_last: Tensor, q: Tensor, k: Tensor, v: Tensor, gates: Tensor, state: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    new = [torch.empty_like(t, memory_format=torch.contiguous_format) for t in (q, k, v, gates, state)]
    return new[0], new[1], new[2], new[3], new[4]


def _back(
    slope: Tensor, slope_of_last: Tensor, q: Tensor, k: Tensor, v: Tensor, gates: Tensor, state: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The way back for a few heads, chunks and heads in one axis; states and gates as they came."""
    count, masks = q.shape[1], _masks(gates)
    slope, q, k, v = (t.flatten(0, 1) for t in (slope, q, k, v))
    inside, reads, writes = masks[:, :-1, :-1], masks[:, :-1, -1:], masks[:, -1, :-1].unsqueeze(-1)
    enters, _last = _states(k, v, masks, state)
    through = masks[:, -1, -1].view(-1, count, 1, 1)
    back, to_states = slope_of_last, torch.bmm((q * reads).mT, slope).unflatten(0, (-1, count))
    for i in reversed(range(count)):  # dl/d(what a chunk writes) takes the place of what its reading asks for
        asked = to_states[:, i].clone()
        to_states[:, i] = back
        back = torch.addcmul(asked, back, through[:, i])
    products, slopes, to_masks = torch.bmm(q, k.mT), torch.bmm(slope, v.mT), torch.empty_like(masks)
    torch.mul(products, slopes, out=to_masks[:, :-1, :-1])
    to_masks[:, -1, -1] = (to_states * enters).sum((-1, -2)).flatten()
    enters, to_states = enters.flatten(0, 1), to_states.flatten(0, 1)
    read, written = torch.bmm(slope, enters.mT), torch.bmm(v, to_states.mT)
    to_masks[:, :-1, -1] = (q * read).sum(-1)
    to_masks[:, -1, :-1] = (k * written).sum(-1)
    to_v = torch.bmm(products.mul_(inside).mT, slope).baddbmm_(k * writes, to_states)
    slopes.mul_(inside)
    to_q = torch.bmm(slopes, k).addcmul_(reads, read)
    to_k = torch.bmm(slopes.mT, q).addcmul_(writes, written)
    to_gates = torch.empty_like(gates, memory_format=torch.contiguous_format)
    over_heads(paths.line_gradients, gates.flatten(1, 2), to_masks, to_gates.flatten(1, 2))
    return to_q, to_k, to_v, to_gates, back


def _blocks(q: Tensor) -> list[slice]:
    heads, count, C = q.shape[:3]
    together = max(1, TOGETHER // (count * C * C))
    return [slice(first, first + together) for first in range(0, heads, together)]


def _masks(gates: Tensor) -> Tensor:
    """``(B n, C + 1, C + 1)``; the last source is the state that enters, the last target the state that leaves."""
    C = gates.shape[-1]
    masks = gates.new_zeros(gates.shape[1] * gates.shape[2], C + 1, C + 1)
    over_heads(paths.fill_lines, gates.flatten(1, 2), masks)
    return masks


def _states(k: Tensor, v: Tensor, masks: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """The state that enters each chunk ``(B, n, dk, dv)``, and the last."""
    written = torch.bmm((k * masks[:, -1, :-1].unsqueeze(-1)).mT, v).unflatten(0, (len(state), -1))
    through = masks[:, -1, -1].view(*written.shape[:2], 1, 1)
    for i in range(written.shape[1]):
        made = written[:, i].clone()
        written[:, i] = state
        state = torch.addcmul(made, state, through[:, i])
    return written, state


def _keep(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.save_for_backward(*inputs)


def _attention_back(ctx: Any, slope: Tensor, slope_of_last: Tensor) -> tuple[Tensor | None, ...]:
    if torch.is_grad_enabled():
        from .chunked import attend

        return tuple(again(attend, ctx.saved_tensors, (slope, slope_of_last)))
    return line_attention_backward(slope, slope_of_last, *ctx.saved_tensors)


line_attention.register_autograd(_attention_back, setup_context=_keep)
