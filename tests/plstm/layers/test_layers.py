"""What all layers share: sizes, messages, gates in float32, rebuilding; and the laws of each."""

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isocline.plstm import DagBatch, PLSTM1d, PLSTM2d, PLSTMGraph
from isocline.plstm.propagation import column_sums

GRAPH = DagBatch.from_edges([(0, 1), (1, 2), (0, 2), (2, 3), (1, 4), (3, 4)], 6)
PRUNED = DagBatch.from_edges([(0, 1), (1, 2), (0, 2), (2, 3), (1, 4), (3, 4)], 6, mode="D")


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def stirred(layer, seed=0):
    """Every parameter away from its start, so that all of them matter."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.5 * torch.randn(parameter.shape, generator=generator))
    return layer


LAYERS = {
    "sequence": (lambda: PLSTM1d(16, 2), (drawn(2, 5, 16),)),
    "tracking": (lambda: PLSTM1d(16, 2, channels=2, conv=3, passthrough=True), (drawn(2, 5, 16),)),
    "published tracking": (lambda: PLSTM1d(16, 2, channels=4, variant="reference"), (drawn(2, 5, 16),)),
    "grid P": (lambda: PLSTM2d(16, 2, "P"), (drawn(2, 3, 4, 16),)),
    "grid D": (lambda: PLSTM2d(16, 2, "D", small_gates=True), (drawn(2, 3, 4, 16),)),
    "grid D, R": (lambda: PLSTM2d(12, 2, "D", chirality="R", sliced_gates=False), (drawn(2, 3, 4, 12),)),
    "published P": (lambda: PLSTM2d(16, 2, "P", variant="reference"), (drawn(2, 3, 4, 16),)),
    "one head": (lambda: PLSTM2d(8, 1, "P"), (drawn(1, 2, 2, 8),)),
    "graph P": (lambda: PLSTMGraph(8, 2), (drawn(6, 8), GRAPH)),
    "graph D": (lambda: PLSTMGraph(8, 2, mode="D", edge_dim=3), (drawn(6, 8), PRUNED, drawn(6, 3))),
    "graph, tracking": (lambda: PLSTMGraph(8, 2, channels=2), (drawn(6, 8), GRAPH)),
    "graph D, tracking": (
        lambda: PLSTMGraph(8, 2, mode="D", channels=3, edge_dim=3),
        (drawn(6, 8), PRUNED, drawn(6, 3)),
    ),
    "graph, slots": (lambda: PLSTMGraph(8, 2, slots=2), (drawn(6, 8), GRAPH)),
    "graph D, slots": (lambda: PLSTMGraph(8, 2, slots=3, mode="D", small_gates=True), (drawn(6, 8), PRUNED)),
    "graph, no edge features": (
        lambda: PLSTMGraph(8, 2, edge_dim=0, variant="reference"),
        (drawn(6, 8), GRAPH),
    ),
}


@pytest.fixture(params=LAYERS)
def case(request):
    make, inputs = LAYERS[request.param]
    return stirred(make()), inputs


def test_features_in_features_out_and_every_parameter_learns(case):
    layer, inputs = case
    y = layer(*inputs)
    assert y.shape == inputs[0].shape
    slopes = torch.autograd.grad((y * drawn(*y.shape, seed=3)).sum(), list(layer.parameters()))
    assert all(slope.abs().max() > 0 for slope in slopes)


def test_a_layer_is_rebuilt_from_its_words_and_its_state(case):
    layer, inputs = case
    again = eval(f"{type(layer).__name__}({layer.extra_repr()})")
    again.load_state_dict(layer.state_dict())
    assert again.extra_repr() == layer.extra_repr()
    assert torch.equal(again(*inputs), layer(*inputs))


def test_the_same_generator_starts_the_same_layer_and_the_global_one_is_left_alone(case):
    layer, _ = case
    before = torch.get_rng_state()
    states = []
    for _ in range(2):
        stirred(layer, 5)
        layer.reset_parameters(torch.Generator().manual_seed(7))
        states.append({name: value.clone() for name, value in layer.state_dict().items()})
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert torch.equal(torch.get_rng_state(), before)


def test_bfloat16_features_have_float32_gates(case):
    layer, inputs = case
    exact = layer(*inputs)
    low = layer.to(torch.bfloat16)
    inputs = [x.to(torch.bfloat16) if isinstance(x, torch.Tensor) else x for x in inputs]
    extra = inputs if isinstance(layer, PLSTMGraph) else inputs[:1]
    gates = low.gates(*extra)
    assert {gate.dtype for gate in gates.values()} == {torch.float32}
    y = low(*inputs)
    assert y.dtype == torch.bfloat16
    assert torch.nn.functional.cosine_similarity(y.double().flatten(), exact.flatten(), 0) > 0.98


def test_autocast_leaves_gates_in_float32(case):
    layer, inputs = case
    layer.float()
    inputs = [x.float() if isinstance(x, torch.Tensor) else x for x in inputs]
    with torch.autocast("cpu", torch.bfloat16):
        gates = layer.gates(*(inputs if isinstance(layer, PLSTMGraph) else inputs[:1]))
        y = layer(*inputs)
    assert {gate.dtype for gate in gates.values()} == {torch.float32}
    assert torch.isfinite(y).all()


@pytest.mark.parametrize("mode", ["P", "D"])
@given(X=st.integers(1, 5), Y=st.integers(1, 5), seed=st.integers(0, 2**31))
@settings(max_examples=10)
def test_a_flipped_image_needs_only_its_directions_exchanged(mode, X, Y, seed):
    """Direction o runs from its own corner: flipping X exchanges 0 and 1, and 2 and 3."""
    layer = stirred(PLSTM2d(12, 2, mode, sliced_gates=False), seed)
    x = drawn(1, X, Y, 12, seed=seed)
    plain = layer(x.flip(1)).flip(1)
    with torch.no_grad():
        for gate in layer.gate.values():
            for parameter in (gate.weight, gate.bias):
                by_direction = parameter.unflatten(0, (2, 4))
                parameter.copy_(by_direction[:, [1, 0, 3, 2]].flatten(0, 1))
    torch.testing.assert_close(layer(x), plain, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("variant", ["paper", "reference"])
def test_only_the_paper_keeps_the_stability_guarantee(variant):
    layer = stirred(PLSTM2d(16, 2, "P", variant=variant))
    torch.nn.init.constant_(layer.gate["transition"].bias, -1.0)
    gates = layer.gates(drawn(2, 6, 6, 16))
    columns = gates["transition_r"].abs() + gates["transition_d"].abs()
    assert (columns.max() <= 1 + 1e-12) == (variant == "paper")


@pytest.mark.parametrize("variant", ["paper", "reference"])
def test_graph_columns_are_bounded_in_the_paper_and_rows_in_the_published_code(variant):
    layer = PLSTMGraph(8, 2, variant=variant)
    T = layer.gates(drawn(6, 8), GRAPH)["transition"]
    assert column_sums(T, GRAPH, rows=variant == "reference").max() < 1


@pytest.mark.parametrize("variant", ["paper", "reference"])
def test_matrices_of_a_graph_are_bounded_by_their_singular_values(variant):
    layer = stirred(PLSTMGraph(8, 2, variant=variant, channels=3))
    sizes = torch.linalg.matrix_norm(layer.gates(drawn(6, 8), GRAPH)["transition"], 2)
    assert 0 < column_sums(sizes, GRAPH, rows=variant == "reference").max() < 1
    pruned = stirred(PLSTMGraph(8, 2, mode="D", channels=3)).gates(drawn(6, 8), PRUNED)["transition"]
    assert torch.linalg.matrix_norm(pruned, 2).max() <= 1 + 1e-12


def test_heads_start_with_a_fan_of_angles_in_every_direction():
    a = torch.sigmoid(PLSTM2d(16, 4, "P").gate["angle"].bias.detach()).unflatten(0, (4, 4))
    assert (a == a[:, :1]).all()
    torch.testing.assert_close(a[:, 0], torch.sigmoid(torch.linspace(-2, 2, 4)))
    mixed = PLSTM2d(16, 4, "P", variant="reference").gate["angle"].bias.detach().unflatten(0, (4, 4))
    assert (
        mixed == mixed[:1]
    ).all()  # the published code gives every head all angles, one for each direction


@pytest.mark.parametrize(
    "how", [{}, {"channels": 2}, {"channels": 2, "conv": 3, "passthrough": True}, {"conv": 4}]
)
@pytest.mark.parametrize("cut", [1, 3, 6])
def test_a_sequence_in_two_pieces_is_the_sequence(how, cut):
    layer, x = stirred(PLSTM1d(8, 2, **how)), drawn(2, 7, 8)
    first, state = layer(x[:, :cut], return_state=True)
    second = layer(x[:, cut:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), layer(x), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("how", [{}, {"channels": 2, "conv": 3}])
def test_a_token_does_not_see_those_behind_it(how):
    layer, x = stirred(PLSTM1d(8, 2, **how)), drawn(1, 6, 8).requires_grad_()
    [slope] = torch.autograd.grad(layer(x)[0, 2].sum(), x)
    assert (slope[0, 3:] == 0).all()
    assert (slope[0, :3] != 0).any(-1).all()


def test_edge_features_follow_their_edges():
    layer = stirred(PLSTMGraph(8, 2, edge_dim=3))
    edges, x, e = [(0, 1), (1, 2), (0, 2), (2, 3), (1, 4), (3, 4)], drawn(6, 8), drawn(6, 3)
    order = [3, 0, 5, 2, 4, 1]
    mixed = DagBatch.from_edges([edges[i] for i in order], 6)
    torch.testing.assert_close(layer(x, mixed, e[order]), layer(x, GRAPH, e), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("mode", ["P", "D"])
def test_every_slot_of_a_node_has_its_own_gates(mode):
    """Edges are counted in the order in which they were given, those into a node apart from those out of it."""
    layer, x = stirred(PLSTMGraph(8, 2, slots=2, mode=mode)), drawn(6, 8)
    given_ = [(3, 4), (0, 2), (1, 4), (0, 1), (2, 3), (1, 2)]
    graph = DagBatch.from_edges(given_, 6, mode=mode)
    gates = layer.gates(x, graph)
    out, into = ([[e[end] for e in given_[:i]].count(e[end]) for i, e in enumerate(given_)] for end in (0, 1))
    S, M, T = (
        layer.source(x),
        layer.mark(x),
        layer.transition(x),
    )  # (N, 2 heads of 2 slots), (N, 2 heads of 2 x 2)
    edges = [tuple(edge) for edge in graph.edges.tolist()]
    rows = [given_.index(edge) for edge in edges]
    raw = torch.empty(2, graph.num_arcs)
    for h in (0, 1):
        for e, (u, v) in enumerate(edges):
            assert gates["source"][h, e] == torch.sigmoid(S[u, 2 * h + out[rows[e]]])
            assert gates["mark"][h, e] == torch.sigmoid(M[v, 2 * h + into[rows[e]]])
        for i, (a, b) in enumerate(graph.arcs.tolist()):
            raw[h, i] = T[edges[a][1], 4 * h + 2 * out[rows[b]] + into[rows[a]]]
    total = torch.zeros(2, graph.num_edges).index_add(1, graph.arcs[:, 0], raw.abs())
    bounded = torch.tanh(raw) if mode == "D" else raw / (0.5 + total[:, graph.arcs[:, 0]])
    torch.testing.assert_close(gates["transition"], bounded)


def test_with_slots_a_layer_starts_straight_on():
    chain, x = DagBatch.from_edges([(i, i + 1) for i in range(5)]), drawn(6, 8)
    fork = DagBatch.from_edges([(0, 1), (1, 2), (1, 3)])
    assert (PLSTMGraph(8, 2, slots=1).gates(x, chain)["transition"] == 10 / 10.5).all()
    assert PLSTMGraph(8, 1, slots=2).gates(x[:4], fork)["transition"].tolist() == [[10 / 10.5, 0]]


def test_a_layer_says_what_it_was_made_with_where_that_is_not_the_default():
    assert PLSTM2d(16, 2).extra_repr() == "16, 2"
    told = PLSTM2d(16, 2, "D", chirality="R", mark_bias=-3).extra_repr()
    assert told == "16, 2, mode='D', chirality='R', mark_bias=-3.0"
    assert PLSTM1d(16, 2, conv=4, transition_bias=0.6).extra_repr() == "16, 2, transition_bias=0.6, conv=4"
    assert PLSTMGraph(8, 2, slots=3, source_bias=0).extra_repr() == "8, 2, slots=3, source_bias=0.0"


def test_a_batch_of_graphs_is_each_graph_by_itself():
    layer = stirred(PLSTMGraph(8, 2))
    single, x = DagBatch.from_edges([(0, 1)], 2), drawn(14, 8)
    together = layer(x, DagBatch.union([GRAPH, single, GRAPH]))
    apart = [layer(x[:6], GRAPH), layer(x[6:8], single), layer(x[8:], GRAPH)]
    torch.testing.assert_close(together, torch.cat(apart), rtol=1e-10, atol=1e-12)


WRONG = [
    (lambda: PLSTM2d(16, 0), r"heads: want a whole number >= 1, got 0"),
    (lambda: PLSTM1d(0, 1), r"dim: want a whole number >= 1"),
    (lambda: PLSTMGraph(9, 2), r"dim: want a multiple of heads = 2, got 9"),
    (lambda: PLSTM2d(12, 2), r"dim: want a multiple of the 8 gates.* got 12; .* sliced_gates=False"),
    (lambda: PLSTM1d(16, 2, channels=3), r"dim: want a multiple of heads \* channels = 6"),
    (lambda: PLSTM2d(16, 2, "Q"), r"mode: want one of 'P', 'D'"),
    (lambda: PLSTM2d(16, 2, variant="papr"), r"variant: want one of 'paper', 'reference'.*did you mean 'paper'"),
    (lambda: PLSTM2d(16, 2, chirality="l"), r"chirality: want one of 'L', 'R'"),
    (lambda: PLSTM2d(16, 2)(drawn(2, 3, 4, 8)), r"x: want shape \(B, X, Y, 16\), got \(2, 3, 4, 8\)"),
    (lambda: PLSTM2d(16, 2)(drawn(2, 9, 16)), r"x: want shape \(B, X, Y, 16\), got \(2, 9, 16\)"),
    (lambda: PLSTM2d(16, 2)(drawn(0, 3, 3, 16)), r"x: want .* every axis of size >= 1, got \(0, 3, 3, 16\)"),
    (lambda: PLSTM1d(16, 2)(drawn(2, 3, 4)), r"x: want shape \(B, T, 16\)"),
    (lambda: PLSTM1d(16, 2, conv=3)(drawn(3, 16)), r"x: want shape \(B, T, 16\), got \(3, 16\)"),
    (lambda: PLSTMGraph(8, 2)(drawn(5, 8), GRAPH), r"x: want shape \(6, 8\), the nodes of the graph, got \(5, 8\)"),
    (lambda: PLSTMGraph(8, 2, mode="D")(drawn(6, 8), GRAPH), r"graph: want one pruned to a multitree"),
    (lambda: PLSTMGraph(8, 2)(drawn(6, 8), GRAPH, drawn(6, 3)), r"edge_features: want none: the layer has no edge_dim"),
    (lambda: PLSTMGraph(8, 2, edge_dim=3)(drawn(6, 8), GRAPH), r"edge_features: want shape \(6, 3\), .* got none"),
    (lambda: PLSTMGraph(8, 2, edge_dim=3)(drawn(6, 8), GRAPH, drawn(4, 3)), r"a row for each row of .*, got \(4, 3\)"),
    (lambda: PLSTMGraph(8, 2, slots=1)(drawn(6, 8), GRAPH), r"graph: want at most 1 edges .* got a node with 2; .*slots=2"),
    (lambda: PLSTMGraph(8, 2, slots=2)(drawn(6, 8), GRAPH, drawn(6, 3)), r"edge_features: want none: gates are made from"),
    (lambda: PLSTMGraph(8, 2, slots=2, edge_dim=3), r"edge_dim: want none with slots"),
    (lambda: PLSTMGraph(8, 2, slots=2, channels=2), r"channels: want 1 with slots, got 2"),
    (lambda: PLSTMGraph(8, 2, slots=2, variant="reference"), r"variant: want 'paper' with slots, got 'reference', whose"),
    (lambda: PLSTMGraph(8, 2, slots=0), r"slots: want a whole number >= 1"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), WRONG)
def test_wrong_calls_are_answered(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PLSTM2d(16, 2)(drawn(2, 3, 4, 16).long()), r"x: want a tensor of floating point numbers, shape \(B, X, Y"),
        (lambda: PLSTM1d(16, 2)(drawn(2, 3, 16).numpy()), r"x: want a tensor of .* got an array of shape \(2, 3, 16\)"),
        (lambda: PLSTM1d(16, 2)(drawn(2, 3, 16), drawn(2, 2, 8, 8)), r"state: want a SequenceState, got a Tensor; pass what"),
        (lambda: PLSTMGraph(8, 2)(drawn(6, 8), [(0, 1)]), r"graph: want a DagBatch, got a list"),
    ],
)  # fmt: skip
def test_other_kinds_of_things_are_answered(call, message):
    with pytest.raises(TypeError, match=message):
        call()


COMPILED = """
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from isocline.plstm import DagBatch, PLSTM1d, PLSTM2d, PLSTMGraph

def frames(layer, inputs):
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(layer, fullgraph=True, backend=counter)
    for args in inputs:
        y = compiled(*args)
        torch.testing.assert_close(y, layer(*args), rtol=1e-3, atol=1e-4)
        y.square().sum().backward()
    return counter.frame_count

sizes = [(5, 7), (6, 6), (9, 4), (3, 8), (5, 7)]
for mode in "PD":
    assert frames(PLSTM2d(16, 2, mode), [(torch.randn(2, *s, 16, requires_grad=True),) for s in sizes]) <= 3
for J in (1, 2):
    inputs = [(torch.randn(2, T, 16, requires_grad=True),) for T in (5, 9, 12, 5)]
    assert frames(PLSTM1d(16, 2, channels=J, conv=3 * (J > 1)), inputs) <= 3
chains = [DagBatch.from_edges([(i, i + 1) for i in range(n)] + [(0, n)]) for n in (5, 8, 11, 16)]
for how in ({}, {"backend": "sweep"}, {"channels": 2}, {"slots": 2}):
    inputs = [(torch.randn(g.num_nodes, 16, requires_grad=True), g) for g in chains]
    assert frames(PLSTMGraph(16, 2, **how), inputs) <= 3
print("whole")
"""


@pytest.mark.slow
def test_a_layer_compiles_whole_and_not_for_every_size_anew():
    """In a process of its own: the compiler warns of its own deprecations. A whole graph waits for no value."""
    done = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "whole", done.stderr
