"""How far information travels on a graph that has been given directions, and along how many paths."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from isocline.plstm.orientation import Index, distance_from_an_end

SHALLOW = 3.0  # a graph is shallow when its diameter is more than so many times its longest path
LEAST_DIAMETER = 4  # below that, directions cannot do much harm


class PropagationWarning(UserWarning):
    """An orientation leaves so few paths that information hardly leaves a node's neighbourhood."""


@dataclass(frozen=True, slots=True)
class DagDiagnostics:
    """One row for a batch of graphs.

    With transitions of size up to 1 in every arc, gradients can grow with the number of paths between two edges: in
    P-mode the columns are therefore normalised, in D-mode the line graph is pruned until `most_paths` is 1.
    """

    graphs: int
    nodes: int
    edges: int
    arcs: int
    depth: int  # edges on the longest directed path, over all graphs; exact
    median_depth: float  # over the graphs that have an edge
    median_diameter: float  # of the graphs without directions; a lower bound, exact on trees
    most_paths: int  # directed paths between any two edges, the most; exact

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types; a number of paths too large for a float is still a whole number."""
        return asdict(self)

    def __str__(self) -> str:
        sizes = f"{self.graphs} graphs: {self.nodes} nodes, {self.edges} edges, {self.arcs} arcs"
        reach = f"longest path {self.depth} edges (median {self.median_depth:g}"
        return f"{sizes}; {reach}, diameter {self.median_diameter:g}); at most {self.most_paths} paths between two edges"


def diagnose(
    edges: Index, arcs: Index, levels: Index, batch: Index, edge_batch: Index, count: int
) -> DagDiagnostics:
    """Shapes: edges ``(E, 2)``, arcs ``(L, 2)``, levels ``(E,)``, batch ``(N,)``, edge_batch ``(E,)``."""
    depth, diameter = _depths(edges, levels, batch, edge_batch, count)
    some = depth > 0
    return DagDiagnostics(
        graphs=count,
        nodes=len(batch),
        edges=len(edges),
        arcs=len(arcs),
        depth=int(depth.max(initial=0)),
        median_depth=float(np.median(depth[some])) if some.any() else 0.0,
        median_diameter=float(np.median(diameter[some])) if some.any() else 0.0,
        most_paths=most_paths(arcs, len(edges)),
    )


def most_paths(arcs: Index, num_edges: int) -> int:
    """The largest number of directed paths from one edge to another (1 when there is an edge at all).

    Exact, in whole numbers of any size; takes time and memory of the pairs of edges that a path joins.
    """
    into: list[dict[int, int]] = [{edge: 1} for edge in range(num_edges)]
    for before, after in arcs.tolist():  # sorted by `after`, topologically: `before` is complete
        found = into[after]
        for start, paths in into[before].items():
            found[start] = found.get(start, 0) + paths
    return max((max(found.values()) for found in into), default=0)


def too_shallow(
    edges: Index, arcs: Index, levels: Index, batch: Index, edge_batch: Index, count: int
) -> str | None:
    """What is wrong, in words, when most graphs that are large enough have hardly any path through them."""
    depth, diameter = _depths(edges, levels, batch, edge_batch, count)
    large = diameter >= LEAST_DIAMETER
    short = large & (diameter > SHALLOW * depth)
    if 2 * short.sum() <= large.sum() or not short.any():
        return None
    worst = int(np.argmax(np.where(short, diameter / np.maximum(depth, 1), 0)))
    where = "" if count == 1 else f" in {int(short.sum())} of {count} graphs; the worst"
    return (
        f"leaves almost no propagation{where}: the longest path has {depth[worst]} edges, "
        f"where nodes are up to {diameter[worst]} edges apart"
    )


def _depths(edges: Index, levels: Index, batch: Index, edge_batch: Index, count: int) -> tuple[Index, Index]:
    """Edges on the longest directed path, and the diameter's lower bound, of each graph."""
    depth = np.zeros(count, dtype=np.int64)
    np.maximum.at(depth, edge_batch, levels + 1)
    diameter = np.zeros(count, dtype=np.int64)
    np.maximum.at(diameter, batch, distance_from_an_end(edges, len(batch)))
    return depth, diameter
