"""Large graphs: states on edges, carried along the arcs; time and memory grow with the number of edges and arcs."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from isocline.plstm.graph import DagBatch
from isocline.plstm.kernels.graph_rows import add_rows, origins, sweep
from isocline.plstm.kernels.inputs import GraphInputs
from isocline.plstm.kernels.keeping import inside_torch_func


def states_of(written: Tensor, transition: Tensor, graph: DagBatch) -> Tensor:
    """``C_e = written_e + sum over arcs (e', e) of T C_e'``. Shapes: written ``(..., E, F)``; transition ``(..., L)``."""
    before, after = graph.arcs.mT.index_select(1, graph.arc_order)
    rows = prod(transition.shape[:-1])
    t = transition.index_select(-1, graph.arc_order).reshape(rows, graph.num_arcs).to(written.dtype)
    flat = written.reshape(rows, *written.shape[-2:])
    solve = _level_by_level if inside_torch_func() else sweep
    return solve(flat, t, before, after, graph.level_sizes).view(written.shape)


def origins_of(source: Tensor, transition: Tensor, graph: DagBatch) -> Tensor:
    """What each edge holds of each node of its graph: `states_of` of ``S_e`` at the place of e's first node.

    Shapes: source ``(..., E)``; transition ``(..., L)``; returns ``(..., E, n)`` for graphs of at most n nodes.
    """
    n, E, rows = graph.max_nodes, graph.num_edges, prod(source.shape[:-1])
    place = graph.node_place[graph.edges[:, 0]]
    if inside_torch_func():
        flat = torch.arange(E, device=place.device) * n + place
        written = source.new_zeros(*source.shape[:-1], E * n).index_copy(-1, flat, source)
        return states_of(written.unflatten(-1, (E, n)), transition, graph)
    before, after = graph.arcs.mT.index_select(1, graph.arc_order)
    t = transition.index_select(-1, graph.arc_order).reshape(rows, graph.num_arcs).to(source.dtype)
    held = origins(source.reshape(rows, E), t, place, n, before, after, graph.level_sizes)
    return held.view(*source.shape, n)


def _level_by_level(x: Tensor, t: Tensor, before: Tensor, after: Tensor, sizes: Tensor) -> Tensor:
    """`sweep` in PyTorch's own operators, for torch.func; every level is kept."""
    begin = 0
    for size in sizes.tolist():
        part = slice(begin, begin + size)
        x = x.index_add(1, after[part], x.index_select(1, before[part]) * t[:, part, None])
        begin += size
    return x


def read_at(states: Tensor, mark: Tensor, rows: Tensor, count: int) -> Tensor:
    """``sum of mark states``, edge e into row ``rows[e]``. Shapes: states ``(..., E, F)``; returns ``(..., count, F)``."""
    lead = states.shape[:-2]
    flat = states.reshape(prod(lead), *states.shape[-2:])
    weights = mark.reshape(prod(lead), mark.shape[-1]).to(states.dtype)
    if inside_torch_func():
        empty = flat.new_zeros(flat.shape[0], count, flat.shape[2])
        return empty.index_add(1, rows, weights[..., None] * flat).view(*lead, count, states.shape[-1])
    edges = torch.arange(mark.shape[-1], device=rows.device)
    return add_rows(flat, weights, edges, rows, count).view(*lead, count, states.shape[-1])


def plstm_graph(given: GraphInputs, graph: DagBatch) -> Tensor:
    """As `graph_reference.plstm_graph`."""
    q, k, v, source, transition, mark, direct = given
    tail, head = graph.edges.unbind(1)
    made = k.index_select(-2, tail)[..., None] * v.index_select(-2, tail)[..., None, :]
    written = (source[..., None, None] * made).flatten(-2)
    C = states_of(written, transition, graph).view(made.shape)
    asked = q.index_select(-2, head).to(C.dtype)
    read = (asked[..., None, :] @ C).squeeze(-2)
    h = (direct * (q * k).sum(-1))[..., None] * v
    return h + read_at(read, mark, head, graph.num_nodes)
