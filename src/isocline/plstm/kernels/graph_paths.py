"""Many small graphs on a CPU: what reaches an edge from every node of its graph, level by level, then gated attention.

The mask of `graph_dense`, built by the sweep of `graph_sweep`: for n nodes in the largest graph and E edges in all, the
work is ``E n + N n d`` and the memory ``(E + N) n``, without the square of the edges.
"""

from __future__ import annotations

from torch import Tensor

from isocline.plstm.graph import DagBatch
from isocline.plstm.kernels.graph_masks import attend
from isocline.plstm.kernels.graph_sweep import origins_of, read_at
from isocline.plstm.kernels.inputs import GraphInputs


def path_sums(source: Tensor, transition: Tensor, mark: Tensor, direct: Tensor, graph: DagBatch) -> Tensor:
    """``M (I - T)^-1 S + diag(D)``, as `graph_dense.path_sums`. Shapes: direct ``(..., N)``; returns ``(..., B, n, n)``."""
    n, head = graph.max_nodes, graph.edges[:, 1]
    slots = graph.batch[head] * n + graph.node_place[head]
    G = read_at(origins_of(source, transition, graph), mark, slots, graph.num_graphs * n).flatten(-2)
    diagonal = (graph.batch * n + graph.node_place) * n + graph.node_place
    G = G.scatter_add(-1, diagonal.expand(direct.shape), direct.to(G.dtype))
    return G.unflatten(-1, (graph.num_graphs, n, n))


def plstm_graph(given: GraphInputs, graph: DagBatch) -> Tensor:
    """As `graph_reference.plstm_graph`."""
    q, k, v, source, transition, mark, direct = given
    return attend(path_sums(source, transition, mark, direct, graph), q, k, v, graph)
