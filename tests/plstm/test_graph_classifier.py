"""The model for graphs: a batch is its graphs side by side, information goes everywhere, wrong calls are answered."""

import copy
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isocline.plstm import BothWays, DagBatch, PLSTMGraphClassifier
from isocline.plstm.graph_classifier import pooled, sinusoids

pytestmark = pytest.mark.filterwarnings("ignore::isocline.plstm.PropagationWarning")


def model(seed=0, **how):
    how = {"dim": 8, "heads": 2, "source_bias": 0.0, "mark_bias": 0.0, "direct_bias": 0.0} | how
    found = PLSTMGraphClassifier(3, 2, **how)
    found.reset_parameters(torch.Generator().manual_seed(seed))
    return found.eval()


def random_graph(n, extra, seed):
    """A tree and some more edges; features of its nodes."""
    rng = np.random.default_rng(seed)
    edges = {(int(rng.integers(v)), v) for v in range(1, n)}
    edges |= {tuple(sorted(rng.choice(n, 2, replace=False).tolist())) for _ in range(extra if n > 1 else 0)}
    return BothWays.from_edges(sorted(edges), n), torch.from_numpy(rng.standard_normal((n, 3)))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(0, 1000))
def test_a_batch_is_its_graphs_side_by_side(sizes, seed):
    parts = [random_graph(n, 2, seed + i) for i, n in enumerate(sizes)]
    net = model()
    whole = net(torch.cat([x for _, x in parts]), BothWays.union([graph for graph, _ in parts]))
    alone = torch.cat([net(x, graph) for graph, x in parts])
    torch.testing.assert_close(whole, alone, atol=1e-10, rtol=1e-10)  # float64, a hundred sums


@given(st.integers(2, 12), st.integers(0, 1000))
def test_two_blocks_carry_every_node_to_every_other_of_a_path(n, seed):
    order = np.random.default_rng(seed).permutation(n)
    graph = BothWays.from_edges([(order[i], order[i + 1]) for i in range(n - 1)], n)
    net = model(depth=1)
    x = torch.randn(n, 3, generator=torch.Generator().manual_seed(seed), requires_grad=True)
    turns = (graph.there, graph.pruned_back)
    h = net.encoder(x)
    for block, turn in zip(net.blocks, turns, strict=True):
        h = block(h, turn)
    for node in {0, n // 2, n - 1}:
        (gradient,) = torch.autograd.grad(h[node].square().sum(), x, retain_graph=True)
        assert (gradient.abs().amax(1) > 0).all()


def test_gradients_are_right():
    graph, x = random_graph(5, 2, 3)
    net = model(depth=2)
    torch.autograd.gradcheck(lambda x: net(x, graph), x.requires_grad_())


def test_both_ways_turns_round():
    graph = BothWays.from_edges([(0, 1), (1, 2), (2, 0), (2, 3)])
    assert (graph.there.mode, graph.back.mode) == ("P", "P")
    assert (graph.pruned_there.mode, graph.pruned_back.mode) == ("D", "D")
    there = {tuple(edge) for edge in graph.there.edges.tolist()}
    assert {(v, u) for u, v in graph.back.edges.tolist()} == there
    assert BothWays.union([graph, graph]).num_graphs == 2
    assert graph.to("cpu").num_nodes == 4


def test_by_breadth_a_shuffled_path_stays_whole():
    """Eight nodes in a row whose numbers are mixed: by their numbers only three arcs of six are left."""
    order = [0, 7, 1, 6, 2, 5, 3, 4]
    edges = list(pairwise(order))
    assert BothWays.from_edges(edges).there.num_arcs == 6
    assert BothWays.from_edges(edges, orientation="index").there.num_arcs < 6


def test_pooling_is_by_graph():
    h, batch = torch.tensor([[1.0], [3.0], [5.0]]), torch.tensor([0, 0, 1])
    assert pooled(h, batch, 2, "mean").flatten().tolist() == [2, 5]
    assert pooled(h, batch, 2, "sum").flatten().tolist() == [4, 5]


def test_sinusoids_tell_numbers_of_neighbours_apart():
    rows = sinusoids(torch.arange(30), 7)
    assert rows.shape == (30, 7)
    assert torch.cdist(rows, rows).fill_diagonal_(1).min() > 0.1
    assert rows[0].tolist() == [0, 1, 0, 1, 0, 1, 0]


def test_state_and_seed_rebuild_it():
    graph, x = random_graph(6, 2, 0)
    first = model(seed=5)
    other = PLSTMGraphClassifier(3, 2, dim=8, heads=2)
    other.load_state_dict(first.state_dict())
    assert torch.equal(first(x, graph), model(seed=5)(x, graph))
    assert torch.equal(first(x, graph), copy.deepcopy(first)(x, graph))
    assert set(other.state_dict()) == set(first.state_dict())
    assert "dim=8" in repr(first)


def test_edge_features_are_passed_on():
    graph, x = random_graph(5, 1, 1)
    net = model(edge_dim=2)
    for gate in net.modules():
        if hasattr(gate, "sliced"):
            torch.nn.init.normal_(gate.weight, generator=torch.Generator().manual_seed(1))
    kinds = torch.randn(graph.there.num_rows, 2, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(net(x, graph, kinds), net(x, graph, 2 * kinds))


@pytest.mark.parametrize(
    ("x", "graph", "error", "message"),
    [
        (
            torch.ones(3, 3),
            DagBatch.from_edges([(0, 1), (1, 2)]),
            TypeError,
            "graph: want a BothWays, got DagBatch",
        ),
        (torch.ones(4, 3), BothWays.from_edges([(0, 1), (1, 2)]), ValueError, r"x: want shape \(3, 3\)"),
        (torch.ones(3, 2), BothWays.from_edges([(0, 1), (1, 2)]), ValueError, "x: want shape"),
        (
            torch.ones(3, 3).long(),
            BothWays.from_edges([(0, 1), (1, 2)]),
            TypeError,
            "x: want a tensor of floating",
        ),
        (
            torch.ones(2, 3),
            BothWays.from_edges([(0, 1)], batch=[1, 1]),
            ValueError,
            "at least one node in every graph",
        ),
    ],
)
def test_wrong_inputs_are_answered(x, graph, error, message):
    with pytest.raises(error, match=message):
        model()(x.double() if x.is_floating_point() else x, graph)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"pooling": "max"}, "pooling: want"),
        ({"depth": 0}, "depth: want"),
        ({"expand": 0}, "expand: want"),
        ({"drop": 1.0}, "drop: want"),
        ({"heads": 3}, "dim: want a multiple of heads"),
    ],
)
def test_wrong_sizes_are_answered(how, message):
    with pytest.raises(ValueError, match=message):
        model(**how)
