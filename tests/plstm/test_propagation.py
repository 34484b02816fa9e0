"""The recurrence on graphs: the published numbers, the sum over all paths, and every backend beside the recursion."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isocline.plstm import DagBatch, plstm_2d, plstm_graph
from isocline.plstm.propagation import BACKENDS, column_sums

from .graphs import all_paths, batches, gates

pytestmark = pytest.mark.filterwarnings("ignore::isocline.plstm.diagnostics.PropagationWarning")
TIGHT = {"rtol": 1e-10, "atol": 1e-10}  # sums of products in float64, of numbers near one
NAMES = ("q", "k", "v", "source", "transition", "mark", "direct")
FAST = [name for name in BACKENDS if name != "reference"]


@pytest.mark.parametrize("backend", [*BACKENDS, "auto"])
@pytest.mark.parametrize("case", ["grid3x3_D", "undirected_D", "undirected_P"])
def test_the_published_numbers(case, backend, golden):
    stored = {
        name: torch.from_numpy(value)
        for name, value in np.load(golden / f"plstm/graph_core_{case}.npz").items()
    }
    graph = DagBatch.from_edges(stored["graph_edges_in"], int(stored["num_nodes"]), mode=case[-1])
    column = {tuple(arc): i for i, arc in enumerate(stored["line_edges"].tolist())}
    order = [column[tuple(arc)] for arc in graph.arcs.tolist()]
    given = {name: stored[f"in_{name}"].requires_grad_() for name in NAMES}
    h = plstm_graph(**{**given, "transition": given["transition"][:, order]}, graph=graph, backend=backend)
    torch.testing.assert_close(h, stored["out0"], **TIGHT)
    found = torch.autograd.grad(h, list(given.values()), stored["cotangent0"])
    for name, gradient in zip(NAMES, found, strict=True):
        torch.testing.assert_close(gradient, stored[f"grad_{name}"], **TIGHT)


@given(graph=batches(), seed=st.integers(0, 2**31))
@settings(max_examples=20)
def test_an_output_is_the_sum_over_all_paths(graph, seed):
    q, k, v, S, T, M, D = gates(graph, seed)
    G = torch.diag_embed(D)
    for edges, arcs in all_paths(graph):
        n, m = int(graph.edges[edges[-1], 1]), int(graph.edges[edges[0], 0])
        G[:, n, m] += M[:, edges[-1]] * T[:, arcs].prod(1) * S[:, edges[0]]
    expected = (G * (q @ k.mT)) @ v
    torch.testing.assert_close(plstm_graph(q, k, v, S, T, M, D, graph), expected, **TIGHT)


@pytest.mark.parametrize("backend", FAST)
@given(graph=batches(), seed=st.integers(0, 2**31))
@settings(max_examples=20)
def test_backends_agree_on_outputs_and_gradients(backend, graph, seed):
    parts = [x.requires_grad_() for x in gates(graph, seed)]
    cotangent = torch.randn(2, graph.num_nodes, 2, generator=torch.Generator().manual_seed(seed))
    found = []
    for name in ("reference", backend):
        h = plstm_graph(*parts, graph, backend=name)
        slopes = torch.autograd.grad((h * cotangent).sum(), parts, allow_unused=True)
        found.append(
            [h, *(torch.zeros_like(x) if g is None else g for x, g in zip(parts, slopes, strict=True))]
        )
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, **TIGHT)


@pytest.mark.parametrize("backend", BACKENDS)
def test_first_and_second_derivatives(backend):
    graph = DagBatch.union(
        [DagBatch.from_edges([(0, 1), (0, 2), (1, 2), (2, 3)]), DagBatch.from_edges([], 1)]
    )
    parts = [x.requires_grad_() for x in gates(graph, 1, lead=(), dk=2, dv=1)]

    def call(*parts):
        return plstm_graph(*parts, graph, backend=backend)

    assert torch.autograd.gradcheck(call, parts)
    assert torch.autograd.gradgradcheck(call, parts)


@pytest.mark.parametrize("backend", BACKENDS)
@given(graph=batches(), seed=st.integers(0, 2**31), J=st.integers(1, 3))
@settings(max_examples=10)
def test_with_channels_transitions_are_matrices(backend, graph, seed, J):
    """A state of J channels on every edge: the recursion written out once more, its transitions matrices."""
    q, k, v, *_, D = gates(graph, seed)
    g = torch.Generator().manual_seed(seed)
    S, M = (torch.randn(2, graph.num_edges, J, generator=g) for _ in range(2))
    T = torch.randn(2, graph.num_arcs, J, J, generator=g)
    C = torch.zeros(2, graph.num_edges, J, q.shape[-1], v.shape[-1])
    for e, (n, _) in enumerate(graph.edges.tolist()):
        C[:, e] = torch.einsum("hj,hk,hv->hjkv", S[:, e], k[:, n], v[:, n])
        for arc in (graph.arcs[:, 1] == e).nonzero().flatten().tolist():
            C[:, e] += torch.einsum("hij,hjkv->hikv", T[:, arc], C[:, graph.arcs[arc, 0]])
    expected = (D * (q * k).sum(-1))[..., None] * v
    for e, (_, n) in enumerate(graph.edges.tolist()):
        expected[:, n] += torch.einsum("hj,hjkv,hk->hv", M[:, e], C[:, e], q[:, n])
    torch.testing.assert_close(plstm_graph(q, k, v, S, T, M, D, graph, backend=backend), expected, **TIGHT)


@pytest.mark.parametrize("lead", [(), (3,), (2, 2)])
@pytest.mark.parametrize("backend", BACKENDS)
def test_leading_axes_are_rows_and_memory_order_does_not_matter(backend, lead):
    graph = DagBatch.grid(3, 4)
    parts = gates(graph, 2, lead)
    whole = plstm_graph(*parts, graph, backend=backend)
    strange = [x.mT.contiguous().mT if x.dim() > 1 else x for x in parts]
    torch.testing.assert_close(plstm_graph(*strange, graph, backend=backend), whole, **TIGHT)
    for at in np.ndindex(lead):
        torch.testing.assert_close(plstm_graph(*(x[at] for x in parts), graph), whole[at], **TIGHT)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_of_each_sample_by_torch_func(backend):
    graph = DagBatch.grid(2, 3)
    parts, given = gates(graph, 5, (3,)), gates(graph, 6, ())

    def total(T, q):
        return plstm_graph(q, *given[1:4], T, *given[5:], graph, backend=backend).square().sum()

    each = torch.func.vmap(torch.func.grad(total))(parts[4], parts[0])
    for i in range(3):
        T = parts[4][i].requires_grad_()
        [alone] = torch.autograd.grad(total(T, parts[0][i]), T)
        torch.testing.assert_close(each[i], alone, **TIGHT)
    shared = torch.func.vmap(torch.func.grad(total), in_dims=(0, None))(parts[4].detach(), parts[0][0])
    torch.testing.assert_close(shared[0], each[0], **TIGHT)


def test_on_a_grid_it_is_the_recurrence_on_grids():
    X, Y = 4, 3
    graph = DagBatch.grid(X, Y)
    q, k, v, S, T, M, D = gates(graph, 3)
    fields = {name: torch.zeros(2, X * Y) for name in ("s_r", "s_d", "rl", "ru", "dl", "du", "m_l", "m_u")}
    ways = "rd"
    along = (graph.edges[:, 1] - graph.edges[:, 0] == 1).long().tolist()
    for e, (tail, head) in enumerate(graph.edges.tolist()):
        fields[f"s_{ways[along[e]]}"][:, tail] = S[:, e]
        fields[f"m_{'lu'[along[e]]}"][:, head] = M[:, e]
    for i, (a, b) in enumerate(graph.arcs.tolist()):
        fields[ways[along[b]] + "lu"[along[a]]][:, graph.edges[b, 0]] = T[:, i]
    f = {name: field.unflatten(-1, (X, Y)) for name, field in fields.items()}
    on_grid = plstm_2d(
        *(x.unflatten(-2, (X, Y)) for x in (q, k, v)), source_r=f["s_r"], source_d=f["s_d"], transition_rl=f["rl"],
        transition_ru=f["ru"], transition_dl=f["dl"], transition_du=f["du"], mark_l=f["m_l"], mark_u=f["m_u"],
        direct=D.unflatten(-1, (X, Y)), scale=1.0,
    )  # fmt: skip
    torch.testing.assert_close(plstm_graph(q, k, v, S, T, M, D, graph), on_grid.flatten(1, 2), **TIGHT)


def test_bfloat16_features_meet_float32_gates_and_float32_states():
    graph = DagBatch.grid(6, 6)
    parts = gates(graph, 4)
    exact = plstm_graph(*parts[:3], *(torch.sigmoid(x) for x in parts[3:]), graph)
    for backend in BACKENDS:
        features = [x.to(torch.bfloat16) for x in parts[:3]]
        low = plstm_graph(*features, *(torch.sigmoid(x).float() for x in parts[3:]), graph, backend=backend)
        assert low.dtype == torch.bfloat16
        assert (low - exact).norm() < 0.02 * exact.norm()  # three roundings to 8 bits


@pytest.mark.parametrize("backend", [*FAST, "auto"])
@pytest.mark.parametrize("J", [(), (2,)])
def test_a_graph_never_waits_for_the_device(backend, J):
    """On the meta device there are no numbers: whatever asks for one raises."""
    graph = DagBatch.grid(3, 4).to("meta")
    E, L = graph.num_edges, graph.num_arcs
    shapes = [(12, 3), (12, 3), (12, 2), (E, *J), (L, *J, *J), (E, *J), (12,)]
    leaves = [torch.empty(2, *shape, device="meta", requires_grad=True) for shape in shapes]
    h = plstm_graph(*leaves, graph, backend=backend)
    assert (h.device.type, h.shape) == ("meta", (2, 12, 2))
    slopes = torch.autograd.grad(h.sum(), leaves)
    assert [slope.shape for slope in slopes] == [leaf.shape for leaf in leaves]


def test_a_long_path_is_swept_and_small_graphs_are_masked():
    from isocline.plstm.propagation import _choice

    small = DagBatch.union([DagBatch.grid(4, 4)] * 8)
    q = torch.empty(small.num_nodes, 16)
    assert _choice(small, q, q) == "paths"
    large = DagBatch.from_edges([(i, i + 1) for i in range(5000)])
    q = torch.empty(large.num_nodes, 16)
    assert _choice(large, q, q) == "sweep"


def _wrong(**changed):
    graph = DagBatch.grid(2, 3)
    parts = dict(zip(NAMES, gates(graph), strict=True)) | changed
    return lambda: plstm_graph(**{"graph": graph, **parts})


WRONG = [
    (_wrong(k=torch.zeros(2, 5, 3)), r"k: want shape \(2, 6, 3\) \(as q\), got \(2, 5, 3\); axis 1 has 5 where 6"),
    (_wrong(v=torch.zeros(3, 6, 2)), r"v: want shape \(2, 6, 2\).*got \(3, 6, 2\); axis 0 has 3 where 2"),
    (_wrong(source=torch.zeros(2, 6)), r"source: want shape \(2, 7\) \(E = graph.num_edges\), got \(2, 6\)"),
    (_wrong(transition=torch.zeros(7)), r"transition: want shape \(2, 6\).*got \(7,\); it has 1 axes where 2"),
    (_wrong(transition=torch.zeros(2, 6, 2, 3)), r"source: want shape \(2, 7, 3\).*got \(2, 7\); it has 2 axes where 3"),
    (_wrong(mark=torch.zeros(2, 8)), r"mark: want shape \(2, 7\)"),
    (_wrong(direct=torch.zeros(2, 1)), r"direct: want shape \(2, 6\) \(N = graph.num_nodes\)"),
    (_wrong(q=torch.zeros(3)), r"q: want shape \(\.\.\., N, dk\), got \(3,\)"),
    (_wrong(q=torch.zeros(0, 6, 3)), r"q: want .*at least one head"),
    (_wrong(backend="triton"), r"backend: want one of 'auto', 'reference'"),
    (_wrong(check=True, transition=torch.full((2, 6), 0.7)), r"transition: want .* sums up to 1.4 \(and 1.4\)"),
    (_wrong(check=True, transition=torch.full((2, 6), torch.nan)), r"transition: want for every incoming edge"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), WRONG)
def test_wrong_calls_are_answered(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (_wrong(graph=[(0, 1)]), "graph: want a DagBatch, got a list; make one with DagBatch.from_edges"),
        (_wrong(q=torch.zeros(2, 6, 3).numpy()), r"q: want a tensor, got an array of shape \(2, 6, 3\)"),
        (_wrong(v=torch.zeros(2, 6, 2).long()), "v: want floating point numbers, got a tensor"),
    ],
)
def test_other_kinds_of_things_are_answered(call, message):
    with pytest.raises(TypeError, match=message):
        call()


@given(graph=batches(), seed=st.integers(0, 2**31))
@settings(max_examples=20)
def test_what_check_lets_through_cannot_grow(graph, seed):
    """Columns of sum one keep the L1 norm: all that is written, marked with ones, is at most what was written."""
    parts = gates(graph, seed, lead=())
    T = parts[4].abs()
    T = T / column_sums(T, graph).clamp(min=1e-300)[graph.arcs[:, 0]]
    plstm_graph(*parts[:4], T, *parts[5:], graph, check=True)
    pruned = graph.mode == "D"
    assert not pruned
    if graph.num_arcs:
        with pytest.raises(ValueError, match="transition: want"):
            plstm_graph(*parts[:4], T * 1.01 * max(1, graph.num_arcs), *parts[5:], graph, check=True)


def test_in_d_mode_check_looks_at_entries():
    graph = DagBatch.grid(3, 3, "D")
    parts = gates(graph)
    parts[4] = torch.ones(2, graph.num_arcs)
    plstm_graph(*parts, graph, check=True)
    parts[4][0, 3] = -1.2
    with pytest.raises(ValueError, match=r"entries of size at most 1 in D-mode, got one of size 1.2"):
        plstm_graph(*parts, graph, check=True)


def test_the_size_of_a_matrix_is_its_largest_singular_value():
    graph = DagBatch.grid(3, 3, "D")
    parts = gates(graph)
    turns = torch.linalg.qr(torch.randn(2, graph.num_arcs, 3, 3, generator=torch.Generator().manual_seed(0)))[
        0
    ]
    wide = [*parts[:3], torch.ones(2, graph.num_edges, 3), turns, torch.ones(2, graph.num_edges, 3), parts[6]]
    assert turns.abs().sum(-1).max() > 1.5  # their entries alone would not do
    plstm_graph(*wide, graph, check=True)
    wide[4] = 1.2 * turns
    with pytest.raises(ValueError, match=r"entries of size at most 1 in D-mode, got one of size 1.2"):
        plstm_graph(*wide, graph, check=True)
