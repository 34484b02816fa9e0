"""The claims on depth: what is exact is exact, and the networks they draw are networks."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

from isocline.lab import Options, Record, find, judge, run_claims
from isocline.lab.claims.theory import (
    CLAIMS,
    aspect,
    draws,
    growth,
    initial,
    networks,
    signals,
    skips,
    tangent,
    training,
)
from isocline.lab.style import house_style
from isocline.theory import EffectiveTheory, ensemble
from isocline.theory.functional import mutual_information

ROOM = {claim.name.partition("/")[2]: claim for claim in CLAIMS}


def _records(claim, settings, seeds=1):
    found = []
    for setting in settings:
        for seed in range(seeds):
            got = claim.run(setting, seed, "cpu")
            found.append(Record(setting, seed, dict(got.values), dict(got.arrays), 0.0))
    return found


def _drawn(claim, records):
    with house_style():
        figures = claim.plot(records)
        for figure in figures.values():
            assert isinstance(figure, Figure)
            assert len(figure.get_label()) > 20  # the caption
            figure.draw_without_rendering()
            for ax in figure.axes:
                assert ax.get_xlabel() or ax.get_ylabel() or ax.get_title(loc="left")
    return figures


@pytest.mark.slow
def test_every_claim_holds_at_tour_scale(tmp_path):
    """Seeds are fixed; a fresh one would fail one figure of the 70 in about 1 of 30 runs."""
    for report in run_claims(CLAIMS, "tour", Options(out=tmp_path, jobs=2)):
        assert report.verdict.answer == "holds", report.verdict


def test_the_room_is_in_the_tour():
    assert find(["theory"]) == CLAIMS


def test_signals_and_gradients_follow_the_recursion():
    """Width 120: single networks, 1.5 decades off at 100 layers at most; without criticality they are 10 apart."""
    settings = [{"activation": "tanh", "factor": f, "width": 120} for f in signals.FACTORS]
    for record in _records(ROOM["through-a-hundred-layers"], settings):
        expected = signals.predicted(record.setting)
        for what in ("kernel", "gradient"):
            assert np.abs(record.arrays[what] - expected[what]).max() < 1.5, (record.setting, what)
    below = signals.predicted({"activation": "relu", "factor": 0.8})
    assert below["kernel"][-1] == pytest.approx(99 * np.log10(0.8))
    assert below["gradient"][0] == pytest.approx(99 * np.log10(0.8))
    every = [{"activation": a, "factor": f, "width": 8} for a in signals.ACTIVATIONS for f in signals.FACTORS]
    records = _records(ROOM["through-a-hundred-layers"], every)
    assert len(_drawn(ROOM["through-a-hundred-layers"], records)["through-a-hundred-layers"].axes) == 6
    assert len(signals.measure(records)) == 9


@pytest.mark.parametrize("skip", [0.0, 0.6])
def test_drawing_metrics_is_drawing_networks(skip):
    """The vertex of networks without weights and of networks with them: 3 numbers at 4 joint standard errors."""
    theory = EffectiveTheory("relu", 4, 24, skip=skip, lambda_b=1.0, lambda_w=1.0)
    V, error = draws.vertex(theory, 20_000, 0)
    real = ensemble(theory, 3000, seed=1)
    assert (np.abs(V - real.value["V"]) < 4 * np.hypot(error, real.error["V"])).all()
    G = draws.metrics(theory, 20_000, 0)
    assert G.shape == (20_000, 3)
    if not skip:
        assert 24 * float(G[:, 2].var()) == pytest.approx(V[2], rel=1e-6)
    assert torch.equal(G[:5], draws.metrics(theory, 20_000, 0)[:5])


def test_the_tangent_kernel_that_is_drawn_is_that_of_autograd():
    """Mean and spread of the NTK over 400 small networks against torch.func, 4 joint standard errors."""
    theory = EffectiveTheory("tanh", 3, 12)
    drawn = draws.tangent_kernels(theory, 4000, 0)
    x = torch.randn(12, generator=torch.Generator().manual_seed(0))
    x *= (theory.nominal_kernel - theory.bias_variance) ** 0.5 / x.square().mean().sqrt()
    generator, found = torch.Generator().manual_seed(1), []
    for _ in range(400):
        model = nn.Sequential(*(nn.Linear(a, b) for a, b in ((12, 12), (12, 12), (12, 1))))
        rates = {}
        for i, layer in enumerate(model):
            nn.init.normal_(layer.weight, std=12**-0.5, generator=generator)
            nn.init.zeros_(layer.bias)
            rates |= {f"{i}.weight": theory.lambda_w[i] / 12, f"{i}.bias": theory.lambda_b[i]}
        model[2](torch.tanh(model[1](torch.tanh(model[0](x))))).backward()
        found.append(sum(rates[name] * float(p.grad.square().sum()) for name, p in model.named_parameters()))
    found = torch.tensor(found)
    joint = float((drawn.var() / 4000 + found.var() / 400) ** 0.5)
    assert abs(float(drawn.mean() - found.mean())) < 4 * joint
    assert float(drawn.std() / found.std()) == pytest.approx(1, rel=0.2)


def test_growth_has_the_slopes_of_the_classes():
    settings = [{"activation": "relu", "depth": 4, "width": 60, "nets": 8000}, growth.ORDERED | {"nets": 300}]
    records = _records(ROOM["growth-of-the-vertex"], settings)
    measured = growth.measure(records)
    assert measured["ReLU: growth of V/K² by layer"][0] == pytest.approx(5, rel=0.15)  # 5 standard errors
    assert set(measured) == {
        "ReLU: growth of V/K² by layer",
        "ReLU: V at layer 4, measured over predicted",
        growth.FLAT,
    }
    _drawn(ROOM["growth-of-the-vertex"], records)


def test_the_aspect_ratios_are_the_published_ones():
    claim = ROOM["aspect-ratio"]
    records = _records(
        claim, [dict(s) | {"nets": 1000 if s["nets"] else 0} for s in claim.scales["tour"].settings]
    )
    assert judge(claim, "tour", records).answer == "holds"
    assert set(_drawn(claim, records)) == set(aspect.CAPTIONS)


def test_shared_information_begins_as_the_expansion_does():
    """A log-normal metric of small variance: the leading order is m1 m2 v^2 / 8; it never falls as v grows."""
    noise = torch.linspace(0.5 / 4000, 1 - 0.5 / 4000, 4000).double()
    normal = torch.special.ndtri(noise)
    shared = [aspect.shared_information((s * normal).exp(), 5, 5) for s in (0.05, 0.1, 0.2, 0.4, 0.8)]
    assert shared == sorted(shared)
    v = float(np.expm1(0.05**2))
    assert shared[0] == pytest.approx(float(mutual_information(v, 5, 5)), rel=0.03)  # v^4, and 250 bins


def test_skips_full_and_quartic():
    claim = ROOM["skips"]
    settings = [s for s in claim.scales["tour"].settings if "nets" not in s]
    settings += [{"activation": "relu", "skip": 0.5, "width": 60, "nets": 300}]
    records = _records(claim, settings)
    measured = skips.measure(records)
    assert measured[skips.HEADLINE][0] == pytest.approx(0.291 / 0.080, rel=0.01)
    _drawn(claim, records)


def test_the_tangent_kernel_claim_measures_mean_and_spread():
    claim = ROOM["tangent-kernel"]
    records = _records(claim, [{"activation": a, "depth": 2, "nets": 1500} for a in ("tanh", "relu")])
    for name in ("tanh", "ReLU"):
        measured = tangent.measure(records)
        assert measured[tangent.MEAN.format(name, 2)][0] == pytest.approx(1, abs=0.05)
        assert measured[tangent.SPREAD.format(name, 2)][0] == pytest.approx(1, abs=0.5)
    _drawn(claim, records)


def test_training_is_measured_against_depth_over_width():
    claim = ROOM["training-depth"]
    settings = [
        {"width": n, "depth": L, "nets": 3, "steps": 25} for n, L in ((8, 2), (8, 12), (16, 4), (16, 24))
    ]
    records = _records(claim, settings)
    assert all(0 <= share <= 1 for record in records for share in record.values["learned"])
    made_up = [
        Record({"width": n, "depth": r * n}, 0, {"learned": [0.9 - 0.2 * r]}, {}, 0.0)
        for n in (12, 24, 48)
        for r in (1, 2, 3)
    ]
    measured = training.measure(made_up)
    assert measured[training.POWER][0] == pytest.approx(1.0)
    assert [measured[training.RATIO.format(n)][0] for n in (12, 24, 48)] == pytest.approx([2.0] * 3)
    _drawn(claim, made_up)


def test_networks_before_and_after_and_their_training():
    claim = ROOM["critical-initialisation"]
    settings = [{"network": "ResNet without norm", "draws": 2}]
    settings += [
        {"train": a, "how": how, "steps": 10}
        for a in initial.TRAINED
        for how in (initial.OURS, "SGD, rate 0.1")
    ]
    records = _records(claim, settings)
    measured = initial.measure(records)
    assert measured[initial.OUTSIDE] == [0.0]
    assert len(measured[initial.AFTER.format("ResNet without norm")]) == 2
    assert all(0 <= value <= 1 for value in measured[initial.FAILED.format("tanh")])
    _drawn(claim, records)


def test_every_network_of_the_claim_answers_with_ten_outputs():
    for make, shape, first, last in networks.NETWORKS.values():
        model = make().float()
        assert model(torch.randn(2, *shape[1:], dtype=torch.float32)).shape == (2, 10)
        weights = [model.get_submodule(name).weight.shape for name in (first, last)]
        assert weights[0] == weights[1]
