"""The last step of the kernels that know how much reaches every node from every other: gated attention inside each graph."""

from __future__ import annotations

from torch import Tensor

from isocline.plstm.graph import DagBatch


def attend(G: Tensor, q: Tensor, k: Tensor, v: Tensor, graph: DagBatch) -> Tensor:
    """``h_n = sum over n' of G_{n n'} (q_n . k_n') v_n'``, in the dtype of v.

    Shapes: G ``(..., B, n, n)``, row target, column origin, of B graphs padded to n nodes; q, k ``(..., N, dk)``; v
    ``(..., N, dv)``; returns ``(..., N, dv)``.
    """
    B, n = graph.num_graphs, graph.max_nodes
    slots = graph.batch * n + graph.node_place
    whole = slots.shape[0] == B * n  # no padding: every graph has n nodes

    def padded(x: Tensor) -> Tensor:
        full = x if whole else x.new_zeros(*x.shape[:-2], B * n, x.shape[-1]).index_copy(-2, slots, x)
        return full.unflatten(-2, (B, n))

    scores = padded(q) @ padded(k).transpose(-1, -2)
    h = ((G * scores).to(v.dtype) @ padded(v)).flatten(-3, -2)
    return h if whole else h.index_select(-2, slots)


def diagonals(direct: Tensor, graph: DagBatch) -> Tensor:
    """``diag(D)`` of every graph. Shapes: direct ``(..., N)``; returns ``(..., B, n, n)``."""
    n = graph.max_nodes
    place = (graph.batch * n + graph.node_place) * n + graph.node_place
    return scattered(direct, place, (graph.num_graphs, n, n))


def scattered(values: Tensor, places: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Zeros with ``values[..., i]`` at the flat place ``places[i]``; no place occurs twice."""
    size = shape[0] * shape[1] * shape[2]
    empty = values.new_zeros(*values.shape[:-1], size)
    return empty.index_copy(-1, places, values).unflatten(-1, shape)
