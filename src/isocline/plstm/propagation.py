"""Gated propagation along the directed paths of a graph: the public door and the choice of a backend."""

from __future__ import annotations

import torch
from torch import Tensor

from isocline._core.checks import check_choice, wrong
from isocline.plstm.arguments import check_tensors
from isocline.plstm.graph import DagBatch, check_graph
from isocline.plstm.kernels import graph_dense, graph_paths, graph_reference, graph_sweep
from isocline.plstm.kernels.inputs import GraphInputs
from isocline.plstm.kernels.keeping import full_precision

BACKENDS = {
    "reference": graph_reference.plstm_graph,
    "dense": graph_dense.plstm_graph,
    "paths": graph_paths.plstm_graph,
    "sweep": graph_sweep.plstm_graph,
}
DENSE_EDGES = 512  # a graph with more edges is too long a solve
MASK_COST = (
    4.0  # a mask's multiplications are so many times as fast as those of the states, which memory holds up
)


def plstm_graph(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    source: Tensor,
    transition: Tensor,
    mark: Tensor,
    direct: Tensor,
    graph: DagBatch,
    *,
    backend: str = "auto",
    check: bool = False,
) -> Tensor:
    """A linear recurrence on a directed acyclic graph; matrix states ``C_e`` live on its edges.

    ``C_e = S_e k_n v_n^T + sum over e' into n of T_{e' e} C_e'`` for every edge e that leaves node n, and
    ``h_n = sum over e into n of M_e C_e^T q_n + D_n (q_n . k_n) v_n``, without the scale ``dk^-1/2``.

    Shapes: q, k ``(..., N, dk)``; v ``(..., N, dv)``; source, mark ``(..., E)`` in the order of ``graph.edges``; transition
    ``(..., L)`` in the order of ``graph.arcs``; direct ``(..., N)``; returns ``(..., N, dv)`` in v's dtype. ``...`` are the
    same axes everywhere, such as heads; a batch of graphs is one `DagBatch`. With channels an edge holds J states
    and a transition turns them: source, mark ``(..., E, J)``, transition ``(..., L, J, J)``, to and from.

    ``backend``: ``"dense"`` and ``"paths"`` find what reaches every node of a small graph from every other, by one batched
    triangular solve or level by level; ``"sweep"`` carries the states, in time and memory linear in the edges;
    ``"reference"`` is the recursion as written; ``"auto"`` chooses by size and device. ``check=True`` also looks at the values
    of the transitions (a pass over them, and a wait for the device).
    Raises: ValueError for shapes that do not fit, and, with ``check``, for transitions that may explode: in P-mode neither
    the columns nor the rows of ``|T|`` sum to at most 1, in D-mode an entry is larger than 1; the size of a matrix is
    its largest singular value.
    Source: paper, the section on directed acyclic graphs.
    """
    given = GraphInputs(q, k, v, source, transition, mark, direct)
    _check_inputs(given, graph)
    channels = transition.shape[-1] if transition.dim() > q.dim() else 0
    if check:
        sizes = torch.linalg.matrix_norm(transition.detach(), 2) if channels else transition
        check_stable(sizes, graph)
    if channels:
        graph, order = graph.widened(channels)
        source, mark = source.flatten(-2), mark.flatten(-2)
        turns = transition.flatten(-3).index_select(-1, order)
        given = given._replace(source=source, transition=turns, mark=mark)
    if backend != "auto" and backend not in BACKENDS:
        check_choice("backend", backend, ("auto", *BACKENDS))
    name = _choice(graph, q, v) if backend == "auto" else backend
    with full_precision():  # products of gates stay in the gates' dtype
        return BACKENDS[name](given, graph).to(v.dtype)


def column_sums(transition: Tensor, graph: DagBatch, *, rows: bool = False) -> Tensor:
    """``sum over e of |T_{e' e}|`` for every incoming edge e' (``rows``: over e' for every e): the L1 (L∞) norm's bound.

    Shapes: transition ``(..., L)``; returns ``(..., E)``. At most 1 everywhere: states cannot grow.
    """
    kept = transition.new_zeros(*transition.shape[:-1], graph.num_edges)
    return kept.index_add(-1, graph.arcs[:, 1 if rows else 0], transition.abs())


def check_stable(transition: Tensor, graph: DagBatch) -> None:
    """Raise a ValueError unless states and gradients are bounded on this graph whatever its size.

    In D-mode |T| <= 1 is enough, since no two edges have more than one path between them. In P-mode the columns must sum to
    at most 1 (states bounded in L1, gradients in L∞), or the rows (the dual).
    """
    most = 1 + 16 * torch.finfo(transition.dtype).eps * max(graph.max_edges, 1)
    if graph.mode == "D":
        largest = float(transition.detach().abs().amax()) if transition.numel() else 0.0
        if not largest <= most:
            advice = "pass them through tanh, or check=False"
            raise wrong(
                "transition", "entries of size at most 1 in D-mode", f"one of size {largest:.4g}", advice
            )
        return
    sums = [column_sums(transition.detach(), graph, rows=rows) for rows in (False, True)]
    found = [float(x.amax()) if x.numel() else 0.0 for x in sums]
    if not min(found) <= most:
        want = "for every incoming edge (or for every outgoing one) sizes that sum to at most 1 in P-mode"
        got = f"sums up to {found[0]:.4g} (and {found[1]:.4g})"
        raise wrong("transition", want, got, "divide by the sums, use mode='D', or check=False")


def _choice(graph: DagBatch, q: Tensor, v: Tensor) -> str:
    """Masks while they cost no more than the states on the edges would: by one solve on a GPU, by sweeps elsewhere."""
    m, n, dk, dv = graph.max_edges, graph.max_nodes, q.shape[-1], v.shape[-1]
    states = MASK_COST * (graph.num_edges + graph.num_arcs + 1) * dk * dv
    attention = graph.num_graphs * n * n * (dk + dv)
    if q.is_cuda and m <= DENSE_EDGES and graph.num_graphs * m * n * (m + n) + attention <= states:
        return "dense"
    swept = (graph.num_edges + graph.num_arcs) * n
    return "paths" if swept + attention <= states else "sweep"


def _check_inputs(given: GraphInputs, graph: DagBatch) -> None:
    """Raise a ValueError or TypeError that names what does not fit, both shapes and the axis."""
    check_graph(graph)
    tensors = given._asdict()
    check_tensors(tensors)
    q, v, transition = given.q, given.v, given.transition
    if q.dim() < 2:
        raise wrong("q", "shape (..., N, dk)", tuple(q.shape), "nodes next to last, features last")
    lead = tuple(q.shape[:-2])
    if 0 in lead or 0 in (q.shape[-1], v.shape[-1] if v.dim() else 0):
        raise wrong("q", "at least one head and one feature", f"{tuple(q.shape)} with v {tuple(v.shape)}")
    N, E, L = graph.num_nodes, graph.num_edges, graph.num_arcs
    J = (transition.shape[-1],) if transition.dim() > q.dim() else ()
    wanted = {
        "q": ((*lead, N, q.shape[-1]), "N nodes"),
        "k": (tuple(q.shape), "as q"),
        "v": ((*lead, N, v.shape[-1] if v.dim() else 0), "N nodes as q"),
        "source": ((*lead, E, *J), "E = graph.num_edges"),
        "transition": ((*lead, L, *J, *J), "L = graph.num_arcs"),
        "mark": ((*lead, E, *J), "E = graph.num_edges"),
        "direct": ((*lead, N), "N = graph.num_nodes"),
    }
    for name, (want, what) in wanted.items():
        got = tuple(tensors[name].shape)
        if got != want:
            raise wrong(name, f"shape {want} ({what})", f"{got}", _first_difference(got, want))


def _first_difference(got: tuple[int, ...], want: tuple[int, ...]) -> str:
    if len(got) != len(want):
        return f"it has {len(got)} axes where {len(want)} are wanted"
    axis = next(i for i, (a, b) in enumerate(zip(got, want, strict=True)) if a != b)
    return f"axis {axis} has {got[axis]} where {want[axis]} is wanted; q's leading axes are shared by all"
