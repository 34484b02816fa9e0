"""The compiled recursions as operators of PyTorch, and dense attention over a grid on a CPU.

An operator is one step to `torch.compile`, which sees no Python in it. Attention makes its masks by the compiled
recursion and its products by matrix libraries, a few heads at a time; only the inputs are kept between its two ways: the
mask of ``N^2`` numbers a head is made again on the way back, which costs less than to read it from memory. A large grid
needs it on the way back only: on the way there states are carried. A gradient that is to be differentiated itself is taken
in PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isocline._core.matrices import LONG, product

from . import paths, states
from .keeping import full_precision
from .masks import rows_mask, summed_mask

NOTHING = (0, 0, 0, 0, 0)  # the shape of states that do not enter
BLOCK = 8 << 20  # bytes of masks made together: a few fit the cache
CARRIED = 400  # nodes from which the way there by states is the faster one
TARGETS = 256  # rows of a large mask that are multiplied together


def blocks(heads: int, numbers: int, like: Tensor) -> Iterator[slice]:
    together = max(1, BLOCK // (numbers * like.element_size()))
    return (slice(first, min(first + together, heads)) for first in range(0, heads, together))


def over_heads(function: Callable[..., Any], gates: Tensor, *arguments: Any) -> None:
    """Call a compiled function for all heads, the second axis of the gates; each thread takes a share of them."""
    heads, threads = gates.shape[1], torch.get_num_threads()
    given = [a.detach().numpy() if isinstance(a, Tensor) else a for a in (gates.contiguous(), *arguments)]
    if threads == 1 or heads == 1:
        function(*given, 0, heads)
        return
    each = -(-heads // threads)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda first: function(*given, first, min(first + each, heads)), range(0, heads, each)))


def read(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    gates: Tensor,
    direct: Tensor | None,
    border: tuple[Tensor, Tensor] | None,
    directions: Sequence[int],
    X: int,
    Y: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """What all directions read, by carrying states, and those that leave, as their transposes: empty if none enter."""
    y = torch.zeros_like(v, memory_format=torch.contiguous_format)
    right, down = (v.new_empty(NOTHING),) * 2 if border is None else (turned(entering) for entering in border)
    vectors = [t.contiguous() for t in (q, k, v)]
    over_heads(
        states.read_grid, gates, np.array(directions), X, Y, *vectors, border is not None, right, down, y
    )
    if direct is not None:
        y.addcmul_((direct * (q * k).sum(-1)).unsqueeze(-1), v)
    return y, right, down


def turned(states: Tensor) -> Tensor:
    """States as their transposes, in memory of their own."""
    return states.mT.clone(memory_format=torch.contiguous_format)


def _masks(
    gates: Tensor, direct: Tensor | None, directions: Sequence[int], X: int, Y: int, borders: bool
) -> Tensor:
    size = X * Y + (X + Y if borders else 0)
    masks = gates.new_zeros(gates.shape[1], size, size)
    over_heads(paths.fill_masks, gates, np.array(directions), X, Y, borders, masks)
    if direct is not None:
        masks.diagonal(dim1=1, dim2=2)[:, : X * Y] += direct
    return masks


def _gate_gradients(
    gates: Tensor, directions: Sequence[int], X: int, Y: int, borders: bool, slopes: Tensor
) -> Tensor:
    found = torch.empty_like(gates, memory_format=torch.contiguous_format)
    over_heads(paths.gate_gradients, gates, np.array(directions), X, Y, borders, slopes.contiguous(), found)
    return found


def again(function: Callable[..., Any], inputs: Sequence[Tensor | None], slopes: Any) -> list[Tensor | None]:
    """Gradients that can be differentiated once more: the same function in PyTorch, run again."""
    wanted = [t for t in inputs if t is not None and t.requires_grad]
    outputs = function(*inputs)
    found = iter(torch.autograd.grad(outputs, wanted, slopes, create_graph=True, materialize_grads=True))
    return [next(found) if t is not None and t.requires_grad else None for t in inputs]


@torch.library.custom_op("isocline::tile_masks", mutates_args=(), device_types="cpu")
def tile_masks(gates: Tensor) -> Tensor:
    """Masks with borders ``(P, N + Y + X, N + Y + X)`` of tiles with gates ``(8, P, X, Y)``, in their own frame."""
    X, Y = gates.shape[2:]
    return _masks(gates.flatten(2).unsqueeze(2), None, [0], X, Y, True)


@tile_masks.register_fake
def _(gates: Tensor) -> Tensor:
    X, Y = gates.shape[2:]
    return gates.new_empty(gates.shape[1], X * Y + X + Y, X * Y + X + Y)


@torch.library.custom_op("isocline::tile_masks_backward", mutates_args=(), device_types="cpu")
def tile_masks_backward(slopes: Tensor, gates: Tensor) -> Tensor:
    """dl/dgates for slopes = dl/dmasks."""
    X, Y = gates.shape[2:]
    return _gate_gradients(gates.flatten(2).unsqueeze(2), [0], X, Y, True, slopes).view(gates.shape)


@tile_masks_backward.register_fake
def _(slopes: Tensor, gates: Tensor) -> Tensor:
    return torch.empty_like(gates, memory_format=torch.contiguous_format)


def _keep(ctx: Any, inputs: Any, output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _tile_masks_back(ctx: Any, slopes: Tensor) -> Tensor | None:
    if torch.is_grad_enabled():
        return again(lambda gates: rows_mask(list(gates), borders=True), ctx.saved_tensors, slopes)[0]
    return tile_masks_backward(slopes, *ctx.saved_tensors)


tile_masks.register_autograd(_tile_masks_back, setup_context=_keep)


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
    q, k, v, N = (q * scale).contiguous(), k.contiguous(), v.contiguous(), X * Y
    if N >= CARRIED:
        return read(q, k, v, gates, direct, None, directions, X, Y)[0]
    y = torch.empty_like(v, memory_format=torch.contiguous_format)
    for b in blocks(len(q), N * N, q):
        masks = _masks(gates[:, b], None if direct is None else direct[b], directions, X, Y, False)
        if N < LONG:
            torch.bmm(torch.bmm(q[b], k[b].mT).mul_(masks), v[b], out=y[b])
            continue
        for h, mask in enumerate(masks, b.start):
            for t in _targets(N):
                y[h, t] = product(product(q[h, t], k[h]).mul_(mask[t]), v[h].mT)
    return y


@grid_attention.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, *_others: Any) -> Tensor:
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
    with full_precision():
        q, k, v, slope = (q * scale).contiguous(), k.contiguous(), v.contiguous(), slope.contiguous()
        vectors, to_gates = [_empty(t) for t in (q, k, v)], _empty(gates)
        diagonal, N = q.new_empty(q.shape[:2]), X * Y
        for b in blocks(len(q), N * N, q):
            masks = _masks(gates[:, b], None if direct is None else direct[b], directions, X, Y, False)
            given, found = [t[b] for t in (slope, q, k, v)], [t[b] for t in vectors]
            to_masks = (_back_together if N < LONG else _back_one_by_one)(masks, *given, *found)
            diagonal[b] = to_masks.diagonal(dim1=1, dim2=2)
            to_gates[:, b] = _gate_gradients(gates[:, b], directions, X, Y, False, to_masks)
        return vectors[0].mul_(scale), vectors[1], vectors[2], to_gates, diagonal


@grid_attention_backward.register_fake
def _(
    slope: Tensor, q: Tensor, k: Tensor, v: Tensor, gates: Tensor, *_others: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    return _empty(q), _empty(k), _empty(v), _empty(gates), q.new_empty(q.shape[:2])


def _back_together(
    masks: Tensor, slope: Tensor, q: Tensor, k: Tensor, v: Tensor, to_q: Tensor, to_k: Tensor, to_v: Tensor
) -> Tensor:
    """dl/dmasks ``(B, N, N)`` of some small heads; fills to_q, to_k and to_v."""
    products, slopes = torch.bmm(q, k.mT), torch.bmm(slope, v.mT)
    to_masks = products * slopes
    torch.bmm(products.mul_(masks).mT, slope, out=to_v)
    torch.bmm(slopes.mul_(masks), k, out=to_q)
    torch.bmm(slopes.mT, q, out=to_k)
    return to_masks


def _back_one_by_one(
    masks: Tensor, slope: Tensor, q: Tensor, k: Tensor, v: Tensor, to_q: Tensor, to_k: Tensor, to_v: Tensor
) -> Tensor:
    """As `_back_together`, some rows of one large head at a time; dl/dmasks takes the place of the masks."""
    to_k.zero_()
    to_v.zero_()
    for h, mask in enumerate(masks):
        for t in _targets(len(mask)):
            products, slopes = product(q[h, t], k[h]), product(slope[h, t], v[h])
            to_mask = products * slopes
            to_v[h] += product(slope[h, t].mT, products.mul_(mask[t]).mT).mT
            to_q[h, t] = product(slopes.mul_(mask[t]), k[h].mT)
            to_k[h] += product(q[h, t].mT, slopes.mT).mT
            mask[t] = to_mask
    return masks


def _targets(N: int) -> Iterator[slice]:
    return (slice(first, first + TARGETS) for first in range(0, N, TARGETS))


def _empty(t: Tensor) -> Tensor:
    return torch.empty_like(t, memory_format=torch.contiguous_format)


def _keep_all(ctx: Any, inputs: Any, output: Tensor) -> None:
    q, k, v, gates, direct, *ctx.rest = inputs
    ctx.save_for_backward(q, k, v, gates, direct)


def _attention_back(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
    q, k, v, gates, direct = ctx.saved_tensors
    directions, X, Y, scale = ctx.rest
    if torch.is_grad_enabled():

        def attention(q: Tensor, k: Tensor, v: Tensor, gates: Tensor, direct: Tensor | None) -> Tensor:
            direct = None if direct is None else direct.unflatten(1, (X, Y))
            return (
                summed_mask(list(gates.unflatten(3, (X, Y))), direct, directions) * (scale * q @ k.mT)
            ) @ v

        return *again(attention, ctx.saved_tensors, slope), None, None, None, None
    *found, diagonal = grid_attention_backward(slope, q, k, v, gates, direct, *ctx.rest)
    return *found, None if direct is None else diagonal, None, None, None, None


grid_attention.register_autograd(_attention_back, setup_context=_keep_all)
