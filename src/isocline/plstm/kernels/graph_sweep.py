"""Large graphs: states on edges, level by level; time and memory grow with the number of edges and arcs.

``C = X + T C`` is solved by one pass over the levels of the line graph. The gradient of the pass is the same pass on the
reversed arcs, so it is an operator of its own, of which any derivative is again such a pass; torch.compile
takes it as one step, whatever the number of levels.
"""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor

from isocline.plstm.graph import DagBatch


@torch.library.custom_op("isocline::dag_sweep", mutates_args=())
def sweep(x: Tensor, t: Tensor, before: Tensor, after: Tensor, sizes: Tensor) -> Tensor:
    """The solution of ``C[after] = x[after] + sum over arcs of t C[before]``.

    Shapes: x ``(H, E, F)``; t ``(H, L)``; before, after ``(L,)``, arcs grouped by level so that no arc of a group ends where
    another of it begins; sizes, on the CPU, the arcs in each group; returns ``(H, E, F)``.
    """
    states, begin = x.clone(), 0
    for size in sizes.tolist():
        part = slice(begin, begin + size)
        moved = states.index_select(1, before[part]).mul_(t[:, part, None])
        states.index_add_(1, after[part], moved)
        begin += size
    return states


@sweep.register_fake
def _(x: Tensor, t: Tensor, before: Tensor, after: Tensor, sizes: Tensor) -> Tensor:
    return torch.empty_like(x)


def _keep(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    _, *others = inputs
    ctx.save_for_backward(*others, output)


def _adjoint(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    t, before, after, sizes, states = ctx.saved_tensors
    back = sweep(grad.contiguous(), t.flip(1), after.flip(0), before.flip(0), sizes.flip(0))
    slope = (back.index_select(1, after) * states.index_select(1, before)).sum(-1)
    return back, slope, None, None, None


sweep.register_autograd(_adjoint, setup_context=_keep)


def states_of(written: Tensor, transition: Tensor, graph: DagBatch) -> Tensor:
    """``C_e = written_e + sum over arcs (e', e) of T C_e'``. Shapes: written ``(..., E, F)``; transition ``(..., L)``."""
    arcs = graph.arcs.index_select(0, graph.arc_order)
    rows = prod(transition.shape[:-1])
    t = transition.index_select(-1, graph.arc_order).reshape(rows, graph.num_arcs).to(written.dtype)
    flat = written.reshape(rows, *written.shape[-2:]).contiguous()
    return sweep(flat, t, arcs[:, 0], arcs[:, 1], graph.level_sizes).view(written.shape)


def plstm_graph(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    source: Tensor,
    transition: Tensor,
    mark: Tensor,
    direct: Tensor,
    graph: DagBatch,
) -> Tensor:
    """As `graph_reference.plstm_graph`."""
    tail, head = graph.edges.unbind(1)
    made = k.index_select(-2, tail)[..., None] * v.index_select(-2, tail)[..., None, :]
    C = states_of((source[..., None, None] * made).flatten(-2), transition, graph).view(*made.shape)
    asked = (mark[..., None] * q.index_select(-2, head)).to(C.dtype)
    read = (asked[..., None, :] @ C).squeeze(-2)
    h = (direct * (q * k).sum(-1))[..., None] * v
    return h.to(read.dtype).index_add(-2, head, read)
