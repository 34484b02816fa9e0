"""Many small graphs on a CPU: what reaches an edge from every node of its graph, level by level, then gated attention.

The mask of `graph_dense`, built by the sweep of `graph_sweep`: for n nodes in the largest graph and E edges in all, the
work is ``E n + N n d`` and the memory ``(E + N) n``, without the square of the edges.
"""

from __future__ import annotations

import torch
from torch import Tensor

from isocline.plstm.graph import DagBatch
from isocline.plstm.kernels.graph_masks import attend, diagonals
from isocline.plstm.kernels.graph_sweep import read_at, states_of


def path_sums(source: Tensor, transition: Tensor, mark: Tensor, direct: Tensor, graph: DagBatch) -> Tensor:
    """``M (I - T)^-1 S + diag(D)``, as `graph_dense.path_sums`. Shapes: direct ``(..., N)``; returns ``(..., B, n, n)``."""
    n, E = graph.max_nodes, graph.num_edges
    tail, head = graph.edges.unbind(1)
    rows = torch.arange(E, device=tail.device)
    written = source.new_zeros(*source.shape[:-1], E * n)
    written = written.index_copy(-1, rows * n + graph.node_place[tail], source).unflatten(-1, (E, n))
    reached = states_of(written, transition, graph)
    slots = graph.batch[head] * n + graph.node_place[head]
    G = read_at(reached, mark, slots, graph.num_graphs * n).unflatten(-2, (graph.num_graphs, n))
    return G + diagonals(direct, graph)


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
    return attend(path_sums(source, transition, mark, direct, graph), q, k, v, graph)
