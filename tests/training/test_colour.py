"""Changes of colour: exact where they are exact, in range, and each image for itself."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import gaussian_filter1d

from isocline.training import Augment, augmented
from isocline.training.colour import blurred, grey, jittered, solarized, three_augmented


def images(seed=0, count=3):
    return torch.rand(count, 3, 9, 11, generator=torch.Generator().manual_seed(seed))


def test_grey_and_solarized_are_pillows():
    """Pillow rounds to bytes: half a step for each of two roundings."""
    bytes_ = (images() * 255).round()
    for one, luma in zip(bytes_, grey(bytes_ / 255), strict=True):
        pillow = Image.fromarray(one.byte().numpy().transpose(1, 2, 0)).convert("L")
        assert np.abs(np.asarray(pillow) - 255 * luma[0].numpy()).max() <= 1
    assert solarized(torch.tensor([0.2, 0.5, 0.9])).tolist() == pytest.approx([0.2, 0.5, 0.1])


def test_a_blur_is_scipys():
    x, sigma = images(), torch.tensor([0.1, 0.8, 2.0])
    for one, width, found in zip(x, sigma.tolist(), blurred(x, sigma), strict=True):
        expected = one.numpy()
        for axis in (1, 2):
            expected = gaussian_filter1d(expected, width, axis=axis, mode="nearest", radius=6)
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


@given(st.integers(0, 99), st.floats(0, 0.99))
def test_all_stay_in_range_and_repeat_from_their_seed(seed, most):
    x = images(seed)
    for change in (three_augmented, lambda x, g: jittered(x, most, g)):
        first, again = (change(x, torch.Generator().manual_seed(seed)) for _ in range(2))
        assert first.shape == x.shape
        assert torch.equal(first, again)
        assert -1e-12 <= float(first.min()) <= float(first.max()) <= 1 + 1e-12


def test_each_image_gets_one_of_three():
    """300 images, a third each: a share off by 80 has a chance below one in 10^15."""
    x = images(1, 300)
    found = three_augmented(x, torch.Generator().manual_seed(0))
    same = [(found == changed).flatten(1).all(1) for changed in (grey(x), solarized(x))]
    counts = [int(one.sum()) for one in same]
    assert all(abs(count - 100) < 80 for count in [*counts, 300 - sum(counts)])


def test_nothing_is_jittered_by_nothing_and_grey_stays_grey():
    x = images()
    torch.testing.assert_close(jittered(x, 0.0), x)
    flat = grey(jittered(grey(x), 0.5))
    torch.testing.assert_close(flat, flat[:, :1].expand_as(flat))


def test_an_augmentation_has_both():
    x, how = images(), Augment(three=True, jitter=0.3)
    first, second = (augmented(x, how, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    assert not torch.equal(first, second)
    with pytest.raises(ValueError, match="jitter: want"):
        Augment(jitter=1.0)
    with pytest.raises(ValueError, match="images: want shape"):
        augmented(x[:, :1], how)
