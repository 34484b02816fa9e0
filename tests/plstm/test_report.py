"""Gradient reports: exact answers where gates are constant, plain autograd for the field, and the model left as found."""

import json
import math

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from isocline.plstm import DagBatch, GradientReport, PLSTM1d, PLSTM2d, PLSTMGraph, gradient_report
from isocline.plstm.flow import flow_of
from isocline.plstm.pictures import draw_modes

GRAPH = DagBatch.from_edges([(0, 1), (1, 2), (0, 2), (2, 3), (1, 4), (3, 4), (5, 6)], 7)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def level(mode="P", decay=1.0, **how):
    """A layer whose transitions keep everything, or `decay` of it, whatever the input."""
    layer = PLSTM2d(8, 2, mode, **how)
    torch.nn.init.constant_(layer.gate["transition" if mode == "P" else "transition_r"].bias, math.inf)
    for name, gate in layer.gate.items():
        if name.startswith("transition"):
            torch.nn.init.constant_(gate.bias, math.atanh(decay) / 5 if decay < 1 else 40.0)
    return layer


@pytest.mark.parametrize("decay", [1.0, 0.5])
def test_p_mode_keeps_its_mass_on_antidiagonals_and_spreads_as_a_binomial(decay):
    layer = level(decay=decay)
    torch.nn.init.zeros_(layer.gate["angle"].bias)  # straight along the diagonal
    report = gradient_report(layer, drawn(1, 9, 9, 8), origin=(0, 0))
    steps = np.arange(8)
    assert report.stable
    np.testing.assert_allclose(report.mass, decay**steps, rtol=1e-10)
    np.testing.assert_allclose(report.mass_low, report.mass_high, rtol=1e-10)
    assert report.path_product == pytest.approx(15 * math.log10(decay / 2))
    # one node reads m s a^.. times the number of paths of d arcs, at gamma = 1
    s = torch.sigmoid(torch.tensor(-4.0)).item() ** 2
    for x, y in ((1, 0), (2, 1), (3, 4), (8, 8)):
        expected = s * decay ** (x + y - 1) * math.comb(x + y, x) / 2 ** (x + y)
        # along an edge of the corner's own row or column, two directions meet
        twice = 2 if 0 in (x, y) else 1
        assert report.path_sums[x, y] == pytest.approx(twice * expected, rel=1e-10)


def test_d_mode_brings_everything_everywhere_along_one_path():
    report = gradient_report(level("D"), drawn(1, 6, 7, 8), origin=(2, 3))
    s = torch.sigmoid(torch.tensor(-4.0)).item() ** 2
    expected = np.full((6, 7), s)
    expected[2], expected[:, 3], expected[2, 3] = 2 * s, 2 * s, 0  # two directions share a row or column
    np.testing.assert_allclose(report.path_sums, expected, rtol=1e-10)
    np.testing.assert_allclose(report.peak, 0.5, rtol=1e-10)  # written half to the right, half down
    np.testing.assert_allclose(report.mass, 1 + report.distance / 2, rtol=1e-10)
    assert report.path_product == pytest.approx(0, abs=1e-12)
    assert (report.stable, report.longest_path) == (True, 10)
    assert report.largest_column == pytest.approx(2)


def test_the_published_p_mode_is_found_out():
    layer = PLSTM2d(8, 2, variant="reference")
    torch.nn.init.constant_(layer.gate["transition"].bias, -1.0)
    report = gradient_report(layer, drawn(1, 5, 5, 8))
    assert not report.stable
    assert report.negative == 0.5  # of a and 1 - a
    assert "NOT stable" in str(report)
    assert "NOT stable" in repr(report)
    assert gradient_report(PLSTM2d(8, 2), drawn(1, 5, 5, 8)).stable


@pytest.mark.parametrize("chirality", ["L", "R"])
@pytest.mark.parametrize("mode", ["P", "D"])
def test_the_path_sums_are_the_layers_own_mask(mode, chirality):
    """With q, k and v of ones a layer's recurrence returns its mask's row sums; the flow must give the same."""
    from isocline.plstm import plstm_2d_d, plstm_2d_p

    layer = PLSTM2d(8, 2, mode, chirality=chirality, small_gates=True).double()
    x = drawn(1, 3, 4, 8)
    gates, flow = layer.gates(x), flow_of(layer, x, None, None)
    one = torch.ones(1, 2, 3, 4, 1, dtype=torch.float64)
    call = plstm_2d_p if mode == "P" else lambda *a, **k: plstm_2d_d(*a, chirality=chirality, **k)
    for place in ((0, 0), (1, 2), (2, 3)):
        only = torch.zeros_like(one)
        only[:, :, *place] = 1
        expected = call(one, one, only, **gates)[..., 0]
        torch.testing.assert_close(flow.reached(place), expected, rtol=1e-10, atol=1e-14)


def test_a_sequence_is_a_chain_of_products():
    layer, x = PLSTM1d(8, 2, small_gates=True).double(), drawn(1, 6, 8)
    g = {name: gate.detach() for name, gate in layer.gates(x).items()}
    report = gradient_report(layer, x, origin=1)
    expected = [
        0.0
        if t <= 1
        else float(
            (g["mark"][0, :, t] * g["transition"][0, :, 2:t].prod(-1) * g["source"][0, :, 1]).abs().mean()
        )
        for t in range(6)
    ]
    np.testing.assert_allclose(report.path_sums, expected, rtol=1e-10)
    product = g["transition"][0, :, 1:5].abs().prod(-1).log10()
    assert report.path_product == pytest.approx(float(product.median()))
    assert report.longest_path == 4


def test_a_graph_is_followed_from_its_sources_to_its_ends():
    layer, x = PLSTMGraph(8, 2).double(), drawn(7, 8)
    report = gradient_report(layer, x, GRAPH, origin=0)
    assert report.path_sums[[1, 2, 3, 4]].min() > 0
    assert report.path_sums[[0, 5, 6]].max() == 0
    assert report.hops.tolist() == [0, 1, 1, 2, 2, np.inf, np.inf]
    assert (report.longest_path, len(report.distance)) == (3, 4)


@pytest.mark.parametrize("mode", ["P", "D"])
def test_the_field_is_that_of_plain_autograd(mode):
    layer, x = PLSTM2d(8, 2, mode, small_gates=True).double(), drawn(1, 3, 4, 8)
    report = gradient_report(layer, x, origin=(1, 2), probes=400)
    jacobian = torch.autograd.functional.jacobian(lambda x: layer(x)[0, 1, 2], x)
    exact = jacobian.square().sum((0, 1, 4)).sqrt().numpy()
    most = (
        2 / 400
    ) ** 0.5 / 2  # the relative standard error of an entry whose Jacobian has rank one; smaller otherwise
    np.testing.assert_allclose(report.field, exact / exact.sum(), rtol=6 * most)  # fails once in 1e8 draws
    assert 0.1 * most < report.field_spread < 1.3 * most
    assert report.half_radius in range(6)
    assert 1 <= report.nodes_seen <= 12


def test_the_layer_is_left_as_it_was_found():
    layer, x = PLSTM2d(8, 2), drawn(2, 3, 3, 8)
    layer.train()
    x.requires_grad_()
    state = torch.get_rng_state()
    one, other = (gradient_report(layer, x, seed=3) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert layer.training
    assert all(parameter.grad is None and parameter.requires_grad for parameter in layer.parameters())
    assert x.grad is None
    assert np.array_equal(one.field, other.field)


CASES = {
    "grid": (lambda: PLSTM2d(8, 2), lambda: (drawn(6, 4, 5, 8),)),
    "line": (lambda: PLSTM2d(8, 2, "D"), lambda: (drawn(1, 1, 5, 8),)),
    "patch": (lambda: PLSTM2d(8, 2), lambda: (drawn(1, 1, 1, 8),)),
    "sequence": (lambda: PLSTM1d(8, 2, conv=3), lambda: (drawn(2, 6, 8),)),
    "graph": (lambda: PLSTMGraph(8, 2, edge_dim=3), lambda: (drawn(7, 8), GRAPH, drawn(7, 3))),
    "no edges": (lambda: PLSTMGraph(8, 2), lambda: (drawn(3, 8), DagBatch.from_edges([], 3))),
}


@pytest.mark.parametrize("name", CASES)
def test_every_report_can_be_printed_stored_and_drawn(name):
    layer, inputs = (make() for make in CASES[name])
    report = gradient_report(layer.double(), *inputs, probes=2)
    assert isinstance(report, GradientReport)
    assert str(report).count("\n") == 5
    json.dumps(report.to_dict(), allow_nan=False)
    figure = draw_modes({"it": report}) if name == "line" else report.plot()
    assert isinstance(figure, Figure)
    figure.draw_without_rendering()
    assert not plt.get_fignums()


WRONG = [
    (lambda: gradient_report(torch.nn.Linear(2, 2), drawn(2, 2)), TypeError, r"layer: want a PLSTM1d, .*got Linear"),
    (lambda: gradient_report(PLSTMGraph(8, 2), drawn(7, 8)), ValueError, r"graph: want the DagBatch .*got none"),
    (lambda: gradient_report(PLSTM1d(8, 2, channels=2), drawn(1, 7, 8)), ValueError, r"layer: want a PLSTM1d with one channel"),
    (lambda: gradient_report(PLSTMGraph(8, 2, channels=2), drawn(4, 8), DagBatch.grid(2, 2)), ValueError, r"a PLSTMGraph"),
    (lambda: gradient_report(PLSTM2d(8, 2), drawn(1, 3, 3, 8), origin=(3, 0)), ValueError, r"origin: .*inside \(3, 3\)"),
    (lambda: gradient_report(PLSTM2d(8, 2), drawn(1, 3, 3, 8), origin=4), ValueError, r"origin: want a node inside"),
    (lambda: gradient_report(PLSTM2d(8, 2), drawn(1, 3, 3, 8) * math.nan), ValueError, r"x: want finite values"),
    (lambda: gradient_report(PLSTM2d(8, 2), [[1.0]]), TypeError, r"x: want a tensor, as the layer takes it"),
    (lambda: gradient_report(PLSTM2d(8, 2), drawn(3, 3, 8)), ValueError, r"x: want shape \(B, X, Y, 8\), got \(3, 3, 8\)"),
    (lambda: gradient_report(PLSTM2d(8, 2), drawn(1, 3, 3, 8), GRAPH), ValueError, r"graph: want none for a PLSTM2d"),
    (lambda: gradient_report(PLSTM2d(8, 2), drawn(1, 3, 3, 8), probes=0), ValueError, r"probes: want a whole number >= 1"),
    (lambda: gradient_report(PLSTMGraph(8, 2), drawn(0, 8), DagBatch.from_edges([])), ValueError, r"x: want at least one node"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), WRONG)
def test_wrong_calls_are_answered(call, error, message):
    with pytest.raises(error, match=message):
        call()
