"""L_orth from some of its rows, drawn at random: what a wide layer can afford at every step."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor
from torch.autograd.function import once_differentiable

from isocline.orthogonal.functional import lorth_each, narrow_side
from isocline.orthogonal.shapes import ConvShape, tap_stride, weight_shape


def lorth_sampled(
    weights: Tensor,
    rows: int,
    generator: Generator,
    stride: int | Sequence[int] = 1,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    transposed: bool = False,
) -> Tensor:
    """An unbiased estimate of ``lorth_each`` from `rows` rows of every group: ``n / m`` times their part of L_orth.

    The mean over draws is L_orth, and that of the gradient is its gradient; the cost is about ``m / n`` of the exact one. A
    layer of no more than `rows` rows is computed exactly. Shapes: weights ``(B, M, C / groups, *k)``; returns ``(B,)``.
    generator: on the CPU. Source: [ours], from AMM's definition of L_orth as a sum over rows.
    """
    shape = weight_shape(weights[0], stride, dilation, groups, transposed)
    weights = weights.float() if weights.dtype in (torch.float16, torch.bfloat16) else weights
    n = min(shape.M, shape.C * prod(tap_stride(shape)))
    if n <= rows:
        return lorth_each(weights, stride, dilation, groups, transposed)
    drawn = torch.randperm(n, generator=generator)[:rows].to(weights.device)
    part, unseen = rows_part(weights, shape, drawn)
    return n / rows * part + unseen


def rows_part(weights: Tensor, shape: ConvShape, rows: Tensor) -> tuple[Tensor, float]:
    """``sum_{i in rows} sum_{j, a} (G_a - I_r0)_{ij}^2``, all lags: with the constant that is returned too, once, the parts of
    all rows add up to L_orth.

    Half of the lags count twice: ``G_{-a} = G_a^T``, so that over all rows both halves are alike. The rows drawn are laid at
    these lags over the others: one product, and two for the gradient, which read the weights as they lie in memory (RO).
    Shapes: weights ``(B, M, C / groups, *k)``, rows ``(m,)``; returns ``(B,)``. Once differentiable.
    """
    if shape.rows_fewer:
        kernels, step, unseen = weights.unflatten(1, (shape.groups, shape.M)), tap_stride(shape), 0.0
    else:
        kernels, unseen = narrow_side(weights, shape)
        step = (1,) * len(shape.S)
    parts = _RowsPart.apply(kernels.flatten(0, 1), rows, step).view(len(weights), shape.groups)  # type: ignore[no-untyped-call]
    return parts.sum(1), unseen


class _RowsPart(torch.autograd.Function):
    """Of kernels A ``(B, r, s, *q)``, ``(B,)``: automatic differentiation would fill a whole A with zeros for a few rows."""

    @staticmethod
    def forward(ctx: Any, A: Tensor, rows: Tensor, step: Sequence[int]) -> Tensor:
        shifted = at_half_the_lags(A[:, rows], step)
        lags = shifted.shape[2]
        residual = shifted.flatten(1, 2).flatten(2) @ A.flatten(2).mT  # (B, m lags, r)
        zero = torch.arange(len(rows), device=A.device) * lags
        residual[:, zero, rows] -= 1.0
        error = 2 * residual  # every other lag stands for two
        error[:, zero] *= 0.5
        ctx.save_for_backward(A, rows, error)
        ctx.step = step
        return (error * residual).sum((1, 2))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        A, rows, error = ctx.saved_tensors
        error = 2 * grad[:, None, None] * error
        drawn = A[:, rows].requires_grad_()
        with torch.enable_grad():
            shifted = at_half_the_lags(drawn, ctx.step)
        flat = shifted.detach().flatten(1, 2).flatten(2)
        out = (error.mT @ flat).unflatten(2, A.shape[2:])
        (own,) = torch.autograd.grad(shifted, drawn, (error @ A.flatten(2)).view_as(shifted))
        return out.index_add_(1, rows, own), None, None


def at_half_the_lags(rows: Tensor, step: Sequence[int]) -> Tensor:
    """The kernels ``(B, m, s, *q)`` displaced by multiples of `step` along each axis, one of each pair ±a, with zeros where
    they end: ``(B, m, lags, s, *q)``, the first of them lag 0.
    """
    q = rows.shape[3:]
    wide = F.pad(
        rows, [(n - 1) // s * s for n, s in zip(reversed(q), reversed(step), strict=True) for _ in "ab"]
    )
    for axis, (n, s) in enumerate(zip(q, step, strict=True)):
        wide = wide.unfold(3 + axis, n, s)  # its place becomes the lag, the taps go to the end
    wide = wide.movedim(2, 2 + len(q)).flatten(2, 1 + len(q))  # (B, m, all lags, s, *q)
    return wide[:, :, wide.shape[2] // 2 :]
