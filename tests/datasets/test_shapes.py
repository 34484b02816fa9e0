"""Shapes drawn from known factors: the picture shows them, and a mixed code gives every one of them back."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isocline.datasets.shapes import FACTORS, GROUND, SHAPES, MixedShapes, render, sample_factors

seeds = st.integers(0, 2**31)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ink(pictures: torch.Tensor) -> torch.Tensor:
    """How much of each pixel differs from the ground, over the most that any does: ``(N, size, size)``."""
    away = (pictures - GROUND).abs().sum(1)
    return away / away.amax((1, 2), keepdim=True)


@given(seed=seeds, size=st.sampled_from([16, 24, 48]), wide=st.floats(0.1, 30))
def test_values_are_those_of_pictures_whatever_the_factors(seed, size, wide):
    factors, shape = sample_factors(5, generator=generator(seed))
    pictures = render(wide * factors, shape, size=size)
    assert pictures.shape == (5, 3, size, size)
    assert pictures.min() >= 0
    assert pictures.max() <= 1


@given(seed=seeds)
def test_the_picture_shows_its_place_and_its_scale(seed):
    """Middle of the ink to a tenth of a pixel's half width; the area of a disc is that of its radius."""
    factors, shape = sample_factors(6, generator=generator(seed))
    factors[:, 2].clamp_(max=0.5)  # nothing of the shape leaves the picture
    seen = ink(render(factors, shape, size=48))
    at = (torch.arange(48) + 0.5) / 24 - 1
    total = seen.sum((1, 2))
    torch.testing.assert_close((seen.sum(1) * at).sum(1) / total, 0.4 * factors[:, 0], atol=5e-3, rtol=0)
    torch.testing.assert_close((seen.sum(2) * at).sum(1) / total, 0.4 * factors[:, 1], atol=5e-3, rtol=0)
    discs = shape == 0
    radius = 0.38 * torch.exp(0.35 * factors[discs, 2])
    torch.testing.assert_close(total[discs] / 24**2, torch.pi * radius**2, atol=0, rtol=0.03)


@given(seed=seeds)
def test_the_colour_shows_hue_and_brightness_and_nothing_else(seed):
    factors, _ = sample_factors(4, generator=generator(seed))
    other = factors.clone()
    other[:, [0, 1, 2, 5]] = sample_factors(4, generator=generator(seed + 1))[0][:, [0, 1, 2, 5]]
    discs = torch.zeros(4, dtype=torch.long)
    brightest = [render(f, discs, size=48).amax((2, 3)) for f in (factors, other)]
    over = (brightest[0] > GROUND + 0.02) & (
        brightest[1] > GROUND + 0.02
    )  # darker channels peak at the ground
    torch.testing.assert_close(brightest[0][over], brightest[1][over], atol=1e-3, rtol=0)


@given(seed=seeds)
def test_rotation_turns_bars_only(seed):
    factors, _ = sample_factors(1, generator=generator(seed))
    factors = factors.expand(2, -1).clone()
    factors[0, 5], factors[1, 5] = -0.4, 0.6
    for number, name in enumerate(SHAPES):
        still, turned = render(factors, torch.full((2,), number))
        assert ((still - turned).abs().max() > 0.05) == (name == "bar")


@given(seed=seeds)
def test_soft_weights_blend_and_certain_ones_are_numbers(seed):
    factors, shape = sample_factors(4, generator=generator(seed))
    torch.testing.assert_close(render(factors, torch.eye(3)[shape]), render(factors, shape))
    weights = torch.rand(4, 3, generator=generator(seed)).softmax(1)
    pure = torch.stack([render(factors, torch.full((4,), n)) for n in range(3)], 1)
    torch.testing.assert_close(render(factors, weights), (weights[:, :, None, None, None] * pure).sum(1))


def test_gradients_are_those_of_differences():
    factors, shape = sample_factors(3, generator=generator(3))
    factors[2] = 0.0  # the middle of the shape lies between pixels
    weights = torch.rand(3, 3, generator=generator(4)).softmax(1)
    assert shape.tolist() != [0, 0, 0]
    inputs = (factors.requires_grad_(), weights.requires_grad_())
    assert torch.autograd.gradcheck(lambda f, s: render(f, s, size=9), inputs)  # 9: one pixel at the middle


@given(seed=seeds, spurious=st.sampled_from([0.0, 0.3, 0.8, 1.0]))
def test_hue_follows_scale_as_often_as_asked(seed, spurious):
    """Correlations of 4000 samples: standard error below 0.016, six of them allowed."""
    factors, shape = sample_factors(4000, spurious=spurious, generator=generator(seed))
    assert factors.abs().max() <= 1
    found = torch.corrcoef(factors.T)
    wanted = torch.eye(6)
    wanted[2, 3] = wanted[3, 2] = spurious
    torch.testing.assert_close(found, wanted, atol=0.1, rtol=0)
    same = (factors[:, 2] == factors[:, 3]).double().mean()
    assert same == pytest.approx(spurious, abs=0.05)
    assert torch.bincount(shape, minlength=3).min() > 1100


@given(seed=seeds, width=st.integers(9, 40), linear=st.booleans(), scale=st.floats(0.1, 10))
def test_the_mixing_is_undone(seed, width, linear, scale):
    mixed = MixedShapes(width, seed=seed, linear=linear)
    w = scale * torch.randn(5, width, generator=generator(seed))
    parts = mixed.unmixed(w).split([6, 3, width - 9], 1)
    torch.testing.assert_close(mixed.codes(*parts), w, atol=1e-10, rtol=0)
    u = scale * torch.randn(5, width, generator=generator(seed))
    back = mixed.mixed(u)
    torch.testing.assert_close(mixed.unmixed(back), u, atol=1e-10, rtol=0)
    torch.testing.assert_close(mixed.factors(back), u[:, :6], atol=1e-10, rtol=0)
    torch.testing.assert_close(mixed.logits(back), u[:, 6:9], atol=1e-10, rtol=0)
    assert linear == torch.allclose(mixed.mixed(2 * u), 2 * back)


@given(seed=seeds, linear=st.booleans())
def test_factors_have_orthogonal_gradients_where_the_mixing_is_linear(seed, linear):
    mixed = MixedShapes(seed=seed, linear=linear)
    w = mixed.sample(1, generator=generator(seed))
    rows = torch.autograd.functional.jacobian(lambda w: mixed.factors(w)[0], w)[:, 0]
    gram = rows @ rows.T
    assert torch.allclose(gram, torch.eye(6), atol=1e-12) == linear


def test_pictures_of_codes_are_those_of_their_factors():
    mixed = MixedShapes(32, seed=5)
    w = mixed.sample(50, spurious=0.8, generator=generator(6))
    factors, logits = mixed.factors(w), mixed.logits(w)
    pictures = mixed(w)
    torch.testing.assert_close(pictures, render(factors, logits.softmax(1)))
    assert (pictures - render(factors, logits.argmax(1))).abs().mean() < 5e-3  # nearly certain shapes
    expected, shape = sample_factors(50, spurious=0.8, generator=generator(6))
    torch.testing.assert_close(factors, expected, atol=1e-10, rtol=0)
    assert (logits.argmax(1) == shape).double().mean() > 0.95
    single = mixed.float()(w.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), pictures, atol=1e-4, rtol=0)


def test_a_seed_and_a_state_make_the_same_generator():
    one, same, other = (MixedShapes(12, seed=seed) for seed in (1, 1, 2))
    w = torch.randn(3, 12, generator=generator(0))
    assert torch.equal(one(w), same(w))
    assert not torch.allclose(one(w), other(w))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(w), other(w))
    assert eval(repr(one))(w).equal(one(w))


def test_wrong_calls_are_answered():
    factors, shape = sample_factors(4, generator=generator(0))
    with pytest.raises(ValueError, match=r"factors: want shape \(n, 6\), got \(4, 5\); the columns are x, y"):
        render(factors[:, 1:], shape)
    with pytest.raises(ValueError, match="shape: want numbers from 0 to 2, got 0 to 3"):
        render(factors, torch.arange(4))
    with pytest.raises(ValueError, match=r"shape: want shape \(n, 3\)"):
        render(factors, torch.rand(4))
    with pytest.raises(ValueError, match="shape: want as many rows as factors, 4"):
        render(factors, shape[:3])
    with pytest.raises(ValueError, match="size: want a whole number >= 8, got 4"):
        render(factors, shape, size=4)
    with pytest.raises(ValueError, match=r"spurious: want a number >= 0 and <= 1, got 1\.5"):
        sample_factors(3, spurious=1.5, generator=generator(0))
    with pytest.raises(ValueError, match="count: want"):
        sample_factors(0, generator=generator(0))
    with pytest.raises(ValueError, match="latent_dim: want a whole number >= 9, got 8"):
        MixedShapes(8)
    with pytest.raises(ValueError, match=r"w: want shape \(n, 24\), got \(2, 12\)"):
        MixedShapes()(torch.zeros(2, 12))
    assert len(FACTORS) == 6
