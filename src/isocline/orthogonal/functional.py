"""The formulas of orthogonal convolutions, as pure functions of tensors.

A convolution (M, C, k, S) with circular padding is a matrix ``KK`` of ``M N^d`` rows and ``C S^d N^d`` columns. Its
*polyphase* kernel has stride 1 and ``C S^d`` channels, and whichever of rows (RO) and columns (CO) are fewer can be
orthonormal. All formulas below therefore speak of a stack of matrices ``A`` of shape ``(r, s, *q)``, ``r <= s``, one
matrix a tap.

Source: Achour, Malgouyres, Mamalet, *Existence, Stability and Scalability of Orthogonal Convolutional Neural Networks*,
JMLR 23 (347), 2022 ("AMM"). What is marked [ours] is proved in the docstring.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from isocline._core.matrices import products
from isocline.orthogonal.shapes import ConvShape, tap_stride, weight_shape

_SMALL = 300  # rows times taps

__all__ = ["lag_gram", "lorth", "lorth_each", "narrow_side", "polyphase"]


def polyphase(weight: Tensor, stride: Sequence[int]) -> Tensor:
    """The kernel of stride 1 that does the same to an input whose ``S^d`` phases are channels: tap ``u = S q + p``.

    Shapes: weight ``(..., C, *k)`` with ``len(stride)`` axes of taps; returns ``(..., C prod(S), *ceil(k / S))``. The
    matrix of the layer only has its columns reordered. Source: standard, the polyphase representation.

    >>> polyphase(torch.arange(1.0, 4).reshape(1, 1, 3), [2])
    tensor([[[1., 3.],
             [2., 0.]]])
    """
    d = len(stride)
    if max(stride) == 1:
        return weight
    k, lead = weight.shape[-d:], weight.shape[: -d - 1]
    ends = [-n % s for n, s in zip(k, stride, strict=True)]
    padded = F.pad(weight, [size for end in reversed(ends) for size in (0, end)])
    split = [size for n, e, s in zip(k, ends, stride, strict=True) for size in ((n + e) // s, s)]
    channel = len(lead)
    phases = padded.reshape(*lead, weight.shape[channel], *split)
    q_axes, p_axes = range(channel + 1, channel + 2 * d, 2), range(channel + 2, channel + 2 * d + 1, 2)
    taps_first = phases.permute(*q_axes, *range(channel + 1), *p_axes).flatten(
        d + channel
    )  # as `_stacked` has it
    return taps_first.movedim(tuple(range(d)), tuple(range(-d, 0)))


def narrow_side(weights: Tensor, shape: ConvShape) -> tuple[Tensor, float]:
    """The stack of matrices whose rows are to be orthonormal, and the squared residual that no weight can remove.

    Shapes: weights ``(B, M, C / g, *k)``; returns ``A`` ``(B, g, r, s, *q)`` with r the smaller of M and ``C S^d``, and a
    constant: where stride and dilation have a common divisor some inputs are never seen, each with a residual of 1 (CO).
    """
    steps = tap_stride(shape)
    A = polyphase(weights.reshape(-1, shape.groups, shape.M, *weights.shape[2:]), steps)
    if shape.rows_fewer:
        return A, 0.0
    unseen = shape.groups * shape.C * (prod(shape.S) - prod(steps))
    return A.transpose(2, 3), float(unseen)


def lag_gram(A: Tensor) -> Tensor:
    """Inner products of the rows with themselves at every displacement a: ``G_a = sum_u A_u A_{u+a}^T``, half of the lags.

    The other half are transposes, ``G_{-a} = G_a^T``. Shapes: A ``(B, r, s, *q)``; returns ``(B, lags, r, r)`` with
    ``lags = (prod(2 q - 1) + 1) / 2``, the first of them ``a = 0``. Source: AMM, ``conv(K, K, padding zero = P, stride
    = S)``.
    """
    return _LagGram.apply(A)  # type: ignore[no-any-return]


class _LagGram(torch.autograd.Function):
    """``lag_gram`` with a backward that keeps nothing but A."""

    generate_vmap_rule = True

    @staticmethod
    def forward(A: Tensor) -> Tensor:
        return _all_at_once(A) if _small(A) else _tap_by_tap(A)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        (A,) = ctx.saved_tensors
        return _spread(grad, A)


def _small(A: Tensor) -> bool:
    """Whether one product of all taps with all is cheaper than thirteen small ones (k = 3), though twice the work."""
    return A.shape[1] * prod(A.shape[3:]) <= _SMALL


def _tap_by_tap(A: Tensor) -> Tensor:
    """Every tap with itself and those behind it, all of them at lags of the half that is asked for."""
    B, r, _s = A.shape[:3]
    X, table = _stacked(A), _table(tuple(A.shape[3:]), A.device)
    taps, zero = len(table), int(prod(2 * n - 1 for n in A.shape[3:]) // 2)
    found = A.new_zeros(B, zero + 1, r, r)
    for u in range(taps):
        met = products(X[:, u * r : (u + 1) * r], X[:, u * r :]).reshape(B, r, taps - u, r).transpose(1, 2)
        found.index_add_(1, table[u, u:] - zero, met)
    return found


def _all_at_once(A: Tensor) -> Tensor:
    """The products of every tap with every tap, added up by their lag."""
    B, r, _s = A.shape[:3]
    X = _stacked(A)
    met = (X @ X.mT).reshape(B, -1, r, X.shape[1] // r, r).transpose(2, 3).flatten(1, 2)
    lags = _table(tuple(A.shape[3:]), A.device)
    count = prod([2 * n - 1 for n in A.shape[3:]])
    return met.new_zeros(B, count, r, r).index_add(1, lags.flatten(), met)[:, count // 2 :]


def _spread(grad: Tensor, A: Tensor) -> Tensor:
    """``dA_u = sum_a (H_a A_{u+a} + H_a^T A_{u-a})``, with H the gradient of the half lags.

    Shapes: grad ``(B, lags, r, r)``, A ``(B, r, s, *q)``; returns the shape of A. Small: one product; else one a tap.
    """
    B, r = A.shape[:2]
    table = _table(tuple(A.shape[3:]), A.device)
    ahead = grad[:, 1:]
    full = torch.cat([ahead.flip(1).mT, grad[:, :1] + grad[:, :1].mT, ahead], 1)
    X = _stacked(A)
    if _small(A):
        T = len(table)
        toeplitz = full.index_select(1, table.flatten()).reshape(B, T, T, r, r).transpose(2, 3)
        spread = (toeplitz.reshape(B, T * r, T * r) @ X).reshape(B, T, r, -1).movedim(1, 3)
        return spread.reshape(A.shape)
    columns, full = X.mT.contiguous(), full.transpose(1, 2).contiguous()
    rows = [products(full.index_select(2, lags).flatten(2), columns) for lags in table]
    return torch.stack(rows, 1).movedim(1, 3).reshape(A.shape)


def _stacked(A: Tensor) -> Tensor:
    """The taps one under another, ``(B, taps r, s)``."""
    return A.flatten(3).movedim(3, 1).flatten(1, 2)


def _lags(q: tuple[int, ...], device: torch.device) -> Tensor:
    """For every tap and every other the place of the lag between them among all, ``(taps, taps)``."""
    taps = list(product(*(range(n) for n in q)))
    place = {lag: i for i, lag in enumerate(product(*(range(1 - n, n) for n in q)))}
    between = [
        [place[tuple(v - u for u, v in zip(one, other, strict=True))] for other in taps] for one in taps
    ]
    return torch.tensor(between, device=device)


_remembered = lru_cache(maxsize=256)(_lags)


def _table(q: tuple[int, ...], device: torch.device) -> Tensor:
    """`_lags`, remembered; a compiler, which would trace through the memory, does it once anyway."""
    return _lags(q, device) if torch.compiler.is_compiling() else _remembered(q, device)


def lorth_each(
    weights: Tensor,
    stride: int | Sequence[int] = 1,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    transposed: bool = False,
) -> Tensor:
    """`lorth` of many weights of one shape at once. Shapes: weights ``(B, M, C / groups, *k)``; returns ``(B,)``."""
    shape = weight_shape(weights[0], stride, dilation, groups, transposed)
    if weights.dtype in (torch.float16, torch.bfloat16):
        weights = weights.float()
    A, unseen = narrow_side(weights, shape)
    B, g, r = A.shape[:3]
    G = lag_gram(A.flatten(0, 1)).reshape(B, g, -1, r, r)
    residual = G[:, :, 0] - torch.eye(r, dtype=G.dtype, device=G.device)
    return residual.square().sum((1, 2, 3)) + 2 * G[:, :, 1:].square().sum((1, 2, 3, 4)) + unseen


def lorth(
    weight: Tensor,
    stride: int | Sequence[int] = 1,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    transposed: bool = False,
) -> Tensor:
    """The regulariser ``L_orth(K) >= 0``, zero exactly where the convolution is orthogonal, for every image size.

    With N outputs a side and circular padding, as soon as ``S N >= 2 k - 1``, ``N^d L_orth`` is ``||KK KK^T - I||_F^2``
    in the row case ``M <= C S^d`` and ``||KK^T KK - I||_F^2`` in the column case. Where columns are fewer, *their*
    inner products are summed [ours]: the value of ``||conv(K, K) - I||^2 - (M - C S^d)`` without its cancellation, ``M
    / C S^d`` times cheaper.

    Shapes: weight ``(M, C / groups, *k)``, of a transposed convolution ``(in, out / groups, *k)`` (the value is the
    same: its matrix is the transpose); returns a scalar. Differentiable, also twice; half precision is computed and
    returned in float32.
    Raises ValueError or TypeError for what is no weight. Source: AMM, definition of L_orth and the scalability theorem.

    >>> float(lorth(torch.tensor([[[0.5, 0.5]]])))  # rows overlap: (0.5 - 1)^2 + 2 * 0.25^2
    0.375
    """
    weight_shape(weight, stride, dilation, groups, transposed)
    return lorth_each(weight[None], stride, dilation, groups, transposed)[0]
