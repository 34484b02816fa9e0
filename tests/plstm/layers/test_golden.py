"""The published layers' numbers in float64: outputs, and the gradients of the input and of every parameter."""

import numpy as np
import pytest
import torch

from isocline.plstm import DagBatch, PLSTM1d, PLSTM2d, PLSTMGraph
from isocline.plstm.propagation import BACKENDS
from isocline.plstm.rotations import MatrixTransition

TIGHT = {"rtol": 1e-10, "atol": 1e-12}  # both sides are sums of products in float64
PROJECTIONS = {"query": "query", "key": "key", "value": "value_", "out": "outprojection"}


def load(path):
    with np.load(path) as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


def shared(layer):
    """Our name -> the published name, of what all layers have."""
    names = {f"{ours}.weight": f"{theirs}.weight" for ours, theirs in PROJECTIONS.items()}
    names |= {f"{ours}.bias": f"{theirs}.bias" for ours, theirs in list(PROJECTIONS.items())[:3]}
    return names | {"norm.scale": "mhnorm.scale", "direct": "direct.bias"}


def gates_of(layer):
    names = {}
    for name in layer.gate:
        theirs = "orientation_{}" if name == "angle" else name.replace("_turn", "_rd") + ".{}"
        if name.startswith("transition"):
            theirs = theirs.replace("{}", "eigenvalues_{}")
        names |= {f"gate.{name}.{part}": theirs.format(part) for part in ("weight", "bias")}
    return names


def check(layer, names, arrays, outputs):
    """Load the published parameters, then compare the output and all gradients."""
    own = dict(layer.named_parameters())
    assert own.keys() == names.keys()
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(arrays[f"param/{names[name]}"].reshape(parameter.shape))
    inputs = [arrays[key].requires_grad_() for key in ("x0", "x1") if key in arrays]
    y = outputs(layer, *inputs)
    torch.testing.assert_close(y, arrays["out"], **TIGHT)
    found = torch.autograd.grad(y, [*inputs, *own.values()], arrays["cotangent"])
    expected = [arrays[f"grad_x{i}"] for i in range(len(inputs))]
    expected += [arrays[f"pgrad/{names[name]}"].reshape(own[name].shape) for name in own]
    for name, gradient, want in zip([*"xe"[: len(inputs)], *own], found, expected, strict=True):
        torch.testing.assert_close(gradient, want, msg=lambda m, n=name: f"{n}: {m}", **TIGHT)


@pytest.mark.parametrize("backend", ["reference", "dense", "sweep", "tiled", "auto"])
@pytest.mark.parametrize(("mode", "case"), [("P", "layer2d_P_6x6"), ("D", "layer2d_D_4x4")])
def test_grid(mode, case, backend, golden):
    layer = PLSTM2d(16, 2, mode, variant="reference", backend=backend)
    check(layer, shared(layer) | gates_of(layer), load(golden / f"plstm/{case}.npz"), PLSTM2d.forward)


@pytest.mark.parametrize("backend", ["reference", "chunked", "auto"])
def test_sequence(backend, golden):
    layer = PLSTM1d(8, 2, passthrough=True, variant="reference", backend=backend)
    names = shared(layer) | {"passthrough": "passthrough.scale"}
    for name in ("source", "mark", "transition"):
        theirs = "transition.eigenvalues_{}" if name == "transition" else name + ".{}"
        names |= {f"{name}.{part}": theirs.format(part) for part in ("weight", "bias")}
    check(layer, names, load(golden / "plstm/layer1d_scalar.npz"), PLSTM1d.forward)


@pytest.mark.parametrize("backend", [*BACKENDS, "auto"])
def test_graph(backend, golden):
    arrays = load(golden / "plstm/graph_edge_layer_P.npz")
    # The stored list of edges is in topological order; row e of the features belongs to row e of the list.
    edges = torch.empty_like(arrays["dag_edges"])
    edges[arrays["topo_edge_idx"]] = arrays["state_edges"]
    graph = DagBatch.from_edges(edges, 7)
    assert graph.edges.tolist() == arrays["state_edges"].tolist()
    assert sorted(graph.arcs.tolist()) == sorted(arrays["line_edges_state"].tolist())
    layer = PLSTMGraph(8, 2, edge_dim=3, variant="reference", backend=backend)
    names = {
        name: name.replace("norm", "mhnorm").replace("value", "value_")
        for name, _ in layer.named_parameters()
    }
    check(layer, names, arrays, lambda layer, x, e: layer(x, graph, e))


def test_matrix_transition(golden):
    """The published series is 16 terms of exp(A - A^T), not scaled, and so not quite orthogonal."""
    layer = MatrixTransition(5, 2, 3, 1.0, exact=False)
    names = {"weight": "eigenvalues_weight", "bias": "eigenvalues_bias"}
    names |= {f"{ours}_{part}": f"{ours}proj_{part}" for ours in ("in", "out") for part in ("weight", "bias")}
    check(layer, names, load(golden / "plstm/transition_J3_tanh.npz"), MatrixTransition.forward)
