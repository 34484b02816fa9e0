"""The walk: exact answers of toy models, no worse than fixed steps, no NaN, and what bad input gets."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from isocline.level_sets import Probabilities, baseline, traverse

EVERYWHERE = (-math.inf, math.inf)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def network(seed, d=6, classes=3, width=12):
    draw = generator(seed)
    model = nn.Sequential(nn.Linear(d, width), nn.Tanh(), nn.Linear(width, classes)).eval()
    for parameter in model.parameters():
        parameter.data = 1.5 * torch.randn(parameter.shape, generator=draw) / parameter.shape[-1] ** 0.5
    return model


def pairs(seed, B=4, d=6):
    return torch.rand((2, B, d), generator=generator(seed + 1))


def left(found):
    return (found.target - found.end).flatten(1).norm(dim=1)


@given(st.integers(0, 10**6), st.floats(0.01, 1.0), st.integers(1, 30))
def test_a_linear_model_has_a_closed_form(seed, eta, steps):
    """x_k = x_s + (1 - (1 - eta)^k) v_perp, and the projection reaches the best blind spot in one step of 1."""
    w, source, target = torch.randn((3, 1, 5), generator=generator(seed))
    model = nn.Linear(5, 2, bias=False)
    model.weight.data = torch.cat([w, -w])
    options = {"eps": 0.0, "bounds": EVERYWHERE, "method": "paper"}
    found = traverse(model, source, target, eta=eta, steps=steps, **options)
    v = target - source
    perp = v - w * (w * v).sum() / (w * w).sum()
    torch.testing.assert_close(found.end, source + (1 - (1 - eta) ** steps) * perp, atol=1e-11, rtol=1e-11)
    one = traverse(model, source, target, eta=1.0, steps=1, **options)
    residual = float((w * v).sum().abs() / w.norm())
    assert float(left(one)) == pytest.approx(residual, abs=1e-11)
    assert found.stopped == ("steps used up",)


@pytest.mark.parametrize("correct", [False, True])
def test_a_quadratic_score_keeps_the_path_on_its_sphere(correct):
    """Off it by O(eta^2) a step, all in all in proportion to eta; corrected, by the O(eta^2) of the last step alone."""
    source = torch.tensor([[1.0, 0.0, 0.0]])
    target = torch.tensor([[-0.4, 0.9, 0.3]])
    off = []
    for eta in (0.04, 0.02, 0.01):
        found = traverse(
            lambda x: x, source, target, eta=eta, steps=round(2 / eta), eps=0.0, delta=0.5, bounds=EVERYWHERE,
            score=lambda out, _: out.square().sum(1), most=eta, correct=correct,
        )  # fmt: skip
        assert bool(found.accepted.any())
        off.append(float((found.end_score - 1).abs()))
    if correct:
        assert off[0] < 0.04**2
        assert off[1] < off[0] / 3
        assert off[2] < off[1] / 3
    else:
        assert off[0] / off[1] == pytest.approx(2, abs=0.25)
        assert off[1] / off[2] == pytest.approx(2, abs=0.25)


@settings(max_examples=40)
@given(
    st.integers(0, 10**6),
    st.sampled_from([0.05, 0.1, 0.3, 0.7]),
    st.sampled_from([0.02, 0.1, 0.2]),
    st.sampled_from([(1.0, 1e-9), (1.25, 1e-3)]),
)
def test_never_further_than_fixed_steps_with_as_many_passes(seed, eta, delta, growing):
    """As near as fixed steps, which reuse their passes too, or as near as the schedule asks; no gradient step.

    Steps that only shrink are exactly that. Growing ones go another way around, and may end a thousandth further.
    """
    growth, slack = growing
    share = shares_of_fixed(seed, eta=eta, delta=delta, eps=0.0, growth=growth)
    assert max(share) <= 1 + slack


@settings(max_examples=10)
@given(st.integers(0, 10**6), st.sampled_from([0.05, 0.1, 0.3]), st.sampled_from([0.02, 0.2]))
def test_with_the_gradient_step_nearer_than_fixed_steps(seed, eta, delta):
    """Gradients gathered push away from the target as well: two ways that differ end at different points.

    So this holds of many walks: as near as fixed steps for nine in ten, and nearer in the mean.
    Of 1536 drawn walks 1.6 % ended farther, by 9 % at most; the mean share was 0.61.
    """
    share = torch.tensor(shares_of_fixed(seed, B=24, eta=eta, delta=delta))
    assert float((share <= 1.001).double().mean()) >= 0.9
    assert float(share.mean()) <= 1


def shares_of_fixed(seed, B=4, **options):
    """The distance of each walk's end over that of fixed steps with as many passes, or over the schedule's where that is more."""
    model, (source, target) = network(seed), pairs(seed, B)
    growth = {"growth": options.pop("growth")} if "growth" in options else {}
    ours = traverse(model, source, target, steps=60, **growth, **options)
    fixed = traverse(model, source, target, steps=60, method="paper", every=1, **options)
    found = []
    for i, passes in enumerate(ours.evaluations.tolist()):
        steps = min(60, max(1, (passes - 1) // 2))  # two passes a step, one more at the source
        at = int(torch.searchsorted(fixed.path_steps, steps))
        goal = (1 - options["eta"]) ** 60 * float((target[i] - source[i]).norm())
        theirs = float((fixed.path[i, at] - target[i]).norm())
        found.append(float(left(ours)[i]) / max(theirs, goal))
    return found


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.sampled_from(["probability", "log_probability", "margin"]))
def test_every_accepted_point_is_in_the_superlevel_set(seed, score):
    model, (source, target) = network(seed), pairs(seed)
    found = traverse(model, source, target, score=score, delta=0.1, generator=generator(seed))
    moved = found.accepted.any(1)
    assert bool((found.end_score > found.source_score - 0.1 - 1e-12)[moved].all())
    assert bool(((found.end >= 0) & (found.end <= 1)).all())
    assert bool((found.evaluations <= 2 * 80 + 4).all())
    torch.testing.assert_close(found.confidences[:, -1], found.end_confidence)
    again = traverse(model, source, target, score=score, delta=0.1, generator=generator(seed))
    assert torch.equal(found.end, again.end)


def test_one_batch_is_its_samples_one_by_one():
    model, (source, target) = network(3), pairs(3)
    together = traverse(model, source, target, delta=0.1)
    for i in range(len(source)):
        alone = traverse(model, source[i : i + 1], target[i : i + 1], delta=0.1)
        torch.testing.assert_close(together.end[i], alone.end[0], atol=1e-10, rtol=0)
        assert together.evaluations[i] == alone.evaluations[0]
        assert together.stopped[i] == alone.stopped[0]


@pytest.mark.parametrize("method", ["lst", "paper"])
@pytest.mark.parametrize("scale", [20.0, 1e3, 1e6])
def test_a_saturated_source_never_yields_nan(method, scale):
    model, (source, target) = network(5).float(), (x.float() for x in pairs(5))
    model[2].weight.data *= scale
    found = traverse(model, source, target, method=method)
    assert bool((found.source_confidence == 1).any())
    assert bool(torch.isfinite(found.end).all())
    assert bool((found.end_score > found.source_score - 0.2 - 1e-5).all())
    assert any("sure to 1e-6" in note for note in found.notes)


def test_a_flat_model_is_no_constraint():
    model = nn.Linear(3, 2)
    model.weight.data.zero_()
    model.bias.data = torch.tensor([3.0, 0.0])
    found = traverse(model, torch.zeros(1, 3), torch.ones(1, 3))
    assert float(found.ratio) <= 0.95**80


def test_probabilities_are_recognised_and_walk_as_their_logits():
    model, (source, target) = network(7), pairs(7)
    bare = nn.Sequential(model, nn.Softmax(1))
    want = traverse(model, source, target)
    for other in (bare, Probabilities(bare)):
        torch.testing.assert_close(traverse(other, source, target).end, want.end, atol=1e-9, rtol=0)
    assert any("probabilities" in note for note in traverse(bare, source, target).notes)


def test_the_model_is_left_as_found():
    model = network(1)
    model.insert(1, nn.Dropout(0.5))
    model.train()
    model[0].eval()
    random = torch.get_rng_state()
    found = traverse(model, *pairs(1))
    assert [part.training for part in model] == [False, True, True, True]
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert torch.equal(random, torch.get_rng_state())
    assert any("training mode" in note for note in found.notes)
    with pytest.raises(RuntimeError):
        traverse(model, *pairs(1, d=5))
    assert model.training


def test_samples_that_cannot_be_walked_say_why():
    model, (source, target) = network(2), pairs(2)
    answer = model(source).argmax(1)
    found = traverse(model, source, target, (answer + 1) % 3)
    assert found.stopped == ("misclassified",) * 4
    assert torch.equal(found.end, source)
    assert not found.kept.any()
    assert traverse(model, source, target, delta=0.99).stopped == ("no confidence above delta",) * 4

    def broken(x):
        return model(x) * torch.where(torch.arange(len(x)) == 1, torch.nan, 1.0)[:, None]

    found = traverse(broken, source, target)
    assert found.stopped[1] == "the model's output is not finite"
    assert bool(torch.isfinite(found.end).all())
    far = traverse(
        lambda x: torch.where(x[:, :1] > source[:1, :1] + 1e-3, torch.nan, model(x)),
        source[:1],
        target[:1] * 0 + 1,
    )
    assert bool(torch.isfinite(far.end).all())
    assert far.stopped == ("no shorter step is accepted",)


@pytest.mark.parametrize("name", ["straight", "projection", "random", "pgd"])
def test_baselines_stay_in_the_superlevel_set_and_count(name):
    model, (source, target) = network(4), pairs(4)
    found = baseline(name, model, source, target, delta=0.1)
    assert bool((found.end_score > found.source_score - 0.1).all())
    assert bool(found.accepted.any())
    assert bool(torch.isfinite(found.end).all())
    if name == "straight":
        share = found.ratio[:, None]
        torch.testing.assert_close(found.end, target + share * (source - target))


def test_a_walk_draws_its_confidences():
    from matplotlib.figure import Figure

    model, (source, target) = network(4), pairs(4)
    label = model(source).argmax(1)
    label[0] = (label[0] + 1) % 3
    found = traverse(model, source, target, label, delta=0.02)
    ax = found.plot(Figure().subplots())
    drawn = [line for line in ax.lines if line.get_linestyle() != "None"]
    assert len(drawn) == 3  # the misclassified one is not walked
    for line, i in zip(drawn, (1, 2, 3), strict=True):
        values = line.get_ydata()
        assert values[-1] == pytest.approx(float(found.end_confidence[i]))
        assert len(values) == int((found.etas[i] > 0).sum()) + 1


@pytest.mark.parametrize("view", [False, True])
def test_images_in_any_layout_walk_alike(view):
    """Float32 images pass through a network channels last, unless it takes a view of contiguous ones."""

    class Flat(nn.Module):
        def forward(self, x):
            return x.view(len(x), -1) if view else x.flatten(1)

    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), Flat(), nn.Linear(4 * 6 * 6, 3)).eval()
    source, target = torch.rand((2, 3, 3, 8, 8), generator=generator(0))
    want = traverse(model, source, target, delta=0.1, steps=20)
    found = traverse(model.float(), source.float(), target.float(), delta=0.1, steps=20)
    torch.testing.assert_close(found.end.double(), want.end, atol=1e-4, rtol=0)  # 20 steps in float32
    assert found.end.is_contiguous()
    assert torch.equal(found.accepted, want.accepted)


WRONG = [
    (
        {"source": torch.full((1, 6), 2.0)},
        ValueError,
        r"source: want values within bounds, 0.0 to 1.0, got values from 2 to 2",
    ),
    ({"source": torch.zeros(6)}, ValueError, r"source: want shape \(B, ...\)"),
    ({"source": torch.zeros(1, 6, dtype=torch.long)}, TypeError, "source: want a tensor of floating point"),
    ({"source": torch.full((1, 6), torch.nan)}, ValueError, "source: want finite values"),
    ({"target": torch.zeros(1, 5)}, ValueError, "target: want shape, dtype and device of the source"),
    ({"target": torch.zeros(1, 6, dtype=torch.float32)}, ValueError, "target: want shape, dtype and device"),
    ({"label": torch.tensor([3])}, ValueError, r"label: want classes in \[0, 3\), got \[3\]"),
    ({"label": torch.tensor([1, 2])}, ValueError, "label: want 1 whole numbers"),
    ({"eta": 0.0}, ValueError, "eta: want"),
    ({"steps": 0}, ValueError, "steps: want"),
    ({"delta": 0.0}, ValueError, "delta: want"),
    ({"eps": -1.0}, ValueError, "eps: want"),
    ({"bounds": (1.0, 0.0)}, ValueError, "bounds: want"),
    ({"method": "fast"}, ValueError, "method: want one of 'lst', 'paper'"),
    ({"score": "prob"}, ValueError, "score: want one of"),
    ({"score": 3}, TypeError, "score: want one of"),
    ({"score": lambda out, _: out}, ValueError, r"score: want shape \(1,\)"),
    ({"start_noise": torch.full((1, 6), 2.0)}, ValueError, "start_noise: want values within 0 and 1"),
    ({"model": lambda x: x[:, :1]}, ValueError, "the model's output: want at least 2 classes"),
    ({"model": lambda x: (x, x)}, TypeError, "model: want one that gives a tensor"),
    ({"model": lambda x: x.detach()}, ValueError, "model: want one that can be differentiated"),
]


@pytest.mark.parametrize(("changes", "error", "message"), WRONG)
def test_wrong_calls_are_answered(changes, error, message):
    given = {"model": network(0), "source": torch.zeros(1, 6), "target": torch.ones(1, 6)} | changes
    with pytest.raises(error, match=message):
        traverse(**given)
