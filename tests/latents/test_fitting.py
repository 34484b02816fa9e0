"""Attributes learned from codes, saved and read again; generators at the door."""

import pytest
import torch
from torch import nn

from isocline._core.files import CheckpointError, save_folder
from isocline.latents import (
    AttributeModel,
    AttributeWarning,
    Generator,
    MappingSynthesis,
    ModuleGenerator,
    StyleGAN,
    edit,
    fit_attributes,
)

D = 16


def population(count=2000, seed=0):
    w = torch.randn(count, D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return w, {
        "a": w[:, 0] + 0.3 * w[:, 1] ** 2,
        "b": w[:, 2],
        "kind": torch.stack([w[:, 3], w[:, 4], w[:, 5]], 1),
    }


@pytest.fixture(scope="module")
def fitted():
    return fit_attributes(*population(), updates=300)


class TestFit:
    def test_what_can_be_learned_is(self, fitted):
        for name in ("a", "b", "kind"):
            one = fitted.learned[name]
            assert one.accuracy > 0.9
            assert one.correlation > (0.4 if name == "kind" else 0.6)  # logits of classes level off
            assert 0 <= one.calibration < 0.3
        assert fitted.learned["a"].trained == 140
        assert fitted.learned["a"].held_out == 60
        assert abs(fitted.correlations["a, b"]) < 0.1

    def test_high_is_one(self, fitted):
        w, scores = population()
        assert float(torch.corrcoef(torch.stack([fitted.logits(w, "a"), scores["a"]]))[0, 1]) > 0.6

    def test_one_seed_gives_one_model(self, fitted):
        again = fit_attributes(*population(), updates=300)
        assert all(torch.equal(x, y) for x, y in zip(fitted.parameters(), again.parameters(), strict=True))
        other = fit_attributes(*population(), updates=300, seed=1)
        assert not torch.equal(fitted.nets[0].layers[0].weight, other.nets[0].layers[0].weight)

    def test_an_attribute_that_codes_do_not_tell_is_named(self):
        w, _ = population(800)
        noise = torch.randn(800, generator=torch.Generator().manual_seed(5))
        with pytest.warns(AttributeWarning, match="luck: held-out accuracy .* no better than chance"):
            fit_attributes(w, {"luck": noise}, updates=50)

    def test_scores_that_go_together_are_named(self):
        w, _ = population(800)
        with pytest.warns(AttributeWarning, match=r"a, b: their scores go together \(r = 0.9"):
            fit_attributes(w, {"a": w[:, 0], "b": w[:, 0] + 0.3 * w[:, 1]}, updates=600)

    def test_a_predictor_of_images(self):
        generator = ModuleGenerator(nn.Unflatten(1, (1, 4, 4)), D, output_range=(-1, 1))
        w = generator.sample(600, generator=torch.Generator().manual_seed(0)) / 4
        seen = []

        def predictor(images):
            seen.append(len(images))
            assert 0 <= float(images.min()) < float(images.max()) <= 1
            return {"corner": images[:, 0, 0, 0]}

        model = fit_attributes(w, predictor=predictor, generator=generator, updates=1000)
        assert sum(seen) == 600
        assert model.learned["corner"].accuracy > 0.9

    @pytest.mark.parametrize(
        ("scores", "message"),
        [
            ({}, "scores: want at least one attribute"),
            (None, "scores: want scores by name, or a predictor and a generator"),
            ({"a": torch.zeros(100)}, r"scores\['a'\]: want scores that differ"),
            ({"a": torch.full((100,), torch.nan)}, r"scores\['a'\]: want finite values"),
            ({"a": torch.randn(99)}, r"scores\['a'\]: want \(100,\) or \(100, K\), got \(99,\)"),
            ({"a": torch.randn(100, 2)}, r"scores\['a'\]: want at least 4 codes of two labels"),
        ],
    )
    def test_wrong_scores(self, scores, message):
        with pytest.raises(ValueError, match=message):
            fit_attributes(torch.randn(100, D), scores, tails=0.02)

    def test_a_predictor_that_returns_nan_is_named(self):
        generator = ModuleGenerator(nn.Unflatten(1, (1, 4, 4)), D, output_range=(-1, 1))
        with pytest.raises(ValueError, match="the predictor's 'a': want finite values"):
            fit_attributes(
                torch.randn(50, D), predictor=lambda x: {"a": x[:, 0, 0, 0] * torch.nan}, generator=generator
            )


class TestSaved:
    def test_reads_what_it_wrote(self, fitted, tmp_path):
        fitted.save(tmp_path)
        again = AttributeModel.load(tmp_path)
        w, _ = population(50)
        for name in fitted.names:
            assert torch.equal(fitted.logits(w, name), again.logits(w, name))
        assert again.learned == fitted.learned
        assert again.deviations == fitted.deviations
        assert again.classes == fitted.classes
        assert repr(again) == repr(fitted)

    def test_another_folder_is_refused(self, tmp_path):
        save_folder(tmp_path, {"kind": "isocline.latents.AttributeModel", "names": ["a"]})
        with pytest.raises(CheckpointError, match="not ours"):
            AttributeModel.load(tmp_path)

    def test_foreign_nets_are_not_saved(self, tmp_path):
        model = AttributeModel.from_classifiers({"a": nn.Linear(D, 1)}, width=D)
        with pytest.raises(ValueError, match="want nets of fit_attributes"):
            model.save(tmp_path)


class Style(nn.Module):
    """Shaped like StyleGAN2-ADA's generator."""

    z_dim, w_dim, c_dim, num_ws = 6, D, 0, 4

    def __init__(self):
        super().__init__()
        self.mapping = Mapping()
        self.synthesis = Synthesis()


class Mapping(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, D)
        self.register_buffer("w_avg", torch.zeros(D))

    def forward(self, z, c, truncation_psi=1.0):
        w = torch.lerp(self.w_avg, self.layer(z), truncation_psi)
        return w[:, None].expand(-1, 4, -1)


class Synthesis(nn.Module):
    calls = 0

    def __init__(self):
        super().__init__()
        self.affine = nn.Linear(D, 3)

    def forward(self, ws, noise_mode="random", force_fp32=False):
        assert noise_mode == "const"
        assert force_fp32
        Synthesis.calls += 1
        return torch.tanh(ws[:, :, :4]).reshape(len(ws), 1, 4, 4)


class TestGenerators:
    def test_one_call_for_the_frames_that_are_shown(self):
        generator = StyleGAN(Style(), truncation=0.7)
        w = generator.sample(5, generator=torch.Generator().manual_seed(0))
        model = AttributeModel.from_classifiers({"a": nn.Linear(D, 1)}, width=D)
        before = Synthesis.calls
        path = edit(model, w, "a")
        assert Synthesis.calls == before
        frames = path.frames(generator, [0, -1], rows=[1, 3])
        assert Synthesis.calls == before + 1
        assert frames.shape == (2, 2, 1, 4, 4)
        torch.testing.assert_close(frames[0], generator.render(w[[1, 3]]))

    def test_only_some_layers_see_the_edit(self):
        generator = StyleGAN(Style(), space="w+")
        w = generator.sample(3, generator=torch.Generator().manual_seed(0))
        model = AttributeModel.from_classifiers({"a": nn.Linear(D, 1)}, width=D)
        path = edit(model, w, "a", space="w+", layers=(1, 3))
        first, last = path.frames(generator, [0, -1])
        assert torch.equal(first[:, :, [0, 3]], last[:, :, [0, 3]])
        assert not torch.equal(first[:, :, 1:3], last[:, :, 1:3])

    def test_truncation_pulls_to_the_mean(self):
        w = StyleGAN(Style(), truncation=0).sample(4, generator=torch.Generator().manual_seed(0))
        assert torch.equal(w, torch.zeros(4, D))
        pair = MappingSynthesis(
            nn.Linear(3, D), nn.Unflatten(1, (1, 4, 4)), 3, output_range=(-1, 1), truncation=1e-9
        )
        found = pair.sample(4, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(found, pair.w_avg.expand(4, -1), rtol=0, atol=1e-6)
        assert pair.render(found).shape == (4, 1, 4, 4)

    def test_all_are_generators(self):
        assert isinstance(StyleGAN(Style()), Generator)
        assert isinstance(ModuleGenerator(nn.Identity(), 3, output_range=(0, 1)), Generator)

    def test_style_weights(self):
        assert [w.shape for w in StyleGAN(Style()).style_weights()] == [(3, D)]

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda: ModuleGenerator(nn.Identity(), 3), r"output_range: want \(0, 1\) or \(-1, 1\)"),
            (lambda: ModuleGenerator(nn.Identity(), 3, output_range=(0, 255)), "output_range"),
            (lambda: ModuleGenerator(nn.Identity(), 3, output_range=(0, 1)).render(torch.zeros(2, 4)), r"codes: want \(N, 3\)"),
            (lambda: ModuleGenerator(nn.Identity(), 3, output_range=(0, 1)).style_weights(), "style_weights"),
            (lambda: StyleGAN(nn.Linear(2, 2)), "network: want mapping, synthesis, num_ws and z_dim"),
            (
                lambda: StyleGAN(Style(), space="w+").render(torch.zeros(1, D), original=torch.zeros(1, D), layers=(2, 9)),
                r"layers: want \(lo, hi\) with 0 <= lo < hi <= 4",
            ),
        ],
    )  # fmt: skip
    def test_wrong_calls(self, call, message):
        with pytest.raises(ValueError, match=message):
            call()
