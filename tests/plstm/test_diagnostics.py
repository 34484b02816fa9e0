"""How far and along how many paths information travels."""

import json

import networkx as nx
import pytest
from hypothesis import given

from isocline.plstm import DagBatch, PropagationWarning

from .graphs import all_paths, batches

pytestmark = pytest.mark.filterwarnings("ignore::isocline.plstm.diagnostics.PropagationWarning")


@given(graph=batches())
def test_paths_are_those_one_finds_by_walking(graph):
    counts = {}
    for edges, _ in all_paths(graph):
        counts[edges[0], edges[-1]] = counts.get((edges[0], edges[-1]), 0) + 1
    found = graph.diagnostics()
    assert found.most_paths == max(counts.values(), default=0)
    assert found.depth == max((len(edges) for edges, _ in all_paths(graph)), default=0)


def test_a_grid_has_as_many_paths_as_pascals_triangle():
    found = DagBatch.grid(5, 5).diagnostics()
    assert found.depth == 8
    assert found.most_paths == 20  # between edges: binom(3 + 3, 3)
    assert DagBatch.grid(5, 5, "D").diagnostics().most_paths == 1


def test_paths_double_with_every_diamond():
    edges = [(3 * i + a, 3 * i + b) for i in range(10) for a, b in ((0, 1), (0, 2), (1, 3), (2, 3))]
    short = DagBatch.from_edges([(31, 0), *edges], 32, orientation="given")  # ten diamonds in a row
    assert short.diagnostics().most_paths == 2**9  # up to one of the last diamond's two last edges


def test_the_words_and_the_numbers():
    graph = DagBatch.from_networkx([nx.path_graph(6), nx.star_graph(4)])
    found = graph.diagnostics()
    assert str(found) == (
        "2 graphs: 11 nodes, 9 edges, 4 arcs; longest path 5 edges (median 3, diameter 3.5); "
        "at most 1 paths between two edges"
    )
    assert json.loads(json.dumps(found.to_dict()))["depth"] == 5


def test_a_batch_is_warned_of_when_most_of_its_large_graphs_are_shallow():
    zigzag = [
        (0, 5),
        (5, 1),
        (1, 6),
        (6, 2),
        (2, 7),
        (7, 3),
        (3, 8),
    ]  # every edge from a low to a high number
    with pytest.warns(
        PropagationWarning, match=r"in 2 of 3 graphs; the worst: the longest path has 1 edges, .* up to 7"
    ):
        DagBatch.from_edges(
            [*zigzag, *((u + 9, v + 9) for u, v in zigzag), (18, 19), (19, 20), (20, 21), (21, 22)],
            batch=[0] * 9 + [1] * 9 + [2] * 5,
        )
