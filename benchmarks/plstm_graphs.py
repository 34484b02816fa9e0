"""Molecules: many small graphs in one call, beside the recursion on one graph at a time; and large graphs, by size.

The graphs are random trees of 40 nodes with at most 4 neighbours and 3 more edges, oriented from one end to the other.
"""

import side_by_side as sides  # first: holds the threads  # isort: skip

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from isocline.plstm import DagBatch, plstm_graph

GRAPHS, NODES, RINGS, DEGREE = 64, 40, 3, 4
HEADS, DIM = 4, 24  # the paper's graph model: hidden 96, 4 heads
SIZES = (100, 1_000, 5_000, 20_000)
WANTED = 50.0

Call = Callable[[], Tensor]


def molecule(nodes: int, rings: int, seed: int) -> list[tuple[int, int]]:
    """A random tree with at most `DEGREE` neighbours a node, and so many edges more."""
    rng = np.random.default_rng(seed)
    degree, edges = np.zeros(nodes, dtype=int), []
    for node in range(1, nodes):
        near = np.arange(max(0, node - 8), node)  # the last few atoms: long chains, short side chains
        other = int(rng.choice(near[degree[near] < DEGREE]))
        edges.append((other, node))
        degree[[other, node]] += 1
    while rings:
        u = int(rng.integers(nodes - 6))
        edge = (u, u + int(rng.integers(3, 7)))
        if edge not in edges:
            edges.append(edge)
            rings -= 1
    return edges


def features(graph: DagBatch, seed: int) -> list[Tensor]:
    """q, k, v, source, transition, mark, direct, asking for gradients; transitions of P-mode's size."""
    g = torch.Generator().manual_seed(seed)
    N, E, L = graph.num_nodes, graph.num_edges, graph.num_arcs
    vectors = [torch.randn(HEADS, N, DIM, generator=g) for _ in range(3)]
    gates = [torch.rand(HEADS, size, generator=g) for size in (E, L, E, N)]
    gates[1] /= 2
    return [tensor.requires_grad_() for tensor in (*vectors, *gates)]


def ways(call: Call, leaves: list[Tensor]) -> dict[str, Callable[[], object]]:
    def forward() -> object:
        with torch.no_grad():
            return call()

    return {
        "forward": forward,
        "forward and backward": lambda: torch.autograd.grad(call().sum(), leaves, allow_unused=True),
    }


def one_at_a_time(apart: list[DagBatch], parts: list[list[Tensor]]) -> Tensor:
    found = [
        plstm_graph(*tensors, graph, backend="reference") for graph, tensors in zip(apart, parts, strict=True)
    ]
    return torch.cat(found, 1)


def batch() -> str:
    edges = [molecule(NODES, RINGS, seed) for seed in range(GRAPHS)]
    apart = [DagBatch.from_edges(one, NODES, orientation="bfs") for one in edges]
    parts = [features(graph, seed) for seed, graph in enumerate(apart)]
    graph = DagBatch.union(apart)
    joined = [torch.cat([part[i] for part in parts], 1).detach().requires_grad_() for i in range(7)]
    pairs = [x.unflatten(1, (GRAPHS, NODES)).transpose(0, 1) for x in joined[:3]]
    calls: dict[str, tuple[Call, list[Tensor]]] = {
        "auto": (partial(plstm_graph, *joined, graph), joined),
        **{name: (partial(plstm_graph, *joined, graph, backend=name), joined) for name in ("dense", "sweep")},
        "recursion, one graph at a time": (
            partial(one_at_a_time, apart, parts),
            [tensor for part in parts for tensor in part],
        ),
        "softmax attention over all pairs": (partial(scaled_dot_product_attention, *pairs), joined[:3]),
    }
    error = (calls["auto"][0]() - calls["recursion, one graph at a time"][0]()).abs().max().item()
    rows = []
    for way in ("forward", "forward and backward"):
        times = sides.take_turns({name: ways(*call)[way] for name, call in calls.items()}, rounds=5)
        for name in [name for name in calls if name != "auto"]:
            ratio = times[name].over(times["auto"])
            goal = ["", ""]
            if name.startswith("recursion"):
                goal = [f"≥ {WANTED:g}", "reached" if ratio.middle >= WANTED else "**lost**"]
            rows.append([way, name, ms(times["auto"]), ratio.words(), *goal])
    columns = ["pass", "peer", "ours (auto), ms", "peer / ours", "wanted", ""]
    return (
        f"{GRAPHS} molecules of {NODES} nodes ({graph}), {HEADS} heads of {DIM}, float32; `dense` and `sweep` are our other "
        f"backends. Largest difference from the recursion: {error:.0e}.\n\n{sides.table(columns, rows)}"
    )


def sizes() -> str:
    rows = []
    for nodes in SIZES:
        graph = DagBatch.from_edges(molecule(nodes, nodes // 13, 0), nodes, orientation="bfs")
        tensors = features(graph, 0)
        row = [f"{nodes:,}", f"{graph.num_edges:,}", f"{int(graph.levels.max()) + 1:,}"]
        for way, call in ways(partial(plstm_graph, *tensors, graph, backend="sweep"), tensors).items():
            time = sides.take_turns({way: call}, rounds=3)[way]
            row.append(f"{1e6 * time.middle / graph.num_edges:.3g}")
        rows.append(row)
    columns = ["nodes", "edges", "longest path", "forward", "forward and backward"]
    return f"One large graph, `sweep`, microseconds an edge:\n\n{sides.table(columns, rows)}"


def ms(time: sides.Timing) -> str:
    return sides.Timing(tuple(1e3 * s for s in time.seconds)).words()


if __name__ == "__main__":
    torch.set_num_threads(1)
    sides.write_results("plstm_graphs", "linear recurrences on graphs", [batch(), sizes()])
