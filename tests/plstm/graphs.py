"""Drawn graphs for the tests of graphs: small, and of every awkward kind."""

import numpy as np
import torch
from hypothesis import strategies as st

from isocline.plstm.graph import DagBatch
from isocline.plstm.orientation import ORIENTATIONS

ORIENTED = ORIENTATIONS[:-1]


@st.composite
def undirected(draw, most=9):
    """``(edges, number of nodes)``: from no node at all to nearly complete graphs."""
    nodes = draw(st.integers(0, most))
    pairs = [(u, v) for u in range(nodes) for v in range(u)]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    return [(u, v) if draw(st.booleans()) else (v, u) for u, v in chosen], nodes


@st.composite
def batches(draw, mode="P"):
    """Unions of a few drawn graphs, some of them empty."""
    parts = draw(st.lists(undirected(6), min_size=1, max_size=4))
    how, seed = draw(st.sampled_from(ORIENTED)), draw(st.integers(0, 99))
    return DagBatch.union(
        [DagBatch.from_edges(edges, nodes, orientation=how, mode=mode, seed=seed) for edges, nodes in parts]
    )


def gates(graph, seed=0, lead=(2,), dk=3, dv=2):
    """q, k, v, source, transition, mark, direct: standard normal."""
    g = torch.Generator().manual_seed(seed)
    N, E, L = graph.num_nodes, graph.num_edges, graph.num_arcs
    shapes = [(N, dk), (N, dk), (N, dv), (E,), (L,), (E,), (N,)]
    return [torch.randn(*lead, *shape, generator=g) for shape in shapes]


def all_paths(graph):
    """Every directed path of the line graph, as (edges on it, arcs on it): for small graphs."""
    arcs = graph.arcs.tolist()
    paths = [([e], []) for e in range(graph.num_edges)]
    for edges, used in paths:  # grows while it is walked
        paths += [([*edges, b], [*used, i]) for i, (a, b) in enumerate(arcs) if a == edges[-1]]
    return paths


def permutation(count, seed):
    return np.random.default_rng(seed).permutation(count)
