"""Edits: laws of the path, what is said of samples that cannot move, and the wrong calls."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from isocline.latents import AttributeModel, GANSpace, InterFaceGAN, SeFa, edit, straight, trade_off

D = 12


def nets(seed=0, K=0):
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, outputs in (("smile", 1), ("age", 1), ("glasses", 1), *((("hair", K),) if K else ())):
        net = nn.Sequential(nn.Linear(D, 8), nn.Tanh(), nn.Linear(8, outputs))
        for p in net.parameters():
            p.data = torch.randn(p.shape, generator=generator)
        found[name] = net
    return found


def codes(seed=0, count=6):
    return torch.randn(count, D, generator=torch.Generator().manual_seed(seed))


def model(seed=0, K=0):
    return AttributeModel.from_classifiers(nets(seed, K), codes=codes(99, 400))


class TestPath:
    @settings(max_examples=15)
    @given(st.integers(0, 10_000), st.sampled_from(["project", "exclude", "none"]), st.sampled_from([1, -1]))
    def test_every_step_has_one_length(self, seed, method, to):
        path = edit(
            model(seed), codes(seed), "smile", to, ["age", "glasses"], method=method, steps=7, length=1.4
        )
        lengths = (path.codes[1:] - path.codes[:-1]).norm(dim=-1)
        torch.testing.assert_close(
            lengths[path.moved], torch.full_like(lengths, 0.2)[path.moved], rtol=0, atol=1e-12
        )
        assert path.moved.any()

    @settings(max_examples=15)
    @given(st.integers(0, 10_000), st.integers(1, 4))
    def test_excluded_channels_are_untouched(self, seed, k):
        path = edit(
            model(seed), codes(seed), "smile", keep=["age", "glasses"], method="exclude",
            exclude_channels={"age": k, "glasses": 1},
        )  # fmt: skip
        moved = path.codes[1:] != path.codes[:-1]
        assert not bool((moved & ~path.masks).any())
        assert (path.surviving >= D - k - 1).all()
        assert (path.surviving <= D - k).all()

    @settings(max_examples=15)
    @given(st.integers(0, 10_000))
    def test_there_and_back(self, seed):
        """Gradient paths of small steps retrace themselves to second order in the step."""
        there = edit(model(seed), codes(seed), "smile", 1, method="none", steps=400, length=0.4)
        smooth = there.scores["smile"].diff(dim=0).amin(0) > 0  # no step over a top, where no way leads back
        back = edit(model(seed), there.end, "smile", -1, method="none", steps=400, length=0.4)
        assert smooth.any()
        assert float((back.end - there.codes[0]).norm(dim=-1)[smooth].max()) < 0.02

    @settings(max_examples=10)
    @given(st.integers(0, 10_000))
    def test_a_projected_step_keeps_the_others_to_second_order(self, seed):
        changes = []
        for length in (1e-2, 5e-3):
            path = edit(model(seed), codes(seed), "smile", keep=["age", "glasses"], steps=1, length=length)
            changes.append(
                max(float((path.scores[n][-1] - path.scores[n][0]).abs().max()) for n in path.keep)
            )
        assert changes[1] < 0.3 * changes[0] + 1e-9

    def test_all_at_once_is_one_by_one(self):
        together = edit(
            model(), codes(), "smile", keep=["age"], method="exclude", exclude_channels={"age": 3}
        )
        for i in range(6):
            alone = edit(
                model(),
                codes()[i : i + 1],
                "smile",
                keep=["age"],
                method="exclude",
                exclude_channels={"age": 3},
            )
            torch.testing.assert_close(together.codes[:, i], alone.codes[:, 0], rtol=1e-12, atol=1e-12)

    def test_a_class_for_each_code_and_a_class_that_is_kept(self):
        m, w = model(3, K=4), codes(3, 40)
        to = torch.arange(40) % 4
        path = edit(m, w, "hair", to, ["age"], length=6.0, steps=30)
        reached = path.scores["hair"][-1].argmax(-1) == to
        assert float(reached.double().mean()) > 0.7
        kept = edit(m, w, "smile", 1, ["hair"])
        free = edit(m, w, "smile", 1, method="none")
        flips = [
            (p.scores["hair"][-1].argmax(-1) != p.scores["hair"][0].argmax(-1)).sum() for p in (kept, free)
        ]
        assert int(flips[0]) < int(flips[1])

    def test_stops_where_it_was_told(self):
        m = model()
        path = edit(m, codes(), "smile", stop={"effect": 0.5}, steps=50, length=5.0)
        change = (path.scores["smile"] - path.scores["smile"][0]) / m.deviations["smile"]
        for i, why in enumerate(path.stopped):
            steps = int(path.moved[:, i].sum())
            if why.startswith("reached"):
                assert float(change[-1, i]) >= 0.5 > float(change[steps - 1, i])
        assert any(why.startswith("reached") for why in path.stopped)
        assert edit(m, codes(), "smile", stop={"score": -1e9}).stopped[0] == "reached its aim after 0 steps"

    def test_parameters_and_mode_are_as_they_were(self):
        m = model().train()
        edit(m, codes(), "smile", keep=["age"])
        assert m.training
        assert all(p.requires_grad and p.grad is None for p in m.parameters())


class TestNothingLeft:
    def test_every_channel_excluded_is_said(self):
        path = edit(
            model(), codes(), "smile", keep=["age", "glasses"], method="exclude",
            exclude_channels={"age": D - 1, "glasses": D - 1},
        )  # fmt: skip
        assert path.codes.isfinite().all()
        assert any(why.startswith("every channel is excluded") for why in path.stopped)

    def test_a_target_within_the_span_stays(self):
        own = nets()
        m = AttributeModel.from_classifiers({"a": own["smile"], "b": own["smile"]}, width=D)
        path = edit(m, codes(), "a", keep=["b"])
        assert torch.equal(path.end, path.codes[0])
        assert set(path.stopped) == {"no gradient is left at step 0"}


def test_automatic_exclusion_is_the_smallest_that_meets_the_bound():
    found = trade_off(model(), codes(5, 50), "smile", keep=["age", "glasses"], bound=0.1)
    for e, name in enumerate(found.names):
        k = found.chosen[name]
        if found.reached[name]:
            assert float(found.leakage[e, k]) <= 0.1
            assert (found.leakage[e, :k] > 0.1).all()
    path = edit(model(), codes(5, 50), "smile", keep=["age", "glasses"], method="exclude")
    assert path.excluded == found.chosen
    assert len(found.plot().lines) > 3


def test_pictures_and_plain_types():
    path = edit(model(1, K=3), codes(), "smile", keep=["age"])
    assert len(path.plot().lines) == 4
    assert path.to_dict()["stopped"] == ["walked the whole path"] * 6
    assert torch.allclose(path.walked[-1], torch.full((6,), 4.0))


class TestBaselines:
    def test_a_linear_score_is_found(self):
        w, normal = codes(1, 2000), torch.nn.functional.normalize(torch.arange(1.0, D + 1), dim=0)
        found = InterFaceGAN.fit(w, {"a": w @ normal, "b": w[:, 0]}, tails=0.05)
        assert float(found.normals["a"] @ normal) > 0.95
        assert found.accuracy["a"] > 0.95
        assert abs(float(found.direction("a", ["b"]) @ found.normals["b"])) < 1e-12
        path = found.edit(w[:3], "a", -1, ["b"], steps=4, length=2.0)
        torch.testing.assert_close(path.end, w[:3] - 2 * found.direction("a", ["b"]))

    def test_a_sign_for_every_code(self):
        w, to = codes(1), torch.tensor([1, -1, 1, 1, -1, -1])
        path = straight(w, torch.eye(D)[0], target="a", to=to, steps=2, length=3.0)
        torch.testing.assert_close(path.end[:, 0] - w[:, 0], 3.0 * to)
        assert torch.equal(path.to, to)
        with pytest.raises(ValueError, match=r"to: want \+1 or -1, or one for every code"):
            straight(w, torch.eye(D)[0], target="a", to=0)

    def test_components_of_a_known_covariance(self):
        w = codes(2, 4000) * torch.linspace(3, 1, D)
        found = GANSpace.fit(w)
        assert (found.directions.abs().argmax(1) == torch.arange(D))[:4].all()
        assert (found.values[:-1] >= found.values[1:]).all()

    def test_styles(self):
        A = torch.zeros(3, D)
        A[0, 4], A[1, 4], A[2, 7] = 5.0, 0.1, 2.0
        found = SeFa.fit([A])
        assert int(found.directions[0].abs().argmax()) == 4
        torch.testing.assert_close(found.values[:2], torch.tensor([2.0, 1.0]))
        assert found.edit(codes(), 0, steps=3).method == "SeFa"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, w: edit(m, w, "smle"), r"attribute: want one of .*, got 'smle'; did you mean 'smile'\?"),
        (lambda m, w: edit(m, w, "smile", keep=["agee"]), r"got 'agee'; did you mean 'age'"),
        (lambda m, w: edit(m, w, "smile", keep=["smile"]), "keep: want attributes other than the target"),
        (lambda m, w: edit(m, w, "smile", keep="age"), r"keep: want a list of names, got 'age'; write \['age'\]"),
        (lambda m, w: edit(m, w[:, :5], "smile"), r"codes: want a tensor \(B, 12\)"),
        (lambda m, w: edit(m, w * torch.nan, "smile"), "codes: want finite values"),
        (lambda m, w: edit(m, w, "smile", 0), r"to: want \+1 or -1"),
        (lambda m, w: edit(m, w, "hair", 3), "to: want a class from 0 to 2"),
        (lambda m, w: edit(m, w, "smile", method="filter"), "method: want one of 'exclude', 'project', 'none'"),
        (
            lambda m, w: edit(m, w, "smile", keep=["age"], method="exclude", exclude_channels={"age": D}),
            r"exclude_channels\['age'\]: want",
        ),
        (
            lambda m, w: edit(m, w, "smile", keep=["age"], method="exclude", exclude_channels={"glasses": 1}),
            "want names that are in keep, got 'glasses'",
        ),
        (lambda m, w: edit(m, w, "smile", layers=(0, 2)), r"layers: want None, or space='w\+'"),
        (lambda m, w: edit(m, w, "smile", stop={"scor": 1}), "stop: want one of 'score', 'effect'"),
        (lambda m, w: edit(m, w, "smile", steps=0), "steps: want a whole number >= 1"),
        (lambda m, w: straight(w, torch.zeros(D), target="a"), "direction: want a direction that is not zero"),
        (
            lambda m, w: edit(AttributeModel.from_classifiers(nets(), width=D), w, "smile", keep=["age"], method="exclude"),
            "model: want the spread of 'smile' over the population",
        ),
    ],
)  # fmt: skip
def test_wrong_calls(call, message):
    with pytest.raises(ValueError, match=message):
        call(model(0, K=3), codes())


def test_no_exclusion_is_no_exclusion():
    """Zero channels exclude nothing, rather than all of them."""
    none = edit(model(), codes(), "smile", method="none")
    zero = edit(model(), codes(), "smile", keep=["age"], method="exclude", exclude_channels={"age": 0})
    assert torch.equal(none.codes, zero.codes)
