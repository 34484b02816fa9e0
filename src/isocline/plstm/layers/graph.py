"""A layer for graphs, such as molecules: gates are made from the features of nodes and edges."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from isocline._core.checks import check_choice, check_number, wrong
from isocline.plstm.gates import Gate, HeadNorm, check_features, finish, head_width
from isocline.plstm.graph import DagBatch
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

    With ``channels=J`` an edge holds J states for each head and a transition is a matrix ``O diag(a) I`` with rotations O and
    I that depend on the same features (state tracking): ``a = tanh(t)`` or ``t / (1/2 + sum max |t|)``, whose largest entry
    takes the place of ``|T|``.

    Without ``edge_dim`` an edge's features are the mean of those of its ends. Alternate layers take ``graph`` and
    ``graph.reversed()``.
    Shapes: x ``(N, dim)``; edge_features ``(rows of the edge list given, edge_dim)``; returns ``(N, dim)``. Raises:
    ValueError for sizes that do not fit, zero heads, and D-mode on a graph that was not pruned.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        edge_dim: int | None = None,
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
        self.mode = check_choice("mode", mode, ("P", "D"))
        self.variant = check_choice("variant", variant, ("paper", "reference"))
        self.channels = check_number("channels", channels, least=1, integer=True)
        self.small_gates = small_gates
        edge, how = dim if edge_dim is None else edge_dim, {"sliced": False, "small": small_gates}
        self.source = Gate(dim + edge, heads * channels, source_bias, **how)
        self.mark = Gate(dim + edge, heads * channels, mark_bias, **how)
        self.transition = (
            Gate(2 * edge + dim, heads, 0.0, **how)
            if channels == 1
            else MatrixTransition(2 * edge + dim, heads, channels, 0.0)
        )
        self.direct = Gate(dim, heads, direct_bias, **how)
        self.query, self.key, self.value = (nn.Linear(dim, dim) for _ in range(3))
        self.norm = HeadNorm(heads, width)
        self.out = nn.Linear(dim, dim)
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Gates nearly closed, transitions of either sign, SmallInit for the projections."""
        finish(self, generator)
        nn.init.normal_(self.transition.bias, std=SPREAD, generator=generator)

    def gates(self, x: Tensor, graph: DagBatch, edge_features: Tensor | None = None) -> dict[str, Any]:
        """Source, mark ``(heads, E)``, transition ``(heads, L)`` and direct ``(heads, N)``, in the order of the graph.

        With channels ``(heads, E, J)`` and ``(heads, L, J, J)``.
        """
        edge = self._edge_features(x, graph, edge_features)
        tail, head = graph.edges.unbind(1)
        before, after = graph.arcs.unbind(1)
        source = torch.sigmoid(self.source(torch.cat([x[tail], edge], -1)))
        mark = torch.sigmoid(self.mark(torch.cat([x[head], edge], -1)))
        node = tail[before] if self.variant == "reference" else tail[after]
        seen = torch.cat([edge[before], edge[after], x[node]], -1)
        if not isinstance(self.transition, MatrixTransition):
            t = self.transition(seen).mT
            T = self._bounded(t, t.abs(), graph)
        else:
            O, t, I = self.transition.parts(seen)
            a = self._bounded(t.transpose(0, 2), t.abs().amax(-1).mT, graph).transpose(0, 2)
            T = rotated(O, a, I).transpose(0, 1)
            source, mark = (gate.unflatten(-1, (self.heads, -1)).transpose(1, 2) for gate in (source, mark))
        return {
            "source": source.movedim(-1, 0),
            "transition": T,
            "mark": mark.movedim(-1, 0),
            "direct": torch.sigmoid(self.direct(x)).mT,
        }

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

    def _edge_features(self, x: Tensor, graph: DagBatch, given: Tensor | None) -> Tensor:
        check_features(x, self.dim, ())
        if x.dim() != 2 or x.shape[0] != graph.num_nodes:
            raise wrong("x", f"shape ({graph.num_nodes}, {self.dim}), the nodes of the graph", tuple(x.shape))
        if self.mode == "D" and graph.mode != "D":
            raise wrong("graph", "one pruned to a multitree in D-mode", f"{graph}", "build it with mode='D'")
        if (given is None) != (not self.edge_dim):
            want = f"shape (E, {self.edge_dim})" if self.edge_dim else "none: the layer has no edge_dim"
            raise wrong("edge_features", want, "none" if given is None else f"{tuple(given.shape)}")
        if given is not None:
            if given.dim() != 2 or given.shape[1] != self.edge_dim or given.shape[0] < graph.num_edges:
                want = f"shape (E, {self.edge_dim}), a row for each row of the edge list"
                raise wrong("edge_features", want, f"{tuple(given.shape)}")
            return given[graph.edge_ids].to(x.dtype)
        if self.edge_dim == 0:
            return x.new_zeros(graph.num_edges, 0)
        tail, head = graph.edges.unbind(1)
        return (x[tail] + x[head]) / 2

    def extra_repr(self) -> str:
        return (
            f"{self.dim}, {self.heads}, edge_dim={self.edge_dim}, mode={self.mode!r}, variant={self.variant!r}, "
            f"channels={self.channels}, small_gates={self.small_gates}, backend={self.backend!r}"
        )
