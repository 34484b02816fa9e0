"""Masked attention over a grid on CUDA, in Triton: the mask is made row by row where it is used, and never stored.

A program owns a block of targets and walks the rows of sources away from them. Along a row the adjoint of the
recursion is a chain, one small matrix product with the products of ``T_du``; its numbers times ``q k^T`` are the weights
of the row's values. The way back to queries is the same kernel with other arguments, since ``dq = (G o dy v^T) k``; the
way back to keys and values too, on the reversed grid, whose mask is the transposed one.
"""

# pyright: reportMissingImports=false, reportIndexIssue=false
from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from .inputs import GridInputs
from .products import segment_products

jit: Any = triton.jit

TARGETS = 32  # in a block
SCRATCH = 1 << 28  # numbers of adjoints that the gates' gradients keep at once


@jit
def _row(gates, chains, base, step, i, X, Y, YP: tl.constexpr):
    """The eight gates of row i of a frame, and the products of T_du along it ``(YP, YP)``."""
    c = tl.arange(0, YP)
    at, inside = gates + base + i * Y + c, c < Y
    S_r = tl.load(at, mask=inside, other=0.0)[None, :]
    S_d = tl.load(at + step, mask=inside, other=0.0)[None, :]
    rl = tl.load(at + 2 * step, mask=inside, other=0.0)[None, :]
    ru = tl.load(at + 3 * step, mask=inside, other=0.0)[None, :]
    dl = tl.load(at + 4 * step, mask=inside, other=0.0)[None, :]
    M_l = tl.load(at + 6 * step, mask=inside, other=0.0)[None, :]
    M_u = tl.load(at + 7 * step, mask=inside, other=0.0)[None, :]
    square = inside[:, None] & inside[None, :]
    chain = tl.load(chains + (base + i * Y) * Y + c[:, None] * Y + c[None, :], mask=square, other=0.0)
    return S_r, S_d, rl, ru, dl, M_l, M_u, chain


@jit
def _nodes(flip, i, X, Y, YP: tl.constexpr):
    """The nodes of row i of a frame, in the grid's own order."""
    c = tl.arange(0, YP)
    x = tl.where((flip & 1) == 1, X - 1 - i, i)
    return x * Y + tl.where((flip & 2) == 2, Y - 1 - c, c)


@jit
def _vectors(field, nodes, inside, d, DP: tl.constexpr):
    """Rows ``(.., DP)`` of a field ``(N, d)``."""
    j = tl.arange(0, DP)
    return tl.load(
        field + nodes[:, None] * d + j[None, :], mask=inside[:, None] & (j < d)[None, :], other=0.0
    )


@jit
def _attend(
    q, k, v, gates, chains, flips, y, X, Y, dk, dv, heads,
    O: tl.constexpr, BT: tl.constexpr, YP: tl.constexpr, KP: tl.constexpr, VP: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """``y = (G o q k^T) v`` for a block of targets of one head."""
    block, b = tl.program_id(0), tl.program_id(1).to(tl.int64)
    N, step = X * Y, heads * O * X * Y
    t, c = block * BT + tl.arange(0, BT), tl.arange(0, YP)
    Q = _vectors(q + b * N * dk, t, t < N, dk, KP)
    total = tl.zeros((BT, VP), dtype=Q.dtype)
    for o in range(O):
        flip, base = tl.load(flips + o), (b * O + o) * N
        tx = tl.where((flip & 1) == 1, X - 1 - t // Y, t // Y)
        ty = tl.where((flip & 2) == 2, Y - 1 - t % Y, t % Y)
        right = tl.zeros((BT, YP), dtype=Q.dtype)
        for back in range(X):
            i = X - 1 - back
            S_r, S_d, rl, ru, dl, M_l, M_u, chain = _row(gates, chains, base, step, i, X, Y, YP)
            here = ((tx == i) & (t < N))[:, None] & (ty[:, None] == c[None, :])
            arriving = ru * right + tl.where(here, M_u, 0.0)
            down = tl.dot(arriving.to(Q.dtype), chain, input_precision=PRECISION, out_dtype=Q.dtype)
            nodes = _nodes(flip, i, X, Y, YP)
            K = _vectors(k + b * N * dk, nodes, c < Y, dk, KP)
            V = _vectors(v + b * N * dv, nodes, c < Y, dv, VP)
            products = tl.dot(Q, tl.trans(K), input_precision=PRECISION, out_dtype=Q.dtype)
            weights = (products * (S_r * right + S_d * down)).to(Q.dtype)
            total += tl.dot(weights, V, input_precision=PRECISION, out_dtype=Q.dtype)
            right = (rl * right + dl * down + tl.where(here, M_l, 0.0)).to(Q.dtype)
    j = tl.arange(0, VP)
    tl.store(y + b * N * dv + t[:, None] * dv + j[None, :], total, mask=(t < N)[:, None] & (j < dv)[None, :])


@jit
def _gate_gradients(
    q, k, v, slope, gates, chains, flips, kept, partial, X, Y, dk, dv, heads,
    O: tl.constexpr, BT: tl.constexpr, YP: tl.constexpr, KP: tl.constexpr, VP: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """One block's share of dl/dgates of one head and direction, for ``dl/dG = q k^T o dy v^T``.

    First the adjoints of the recursion, away from the targets, which are kept; then the recursion itself from row to
    row, fed with dl/dG, toward the targets.
    """
    block, b, o = tl.program_id(0), tl.program_id(1).to(tl.int64), tl.program_id(2)
    N, step = X * Y, heads * O * X * Y
    t, c = block * BT + tl.arange(0, BT), tl.arange(0, YP)
    Q = _vectors(q + b * N * dk, t, t < N, dk, KP)
    slopes = _vectors(slope + b * N * dv, t, t < N, dv, VP)
    flip, base = tl.load(flips + o), (b * O + o) * N
    tx = tl.where((flip & 1) == 1, X - 1 - t // Y, t // Y)
    ty = tl.where((flip & 2) == 2, Y - 1 - t % Y, t % Y)
    own = kept + ((b * O + o) * tl.num_programs(0) + block) * X * 2 * BT * YP
    square = tl.arange(0, BT)[:, None] * YP + c[None, :]
    right = tl.zeros((BT, YP), dtype=Q.dtype)
    for back in range(X):
        i = X - 1 - back
        S_r, S_d, rl, ru, dl, M_l, M_u, chain = _row(gates, chains, base, step, i, X, Y, YP)
        here = ((tx == i) & (t < N))[:, None] & (ty[:, None] == c[None, :])
        arriving = ru * right + tl.where(here, M_u, 0.0)
        down = tl.dot(arriving.to(Q.dtype), chain, input_precision=PRECISION, out_dtype=Q.dtype)
        tl.store(own + (2 * i) * BT * YP + square, right)
        tl.store(own + (2 * i + 1) * BT * YP + square, down)
        right = (rl * right + dl * down + tl.where(here, M_l, 0.0)).to(Q.dtype)
    tl.debug_barrier()
    R = tl.zeros((BT, YP), dtype=Q.dtype)
    into = partial + block.to(tl.int64) * 8 * step + base + c
    for i in range(X):
        S_r, S_d, rl, ru, dl, M_l, M_u, chain = _row(gates, chains, base, step, i, X, Y, YP)
        here = ((tx == i) & (t < N))[:, None] & (ty[:, None] == c[None, :])
        right = tl.load(own + (2 * i) * BT * YP + square)
        down = tl.load(own + (2 * i + 1) * BT * YP + square)
        nodes = _nodes(flip, i, X, Y, YP)
        K = _vectors(k + b * N * dk, nodes, c < Y, dk, KP)
        V = _vectors(v + b * N * dv, nodes, c < Y, dv, VP)
        to_G = tl.dot(Q, tl.trans(K), input_precision=PRECISION, out_dtype=Q.dtype)
        to_G *= tl.dot(slopes, tl.trans(V), input_precision=PRECISION, out_dtype=Q.dtype)
        written = (dl * R + S_d * to_G).to(Q.dtype)
        U = tl.dot(written, tl.trans(chain), input_precision=PRECISION, out_dtype=Q.dtype)
        at, inside = into + i * Y, c < Y
        tl.store(at, tl.sum(to_G * right, 0), mask=inside)
        tl.store(at + step, tl.sum(to_G * down, 0), mask=inside)
        tl.store(at + 2 * step, tl.sum(right * R, 0), mask=inside)
        tl.store(at + 3 * step, tl.sum(right * U, 0), mask=inside)
        tl.store(at + 4 * step, tl.sum(down * R, 0), mask=inside)
        tl.store(at + 5 * step, tl.sum(down * U, 0), mask=inside)
        tl.store(at + 6 * step, tl.sum(tl.where(here, R, 0.0), 0), mask=inside)
        tl.store(at + 7 * step, tl.sum(tl.where(here, U, 0.0), 0), mask=inside)
        R = (rl * R + ru * U + S_r * to_G).to(Q.dtype)


def quadrants(given: GridInputs) -> Tensor:
    """The sum over directions ``(B, X, Y, dv)``, on one CUDA device."""
    X, Y = given.q.shape[1:3]
    q, k, v, gates, direct = given._replace(q=given.q * given.scale).flat()
    y: Tensor = _Attention.apply(q, k, v, gates.unflatten(3, (X, Y)), tuple(given.directions))  # type: ignore[assignment]
    if direct is not None:
        y = y + (direct * (q * k).sum(-1)).unsqueeze(-1) * v
    return y.unflatten(1, (X, Y))


class _Attention(torch.autograd.Function):
    """q, k ``(B, N, dk)``; v ``(B, N, dv)``; gates ``(8, B, O, X, Y)``."""

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, gates: Tensor, directions: tuple[int, ...]
    ) -> Tensor:
        ctx.save_for_backward(q, k, v, gates)
        ctx.directions = directions
        return attend(q, k, v, gates, directions)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, gates = ctx.saved_tensors
        reverse, turned = reversed_gates(gates), tuple(direction ^ 3 for direction in ctx.directions)
        to_q = attend(slope, v, k, gates, ctx.directions)
        to_k = attend(v, slope, q, reverse, turned)
        to_v = attend(k, q, slope, reverse, turned)
        return to_q, to_k, to_v, gate_gradients(q, k, v, slope, gates, ctx.directions), None


def reversed_gates(gates: Tensor) -> Tensor:
    """Every edge turned round: sources become marks, turns change sides; run in the opposite direction."""
    S_r, S_d, rl, ru, dl, du, M_l, M_u = gates
    return torch.stack([M_l, M_u, rl, dl, ru, du, S_r, S_d])


def attend(q: Tensor, k: Tensor, v: Tensor, gates: Tensor, directions: tuple[int, ...]) -> Tensor:
    """``(G o q k^T) v``."""
    y = torch.empty_like(v, memory_format=torch.contiguous_format)
    (frames, chains, flips), (sizes, tiles) = _frames(gates, directions), _sizes(q, v, gates)
    grid = (triton.cdiv(q.shape[1], TARGETS), len(q))
    _attend[grid](*(t.contiguous() for t in (q, k, v)), frames, chains, flips, y, *sizes, **tiles)
    return y


def gate_gradients(
    q: Tensor, k: Tensor, v: Tensor, slope: Tensor, gates: Tensor, directions: tuple[int, ...]
) -> Tensor:
    """dl/dgates ``(8, B, O, X, Y)`` for slope = dl/dy, a few heads at a time."""
    blocks, found = triton.cdiv(q.shape[1], TARGETS), []
    _, B, O, X, _Y = gates.shape
    each = blocks * O * X * 2 * TARGETS * _sizes(q, v, gates)[1]["YP"]
    for first in range(0, B, max(1, SCRATCH // each)):
        b = slice(first, first + max(1, SCRATCH // each))
        some = [t[b].contiguous() for t in (q, k, v, slope)]
        frames, chains, flips = _frames(gates[:, b], directions)
        sizes, tiles = _sizes(some[0], v, gates[:, b])
        kept = q.new_empty(len(some[0]) * each)
        partial = q.new_empty(blocks, *frames.shape)
        _gate_gradients[(blocks, len(some[0]), O)](
            *some, frames, chains, flips, kept, partial, *sizes, **tiles
        )
        found.append(_flipped(partial.sum(0), directions))
    return torch.cat(found, 1)


def _frames(gates: Tensor, directions: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Gates as each direction sees them, products of T_du between two nodes of a row, and the directions."""
    frames = _flipped(gates, directions)
    chains = segment_products(frames[5])[..., :-1, 1:].contiguous()
    return frames, chains, torch.tensor(directions, dtype=torch.int32, device=gates.device)


def _flipped(gates: Tensor, directions: tuple[int, ...]) -> Tensor:
    each = [
        gates[:, :, o].flip([2 + a for a in (0, 1) if direction & (a + 1)])
        for o, direction in enumerate(directions)
    ]
    return torch.stack(each, 2).contiguous()


def _sizes(q: Tensor, v: Tensor, gates: Tensor) -> tuple[tuple[int, ...], dict[str, Any]]:
    """What the kernels take after the tensors: sizes; and tiles, powers of two of 16 at least."""
    _, B, O, X, Y = gates.shape
    dk, dv = q.shape[-1], v.shape[-1]
    YP, KP, VP = (max(16, triton.next_power_of_2(n)) for n in (Y, dk, dv))
    precision = "tf32" if torch.backends.cuda.matmul.allow_tf32 else "ieee"
    tiles = {"O": O, "BT": TARGETS, "YP": YP, "KP": KP, "VP": VP, "PRECISION": precision}
    return (X, Y, dk, dv, B), tiles
