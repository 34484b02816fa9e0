"""Dense attention over a grid on a CPU: masks by the compiled recursion, products by BLAS, a few heads at a time.

Both ways are one operator each, so that `torch.compile` sees no Python here. Only the inputs are kept between them: the
mask of ``N^2`` numbers a head is made again on the way back, which costs less than to read it from memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import paths

BLOCK = 8 << 20  # bytes of masks made together: a few fit the cache


def _blocks(heads: int, numbers: int, like: Tensor) -> Iterator[slice]:
    together = max(1, BLOCK // (numbers * like.element_size()))
    return (slice(first, min(first + together, heads)) for first in range(0, heads, together))


def _over_heads(
    function: Callable[..., Any], gates: Tensor, arguments: Sequence[Any], *results: Tensor
) -> None:
    """Run a compiled function on shares of the heads, one a thread; results share their first or second axis."""
    heads, threads = gates.shape[1], torch.get_num_threads()
    arrays = [gates.detach().contiguous().numpy(), *(result.detach().numpy() for result in results)]

    def share(part: slice) -> None:
        g, *rest = arrays
        cut = [array[part] if array.ndim == 3 else array[:, part] for array in rest]
        function(g[:, part], *arguments, *cut)

    if threads == 1 or heads == 1:
        return share(slice(0, heads))
    each = -(-heads // threads)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(share, [slice(first, first + each) for first in range(0, heads, each)]))
    return None


def _masks(
    gates: Tensor, direct: Tensor | None, directions: Sequence[int], X: int, Y: int, borders: bool
) -> Tensor:
    size = X * Y + (X + Y if borders else 0)
    masks = gates.new_zeros(gates.shape[1], size, size)
    _over_heads(paths.fill_masks, gates, (np.array(directions), X, Y, borders), masks)
    if direct is not None:
        masks.diagonal(dim1=1, dim2=2)[:, : X * Y] += direct
    return masks


def _gate_gradients(
    gates: Tensor, directions: Sequence[int], X: int, Y: int, borders: bool, slopes: Tensor, out: Tensor
) -> None:
    _over_heads(paths.gate_gradients, gates, (np.array(directions), X, Y, borders), slopes, out)


@torch.library.custom_op("isocline::path_masks", mutates_args=(), device_types="cpu")
def path_masks(gates: Tensor, directions: Sequence[int], X: int, Y: int, borders: bool) -> Tensor:
    """Masks ``(B, N [+ Y + X], N [+ Y + X])`` of gates ``(8, B, O, N)``."""
    return _masks(gates, None, directions, X, Y, borders)


@path_masks.register_fake
def _(gates: Tensor, directions: Sequence[int], X: int, Y: int, borders: bool) -> Tensor:
    size = X * Y + (X + Y if borders else 0)
    return gates.new_empty(gates.shape[1], size, size)


@torch.library.custom_op("isocline::path_masks_backward", mutates_args=(), device_types="cpu")
def path_masks_backward(
    slopes: Tensor, gates: Tensor, directions: Sequence[int], X: int, Y: int, borders: bool
) -> Tensor:
    """dl/dgates for slopes = dl/dmasks."""
    found = torch.empty_like(gates, memory_format=torch.contiguous_format)
    _gate_gradients(gates, directions, X, Y, borders, slopes.contiguous(), found)
    return found


@path_masks_backward.register_fake
def _(slopes: Tensor, gates: Tensor, directions: Sequence[int], X: int, Y: int, borders: bool) -> Tensor:
    return torch.empty_like(gates, memory_format=torch.contiguous_format)


def _keep(ctx: Any, inputs: Any, output: Tensor) -> None:
    gates, *ctx.rest = inputs
    ctx.save_for_backward(gates)


def _masks_back(ctx: Any, slopes: Tensor) -> tuple[Tensor | None, ...]:
    return path_masks_backward(slopes, *ctx.saved_tensors, *ctx.rest), None, None, None, None


path_masks.register_autograd(_masks_back, setup_context=_keep)


@torch.library.custom_op("isocline::grid_attention", mutates_args=(), device_types="cpu")
def grid_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    gates: Tensor,
    direct: Tensor | None,
    directions: Sequence[int],
    X: int,
    Y: int,
    scale: float,
) -> Tensor:
    """``y = scale (G o q k^T) v`` for q, k ``(B, N, dk)``, v ``(B, N, dv)``, gates ``(8, B, O, N)``, direct ``(B, N)``."""
    y = torch.empty_like(v, memory_format=torch.contiguous_format)
    for b in _blocks(len(q), q.shape[1] ** 2, q):
        masks = _masks(gates[:, b], None if direct is None else direct[b], directions, X, Y, False)
        products = torch.baddbmm(masks, q[b], k[b].mT, beta=0, alpha=scale)
        torch.bmm(products.mul_(masks), v[b], out=y[b])
    return y


@grid_attention.register_fake
def _(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    gates: Tensor,
    direct: Tensor | None,
    directions: Sequence[int],
    X: int,
    Y: int,
    scale: float,
) -> Tensor:
    return torch.empty_like(v, memory_format=torch.contiguous_format)


@torch.library.custom_op("isocline::grid_attention_backward", mutates_args=(), device_types="cpu")
def grid_attention_backward(
    slope: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    gates: Tensor,
    direct: Tensor | None,
    directions: Sequence[int],
    X: int,
    Y: int,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """dl/dq, dl/dk, dl/dv, dl/dgates and dl/d(diagonal of the mask) for slope = dl/dy."""
    to_q, to_k, to_v, to_gates = (
        torch.empty_like(t, memory_format=torch.contiguous_format) for t in (q, k, v, gates)
    )
    diagonal = q.new_empty(q.shape[:2])
    for b in _blocks(len(q), q.shape[1] ** 2, q):
        masks = _masks(gates[:, b], None if direct is None else direct[b], directions, X, Y, False)
        products = torch.baddbmm(masks, q[b], k[b].mT, beta=0, alpha=scale)
        slopes = torch.bmm(slope[b], v[b].mT)
        to_masks = products * slopes
        diagonal[b] = to_masks.diagonal(dim1=1, dim2=2)
        _gate_gradients(gates[:, b], directions, X, Y, False, to_masks, to_gates[:, b])
        torch.bmm(products.mul_(masks).mT, slope[b], out=to_v[b])
        slopes.mul_(masks).mul_(scale)
        torch.bmm(slopes, k[b], out=to_q[b])
        torch.bmm(slopes.mT, q[b], out=to_k[b])
    return to_q, to_k, to_v, to_gates, diagonal


@grid_attention_backward.register_fake
def _(
    slope: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    gates: Tensor,
    direct: Tensor | None,
    directions: Sequence[int],
    X: int,
    Y: int,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    new = [torch.empty_like(t, memory_format=torch.contiguous_format) for t in (q, k, v, gates)]
    return new[0], new[1], new[2], new[3], q.new_empty(q.shape[:2])


def _keep_all(ctx: Any, inputs: Any, output: Tensor) -> None:
    q, k, v, gates, direct, *ctx.rest = inputs
    ctx.save_for_backward(q, k, v, gates, direct)


def _attention_back(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
    q, k, v, gates, direct = ctx.saved_tensors
    *found, diagonal = grid_attention_backward(slope, q, k, v, gates, direct, *ctx.rest)
    return *found, None if direct is None else diagonal, None, None, None, None


grid_attention.register_autograd(_attention_back, setup_context=_keep_all)
