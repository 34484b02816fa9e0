"""Three linear operators on rows, each the others' derivative: sweeps along arcs, weighted sums of rows, and inner products.

torch.compile takes each as one step, whatever the graph. On a CPU they are compiled loops, elsewhere a few
large operations for each level.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

COMPILED = (torch.float32, torch.float64)


@torch.library.custom_op("isocline::graph_sweep", mutates_args=())
def sweep(x: Tensor, t: Tensor, before: Tensor, after: Tensor, sizes: Tensor) -> Tensor:
    """The solution of ``C[after] = x[after] + sum over arcs of t C[before]``.

    Shapes: x ``(H, E, F)``; t ``(H, L)``; before, after ``(L,)``, arcs grouped by level so that no arc of a group ends where
    another of it, or of a later group, begins; sizes, on the CPU, the arcs in each group; returns ``(H, E, F)``.
    """
    states, begin = x.clone(memory_format=torch.contiguous_format), 0
    for size in sizes.tolist():
        part = slice(begin, begin + size)
        states.index_add_(1, after[part], states.index_select(1, before[part]).mul_(t[:, part, None]))
        begin += size
    return states


@torch.library.custom_op("isocline::graph_origins", mutates_args=())
def origins(
    s: Tensor, t: Tensor, place: Tensor, width: int, before: Tensor, after: Tensor, sizes: Tensor
) -> Tensor:
    """`sweep` of rows that hold ``s[e]`` at ``place[e]`` and zeros elsewhere, without making them first.

    Shapes: s ``(H, E)``; place ``(E,)``, whole numbers below `width`; returns ``(H, E, width)``.
    """
    empty = s.new_zeros(*s.shape, width)
    return sweep(empty.scatter_(2, place.expand(s.shape)[..., None], s[..., None]), t, before, after, sizes)


@torch.library.custom_op("isocline::graph_add_rows", mutates_args=())
def add_rows(x: Tensor, t: Tensor, before: Tensor, after: Tensor, rows: int) -> Tensor:
    """``out[after] = sum of t x[before]``. Shapes: x ``(H, R, F)``; t ``(H, L)``; returns ``(H, rows, F)``."""
    return x.new_zeros(x.shape[0], rows, x.shape[2]).index_add_(
        1, after, x.index_select(1, before) * t[..., None]
    )


@torch.library.custom_op("isocline::graph_products", mutates_args=())
def products(a: Tensor, b: Tensor, rows_a: Tensor, rows_b: Tensor) -> Tensor:
    """``<a[rows_a], b[rows_b]>``. Shapes: a ``(H, R, F)``; b ``(H, R', F)``; rows ``(L,)``; returns ``(H, L)``."""
    return (a.index_select(1, rows_a) * b.index_select(1, rows_b)).sum(-1)


@sweep.register_kernel("cpu")
def _(x: Tensor, t: Tensor, before: Tensor, after: Tensor, sizes: Tensor) -> Tensor:
    if x.dtype not in COMPILED:
        return _wide(sweep, x, t, before, after, sizes)
    states = x.clone(memory_format=torch.contiguous_format)
    _run("add_rows", states, states, t.to(x.dtype), before, after)
    return states


@origins.register_kernel("cpu")
def _(
    s: Tensor, t: Tensor, place: Tensor, width: int, before: Tensor, after: Tensor, sizes: Tensor
) -> Tensor:
    if s.dtype not in COMPILED:
        return origins(s.float(), t.float(), place, width, before, after, sizes).to(s.dtype)
    states = s.new_zeros(*s.shape, width)
    states.scatter_(2, place.expand(s.shape)[..., None], s[..., None])
    _run("add_rows", states, states, t.to(s.dtype), before, after)
    return states


@add_rows.register_kernel("cpu")
def _(x: Tensor, t: Tensor, before: Tensor, after: Tensor, rows: int) -> Tensor:
    if x.dtype not in COMPILED:
        return _wide(add_rows, x, t, before, after, rows)
    out = x.new_zeros(x.shape[0], rows, x.shape[2])
    _run("add_rows", out, x, t.to(x.dtype), before, after)
    return out


@products.register_kernel("cpu")
def _(a: Tensor, b: Tensor, rows_a: Tensor, rows_b: Tensor) -> Tensor:
    if a.dtype not in COMPILED:
        return _wide(products, a, b, rows_a, rows_b)
    out = a.new_empty(a.shape[0], rows_a.shape[0])
    _run("products", out, a, b.to(a.dtype), rows_a, rows_b)
    return out


def _run(name: str, *tensors: Tensor) -> None:
    """Call a compiled loop. One layout of memory, so that it is compiled once for each dtype."""
    from isocline.plstm.kernels import graph_compiled  # numba is imported when a CPU first needs it

    getattr(graph_compiled, name)(*(tensor.contiguous().numpy() for tensor in tensors))


def _wide(operator: Any, x: Tensor, t: Tensor, *others: Any) -> Tensor:
    """Half precision is computed in float32."""
    return operator(x.float(), t.float(), *others).to(x.dtype)


@sweep.register_fake
def _(x: Tensor, t: Tensor, before: Tensor, after: Tensor, sizes: Tensor) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


@origins.register_fake
def _(
    s: Tensor, t: Tensor, place: Tensor, width: int, before: Tensor, after: Tensor, sizes: Tensor
) -> Tensor:
    return s.new_empty(*s.shape, width)


@add_rows.register_fake
def _(x: Tensor, t: Tensor, before: Tensor, after: Tensor, rows: int) -> Tensor:
    return x.new_empty(x.shape[0], rows, x.shape[2])


@products.register_fake
def _(a: Tensor, b: Tensor, rows_a: Tensor, rows_b: Tensor) -> Tensor:
    return a.new_empty(a.shape[0], rows_a.shape[0])


def _keep_sweep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[1:], output)


def _sweep_back(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    t, before, after, sizes, states = ctx.saved_tensors
    back = sweep(grad, t.flip(1), after.flip(0), before.flip(0), sizes.flip(0))
    return back, products(back, states, after, before), None, None, None


def _keep_origins(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, t, place, _, *arcs = inputs
    ctx.save_for_backward(t, place, *arcs, output)


def _origins_back(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    t, place, before, after, sizes, states = ctx.saved_tensors
    back = sweep(grad, t.flip(1), after.flip(0), before.flip(0), sizes.flip(0))
    written = back.gather(2, place.expand(back.shape[:2])[..., None])[..., 0]
    return written, products(back, states, after, before), None, None, None, None, None


def _keep_rows(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:4])


def _rows_back(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, t, before, after = ctx.saved_tensors
    return add_rows(grad, t, after, before, x.shape[1]), products(grad, x, after, before), None, None, None


def _products_back(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    a, b, rows_a, rows_b = ctx.saved_tensors
    return (
        add_rows(b, grad, rows_b, rows_a, a.shape[1]),
        add_rows(a, grad, rows_a, rows_b, b.shape[1]),
        None,
        None,
    )


origins.register_autograd(_origins_back, setup_context=_keep_origins)
sweep.register_autograd(_sweep_back, setup_context=_keep_sweep)
add_rows.register_autograd(_rows_back, setup_context=_keep_rows)
products.register_autograd(_products_back, setup_context=_keep_rows)
