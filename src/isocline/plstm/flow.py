"""What a layer's gates do to a state on its way: sequences, grids and graphs seen as one weighted line graph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from isocline._core.checks import wrong
from isocline.plstm.graph import DagBatch
from isocline.plstm.kernels.graph_sweep import states_of
from isocline.plstm.layers import PLSTM1d, PLSTM2d, PLSTMGraph
from isocline.plstm.propagation import column_sums


@dataclass(frozen=True, slots=True)
class Flow:
    """Gates on the edges and arcs of one graph, for C settings at once: inputs, heads, directions.

    The settings are ``(B, heads, O)``; direction o of a grid runs on the grid turned so that it becomes direction 0.
    """

    graph: DagBatch
    shape: tuple[int, ...]  # of the nodes: (T,), (X, Y), (N,)
    source: Tensor  # (B, heads, O, E)
    transition: Tensor  # (B, heads, O, L)
    mark: Tensor  # (B, heads, O, E)
    flips: tuple[tuple[int, ...], ...]  # of each direction: the axes that are turned round

    def columns(self) -> Tensor:
        """``sum |T|`` over what follows each edge that something follows. Returns ``(settings, edges)``."""
        sums = column_sums(self.transition, self.graph)
        return sums[..., self.graph.arcs[:, 0].unique()].flatten(0, 2)

    def longest_product(self) -> Tensor:
        """``log10`` of the largest product of |T| along a path with the most arcs there are. Returns ``(settings,)``.

        Max-plus on the line graph, level by level: an edge's longest paths come over edges one level lower.
        """
        graph, weights = self.graph, self.transition.abs().log10().flatten(0, 2).mT.numpy()
        levels, (before, after) = graph.levels.numpy(), graph.arcs.mT.numpy()
        steep = levels[before] + 1 == levels[after]
        best = np.where(levels[:, None] == 0, 0.0, -np.inf) + np.zeros(weights.shape[1])  # (E, settings)
        top = int(levels.max(initial=0))
        for level in range(1, top + 1):
            arcs = np.flatnonzero(steep & (levels[after] == level))
            np.maximum.at(best, after[arcs], best[before[arcs]] + weights[arcs])
        return torch.from_numpy(best[levels == top].max(0, initial=-np.inf if len(best) else 0.0))

    def travel(self, nodes: Tensor, rooms: Tensor) -> tuple[Tensor, Tensor]:
        """What is left of a unit written at each of the nodes after 0, 1, 2, ... arcs: its L1 norm and its largest entry.

        A node counts for as many arcs as there is room for before any path from it meets the border. Shapes: nodes, rooms
        ``(F,)``; returns two ``(settings, F, steps)``, NaN beyond the room.
        """
        T, written = self.transition.flatten(0, 2), self.source.abs().flatten(0, 2)
        before, after = self.graph.arcs.unbind(1)
        leaves = (self.graph.edges[:, :1] == nodes).to(T.dtype)  # (E, F)
        state = written[..., None] * leaves
        state = state / state.sum(1, keepdim=True).clamp(min=torch.finfo(T.dtype).tiny)
        mass, peak = [], []
        for _ in range(int(rooms.max()) if rooms.numel() else 0):
            mass.append(state.abs().sum(1))
            peak.append(state.abs().amax(1))
            state = torch.zeros_like(state).index_add(1, after, state[:, before] * T[..., None])
        steps = torch.arange(len(mass))
        beyond = steps >= rooms[:, None]
        return tuple(torch.stack(x, -1).masked_fill(beyond, torch.nan) for x in (mass, peak))  # type: ignore[return-value]

    def reached(self, origin: tuple[int, ...]) -> Tensor:
        """``sum over directions of G``: how much of what one node writes every other node reads, by input and head.

        Returns ``(B, heads, *shape)``.
        """
        parts = []
        for o, axes in enumerate(self.flips):
            sizes = enumerate(zip(origin, self.shape, strict=True))
            place = [size - 1 - i if axis in axes else i for axis, (i, size) in sizes]
            node = int(np.ravel_multi_index(place, self.shape))
            written = self.source[:, :, o] * (self.graph.edges[:, 0] == node)
            state = states_of(written[..., None], self.transition[:, :, o], self.graph)[..., 0]
            read = state.new_zeros(*state.shape[:-1], self.graph.num_nodes)
            read = read.index_add(-1, self.graph.edges[:, 1], self.mark[:, :, o] * state)
            parts.append(read.unflatten(-1, self.shape).flip([axis + 2 for axis in axes]))
        return torch.stack(parts).sum(0)

    def rooms(self) -> Tensor:
        """How many arcs there are from each node before a path can meet the border of a sequence or grid, or the end of the
        longest path of a graph. Returns ``(N,)``.
        """
        if len(self.shape) == 2:
            ends = torch.meshgrid(*(torch.arange(size - 1, -1, -1) for size in self.shape), indexing="ij")
            return torch.stack(ends).amin(0).flatten()
        ahead = np.zeros(self.graph.num_edges, dtype=np.int64)
        for before, after in reversed(self.graph.arcs.tolist()):
            ahead[before] = max(ahead[before], ahead[after] + 1)
        room = np.zeros(self.graph.num_nodes, dtype=np.int64)
        np.maximum.at(room, self.graph.edges[:, 0].numpy(), ahead + 1)
        return torch.from_numpy(room)


@torch.no_grad()
def flow_of(layer: object, x: Tensor, graph: DagBatch | None, edge_features: Tensor | None) -> Flow:
    """The gates of one of the room's layers for an input, as a `Flow`. Raises: TypeError for another layer."""
    if isinstance(layer, (PLSTM1d, PLSTM2d)) and graph is not None:
        raise wrong("graph", f"none for a {type(layer).__name__}", "one", "graphs go through a PLSTMGraph")
    if isinstance(layer, PLSTM1d):
        return _sequence(layer, x)
    if isinstance(layer, PLSTM2d):
        return _grid(layer, x)
    if not isinstance(layer, PLSTMGraph):
        got = type(layer).__name__
        raise wrong(
            "layer",
            "a PLSTM1d, PLSTM2d or PLSTMGraph",
            got,
            "pass the layer itself, not a model",
            error=TypeError,
        )
    _refuse_channels(layer)
    if graph is None:
        raise wrong("graph", "the DagBatch of the nodes x", "none", "pass graph=")
    g = {name: value.double().cpu() for name, value in layer.gates(x, graph, edge_features).items()}
    fields = (g[name][None, :, None] for name in ("source", "transition", "mark"))
    return Flow(graph.to("cpu"), (graph.num_nodes,), *fields, flips=((),))


def _refuse_channels(layer: PLSTM1d | PLSTMGraph) -> None:
    if layer.channels > 1:
        want = f"a {type(layer).__name__} with one channel"
        raise wrong("layer", want, f"channels={layer.channels}", "its transitions are matrices")


def _sequence(layer: PLSTM1d, x: Tensor) -> Flow:
    _refuse_channels(layer)
    gates = {
        name: gate.double().cpu()[:, :, None]
        for name, gate in layer.gates(layer._convolved(x, None)[0]).items()
    }
    T = x.shape[1]
    graph = DagBatch.grid(1, T)
    return Flow(
        graph, (T,), gates["source"][..., :-1], gates["transition"][..., 1:-1], gates["mark"][..., 1:], ((),)
    )


def _grid(layer: PLSTM2d, x: Tensor) -> Flow:
    X, Y = x.shape[1:3]
    graph, flips = DagBatch.grid(X, Y), ((), (0,), (1,), (0, 1))
    gates = {name: _turned(gate.double().cpu(), flips) for name, gate in layer.gates(x).items()}
    zero = torch.zeros_like(gates["source_r"])
    if layer.mode == "P":
        by_turn = [gates["transition_r"], gates["transition_r"], gates["transition_d"], gates["transition_d"]]
        marks = (gates["mark"], gates["mark"])
    else:
        turn = gates["transition_turn"]
        turns = [turn, zero] if layer.chirality == "L" else [zero, turn]
        by_turn = [gates["transition_r"], *turns, gates["transition_d"]]
        marks = (gates["mark_l"], gates["mark_u"])
    tail, head = graph.edges.unbind(1)
    along = (head - tail == 1) & torch.tensor(Y > 1)  # along +Y ("d"); else along +X ("r")
    before, after = graph.arcs.unbind(1)
    node, which = tail[after], 2 * along[after].long() + along[before].long()  # rl, ru, dl, du
    transition = torch.stack(by_turn)[which, ..., node].movedim(0, -1)
    source = torch.where(along, gates["source_d"][..., tail], gates["source_r"][..., tail])
    mark = torch.where(along, marks[1][..., head], marks[0][..., head])
    return Flow(graph, (X, Y), source, transition, mark, flips)


def _turned(gate: Tensor, flips: tuple[tuple[int, ...], ...]) -> Tensor:
    """``(B, heads, O, X, Y)`` with direction o turned into direction 0, nodes in one axis."""
    parts = [gate[:, :, o].flip([axis + 2 for axis in axes]) for o, axes in enumerate(flips)]
    return torch.stack(parts, 2).flatten(-2)
