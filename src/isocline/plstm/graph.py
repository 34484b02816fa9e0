"""Graphs on which a linear recurrence can run: directed, without cycles, many of them side by side."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from isocline._core.checks import check_choice, check_number, wrong
from isocline.plstm import line_graph
from isocline.plstm.diagnostics import DagDiagnostics, PropagationWarning, diagnose, too_shallow
from isocline.plstm.orientation import ORIENTATIONS, Index, ranks, refuse_cycle

if TYPE_CHECKING:
    import networkx as nx

Mode = Literal["P", "D"]
EdgeList = Tensor | np.ndarray | Sequence[Sequence[int]]


@dataclass(frozen=True, eq=False, repr=False)
class DagBatch:
    """A disjoint union of directed acyclic graphs, with the arcs of its line graph.

    States live on edges: row e of a source or mark gate belongs to ``edges[e] = (from node, to node)``, column l of a
    transition to ``arcs[l] = (incoming edge, outgoing edge)``. Each graph's edges are in topological order, one graph
    after the other; ``edge_ids[e]`` is the row of the edge list given that edge e came from, so that
    ``features[graph.edge_ids]`` brings edge features into this order. Nodes keep their numbers. At a node, the edges that
    leave it take its slots 0, 1, ... in the order of that list, and so do those that enter it.

    Make one with `from_edges`, `from_networkx`, `from_pyg`, `grid` or `union`; ``graph.to(device)`` moves it.
    """

    edges: Tensor  # (E, 2)
    arcs: Tensor  # (L, 2), sorted by the outgoing edge
    edge_ids: Tensor  # (E,)
    batch: Tensor  # (N,) the graph of each node
    edge_batch: Tensor  # (E,) the graph of each edge
    node_place: Tensor  # (N,) place of each node among those of its graph
    edge_place: Tensor  # (E,)
    out_slot: Tensor  # (E,) place of each edge among those that leave its first node
    in_slot: Tensor  # (E,) and among those that enter its second
    levels: Tensor  # (E,) arcs on the longest path into each edge
    arc_order: Tensor  # (L,) the arcs by the level of their outgoing edge, for sweeps
    level_sizes: Tensor  # (levels - 1,) how many arcs end in each level; stays on the CPU
    num_graphs: int
    num_rows: int  # of the edge lists given: of edge features
    max_nodes: int
    max_edges: int
    max_slots: int
    mode: Mode  # "P": every arc; "D": pruned to a multitree

    @classmethod
    def from_edges(
        cls,
        edges: EdgeList,
        num_nodes: int | None = None,
        *,
        batch: Tensor | np.ndarray | Sequence[int] | None = None,
        orientation: str | Tensor | np.ndarray | Sequence[int] = "index",
        mode: Mode = "P",
        seed: int = 0,
    ) -> DagBatch:
        """Orient the edges of a graph, or of many in one numbering, and find the arcs between them.

        ``orientation``: ``"index"``, ``"bfs"`` (from one end of each graph to the other: the longest paths), ``"degree"``,
        ``"random"`` (from ``seed``), or a rank for each node: undirected edges, listed once or at both ends, then run from the
        lower rank to the higher. ``"given"`` keeps the edges as they are directed. Repeated edges are one edge.
        ``mode="D"`` prunes the line graph to a multitree.

        Shapes: edges ``(E, 2)``, whole numbers 0 .. num_nodes - 1; batch ``(N,)``, ascending, the graph of each node.
        Raises: ValueError for edges to nodes there are not, loops, edges between two graphs, and, naming it, a cycle.
        Warns: PropagationWarning when the orientation leaves almost no path for information to travel along.

        >>> graph = DagBatch.from_edges([(0, 1), (1, 2), (0, 2)])
        >>> graph.edges.tolist(), graph.arcs.tolist()
        ([[0, 1], [0, 2], [1, 2]], [[0, 2]])
        """
        check_choice("mode", mode, ("P", "D"))
        pairs, count = _checked_edges(edges, num_nodes, batch)
        graph_of = _checked_batch(batch, count, pairs)
        given = isinstance(orientation, str) and orientation == "given"
        kept, rows = _single(pairs, directed=given)
        if given:
            refuse_cycle(kept, count)
            return _assemble(kept, rows, graph_of, mode, len(pairs))
        if isinstance(orientation, str):
            check_choice("orientation", orientation, ORIENTATIONS)
            rank = ranks(orientation, kept, count, graph_of, np.random.default_rng(seed))
        else:
            rank = _checked_ranks(orientation, count)
        forward = rank[kept[:, 0]] < rank[kept[:, 1]]
        directed = np.where(forward[:, None], kept, kept[:, ::-1])
        graph = _assemble(directed, rows, graph_of, mode, len(pairs))
        _warn_when_shallow(graph, orientation)
        return graph

    @classmethod
    def from_networkx(
        cls,
        graphs: nx.Graph | Sequence[nx.Graph],
        *,
        orientation: str | None = None,
        mode: Mode = "P",
        seed: int = 0,
    ) -> DagBatch:
        """One networkx graph or a sequence of them; nodes are numbered in their order of iteration.

        A directed graph keeps its directions unless an orientation is asked for; an undirected one takes ``"index"``.
        Raises: as `from_edges`.
        """
        found: list[Any] = list(graphs) if isinstance(graphs, (list, tuple)) else [graphs]
        for graph in found:
            if not hasattr(graph, "is_directed"):
                do = "lists of edges go to from_edges"
                raise wrong("graphs", "networkx graphs", f"a {type(graph).__name__}", do, error=TypeError)
        directed = {graph.is_directed() for graph in found}
        if len(directed) > 1:
            raise wrong("graphs", "all directed or all undirected", "both", "convert with to_undirected()")
        pairs, batch = [], []
        for number, graph in enumerate(found):
            place = {node: len(batch) + i for i, node in enumerate(graph)}
            pairs += [(place[u], place[v]) for u, v in graph.edges()]
            batch += [number] * len(place)
        how = orientation or ("given" if directed == {True} else "index")
        graph = cls.from_edges(pairs, len(batch), batch=batch, orientation=how, mode=mode, seed=seed)
        return dataclasses.replace(graph, num_graphs=len(found))

    @classmethod
    def from_pyg(
        cls,
        edge_index: Tensor | np.ndarray,
        batch: Tensor | np.ndarray | None = None,
        *,
        num_nodes: int | None = None,
        orientation: str = "index",
        mode: Mode = "P",
        seed: int = 0,
    ) -> DagBatch:
        """The ``(edge_index, batch)`` of PyTorch Geometric. Shapes: edge_index ``(2, E)``; batch ``(N,)``.

        An edge that stands at both ends is one edge, and takes the edge features of the row that comes first.
        Raises: as `from_edges`.
        """
        index = torch.as_tensor(edge_index)
        if index.dim() != 2 or index.shape[0] != 2:
            raise wrong("edge_index", "shape (2, E)", tuple(index.shape), "one column for each edge")
        return cls.from_edges(
            index.t(), num_nodes, batch=batch, orientation=orientation, mode=mode, seed=seed
        )

    @classmethod
    def grid(cls, rows: int, columns: int, mode: Mode = "P") -> DagBatch:
        """The grid of rows x columns nodes, numbered row by row, whose edges run down the rows and along the columns."""
        rows = check_number("rows", rows, least=1, integer=True)
        columns = check_number("columns", columns, least=1, integer=True)
        node = np.arange(rows * columns).reshape(rows, columns)
        down = np.stack([node[:-1].ravel(), node[1:].ravel()], 1)
        along = np.stack([node[:, :-1].ravel(), node[:, 1:].ravel()], 1)
        return cls.from_edges(np.concatenate([down, along]), node.size, orientation="given", mode=mode)

    @classmethod
    def union(cls, graphs: Sequence[DagBatch]) -> DagBatch:
        """All graphs side by side, renumbered; edge_ids count through the edge lists one after the other."""
        if not graphs:
            raise wrong(
                "graphs", "at least one DagBatch", "none", "an empty graph is DagBatch.from_edges([])"
            )
        for graph in graphs:
            check_graph(graph, "graphs")
        if len({graph.mode for graph in graphs}) > 1:
            raise wrong("graphs", "one mode, P or D", "both", "build them with the same mode")
        nodes = np.cumsum([0, *(graph.num_nodes for graph in graphs)])
        edges = np.cumsum([0, *(graph.num_edges for graph in graphs)])
        numbers = np.cumsum([0, *(graph.num_graphs for graph in graphs)])
        rows = np.cumsum([0, *(graph.num_rows for graph in graphs)])

        def joined(name: str, offsets: Index) -> Index:
            return np.concatenate(
                [
                    getattr(graph, name).cpu().numpy() + by
                    for graph, by in zip(graphs, offsets.tolist(), strict=False)
                ]
            )

        parts = (joined("edges", nodes), joined("arcs", edges), joined("edge_ids", rows))
        counts = int(numbers[-1]), int(rows[-1])
        return _finished(*parts, joined("batch", numbers), graphs[0].mode, *counts)

    @property
    def num_nodes(self) -> int:
        return self.batch.shape[0]

    @property
    def num_edges(self) -> int:
        return self.edges.shape[0]

    @property
    def num_arcs(self) -> int:
        return self.arcs.shape[0]

    def reversed(self) -> DagBatch:
        """The same graphs with every edge and every arc turned round; ``edge_ids`` still point to the list given.

        A layer on the reversed graph after one on the graph lets information flow both ways.
        """
        last = self.num_edges - 1
        order = np.argsort(self.edge_batch.cpu().numpy()[::-1], kind="stable")  # graphs stay in their order
        place = np.empty(last + 1, dtype=np.int64)
        place[last - order] = np.arange(last + 1)
        edges = self.edges.cpu().numpy()[::-1][order][:, ::-1]
        arcs = place[self.arcs.cpu().numpy()[:, ::-1]]
        arcs = arcs[np.lexsort((arcs[:, 0], arcs[:, 1]))]
        ids, batch = self.edge_ids.cpu().numpy()[::-1][order], self.batch.cpu().numpy()
        counts = self.num_graphs, self.num_rows
        return _finished(edges, arcs, ids, batch, self.mode, *counts).to(self.edges.device)

    def widened(self, channels: int) -> tuple[DagBatch, Tensor]:
        """Every edge `channels` times, every arc from each copy to each: state tracking as a recurrence of scalars.

        Returns the graph, whose edge ``e J + j`` is channel j of edge e, and the numbers ``(L J J,)`` that bring transitions
        ``(L, to, from)``, flattened, into the order of its arcs.
        """
        J, j = channels, torch.arange(channels, device=self.edges.device)
        incoming, outgoing = (self.arcs[:, side, None] * J + j for side in (0, 1))
        pairs = torch.stack(torch.broadcast_tensors(incoming[:, None, :], outgoing[:, :, None]), -1).flatten(
            0, 2
        )
        order = torch.argsort(pairs[:, 1] * (self.num_edges * J) + pairs[:, 0])
        arcs, levels = pairs[order], self.levels.repeat_interleave(J)
        wide = dataclasses.replace(
            self,
            edges=self.edges.repeat_interleave(J, 0),
            arcs=arcs,
            edge_ids=self.edge_ids.repeat_interleave(J),
            edge_batch=self.edge_batch.repeat_interleave(J),
            edge_place=(self.edge_place[:, None] * J + j).flatten(),
            out_slot=(self.out_slot[:, None] * J + j).flatten(),
            in_slot=(self.in_slot[:, None] * J + j).flatten(),
            levels=levels,
            arc_order=torch.argsort(levels[arcs[:, 1]], stable=True),
            level_sizes=self.level_sizes * J**2,
            max_edges=self.max_edges * J,
            max_slots=self.max_slots * J,
        )
        return wide, order

    def to(self, device: torch.device | str) -> DagBatch:
        """The same graphs with their index tensors on another device."""
        moved: dict[str, Any] = {
            field.name: getattr(self, field.name).to(device)
            for field in dataclasses.fields(self)
            if isinstance(getattr(self, field.name), Tensor) and field.name != "level_sizes"
        }
        return dataclasses.replace(self, **moved)

    def diagnostics(self) -> DagDiagnostics:
        """Depth, number of paths, and how far information travels: see `DagDiagnostics`."""
        return diagnose(*self._arrays(), self.num_graphs)

    def _arrays(self) -> tuple[Index, Index, Index, Index, Index]:
        names = ("edges", "arcs", "levels", "batch", "edge_batch")
        edges, arcs, levels, batch, edge_batch = (getattr(self, name).cpu().numpy() for name in names)
        return edges, arcs, levels, batch, edge_batch

    def __repr__(self) -> str:
        sizes = f"{self.num_nodes} nodes, {self.num_edges} edges, {self.num_arcs} arcs"
        return f"DagBatch({self.num_graphs} graphs: {sizes}, mode={self.mode!r})"


def check_graph(graph: object, argument: str = "graph") -> None:
    """Raise a TypeError unless it is a DagBatch."""
    if not isinstance(graph, DagBatch):
        do = "make one with DagBatch.from_edges, from_networkx or from_pyg"
        raise wrong(argument, "a DagBatch", f"a {type(graph).__name__}", do, error=TypeError)


def _checked_edges(edges: EdgeList, num_nodes: int | None, batch: object) -> tuple[Index, int]:
    try:
        array: Any = edges.cpu().numpy() if isinstance(edges, Tensor) else np.asarray(edges)
    except ValueError:  # NumPy's word for rows of several lengths
        array = np.zeros(len(edges))
    if not array.size:
        array = np.zeros((0, 2), dtype=np.int64)
    if array.ndim != 2 or array.shape[1] != 2:
        advice = "from_pyg takes an edge_index of shape (2, E)"
        raise wrong("edges", "shape (E, 2), one row (from, to) for each edge", tuple(array.shape), advice)
    if array.dtype.kind not in "iu":
        raise wrong("edges", "whole numbers", array, "node numbers are 0 .. N-1", error=TypeError)
    array = array.astype(np.int64)
    if num_nodes is None:
        num_nodes = len(batch) if batch is not None else int(array.max(initial=-1)) + 1  # type: ignore[arg-type]
    count = check_number("num_nodes", num_nodes, least=0, integer=True)
    missing = np.flatnonzero(((array < 0) | (array >= count)).any(1))
    if missing.size:
        row = int(missing[0])
        there = f"nodes 0 .. {count - 1}" if count else "no edges: there are no nodes"
        raise wrong("edges", there, f"the edge {tuple(array[row].tolist())} in row {row}", "see num_nodes")
    loops = np.flatnonzero(array[:, 0] == array[:, 1])
    if loops.size:
        row = int(loops[0])
        advice = "leave loops out: the direct gate takes a node to itself"
        raise wrong("edges", "two different ends", f"{tuple(array[row].tolist())} in row {row}", advice)
    return array, count


def _checked_batch(batch: object, count: int, edges: Index) -> Index:
    if batch is None:
        return np.zeros(count, dtype=np.int64)
    array = batch.cpu().numpy() if isinstance(batch, Tensor) else np.asarray(batch)
    if array.shape != (count,):
        raise wrong("batch", f"shape ({count},), a graph for each node", tuple(array.shape))
    if array.size and array.dtype.kind not in "iu":
        raise wrong("batch", "whole numbers", array, "graphs are 0, 1, 2, ...", error=TypeError)
    array = array.astype(np.int64)
    if (array < 0).any() or (np.diff(array) < 0).any():
        raise wrong("batch", "ascending numbers >= 0", batch, "put the nodes of a graph side by side")
    crossing = np.flatnonzero(array[edges[:, 0]] != array[edges[:, 1]])
    if crossing.size:
        row = int(crossing[0])
        raise wrong(
            "edges", "both ends in one graph", f"{tuple(edges[row].tolist())} in row {row}", "see batch"
        )
    return array


def _checked_ranks(orientation: Any, count: int) -> Index:
    array = orientation.cpu().numpy() if isinstance(orientation, Tensor) else np.asarray(orientation)
    if array.shape != (count,) or len(np.unique(array)) != count:
        got = f"{len(np.unique(array))} different in shape {tuple(array.shape)}"
        raise wrong("orientation", f"a name, or {count} different ranks, one for each node", got)
    return np.argsort(np.argsort(array))


def _single(pairs: Index, *, directed: bool) -> tuple[Index, Index]:
    """Every edge once, in the order in which it first comes, and the row it came from."""
    key = pairs if directed else np.sort(pairs, axis=1)
    rows = (
        np.sort(np.unique(key, axis=0, return_index=True)[1]) if len(pairs) else np.zeros(0, dtype=np.int64)
    )
    return pairs[rows], rows


def _assemble(directed: Index, rows: Index, graph_of: Index, mode: Mode, num_rows: int) -> DagBatch:
    order = line_graph.topological_edges(directed, len(graph_of))
    order = order[np.argsort(graph_of[directed[order, 0]], kind="stable")]
    edges = directed[order]
    arcs = line_graph.arcs_between(edges, len(graph_of))
    if mode == "D":
        edge_graph = graph_of[edges[:, 0]]
        arcs = arcs[line_graph.pruned_to_multitree(arcs, len(edges), np.searchsorted(edge_graph, edge_graph))]
    count = int(graph_of.max(initial=0)) + 1
    return _finished(edges, arcs, rows[order], graph_of, mode, count, num_rows)


def _finished(
    edges: Index, arcs: Index, ids: Index, graph_of: Index, mode: Mode, num_graphs: int, num_rows: int
) -> DagBatch:
    """What follows from edges and arcs: places within each graph and at each node, levels, and the order of the sweeps."""
    edge_graph = graph_of[edges[:, 0]]
    places = [_places(of, np.arange(len(of))) for of in (graph_of, edge_graph)]
    slots = [_places(edges[:, end], ids) for end in (0, 1)]
    levels = line_graph.levels_of(arcs, len(edges))
    arc_level = levels[arcs[:, 1]]
    order, sizes = np.argsort(arc_level, kind="stable"), np.bincount(arc_level, minlength=1)[1:]
    arrays = (edges, arcs, ids, graph_of, edge_graph, *places, *slots, levels, order, sizes)
    tensors = [torch.from_numpy(np.ascontiguousarray(array, dtype=np.int64)) for array in arrays]
    nodes, most, per_node = (int(x.max(initial=-1)) + 1 for x in (*places, np.concatenate(slots)))
    return DagBatch(
        *tensors,
        num_graphs=num_graphs,
        num_rows=num_rows,
        max_nodes=nodes,
        max_edges=most,
        max_slots=per_node,
        mode=mode,
    )


def _places(of: Index, by: Index) -> Index:
    """At which place each stands among those of its own kind, in ascending order of `by`. Shapes: all ``(E,)``."""
    order = np.lexsort((by, of))
    place = np.empty_like(order)
    place[order] = np.arange(len(of)) - np.searchsorted(of[order], of[order])
    return place


def _warn_when_shallow(graph: DagBatch, orientation: object) -> None:
    short = too_shallow(*graph._arrays(), graph.num_graphs)
    if short is None:
        return
    how = repr(orientation) if isinstance(orientation, str) else "the ranks given"
    message = (
        f"orientation: want paths through the graph, got {how}, which {short}; "
        "try orientation='bfs', or ranks of your own"
    )
    warnings.warn(message, PropagationWarning, stacklevel=3)
