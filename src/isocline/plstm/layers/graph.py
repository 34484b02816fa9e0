"""A layer for graphs, such as molecules: gates are made from the features of nodes and edges."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from isocline._core.checks import check_choice, check_number, wrong
from isocline.plstm.gates import Gate, HeadNorm, check_features, finish, head_width, words
from isocline.plstm.graph import DagBatch, check_graph
from isocline.plstm.propagation import column_sums, plstm_graph
from isocline.plstm.rotations import MatrixTransition, rotated

FLOOR = 0.5  # added to the sum that P-mode's transitions are divided by
SPREAD = 10.0  # standard deviation of the transitions' biases: heads start with either sign


class PLSTMGraph(nn.Module):
    """Long-range mixing on directed acyclic graphs along all their paths; states live on edges.

    Source and mark are ``sigmoid`` of an affine map of a node and an edge, direct of a node; a transition is an affine map t of
    (incoming edge, outgoing edge, node between them). In D-mode, on graphs built with ``mode="D"``, ``T = tanh(t)``. In P-mode
    ``T = t / (1/2 + sum |t|)``: ``variant="paper"`` sums over the edges that follow the incoming one, so that states are
    bounded in L1 and gradients in L∞; ``variant="reference"``, as the published code, over those that lead to the
    outgoing one, which bounds the two the other way round, and takes the node where the incoming edge begins.

    With ``slots=S`` the gates are made from nodes alone, each of which has S slots for edges that enter and S for edges that
    leave, taken in the order of the edge list given (the paper's node variant): a source and a mark for every slot, a
    transition for every pair. A layer starts with what enters by slot i leaving by slot i. For graphs where the order of a
    node's edges means something: chains, trees whose children have their places. The published code of this variant takes an
    edge's slot at its other end, and is not followed.

    With ``channels=J`` an edge holds J states for each head and a transition is a matrix ``O diag(a) I`` with rotations O and
    I that depend on the same features (state tracking): ``a = tanh(t)`` or ``t / (1/2 + sum max |t|)``, whose largest entry
    takes the place of ``|T|``.

    Without ``edge_dim`` an edge's features are the mean of those of its ends. Alternate layers take ``graph`` and
    ``graph.reversed()``.
    Shapes: x ``(N, dim)``; edge_features ``(rows of the edge list given, edge_dim)``; returns ``(N, dim)``. Raises:
    ValueError for sizes that do not fit, zero heads, nodes with more edges than slots, and D-mode on a graph that was not
    pruned. Source: pLSTM, the section on graphs.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        edge_dim: int | None = None,
        slots: int | None = None,
        mode: str = "P",
        variant: str = "paper",
        channels: int = 1,
        small_gates: bool = False,
        source_bias: float = -5.0,
        mark_bias: float = -5.0,
        direct_bias: float = -5.0,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        width = head_width(dim, heads)
        self.dim, self.heads, self.backend = dim, heads, backend
        self.edge_dim = (
            None if edge_dim is None else check_number("edge_dim", edge_dim, least=0, integer=True)
        )
        self.slots = None if slots is None else check_number("slots", slots, least=1, integer=True)
        self.mode = check_choice("mode", mode, ("P", "D"))
        self.variant = check_choice("variant", variant, ("paper", "reference"))
        self.channels = check_number("channels", channels, least=1, integer=True)
        self.small_gates = small_gates
        self._refuse_what_slots_have_not()
        edge, how = dim if edge_dim is None else edge_dim, {"sliced": False, "small": small_gates}
        seen, each = (dim + edge, channels) if slots is None else (dim, slots)
        self.source = Gate(seen, heads * each, source_bias, **how)
        self.mark = Gate(seen, heads * each, mark_bias, **how)
        if slots is not None:
            self.transition = Gate(dim, heads * slots**2, 0.0, **how)
        elif channels == 1:
            self.transition = Gate(2 * edge + dim, heads, 0.0, **how)
        else:
            self.transition = MatrixTransition(2 * edge + dim, heads, channels, 0.0)
        self.direct = Gate(dim, heads, direct_bias, **how)
        self.query, self.key, self.value = (nn.Linear(dim, dim) for _ in range(3))
        self.norm = HeadNorm(heads, width)
        self.out = nn.Linear(dim, dim)
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Gates nearly closed, transitions of either sign, or from slot i to slot i; SmallInit for the projections."""
        finish(self, generator)
        if self.slots is None:
            nn.init.normal_(self.transition.bias, std=SPREAD, generator=generator)
            return
        with torch.no_grad():
            straight = torch.eye(self.slots).flatten().repeat(self.heads)
            self.transition.bias.copy_(SPREAD * straight)

    def gates(self, x: Tensor, graph: DagBatch, edge_features: Tensor | None = None) -> dict[str, Any]:
        """Source, mark ``(heads, E)``, transition ``(heads, L)`` and direct ``(heads, N)``, in the order of the graph.

        With channels ``(heads, E, J)`` and ``(heads, L, J, J)``.
        """
        self._check(x, graph)
        if self.slots is None:
            source, T, mark = self._gates_of_edges(x, graph, self._edge_features(x, graph, edge_features))
        else:
            source, T, mark = self._gates_of_slots(x, graph, edge_features)
        return {
            "source": torch.sigmoid(source).movedim(-1, 0),
            "transition": T,
            "mark": torch.sigmoid(mark).movedim(-1, 0),
            "direct": torch.sigmoid(self.direct(x)).mT,
        }

    def _gates_of_edges(self, x: Tensor, graph: DagBatch, edge: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Before their sigmoid source and mark ``(E, [J,] heads)``; transition ``(heads, L, [J, J])``."""
        tail, head = graph.edges.unbind(1)
        before, after = graph.arcs.unbind(1)
        source = self.source(torch.cat([x[tail], edge], -1))
        mark = self.mark(torch.cat([x[head], edge], -1))
        node = tail[before] if self.variant == "reference" else tail[after]
        seen = torch.cat([edge[before], edge[after], x[node]], -1)
        if not isinstance(self.transition, MatrixTransition):
            t = self.transition(seen).mT
            return source, self._bounded(t, t.abs(), graph), mark
        O, t, I = self.transition.parts(seen)
        a = self._bounded(t.transpose(0, 2), t.abs().amax(-1).mT, graph).transpose(0, 2)
        source, mark = (gate.unflatten(-1, (self.heads, -1)).transpose(1, 2) for gate in (source, mark))
        return source, rotated(O, a, I).transpose(0, 1), mark

    def _gates_of_slots(
        self, x: Tensor, graph: DagBatch, edge_features: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As `_gates_of_edges`, every gate of a node taken by the slots of the edges that it is for."""
        if edge_features is not None:
            raise wrong("edge_features", "none: gates are made from nodes", f"{tuple(edge_features.shape)}")
        S, most = self.slots, graph.max_slots
        assert S is not None
        if most > S:
            want = f"at most {S} edges into and out of every node, one for each slot"
            raise wrong("graph", want, f"a node with {most}", f"take slots={most}, or gates made from edges")
        tail, head = graph.edges.unbind(1)
        before, after = graph.arcs.unbind(1)
        source = self.source(x).unflatten(-1, (-1, S))[tail, :, graph.out_slot]
        mark = self.mark(x).unflatten(-1, (-1, S))[head, :, graph.in_slot]
        t = self.transition(x).unflatten(-1, (-1, S, S))
        t = t[tail[after], :, graph.out_slot[after], graph.in_slot[before]].mT
        return source, self._bounded(t, t.abs(), graph), mark

    def _bounded(self, t: Tensor, sizes: Tensor, graph: DagBatch) -> Tensor:
        """tanh, or division by the sums of the sizes ``(heads, L)``; t ``(..., heads, L)`` in the same order."""
        if self.mode == "D":
            return torch.tanh(t)
        rows = self.variant == "reference"
        return t / (FLOOR + column_sums(sizes, graph, rows=rows)[:, graph.arcs[:, 1 if rows else 0]])

    def forward(self, x: Tensor, graph: DagBatch, edge_features: Tensor | None = None) -> Tensor:
        gates = self.gates(x, graph, edge_features)
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(0, 1)
            for layer in (self.query, self.key, self.value)
        )
        h = plstm_graph(q, k, v, **gates, graph=graph, backend=self.backend)
        return self.out(self.norm(h.transpose(0, 1)).flatten(-2))

    def _refuse_what_slots_have_not(self) -> None:
        if self.slots is None:
            return
        if self.edge_dim is not None:
            raise wrong("edge_dim", "none with slots: gates are made from nodes", self.edge_dim)
        if self.channels > 1:
            raise wrong("channels", "1 with slots", self.channels, "make gates from edges: slots=None")
        if self.variant != "paper":
            got = f"{self.variant!r}, whose published code mixes slots up"
            raise wrong("variant", "'paper' with slots", got, "make gates from edges: slots=None")

    def _check(self, x: Tensor, graph: DagBatch) -> None:
        check_graph(graph)
        check_features(x, self.dim, ("N",))
        if x.shape[0] != graph.num_nodes:
            raise wrong("x", f"shape ({graph.num_nodes}, {self.dim}), the nodes of the graph", tuple(x.shape))
        if self.mode == "D" and graph.mode != "D":
            raise wrong("graph", "one pruned to a multitree in D-mode", f"{graph}", "build it with mode='D'")

    def _edge_features(self, x: Tensor, graph: DagBatch, given: Tensor | None) -> Tensor:
        want = "none: the layer has no edge_dim"
        if self.edge_dim:
            want = f"shape ({graph.num_rows}, {self.edge_dim}), a row for each row of the edge list"
        got = None if given is None else tuple(given.shape)
        if got != ((graph.num_rows, self.edge_dim) if self.edge_dim else None):
            raise wrong("edge_features", want, "none" if got is None else f"{got}")
        if given is not None:
            return given[graph.edge_ids].to(x.dtype)
        if self.edge_dim == 0:
            return x.new_zeros(graph.num_edges, 0)
        tail, head = graph.edges.unbind(1)
        return (x[tail] + x[head]) / 2

    def extra_repr(self) -> str:
        names = ("dim", "heads", "edge_dim", "slots", "mode", "variant", "channels", "small_gates", "backend")
        starts = {f"{name}_bias": getattr(self, name).start for name in ("source", "mark", "direct")}
        return words(self, **{name: getattr(self, name) for name in names}, **starts)
