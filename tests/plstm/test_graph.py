"""Graphs: directions, line graphs, pruning, unions, and what a person is told who gives a graph that will not do."""

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isocline.plstm import DagBatch, PropagationWarning
from isocline.plstm.diagnostics import most_paths
from isocline.plstm.line_graph import arcs_between

from .graphs import ORIENTED, batches, undirected

pytestmark = pytest.mark.filterwarnings("ignore::isocline.plstm.diagnostics.PropagationWarning")


def equal(one, other):
    names = (
        "edges",
        "arcs",
        "edge_ids",
        "batch",
        "edge_batch",
        "out_slot",
        "in_slot",
        "levels",
        "arc_order",
        "level_sizes",
    )
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in names)


@given(graph=batches())
def test_every_edge_stands_behind_those_that_enter_it(graph):
    tail, head = graph.edges.unbind(1)
    before, after = graph.arcs.unbind(1)
    assert (before < after).all()
    assert torch.equal(head[before], tail[after])
    into, out = (torch.bincount(x, minlength=graph.num_nodes) for x in (head, tail))
    assert graph.num_arcs == int((into * out).sum())
    assert (graph.levels[before] < graph.levels[after]).all()
    assert int(graph.level_sizes.sum()) == graph.num_arcs


@given(drawn=undirected(), orientation=st.sampled_from(ORIENTED))
def test_an_orientation_turns_edges_and_loses_none(drawn, orientation):
    edges, nodes = drawn
    graph = DagBatch.from_edges(edges, nodes, orientation=orientation)
    assert {frozenset(edge) for edge in graph.edges.tolist()} == {frozenset(edge) for edge in edges}
    for edge, row in zip(graph.edges.tolist(), graph.edge_ids.tolist(), strict=True):
        assert set(edge) == set(edges[row])


@given(drawn=undirected(), orientation=st.sampled_from(ORIENTED))
def test_pruning_leaves_one_path_and_takes_no_arc_too_many(drawn, orientation):
    full, pruned = (DagBatch.from_edges(*drawn, orientation=orientation, mode=mode) for mode in "PD")
    assert torch.equal(full.edges, pruned.edges)
    kept = set(map(tuple, pruned.arcs.tolist()))
    assert most_paths(pruned.arcs.numpy(), pruned.num_edges) <= 1
    for arc in set(map(tuple, full.arcs.tolist())) - kept:
        more = np.array(sorted(kept | {arc}, key=lambda pair: pair[::-1]))
        assert most_paths(more, pruned.num_edges) == 2


@given(graph=batches(), other=batches())
def test_turning_round_twice_changes_nothing_and_once_every_arc(graph, other):
    back = graph.reversed()
    turned = {
        (tuple(graph.edges[b].tolist()[::-1]), tuple(graph.edges[a].tolist()[::-1])) for a, b in graph.arcs
    }
    assert {(tuple(back.edges[a].tolist()), tuple(back.edges[b].tolist())) for a, b in back.arcs} == turned
    assert equal(back.reversed(), graph)
    assert torch.equal(back.batch, graph.batch)
    assert back.num_graphs == graph.num_graphs
    assert DagBatch.union([graph, other]).reversed().num_arcs == graph.num_arcs + other.num_arcs


@given(graph=batches())
def test_the_edges_at_a_node_take_its_slots_in_the_order_given(graph):
    most = 0
    for g in (graph, graph.reversed()):
        for end, slot in ((0, g.out_slot), (1, g.in_slot)):
            for node in range(g.num_nodes):
                here = g.edges[:, end] == node
                assert slot[here][g.edge_ids[here].argsort()].tolist() == list(range(int(here.sum())))
                most = max(most, int(here.sum()))
        assert g.max_slots == graph.max_slots
    assert graph.max_slots == most


def test_a_union_counts_every_row_of_the_lists_given():
    """An edge that stands at both ends has two rows, of which its features are the first."""
    both_ends = DagBatch.from_pyg(torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]))
    assert both_ends.num_rows == 4
    union = DagBatch.union([both_ends, both_ends])
    assert union.edge_ids.tolist() == [0, 2, 4, 6]
    assert (union.num_rows, union.reversed().num_rows) == (8, 8)


def test_a_union_is_the_graphs_in_one_numbering():
    first, second = [(0, 1), (1, 2), (0, 2)], [(1, 0), (2, 1), (3, 2)]
    both = DagBatch.union([DagBatch.from_edges(first), DagBatch.from_edges(second)])
    together = DagBatch.from_edges(first + [(u + 3, v + 3) for u, v in second], batch=[0, 0, 0, 1, 1, 1, 1])
    assert equal(both, together)
    assert both.edge_ids.tolist() == [0, 2, 1, 3, 4, 5]
    assert (both.num_graphs, both.max_nodes, both.max_edges) == (2, 4, 3)


def test_an_edge_at_both_ends_is_one_edge_with_the_features_of_the_first():
    index = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    graph = DagBatch.from_pyg(index, torch.tensor([0, 0, 0]))
    assert graph.edges.tolist() == [[0, 1], [1, 2]]
    assert graph.edge_ids.tolist() == [0, 2]


@pytest.mark.parametrize("mode", ["P", "D"])
def test_networkx_graphs_keep_their_nodes_order_and_their_directions(mode):
    trees = [nx.random_labeled_tree(12, seed=seed) for seed in range(3)]
    graph = DagBatch.from_networkx(trees, mode=mode)
    apart = DagBatch.union([DagBatch.from_edges(list(t.edges()), 12, mode=mode) for t in trees])
    renamed = DagBatch.from_networkx([nx.relabel_nodes(t, str) for t in trees], mode=mode)
    assert equal(graph, apart)
    assert equal(graph, renamed)
    directed = nx.DiGraph([("b", "a"), ("c", "b")])
    assert DagBatch.from_networkx(directed).edges.tolist() == [[2, 0], [0, 1]]
    assert DagBatch.from_networkx(directed, orientation="index").edges.tolist() == [[0, 1], [0, 2]]


@pytest.mark.parametrize("case", ["grid3x3_D", "undirected_D", "undirected_P"])
def test_edges_and_arcs_are_the_published_ones(case, golden):
    stored = np.load(golden / f"plstm/graph_core_{case}.npz")
    graph = DagBatch.from_edges(stored["graph_edges_in"], int(stored["num_nodes"]), mode=case[-1])
    assert graph.edges.tolist() == stored["state_edges"].tolist()
    assert sorted(graph.arcs.tolist()) == sorted(stored["line_edges"].tolist())


def test_a_pruned_grid_of_four_by_four_keeps_the_published_shares():
    """The specification counts kept arcs by the ways they go in and out: right, down."""
    full, pruned = (DagBatch.grid(4, 4, mode) for mode in "PD")

    def counts(graph):
        along = (graph.edges[:, 1] - graph.edges[:, 0] == 1).long()
        return torch.bincount(2 * along[graph.arcs[:, 0]] + along[graph.arcs[:, 1]], minlength=4).tolist()

    assert counts(full) == [8, 9, 9, 8]
    assert sorted(counts(pruned)) == sorted([3, 4, 9, 8])


def test_breadth_first_crosses_the_graph_where_numbers_do_not():
    tree = nx.random_labeled_tree(40, seed=1)
    with pytest.warns(
        PropagationWarning, match=r"leaves almost no propagation: the longest path has 3 edges, where .* 14"
    ):
        shallow = DagBatch.from_networkx(tree)
    deep = DagBatch.from_networkx(tree, orientation="bfs")
    assert int(shallow.levels.max()) == 2
    assert deep.diagnostics().depth == nx.diameter(tree)


def test_ranks_may_be_given_and_random_ones_come_from_their_seed():
    edges = [(0, 1), (1, 2), (2, 3), (0, 3)]
    assert DagBatch.from_edges(edges, orientation=[3, 2, 1, 0]).edges.tolist() == [
        [3, 2],
        [3, 0],
        [2, 1],
        [1, 0],
    ]
    same = [DagBatch.from_edges(edges, orientation="random", seed=seed) for seed in (4, 4)]
    assert equal(*same)
    drawn = {
        tuple(map(tuple, DagBatch.from_edges(edges, orientation="random", seed=s).edges.tolist()))
        for s in range(9)
    }
    assert len(drawn) > 1


@pytest.mark.parametrize("nodes", [0, 1, 3])
def test_graphs_without_edges(nodes):
    graph = DagBatch.from_edges([], nodes)
    assert (graph.num_nodes, graph.num_edges, graph.num_arcs, graph.num_graphs) == (nodes, 0, 0, 1)
    assert equal(graph.reversed(), graph)
    assert graph.to("cpu").num_nodes == nodes
    assert "0 edges" in repr(graph)


WRONG = [
    (lambda: DagBatch.from_edges([(0, 1), (1, 2), (2, 0)], orientation="given"), r"got the cycle 1 -> 2 -> 0 -> 1; give"),
    (lambda: DagBatch.from_edges([(0, 1), (1, 0)], orientation="given"), r"got the cycle 1 -> 0 -> 1"),
    (lambda: DagBatch.from_networkx(nx.DiGraph([(0, 1), (1, 0)])), r"edges: want no directed cycle"),
    (lambda: DagBatch.from_edges([(0, 1), (1, 7)], 5), r"edges: want nodes 0 \.\. 4, got the edge \(1, 7\) in row 1"),
    (lambda: DagBatch.from_edges([(0, -1)], 5), r"got the edge \(0, -1\) in row 0"),
    (lambda: DagBatch.from_edges([(0, 1)], 0), r"want no edges: there are no nodes"),
    (lambda: DagBatch.from_edges([(0, 1), (2, 2)]), r"two different ends, got \(2, 2\) in row 1; leave loops out"),
    (lambda: DagBatch.from_edges(torch.zeros(2, 5, dtype=torch.long)), r"shape \(E, 2\).*got \(2, 5\); from_pyg"),
    (lambda: DagBatch.from_edges([(0, 1), (2,)]), r"edges: want shape \(E, 2\)"),
    (lambda: DagBatch.from_edges([(0, 1)], orientation="dfs"), r"orientation: want one of 'index', 'bfs'"),
    (lambda: DagBatch.from_edges([(0, 1)], orientation=[1, 1]), r"orientation: want a name, or 2 different ranks"),
    (lambda: DagBatch.from_edges([(0, 1)], mode="Q"), r"mode: want one of 'P', 'D'"),
    (lambda: DagBatch.from_edges([(0, 2)], batch=[0, 0, 1]), r"both ends in one graph, got \(0, 2\) in row 0"),
    (lambda: DagBatch.from_edges([(0, 1)], batch=[1, 0]), r"batch: want ascending numbers"),
    (lambda: DagBatch.from_edges([(0, 1)], 2, batch=[0, 0, 0]), r"batch: want shape \(2,\)"),
    (lambda: DagBatch.from_pyg(torch.zeros(5, 2)), r"edge_index: want shape \(2, E\), got \(5, 2\)"),
    (lambda: DagBatch.from_networkx([nx.Graph(), nx.DiGraph()]), r"graphs: want all directed or all undirected"),
    (lambda: DagBatch.union([]), r"graphs: want at least one DagBatch"),
    (lambda: DagBatch.union([DagBatch.grid(2, 2), DagBatch.grid(2, 2, "D")]), r"graphs: want one mode"),
    (lambda: DagBatch.grid(0, 2), r"rows: want a whole number >= 1"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), WRONG)
def test_wrong_graphs_are_answered(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: DagBatch.from_edges([(0.0, 1.0)]), "edges: want whole numbers"),
        (lambda: DagBatch.from_edges([(0, 1)], batch=[0.0, 0.0]), "batch: want whole numbers"),
        (
            lambda: DagBatch.from_networkx([(0, 1)]),
            "graphs: want networkx graphs, got a tuple; .* from_edges",
        ),
        (lambda: DagBatch.union([[(0, 1)]]), "graphs: want a DagBatch, got a list; make one with"),
    ],
)
def test_other_kinds_of_things_are_answered(call, message):
    with pytest.raises(TypeError, match=message):
        call()


def test_a_long_cycle_is_shortened():
    ring = [(i, (i + 1) % 30) for i in range(30)]
    with pytest.raises(ValueError, match=r"\.\.\."):
        DagBatch.from_edges(ring, orientation="given")


def test_arcs_follow_edges():
    edges = np.array([[0, 1], [1, 2], [1, 3], [2, 3]])
    assert arcs_between(edges, 4).tolist() == [[0, 1], [0, 2], [1, 3]]
