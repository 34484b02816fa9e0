"""A whole model for graphs, such as molecules: one class, or any number of outputs, for each graph of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from isocline._core.checks import check_choice, check_number, wrong
from isocline.plstm.gates import check_features, small_init_, words
from isocline.plstm.graph import DagBatch, EdgeList
from isocline.plstm.layers.graph import PLSTMGraph

POOLINGS = ("mean", "sum")


@dataclass(frozen=True, eq=False)
class BothWays:
    """The same graphs four times: every arc and pruned to a multitree, each there and back.

    On a graph turned into a directed one, information goes only forwards. Layers therefore take turns: P-mode runs on `there`
    and `back`, D-mode on `pruned_there` and `pruned_back`. Made once for each graph and joined for each batch.
    """

    there: DagBatch
    back: DagBatch
    pruned_there: DagBatch
    pruned_back: DagBatch

    @classmethod
    def from_edges(cls, edges: EdgeList, num_nodes: int | None = None, **how: Any) -> BothWays:
        """Arguments and errors as of `DagBatch.from_edges`, but ``orientation="bfs"``: from one end of the graph to the other.

        So that long paths exist: by the nodes' numbers (the published choice) a molecule may be left with almost none. Nodes
        equally far are ordered by their numbers, so what a model says may depend a little on the numbering.

        >>> BothWays.from_edges([(0, 1), (1, 2), (2, 0)]).back
        DagBatch(1 graphs: 3 nodes, 3 edges, 1 arcs, mode='P')
        """
        how = {"orientation": "bfs"} | how
        there, pruned = (DagBatch.from_edges(edges, num_nodes, mode=mode, **how) for mode in ("P", "D"))
        return cls(there, there.reversed(), pruned, pruned.reversed())

    @classmethod
    def union(cls, graphs: Sequence[BothWays]) -> BothWays:
        """All of them side by side, in this order: a batch."""
        names = [field.name for field in fields(cls)]
        return cls(*(DagBatch.union([getattr(graph, name) for graph in graphs]) for name in names))

    def to(self, device: torch.device | str) -> BothWays:
        return replace(self, **{field.name: getattr(self, field.name).to(device) for field in fields(self)})

    @property
    def num_graphs(self) -> int:
        return self.there.num_graphs

    @property
    def num_nodes(self) -> int:
        return self.there.num_nodes


def sinusoids(numbers: Tensor, dim: int, longest: float = 10_000.0) -> Tensor:
    """``sin(n w_i), cos(n w_i)`` with ``w_i = longest^(-2i / dim)``. Shapes: ``(N,)``; returns ``(N, dim)``.

    Source: Vaswani et al. 2017, *Attention Is All You Need*, section 3.5; here of a node's number of neighbours.
    """
    half = (dim + 1) // 2
    w = longest ** (-torch.arange(half, device=numbers.device) / max(half, 1))
    angles = numbers[:, None].to(torch.get_default_dtype()) * w
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(-2)[:, :dim]


class GraphBlock(nn.Module):
    """``x + mix(norm(x))``, then ``x + W2 gelu(W1 norm(x))``: one mode, one way. Source: pLSTM, post-up-projection block."""

    def __init__(self, dim: int, heads: int, mode: str, expand: float, drop: float, **layer: Any) -> None:
        super().__init__()
        hidden = max(1, round(expand * dim))
        self.norm_mix, self.norm_widen = (nn.RMSNorm(dim, eps=1e-5) for _ in range(2))
        self.mix = PLSTMGraph(dim, heads, mode=mode, **layer)
        self.widen, self.narrow = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        self.drop = nn.Dropout(drop)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        self.mix.reset_parameters(generator)
        for linear in (self.widen, self.narrow):
            small_init_(linear.weight, generator)
            nn.init.zeros_(linear.bias)
        for norm in (self.norm_mix, self.norm_widen):
            norm.reset_parameters()

    def forward(self, x: Tensor, graph: DagBatch, edge_features: Tensor | None = None) -> Tensor:
        x = x + self.drop(self.mix(self.norm_mix(x), graph, edge_features))
        return x + self.drop(self.narrow(nn.functional.gelu(self.widen(self.norm_widen(x)))))


class PLSTMGraphClassifier(nn.Module):
    """From the features of nodes to logits of graphs.

    A linear map of a node's features plus sinusoids of its number of neighbours; `depth` pairs of a P-mode and a D-mode block,
    of which the first pair runs there (P) and back (D), the next back and there, and so on; the mean (or sum) over each
    graph's nodes; Linear, ReLU, Linear. ``expand``: how much wider than `dim` a block is inside. ``layer``: further arguments
    of every `PLSTMGraph`, such as ``edge_dim`` or the biases that gates start from.

    Shapes: x ``(N, inputs)``; graph a `BothWays` of G graphs; edge_features as of `PLSTMGraph`; returns ``(G, classes)``. Raises:
    ValueError for sizes that do not fit and graphs without nodes. Source: pLSTM, the experiments on TUDataset; by default of
    its size, below 300,000 parameters.

    >>> model = PLSTMGraphClassifier(inputs=7, classes=2)
    >>> sum(p.numel() for p in model.parameters()) < 300_000
    True
    >>> path = BothWays.from_edges([(0, 1), (1, 2)])
    >>> model(torch.ones(6, 7), BothWays.union([path, path])).shape
    torch.Size([2, 2])
    """

    def __init__(
        self,
        inputs: int,
        classes: int,
        *,
        dim: int = 96,
        heads: int = 4,
        depth: int = 2,
        expand: float = 1.0,
        pooling: str = "mean",
        drop: float = 0.0,
        **layer: Any,
    ) -> None:
        super().__init__()
        self.inputs = check_number("inputs", inputs, least=1, integer=True)
        self.classes = check_number("classes", classes, least=1, integer=True)
        self.depth = check_number("depth", depth, least=1, integer=True)
        self.expand = check_number("expand", expand, above=0)
        self.pooling = check_choice("pooling", pooling, POOLINGS)
        self.drop = check_number("drop", drop, least=0, below=1)
        self.dim, self.heads, self.layer = dim, heads, layer
        self.encoder = nn.Linear(inputs, dim)
        self.blocks = nn.ModuleList(
            GraphBlock(dim, heads, mode, expand, drop, **layer) for _ in range(depth) for mode in ("P", "D")
        )
        self.norm = nn.RMSNorm(dim, eps=1e-5)
        self.head = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, classes))
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Blocks as they start; SmallInit and zero biases for the encoder and the head."""
        for block in self.blocks:
            block.reset_parameters(generator)  # type: ignore[operator]
        for linear in (self.encoder, self.head[0], self.head[2]):
            small_init_(linear.weight, generator)  # type: ignore[arg-type]
            nn.init.zeros_(linear.bias)  # type: ignore[arg-type]
        self.norm.reset_parameters()

    def forward(self, x: Tensor, graph: BothWays, edge_features: Tensor | None = None) -> Tensor:
        self._check(x, graph)
        count = torch.bincount(graph.there.edges.flatten(), minlength=graph.num_nodes)
        h = self.encoder(x) + sinusoids(count, self.dim).to(x.dtype)
        turns = (graph.there, graph.pruned_back, graph.back, graph.pruned_there)
        for i, block in enumerate(self.blocks):
            h = block(h, turns[i % 4], edge_features)
        return self.head(pooled(self.norm(h), graph.there.batch, graph.num_graphs, self.pooling))

    def _check(self, x: Tensor, graph: object) -> None:
        if not isinstance(graph, BothWays):
            do = "make one with BothWays.from_edges"
            raise wrong("graph", "a BothWays", type(graph).__name__, do, error=TypeError)
        check_features(x, self.inputs, ("N",))
        if x.shape[0] != graph.num_nodes:
            raise wrong(
                "x", f"shape ({graph.num_nodes}, {self.inputs}), the nodes of the graphs", tuple(x.shape)
            )
        if len(np.unique(graph.there.batch.cpu().numpy())) != graph.num_graphs:
            raise wrong("graph", "at least one node in every graph", "a graph without nodes")

    def extra_repr(self) -> str:
        names = ("inputs", "classes", "dim", "heads", "depth", "expand", "pooling", "drop")
        more = "".join(f", {name}={value!r}" for name, value in self.layer.items())
        return words(self, **{name: getattr(self, name) for name in names}) + more


def pooled(h: Tensor, batch: Tensor, num_graphs: int, how: str) -> Tensor:
    """The mean or sum over each graph's nodes. Shapes: h ``(N, D)``; batch ``(N,)``; returns ``(G, D)``."""
    total = h.new_zeros(num_graphs, h.shape[-1]).index_add(0, batch, h)
    if how == "sum":
        return total
    return total / torch.bincount(batch, minlength=num_graphs)[:, None].to(h.dtype)
