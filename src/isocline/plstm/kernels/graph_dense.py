"""Many small graphs on a device that likes large matrices: one batched unit-triangular solve for all masks.

With edges in topological order the transitions of a graph are a strictly lower triangular matrix T, and
``G = M (I - T)^-1 S + diag(D)`` is the gated sum over all directed paths from node to node: no state ever appears. For m
edges and n nodes in the largest graph the work is ``m^2 n + n^2 d`` and the memory ``m^2 + m n``, each times the graphs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from isocline.plstm.graph import DagBatch
from isocline.plstm.kernels.graph_masks import attend, diagonals, scattered
from isocline.plstm.kernels.inputs import GraphInputs


def path_sums(source: Tensor, transition: Tensor, mark: Tensor, graph: DagBatch) -> Tensor:
    """``M (I - T)^-1 S``: row target, column origin, of every graph, padded with zeros to the largest.

    Shapes: source, mark ``(..., E)``; transition ``(..., L)``; returns ``(..., B, n, n)`` for the B graphs of at most n
    nodes. Source: pLSTM, the parallel form through the line graph.
    """
    B, n, m = graph.num_graphs, graph.max_nodes, graph.max_edges
    tail, head = graph.node_place[graph.edges[:, 0]], graph.node_place[graph.edges[:, 1]]
    of, place = graph.edge_batch, graph.edge_place
    incoming, outgoing = place[graph.arcs[:, 0]], place[graph.arcs[:, 1]]
    T = scattered(transition, (of[graph.arcs[:, 1]] * m + outgoing) * m + incoming, (B, m, m))
    S = scattered(source, (of * m + place) * n + tail, (B, m, n))
    M = scattered(mark, (of * n + head) * m + place, (B, n, m))
    return M @ torch.linalg.solve_triangular(-T, S, upper=False, unitriangular=True)


def plstm_graph(given: GraphInputs, graph: DagBatch) -> Tensor:
    """As `graph_reference.plstm_graph`."""
    q, k, v, source, transition, mark, direct = given
    G = path_sums(source, transition, mark, graph) + diagonals(direct, graph)
    return attend(G, q, k, v, graph)
