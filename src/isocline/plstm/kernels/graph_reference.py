"""The recursion on a graph as it is written: node after node in topological order. Clear, not fast; the truth."""

from __future__ import annotations

import torch
from torch import Tensor

from isocline.plstm.graph import DagBatch
from isocline.plstm.kernels.inputs import GraphInputs


def plstm_graph(given: GraphInputs, graph: DagBatch) -> Tensor:
    """``h_n = D_n (q_n . k_n) v_n + sum over e into n of M_e C_e^T q_n``, where
    ``C_e = S_e k_n v_n^T + sum over arcs (e', e) of T C_e'`` on every edge e that leaves n.

    Shapes: q, k ``(..., N, dk)``; v ``(..., N, dv)``; source, mark ``(..., E)``; transition ``(..., L)``; direct
    ``(..., N)``; returns ``(..., N, dv)``. Source: paper, the state on edges.
    """
    q, k, v, source, transition, mark, direct = given
    wide = torch.promote_types(q.dtype, source.dtype)
    q, k, v = q.to(wide), k.to(wide), v.to(wide)
    edges, arcs = graph.edges.tolist(), graph.arcs.tolist()
    entering: list[list[int]] = [[] for _ in range(graph.num_nodes)]
    leading_to: list[list[int]] = [[] for _ in edges]
    for e, (_, head) in enumerate(edges):
        entering[head].append(e)
    for number, (_, e) in enumerate(arcs):
        leading_to[e].append(number)

    C: list[Tensor] = []  # the states of the edges so far
    for e, (n, _) in enumerate(edges):  # topological: every state that enters n is there
        state = source[..., e, None, None] * (k[..., n, :, None] * v[..., n, None, :])
        for number in leading_to[e]:
            state = state + transition[..., number, None, None] * C[arcs[number][0]]
        C.append(state)

    outputs = []
    for n in range(graph.num_nodes):
        h = direct[..., n, None] * (q[..., n, :] * k[..., n, :]).sum(-1, keepdim=True) * v[..., n, :]
        for e in entering[n]:
            h = h + mark[..., e, None] * torch.einsum("...kv,...k->...v", C[e], q[..., n, :])
        outputs.append(h)
    return torch.stack(outputs, -2) if outputs else v * q.new_ones(())
