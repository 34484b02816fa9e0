"""L_orth from some of its rows, drawn at random: what a wide layer can afford at every step."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from math import prod

import torch
from torch import Generator, Tensor

from isocline.orthogonal.functional import lorth_each, narrow_side
from isocline.orthogonal.shapes import weight_shape


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
    A, unseen = narrow_side(weights, shape)
    n = A.shape[2]
    if n <= rows:
        return lorth_each(weights, stride, dilation, groups, transposed)
    drawn = torch.randperm(n, generator=generator)[:rows].to(weights.device)
    return n / rows * rows_part(A, drawn) + unseen


def rows_part(A: Tensor, rows: Tensor) -> Tensor:
    """``sum_{i in rows} sum_{j, a} (G_a - I_r0)_{ij}^2``, all lags: the parts of all rows add up to L_orth.

    Shapes: A ``(B, g, r, s, *q)`` as of `narrow_side`, rows ``(m,)``; returns ``(B,)``. Differentiable.
    """
    (m,), r, q = rows.shape, A.shape[2], tuple(A.shape[4:])
    taps = A.flatten(4).transpose(3, 4)  # (B, g, r, t, s)
    products = (
        taps[:, :, rows].flatten(2, 3) @ taps.flatten(2, 3).mT
    )  # each tap of the rows with each tap of all
    pairs = (
        products.unflatten(3, (r, -1)).unflatten(2, (m, -1)).transpose(3, 4).flatten(4)
    )  # (B, g, m, r, t t)
    G = pairs.new_zeros(*pairs.shape[:4], prod(2 * n - 1 for n in q))
    G[:, :, torch.arange(m, device=rows.device), rows, G.shape[4] // 2] = -1  # minus the identity at lag 0
    return G.index_add(4, _lags_of_pairs(q).to(G.device), pairs).square().sum((1, 2, 3, 4))


@lru_cache(maxsize=256)
def _lags_of_pairs(q: tuple[int, ...]) -> Tensor:
    """The number of the lag ``v - u`` of every pair of taps, u slower than v; the middle one is lag 0. Shape ``(t t,)``."""
    taps = list(product(*(range(n) for n in q)))
    lags = {lag: i for i, lag in enumerate(product(*(range(1 - n, n) for n in q)))}
    return torch.tensor([lags[tuple(b - a for a, b in zip(u, v, strict=True))] for u in taps for v in taps])
