"""The forced recursion on CUDA, in Triton: one program runs one block of sequences from the first step to the
last.

The state of the block stays in registers; the weights are read again at every step, from the cache, in tiles
of hidden units. The way back stores only the adjoint; all gradients then are products over all times and
sequences (``adjoint``). Runs of an ensemble are further programs. Matrices are padded to the tiles by masks.
"""

# pyright: reportMissingImports=false, reportIndexIssue=false
from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from .adjoint import parameter_gradients, states_fed, weight_gradient

jit: Any = triton.jit

SEQUENCES = 16  # in a block: the least that a matrix product of the hardware takes


@jit
def _units(z, W2, h2, first, M, L, CLIPPED: tl.constexpr, MP: tl.constexpr, LP: tl.constexpr):
    """Gates and outputs of the units first .. first + LP for the states z ``(b, MP)``; and their W2 ``(LP,
    MP)``.
    """
    units = first + tl.arange(0, LP)
    states = tl.arange(0, MP)
    inside = (units < L)[:, None] & (states < M)[None, :]
    rows = tl.load(W2 + units[:, None] * M + states[None, :], mask=inside, other=0.0)
    threshold = tl.load(h2 + units, mask=units < L, other=0.0)
    u = tl.dot(z, tl.trans(rows), input_precision="ieee", out_dtype=z.dtype)
    above = u + threshold[None, :]
    output = tl.where(above < 0, 0.0, above)
    gate = tl.where(above > 0, 1.0, 0.0)
    if CLIPPED:
        output -= tl.where(u < 0, 0.0, u)
        gate -= tl.where(u > 0, 1.0, 0.0)
    return output.to(z.dtype), gate.to(z.dtype), rows


@jit
def _forced(z, signal, weight, at, at_weight, sd, D, rows, columns):
    """``(1 - w) z + w signal`` where the signal is a number; and ``w``, 0 elsewhere."""
    forced = rows[:, None] & (columns < D)[None, :]
    target = tl.load(signal + at[:, None] * D + columns[None, :], mask=forced, other=float("nan"))
    w = tl.load(weight + at_weight[:, None] + columns[None, :] * sd, mask=forced, other=0.0)
    missing = target != target
    w = tl.where(missing, 0.0, w).to(z.dtype)
    return w * tl.where(missing, 0.0, target).to(z.dtype) + (z - w * z), w


@jit
def _run(
    A, W1, W2, h1, h2, z0, signal, weight, drive, predicted,
    T, B, M, L, D, sr, st, sb, sd, blocks,
    DRIVEN: tl.constexpr, CLIPPED: tl.constexpr, BP: tl.constexpr, MP: tl.constexpr, LP: tl.constexpr,
):  # fmt: skip
    """Predictions ``(R, T, B, M)``; sr, st, sb, sd are the strides of the weight."""
    run, block = (tl.program_id(0) // blocks).to(tl.int64), tl.program_id(0) % blocks
    b, i = block * BP + tl.arange(0, BP), tl.arange(0, MP)
    inside = (b < B)[:, None] & (i < M)[None, :]
    diagonal = tl.load(A + run * M + i, mask=i < M, other=0.0)
    shift = tl.load(h1 + run * M + i, mask=i < M, other=0.0)
    z = tl.load(z0 + (run * B + b)[:, None] * M + i[None, :], mask=inside, other=0.0)
    at, at_weight = run * T * B + b, run * sr + b * sb
    for _step in range(T):
        following = z * diagonal[None, :] + shift[None, :]
        for first in range(0, L, LP):
            output, _gate, _rows = _units(z, W2 + run * L * M, h2 + run * L, first, M, L, CLIPPED, MP, LP)
            l = first + tl.arange(0, LP)
            used = (i < M)[:, None] & (l < L)[None, :]
            columns = tl.load(W1 + run * M * L + i[:, None] * L + l[None, :], mask=used, other=0.0)
            following += tl.dot(output, tl.trans(columns), input_precision="ieee", out_dtype=z.dtype)
        if DRIVEN:
            following += tl.load(drive + at[:, None] * M + i[None, :], mask=inside, other=0.0)
        tl.store(predicted + at[:, None] * M + i[None, :], following, mask=inside)
        z, _w = _forced(following, signal, weight, at, at_weight, sd, D, b < B, i)
        at += B
        at_weight += st


@jit
def _run_back(
    A, W1, W2, h2, z0, signal, weight, predicted, slope, adjoint, to_z0,
    T, B, M, L, D, sr, st, sb, sd, blocks,
    CLIPPED: tl.constexpr, BP: tl.constexpr, MP: tl.constexpr, LP: tl.constexpr,
):  # fmt: skip
    """The adjoint ``(R, T, B, M)`` for slope = dl/dz, and dl/dz_0 ``(R, B, M)``."""
    run, block = (tl.program_id(0) // blocks).to(tl.int64), tl.program_id(0) % blocks
    b, i = block * BP + tl.arange(0, BP), tl.arange(0, MP)
    inside = (b < B)[:, None] & (i < M)[None, :]
    diagonal = tl.load(A + run * M + i, mask=i < M, other=0.0)
    start = tl.load(z0 + (run * B + b)[:, None] * M + i[None, :], mask=inside, other=0.0)
    back = start * 0.0
    at, at_weight = (run * T + T - 1) * B + b, run * sr + (run * 0 + T - 1) * st + b * sb
    for s in range(T):
        arriving = tl.load(slope + at[:, None] * M + i[None, :], mask=inside, other=0.0) + back
        tl.store(adjoint + at[:, None] * M + i[None, :], arriving, mask=inside)
        fed, w = start, start * 0.0
        at -= B
        at_weight -= st
        if s < T - 1:
            before = tl.load(predicted + at[:, None] * M + i[None, :], mask=inside, other=0.0)
            fed, w = _forced(before, signal, weight, at, at_weight, sd, D, b < B, i)
        back = arriving * diagonal[None, :]
        for first in range(0, L, LP):
            _output, gate, rows = _units(fed, W2 + run * L * M, h2 + run * L, first, M, L, CLIPPED, MP, LP)
            l = first + tl.arange(0, LP)
            used = (i < M)[:, None] & (l < L)[None, :]
            columns = tl.load(W1 + run * M * L + i[:, None] * L + l[None, :], mask=used, other=0.0)
            signals = tl.dot(arriving, columns, input_precision="ieee", out_dtype=fed.dtype) * gate
            back += tl.dot(signals, rows, input_precision="ieee", out_dtype=fed.dtype)
        back -= w * back
    tl.store(to_z0 + (run * B + b)[:, None] * M + i[None, :], back, mask=inside)


def forced_rollout(*arguments: Any) -> Tensor:
    """Predictions; arguments as in ``reference.forced_rollout``, all of one dtype, on one CUDA device."""
    *tensors, clipped = arguments
    if tensors[0].dim() == 2:
        return _Rollout.apply(*tensors, clipped)
    *rest, weight, drive = (t if t is None else t.unsqueeze(0) for t in tensors)
    weight = tensors[7].reshape((1,) * (4 - tensors[7].dim()) + tensors[7].shape)
    return _Rollout.apply(*rest, weight, drive, clipped).squeeze(0)


class _Rollout(torch.autograd.Function):
    """All tensors with a run axis."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        *filled, weight, drive, clipped = arguments
        filled: Any = [tensor.contiguous() for tensor in filled]
        forcing, z0 = filled[6], filled[5]
        predicted = forcing.new_empty(*forcing.shape[:-1], z0.shape[-1])
        sizes, tiles = _sizes(filled[1], forcing, weight)
        grid = (len(z0) * sizes[-1],)
        given = predicted if drive is None else drive.contiguous()
        _run[grid](
            *filled, weight, given, predicted, *sizes, DRIVEN=drive is not None, CLIPPED=clipped, **tiles
        )
        ctx.save_for_backward(*filled, weight, predicted)
        ctx.clipped = clipped
        return predicted

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        A, W1, W2, h1, h2, z0, forcing, weight, predicted = ctx.saved_tensors
        sizes, tiles = _sizes(W1, forcing, weight)
        adjoint, to_z0 = torch.empty_like(predicted), torch.empty_like(z0)
        _run_back[(len(z0) * sizes[-1],)](
            A, W1, W2, h2, z0, forcing, weight, predicted, slope.contiguous(), adjoint, to_z0,
            *sizes, CLIPPED=ctx.clipped, **tiles,
        )  # fmt: skip
        missing = forcing.isnan()
        weights = torch.where(missing, 0, weight.expand(forcing.shape))
        targets = torch.where(missing, 0, forcing)
        found, to_weight = [], torch.zeros_like(targets)
        for r in range(len(z0)):
            fed = states_fed(z0[r], targets[r], weights[r], predicted[r])
            each = (A[r], W1[r], W2[r], h1[r], h2[r])
            gradients, back = parameter_gradients(each, fed, adjoint[r], clipped=ctx.clipped)
            found.append(gradients)
            to_weight[r] = weight_gradient(back, targets[r], predicted[r]).masked_fill(missing[r], 0)
        to_weight = to_weight.sum_to_size(weight.shape)
        together = [torch.stack(parts) for parts in zip(*found, strict=True)]
        return *together, to_z0, None, to_weight, adjoint if ctx.needs_input_grad[8] else None, None


def _sizes(W1: Tensor, forcing: Tensor, weight: Tensor) -> tuple[tuple[int, ...], dict[str, int]]:
    """What the kernels take after the tensors: sizes and the weight's strides; and the tiles."""
    T, B, D = forcing.shape[1:]
    M, L = W1.shape[1:]
    strides = [step if count > 1 else 0 for step, count in zip(weight.stride(), weight.shape, strict=True)]
    tiles = {
        "BP": SEQUENCES,
        "MP": max(16, triton.next_power_of_2(M)),
        "LP": min(64, max(16, triton.next_power_of_2(L))),
    }
    return (T, B, M, L, D, *strides, triton.cdiv(B, SEQUENCES)), tiles
