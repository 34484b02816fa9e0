"""Changes of images: nothing asked is nothing done; each change is what it says."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from isocline._core.seeds import torch_generator
from isocline.training import Augment, CentreCrop, RandomCrop, augmented
from isocline.training.augment import _part, resized, rotated, shifted


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


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**20), st.floats(0.01, 1), st.floats(0, 1.5))
def test_a_random_part_lies_in_the_picture(H, W, seed, least, more):
    how = RandomCrop(7, (least, least + more))
    top, left, height, width = _part(H, W, how, torch_generator(seed))
    assert 0 <= top <= top + height <= H
    assert 0 <= left <= left + width <= W
    assert min(height, width) >= 1
    image = torch.randint(256, (3, H, W), dtype=torch.uint8, generator=torch_generator(seed))
    found = how(image, torch_generator(seed))
    assert found.shape == (3, 7, 7)
    assert found.dtype == torch.uint8
    part = image[:, top : top + height, left : left + width]
    assert (found.amin((1, 2)) >= part.amin((1, 2))).all()  # bilinear: a mean of what is there
    assert (found.amax((1, 2)) <= part.amax((1, 2))).all()


def test_scales_above_one_give_whole_pictures_more_often_and_nothing_larger():
    """Square pictures: shares are uniform where every ratio fits (0.1 to 0.7); 4000 draws, 4 deviations, chance 1e-4."""
    counts = {}
    for most in (1.0, 1.25):
        g = torch_generator(0)
        parts = [_part(300, 300, RandomCrop(7, (0.08, most)), g) for _ in range(4000)]
        shares = torch.tensor([h * w / 90000 for _, _, h, w in parts])
        ratios = torch.tensor([w / h for _, _, h, w in parts])
        assert shares.max() <= 1
        assert (ratios.min() > 0.73) & (ratios.max() < 1.36)  # whole pixels: a side of 80 or more
        inner = shares[(shares > 0.1) & (shares < 0.7)]
        mean = float(inner.mean())
        assert mean == pytest.approx(0.4, abs=4 * 0.6 / 12**0.5 / len(inner) ** 0.5 + 1e-3)
        counts[most] = int((shares > 0.999).sum())
    assert counts[1.25] >= counts[1.0]


def test_a_picture_of_an_odd_shape_gives_its_middle():
    image = torch.zeros(1, 10, 400)
    image[:, :, 194:206] = 1
    how = RandomCrop(4, (1.0, 1.0))  # an area that never fits with these ratios: 10 x 13 in the middle
    assert _part(10, 400, how, torch_generator(0)) == (0, 193, 10, 13)
    assert how(image, torch_generator(0)).mean() > 0.9


def test_the_whole_picture_at_its_own_size_is_itself():
    image = torch.randint(256, (3, 9, 9), dtype=torch.uint8, generator=torch_generator(0))
    assert torch.equal(RandomCrop(9, (1.0, 1.0), (1.0, 1.0))(image, torch_generator(0)), image)
    assert torch.equal(CentreCrop(9, 9)(image), image)
    assert torch.equal(CentreCrop(9, 5)(image), image[:, 2:7, 2:7])


def test_resizing_is_pillows():
    image = torch.randint(256, (3, 40, 61), dtype=torch.uint8, generator=torch_generator(0))
    for shape in ((16, 24), (80, 61)):
        picture = Image.fromarray(image.permute(1, 2, 0).numpy()).resize(
            shape[::-1], Image.Resampling.BILINEAR
        )
        theirs = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
        assert (resized(image, shape).int() - theirs.int()).abs().max() <= 1  # Pillow rounds between the axes


@given(st.integers(6, 60), st.integers(6, 60))
def test_a_centre_crop_has_its_size(H, W):
    assert CentreCrop(16, 14)(torch.zeros(3, H, W)).shape == (3, 14, 14)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomCrop(0), "size: want"),
        (lambda: RandomCrop(scale=(0.5, 0.1)), "scale: want two numbers, 0 < least <= largest"),
        (lambda: RandomCrop(ratio=(0, 1)), "ratio: want two numbers"),
        (lambda: CentreCrop(10, 12), "resize: want"),
        (lambda: RandomCrop()(torch.zeros(3, 4)), r"image: want shape \(C, H, W\)"),
        (lambda: CentreCrop()(torch.zeros(3, 4)), r"image: want shape \(C, H, W\)"),
    ],
)
def test_wrong_crops_are_answered(make, message):
    with pytest.raises(ValueError, match=message):
        make()
