"""The line graph of a DAG: its nodes are the edges that carry state, its arcs the transitions between them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Index = npt.NDArray[np.int64]


def topological_edges(edges: Index, num_nodes: int) -> Index:
    """The order in which the edges of a DAG are computed: each behind every edge that enters its source.

    Kahn's algorithm, first in, first out, so that edges come generation by generation. Shapes: edges ``(E, 2)``;
    returns ``(E,)`` row numbers.
    """
    leaving: list[list[int]] = [[] for _ in range(num_nodes)]
    for row, u in enumerate(edges[:, 0].tolist()):
        leaving[u].append(row)
    waiting = np.bincount(edges[:, 1], minlength=num_nodes).tolist()
    heads = edges[:, 1].tolist()
    order = [row for row, u in enumerate(edges[:, 0].tolist()) if not waiting[u]]
    for row in order:  # grows while it is walked
        head = heads[row]
        waiting[head] -= 1
        if not waiting[head]:
            order.extend(leaving[head])
    return np.array(order, dtype=np.int64)


def arcs_between(edges: Index, num_nodes: int) -> Index:
    """All transitions ``(u, v) -> (v, w)``, as pairs of row numbers, sorted by the outgoing edge, then the incoming.

    Shapes: edges ``(E, 2)``; returns ``(L, 2)``, column 0 the incoming edge e', column 1 the outgoing edge e.
    """
    by_source = np.argsort(edges[:, 0], kind="stable")
    count = np.bincount(edges[:, 0], minlength=num_nodes)
    first = np.concatenate([[0], np.cumsum(count)])[:-1]
    fan = count[edges[:, 1]]  # how many edges leave the node that each edge enters
    incoming = np.repeat(np.arange(len(edges)), fan)
    within = np.arange(fan.sum()) - np.repeat(np.cumsum(fan) - fan, fan)
    outgoing = by_source[first[edges[incoming, 1]] + within]
    order = np.lexsort((incoming, outgoing))
    return np.stack([incoming[order], outgoing[order]], axis=1)


def pruned_to_multitree(arcs: Index, num_edges: int, first_of: Index) -> Index:
    """Which arcs stay when the line graph is pruned so that no two edges have more than one path between them.

    Greedy, in topological order of the outgoing edge, then of the incoming: an arc is left out when an edge that
    reaches its beginning already reaches its end. Shapes: arcs ``(L, 2)`` as `arcs_between` sorts them; first_of
    ``(E,)``, the first edge of each edge's graph; returns ``(L,)`` booleans. Source: pLSTM, D-mode on general graphs.
    """
    offset = first_of.tolist()
    reach = [
        1 << (e - offset[e]) for e in range(num_edges)
    ]  # bit set of what reaches an edge, itself included
    keep = np.zeros(len(arcs), dtype=bool)
    for row, (before, after) in enumerate(arcs.tolist()):
        if not reach[before] & reach[after]:
            reach[after] |= reach[before]
            keep[row] = True
    return keep


def levels_of(arcs: Index, num_edges: int) -> Index:
    """How many arcs the longest path into each edge has. Shapes: arcs ``(L, 2)``; returns ``(E,)``."""
    level = [0] * num_edges
    for before, after in arcs.tolist():
        level[after] = max(level[after], level[before] + 1)
    return np.array(level, dtype=np.int64)
