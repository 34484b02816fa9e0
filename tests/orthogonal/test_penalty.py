"""The penalty of a model is the sum over its layers, whatever batches they are computed in."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.parametrize import register_parametrization

from isocline.orthogonal import ConvShape, OrthogonalPenalty, lorth, orthogonal_
from isocline.orthogonal.functional import lorth_each
from isocline.orthogonal.penalty import pace


class Residual(nn.Module):
    """A block as networks have them: equal shapes, a stride, groups, and a shortcut that cannot be orthogonal."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.first, self.second = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=2, dilation=2)
        self.third, self.grouped = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, groups=4)
        self.down, self.shortcut = nn.Conv2d(8, 16, 3, stride=2), nn.Conv2d(8, 16, 1, stride=2)
        self.up, self.line = nn.ConvTranspose2d(16, 8, 4, stride=2), nn.Conv1d(4, 4, 3)
        self.head = nn.Linear(8, 2)


FEASIBLE = {"stem", "first", "second", "third", "grouped", "down", "up", "line"}


def _by_hand(layer):
    transposed = isinstance(layer, nn.ConvTranspose2d)
    return lorth(layer.weight, layer.stride, layer.dilation, layer.groups, transposed)


@settings(max_examples=15)
@given(st.integers(0, 2**20), st.floats(0, 10), st.integers(1, 4))
def test_its_mean_over_a_round_is_the_weighted_sum_over_layers_with_its_gradient(seed, weight, every):
    model = Residual()
    generator = torch.Generator().manual_seed(seed)
    for p in model.parameters():
        nn.init.normal_(p, std=0.3, generator=generator)
    penalty = OrthogonalPenalty(model, weight=weight, every=every)
    assert set(penalty.layers) == FEASIBLE
    parameters = [getattr(model, name).weight for name in sorted(FEASIBLE)]
    price = sum(penalty() for _ in range(every)) / every
    expected = weight * sum(_by_hand(getattr(model, name)) for name in FEASIBLE)
    torch.testing.assert_close(price, expected, rtol=1e-12, atol=0)
    found, wanted = (torch.autograd.grad(value, parameters) for value in (price, expected))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
    values = penalty.values()
    assert values == pytest.approx(
        {name: float(_by_hand(getattr(model, name)).detach()) for name in FEASIBLE}
    )


def test_layers_take_turns_and_a_resumed_run_knows_whose():
    model = nn.ModuleList([nn.Conv1d(2, 2, n) for n in (1, 2, 3, 4)])
    penalty = OrthogonalPenalty(model, weight=1.0, every=8)
    exact = list(penalty.values().values())
    wanted = [
        8 * exact[call // 2] if call % 2 == 0 else 0.0 for call in range(8)
    ]  # every second call has none
    prices = [penalty() for _ in range(11)]
    assert [float(price.detach()) for price in prices] == pytest.approx([*wanted, *wanted[:3]])
    assert [price.requires_grad for price in prices[:4]] == [True, False, True, False]
    resumed = OrthogonalPenalty(model, weight=1.0, every=8)
    resumed.load_state_dict(penalty.state_dict())
    assert [float(resumed().detach()) for _ in range(5)] == pytest.approx(wanted[3:])


def test_wide_layers_come_more_rarely_and_count_more_often(monkeypatch):
    from isocline.orthogonal import penalty as module

    seen: dict[int, int] = {}

    def count(weights, *rest):
        seen[weights.shape[1]] = seen.get(weights.shape[1], 0) + len(weights)
        return lorth_each(weights, *rest)

    monkeypatch.setattr(module, "lorth_each", count)
    model = nn.Sequential(*(nn.Conv2d(n, n, 3) for n in (8, 64, 64, 128)))
    penalty = OrthogonalPenalty(model, weight=1.0)
    prices = [float(penalty().detach()) for _ in range(8)]
    assert seen == {8: 8, 64: 2 * 4, 128: 1}
    assert sum(prices) / 8 == pytest.approx(sum(penalty.values().values()))
    assert max(pace(ConvShape(n, n, 7)) for n in (512, 4096)) == 64


def test_plain_descent_is_stable_up_to_the_rate_that_is_said():
    """The curvature at an orthogonal kernel is 8 at most: a step with ``lr * weight * every < 1/4`` grows no error."""
    for every, rate, settles in ((1, 0.24, True), (1, 0.26, False), (4, 0.06, True), (4, 0.065, False)):
        conv = orthogonal_(nn.Conv2d(4, 4, 3), generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            conv.weight *= 1.001
        penalty = OrthogonalPenalty(conv, weight=1.0, every=every)
        before = penalty.values()[""]
        for _ in range(20 * every):
            (gradient,) = torch.autograd.grad(penalty() + 0 * conv.weight.sum(), conv.weight)
            with torch.no_grad():
                conv.weight -= rate * gradient
        assert (penalty.values()[""] < before) == settles


def test_what_is_skipped_is_said_with_its_reason():
    penalty = OrthogonalPenalty(Residual(), weight=1.0)
    assert list(penalty.skipped) == ["shortcut"]
    assert "16 outputs" in penalty.skipped["shortcut"]
    assert "feasible with" in penalty.skipped["shortcut"]
    assert repr(penalty) == "OrthogonalPenalty(8 layers in 7 shapes, 1 skipped, weight=1, every=None)"


def test_equal_layers_are_computed_together(monkeypatch):
    from isocline.orthogonal import penalty as module

    seen = []
    count = module.lorth_each
    monkeypatch.setattr(module, "lorth_each", lambda w, *rest: seen.append(len(w)) or count(w, *rest))
    OrthogonalPenalty(nn.Sequential(*(nn.Conv2d(4, 4, 3) for _ in range(5))), weight=1.0)()
    assert seen == [5]


@pytest.mark.slow
# torch 2.13 instantiates every autograd function that it traces, and warns of it
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_it_compiles_whole_once():
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=2))
    penalty, plain = (OrthogonalPenalty(model, weight=0.1, every=1) for _ in range(2))
    graphs = []
    compiled = torch.compile(lambda: penalty(), backend=_counting(graphs), fullgraph=True)
    for _ in range(10):
        found, wanted = compiled(), plain()
        torch.testing.assert_close(found, wanted)
        for pair in zip(
            *(torch.autograd.grad(x, model.parameters(), allow_unused=True) for x in (found, wanted)),
            strict=True,
        ):
            if pair[1] is not None:
                torch.testing.assert_close(*pair)
    assert len(graphs) == 1


def _counting(graphs):
    from torch._dynamo.backends.debugging import aot_eager

    return lambda graph, inputs: graphs.append(graph) or aot_eager(graph, inputs)


def test_shared_weights_count_once_under_all_their_names():
    model = nn.Sequential(nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3))
    model[1].weight = model[0].weight
    penalty = OrthogonalPenalty(model, weight=1.0)
    assert penalty.layers == ("0 = 1",)
    torch.testing.assert_close(penalty(), lorth(model[0].weight))
    same = nn.Sequential(model[0], model[0])  # one module twice
    assert OrthogonalPenalty(same, weight=1.0).layers == ("0 = 1",)


def test_a_parametrised_weight_is_regularised_as_it_is_used():
    class Double(nn.Module):
        def forward(self, weight):
            return 2 * weight

    conv = nn.Conv2d(3, 3, 3)
    original = conv.weight
    register_parametrization(conv, "weight", Double())
    price = OrthogonalPenalty(conv, weight=1.0)()
    torch.testing.assert_close(price, lorth(2 * original))
    price.backward()
    assert original.grad is not None


def test_half_precision_is_computed_in_float32():
    model = nn.Conv2d(4, 4, 3).bfloat16()
    price = OrthogonalPenalty(model, weight=1.0)()
    assert price.dtype == torch.float32
    price.backward()
    assert model.weight.grad.dtype == torch.bfloat16


def test_descending_it_alone_makes_a_layer_orthogonal():
    """8 -> 10 channels: not square, where the paper finds that descent always succeeds."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Conv2d(8, 10, 3)
    penalty = OrthogonalPenalty(model, weight=1.0)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(250):
        optimizer.zero_grad()
        penalty().backward()
        optimizer.step()
    assert penalty.values()[""] < 1e-3  # orthogonal to 3 %: what counts as a success there, after 3000 steps


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (nn.Linear(2, 2), 1.0),
            "model: want at least one convolution that can be orthogonal, got no convolution",
        ),
        ((nn.Conv2d(2, 16, 1, stride=2), 1.0), "model: want at least one convolution .* got : "),
        (("resnet", 1.0), "model: want a torch module, got str"),
        ((nn.Conv2d(2, 2, 3), -1.0), "weight: want a finite number >= 0, got -1.0"),
        ((nn.Conv2d(2, 2, 3), 1.0, 0), "every: want a whole number >= 1, got 0"),
    ],
)
def test_wrong_calls_are_answered(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        OrthogonalPenalty(*arguments)
