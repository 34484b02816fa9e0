"""Batch norms folded into limits: what stands between the sum of a binary layer and the next sign, as one comparison.

A sum of n products of signs is one of the whole numbers from -n to n. So the model's own operations are run on all of these,
and the table of their signs says where it changes: exact, with every rounding of the model in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .epilogue import NEVER, Affine, Limits, affine

AT_ONCE = 1 << 22  # numbers of a table that are made together


def batch_norm_limits(
    gamma: np.ndarray,
    beta: np.ndarray,
    mean: np.ndarray,
    var: np.ndarray,
    eps: float,
    *,
    alpha: np.ndarray | float = 1.0,
    bias: np.ndarray | float = 0.0,
) -> Limits:
    """Limits of ``sign(BN(alpha y + bias))`` for whole y by the formula, in float64; `pack` takes them from a table instead.

    ``theta = (mean - bias) / alpha - beta sqrt(var + eps) / (gamma alpha)``: y >= ceil(theta) where ``gamma alpha > 0``,
    y <= floor(theta) where it is < 0, and the sign of beta where it is 0. Shapes: all ``(M,)``.
    Source: Umuroglu et al. 2017 (FINN), section 4.2.2.
    """
    slope = np.asarray(gamma * alpha, np.float64)
    with np.errstate(all="ignore"):
        theta = (mean - bias) / alpha - beta * np.sqrt(var + eps) / slope
    constant, falls = slope == 0, slope < 0
    limit = np.where(falls, np.floor(theta) + 1, np.ceil(theta))
    limit = np.clip(np.where(constant, NEVER, limit), -NEVER, NEVER).astype(np.int64).astype(np.int32)
    return Limits(limit, np.where(constant, beta >= 0, falls))


def limits_of(tables: Iterator[tuple[np.ndarray, np.ndarray]]) -> Limits | None:
    """The limits that give a table of bits, or None if some channel's bit changes more than once along the sums.

    tables: pieces ``(sums (V,), bits (V, M))``, sums in ascending order.
    """
    limit: np.ndarray | None = None
    for sums, bits in tables:
        if limit is None:
            first, last = bits[0].copy(), bits[0].copy()
            limit, changes = np.full(len(first), NEVER, np.int32), np.zeros(len(first), np.int64)
        before = np.concatenate([last[None], bits[:-1]])
        turns: np.ndarray = np.not_equal(bits, before)
        changes += turns.sum(0)
        where = turns.argmax(0)
        limit = np.where(turns.any(0) & (limit == NEVER), sums[where], limit).astype(np.int32)
        last = bits[-1]
    assert limit is not None
    return None if np.any(changes > 1) else Limits(limit, first)


def outcomes(
    layer: Any, links: Sequence[Callable[[Tensor], Tensor]], size: int, axes: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """What a binary layer's sums ``-size .. size`` become: pieces ``(sums (V,), numbers (V, M))`` float32.

    The operations are the model's own, on a tensor of the model's own form: channels first, sums along the first spatial axis.
    """
    scale, bias = layer.scale(), layer.bias
    M = layer.weight.shape[0]
    step = max(1, AT_ONCE // M)
    for start in range(-size, size + 1, step):
        sums = torch.arange(start, min(start + step, size + 1))
        whole = sums.float().expand(M, -1)
        y = whole.T if axes == 0 else whole.reshape(1, M, -1, *(1,) * (axes - 1)).contiguous()
        if scale is not None:
            y = y * layer._per_output(scale)
        if bias is not None:
            y = y + layer._per_output(bias)
        for link in links:
            y = link(y)
        yield sums.numpy(), (y if axes == 0 else y.reshape(M, -1).T).numpy()


def affine_of(layer: Any, relu: bool, norm: nn.Module | None, size: int, axes: int) -> Affine | None:
    """The affine map that gives, on every sum, exactly what scale, bias, ReLU and batch norm give; None if none was found.

    torch computes a batch norm as ``a x + b`` with ``a = gamma / sqrt(var + eps)``, ``b = beta - mean a``, rounded once or twice
    depending on the processor: both are tried.
    """
    M = layer.weight.shape[0]
    ones, zeros = np.ones(M, np.float32), np.zeros(M, np.float32)
    scale, bias = layer.scale(), layer.bias
    scale_of = ones if scale is None else np.broadcast_to(scale.detach().reshape(-1).numpy(), M).copy()
    bias_of = zeros if bias is None else bias.detach().numpy().copy()
    a, b = (ones, zeros) if norm is None else _norm(norm, axes)
    links = [*([torch.relu] if relu else []), *([norm] if norm is not None else [])]
    for fused in (True, False):
        how = Affine(scale_of, bias_of, a, b, 0.0 if relu else -np.inf, fused)
        if all(
            np.array_equal(affine(sums[:, None], how), y) for sums, y in outcomes(layer, links, size, axes)
        ):
            return how
    return None


def _norm(norm: Any, axes: int) -> tuple[np.ndarray, np.ndarray]:
    M = len(norm.running_mean)
    a = np.float32(1) / np.sqrt(
        norm.running_var.numpy() + np.float32(norm.eps)
    )  # NumPy rounds its root exactly
    if norm.weight is not None:
        a = a * norm.weight.detach().numpy()
    b = norm(torch.zeros(1, M, *(1,) * axes, dtype=torch.float32)).reshape(M)  # at 0, torch gives its own b
    return a, b.detach().numpy().copy()
