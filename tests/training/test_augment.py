"""Changes of images: nothing asked is nothing done; each change is what it says."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isocline._core.seeds import torch_generator
from isocline.training import Augment, augmented
from isocline.training.augment import rotated, shifted


def _images(seed=0, shape=(5, 3, 6, 9)):
    return torch.rand(shape, generator=torch_generator(seed))


def test_nothing_asked_is_nothing_done():
    images = _images()
    assert augmented(images, Augment()) is images


@given(st.integers(0, 2**20))
def test_a_flip_is_a_flip_or_nothing(seed):
    images = _images(seed)
    found = augmented(images, Augment(flip=True), torch_generator(seed))
    for before, after in zip(images, found, strict=True):
        assert torch.equal(after, before) or torch.equal(after, before.flip(2))


@given(st.integers(-3, 3), st.integers(-4, 4))
def test_a_shift_moves_every_pixel(down, right):
    images = _images()
    found = shifted(images, torch.full((5,), down), torch.full((5,), right), (3, 4))
    expected = torch.zeros_like(images)
    H, W = images.shape[2:]
    target = (slice(max(0, down), H + min(0, down)), slice(max(0, right), W + min(0, right)))
    source = (slice(max(0, -down), H - max(0, down)), slice(max(0, -right), W - max(0, right)))
    expected[:, :, *target] = images[:, :, *source]
    assert torch.equal(found, expected)


@given(st.integers(0, 2**20))
def test_shifts_stay_within_their_share_and_use_all_of_it(seed):
    images = torch.zeros(400, 1, 10, 10)
    images[:, :, 5, 5] = 1
    found = augmented(images, Augment(shift=0.2), torch_generator(seed))
    places = found.flatten(1).argmax(1)
    assert (
        set((places // 10).tolist()) == set((places % 10).tolist()) == {3, 4, 5, 6, 7}
    )  # misses one: 5 (4/5)^400


def test_quarter_turns_are_exact():
    """Counterclockwise as a person sees it, rows downwards: `torch.rot90` turns so."""
    images = _images(shape=(4, 2, 7, 7))
    found = rotated(images, torch.tensor([0.0, 90.0, 180.0, -90.0]))
    for turns, before, after in zip((0, 1, 2, -1), images, found, strict=True):
        # the outermost pixels are weighed with what lies outside, by a rounding of the coordinates
        torch.testing.assert_close(after, torch.rot90(before, turns, (1, 2)), rtol=0, atol=1e-12)


def test_a_turn_of_a_long_image_does_not_stretch_it():
    """A square in a long image, turned by 90 degrees, is the same square."""
    images = torch.zeros(1, 1, 9, 21)
    images[0, 0, 3:6, 9:12] = 1
    torch.testing.assert_close(rotated(images, torch.tensor([90.0])), images, rtol=0, atol=1e-12)


@given(st.integers(0, 2**20))
def test_contrast_keeps_the_mean_where_nothing_is_cut(seed):
    images = 0.4 + 0.2 * _images(seed)
    found = augmented(images, Augment(contrast=(0.5, 1.5)), torch_generator(seed))
    torch.testing.assert_close(found.mean((1, 2, 3)), images.mean((1, 2, 3)), rtol=1e-12, atol=0)
    spread = found.std((1, 2, 3)) / images.std((1, 2, 3))
    assert ((spread >= 0.5 - 1e-12) & (spread <= 1.5 + 1e-12)).all()


def test_a_generator_decides_and_a_wrong_shape_is_answered():
    how = Augment(flip=True, shift=0.2, rotation=20, contrast=(0.5, 2.0))
    state = torch.get_rng_state()
    first, second = (augmented(_images(), how, torch_generator(3)) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(state, torch.get_rng_state())
    with pytest.raises(ValueError, match=r"images: want shape \(B, C, H, W\)"):
        augmented(torch.zeros(3, 4), how)
