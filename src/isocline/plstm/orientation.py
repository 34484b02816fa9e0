"""Which way an undirected edge points: ranks of the nodes, so that every edge runs from the lower to the higher."""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

from isocline._core.checks import check_choice, wrong

Index = npt.NDArray[np.int64]

ORIENTATIONS = ("index", "bfs", "degree", "random", "given")


def ranks(
    orientation: str, edges: Index, num_nodes: int, graph_of: Index, generator: np.random.Generator
) -> Index:
    """The rank of every node, a permutation of 0 .. N-1.

    Shapes: edges ``(E, 2)``, each undirected edge once; graph_of ``(N,)``; returns ``(N,)``.

    ``index`` takes the nodes as they are numbered (the published choice); ``bfs`` by distance from one end of the graph,
    so that information crosses the whole of it; ``degree`` from the fewest neighbours to the most; ``random`` draws.
    """
    check_choice("orientation", orientation, ORIENTATIONS[:-1])
    if orientation == "index":
        return np.arange(num_nodes)
    if orientation == "random":
        return generator.permutation(num_nodes)
    if orientation == "degree":
        degree = np.bincount(edges.ravel(), minlength=num_nodes)
        return _places(np.lexsort((np.arange(num_nodes), degree)))
    distance = distance_from_an_end(edges, num_nodes)
    return _places(np.lexsort((np.arange(num_nodes), distance, graph_of)))


def distance_from_an_end(edges: Index, num_nodes: int) -> Index:
    """Distance, in edges, of every node from one end of its component: the node farthest from the first one.

    Its largest value is a lower bound of the component's diameter, exact on trees. Shapes: ``(E, 2)``; returns ``(N,)``.
    """
    neighbours = neighbours_of(edges, num_nodes)
    distance = np.full(num_nodes, -1)
    for first in range(num_nodes):
        if distance[first] < 0:
            seen = _breadth_first(neighbours, first)
            end = max(seen, key=lambda node: seen[node])
            for node, steps in _breadth_first(neighbours, end).items():
                distance[node] = steps
    return distance


def neighbours_of(edges: Index, num_nodes: int) -> list[list[int]]:
    """The neighbours of every node along edges in either direction, in the order of the edges."""
    neighbours: list[list[int]] = [[] for _ in range(num_nodes)]
    for u, v in edges.tolist():
        neighbours[u].append(v)
        neighbours[v].append(u)
    return neighbours


def refuse_cycle(edges: Index, num_nodes: int) -> None:
    """Raise a ValueError that names a cycle, if the directed edges have one."""
    following: list[list[int]] = [[] for _ in range(num_nodes)]
    waiting = np.bincount(edges[:, 1], minlength=num_nodes).tolist()
    for u, v in edges.tolist():
        following[u].append(v)
    ready = [node for node in range(num_nodes) if not waiting[node]]
    for node in ready:  # grows while it is walked
        for after in following[node]:
            waiting[after] -= 1
            if not waiting[after]:
                ready.append(after)
    if len(ready) == num_nodes:
        return
    # What still waits has a predecessor that still waits: walking backwards must come round.
    before = {v: u for u, v in edges.tolist() if waiting[u] and waiting[v]}
    walk, node = [], next(iter(before))
    while node not in walk:
        walk.append(node)
        node = before[node]
    cycle = [node, *reversed(walk[walk.index(node) :])]
    shown = " -> ".join(map(str, cycle if len(cycle) <= 12 else [*cycle[:8], "...", *cycle[-3:]]))
    advice = "give undirected edges an orientation: 'bfs', 'index', 'degree' or 'random'"
    raise wrong("edges", "no directed cycle with orientation='given'", f"the cycle {shown}", advice)


def _breadth_first(neighbours: list[list[int]], start: int) -> dict[int, int]:
    found, queue = {start: 0}, deque([start])
    while queue:
        node = queue.popleft()
        for other in neighbours[node]:
            if other not in found:
                found[other] = found[node] + 1
                queue.append(other)
    return found


def _places(order: Index) -> Index:
    """The inverse of a permutation: at which place every node stands."""
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return place
