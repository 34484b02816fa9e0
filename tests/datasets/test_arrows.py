"""Arrow pointing: the published samples to the pixel, and the geometry that the labels speak of."""

from math import asin, atan2, hypot, pi

import numpy as np
import pytest

from isocline.datasets.arrows import SMALLEST, arrow, arrows, draw

FIELDS = ("length", "width", "x", "y", "angle", "disc_x", "disc_y", "radius")


@pytest.mark.parametrize("size", [192, 384])
def test_the_published_samples(size, golden):
    stored = np.load(golden / f"plstm/arrow_{size}_seed43.npz")
    samples = [arrow(i, seed=43, size=size) for i in range(16)]
    found = [[getattr(one, name) for name in FIELDS] for one in samples]
    np.testing.assert_allclose(found, stored["table"][:, 1:], rtol=0, atol=1e-12)
    np.testing.assert_array_equal([one.points for one in samples], stored["table"][:, 0] < 0.5)
    images, labels = arrows(16, seed=43, size=size)
    np.testing.assert_array_equal(labels, stored["labels"])
    np.testing.assert_array_equal((images == 0).sum((1, 2)), stored["black_pixels"])
    shown = stored["images_packed"]
    np.testing.assert_array_equal(
        np.packbits((images[: len(shown)] == 0).reshape(len(shown), -1), axis=1), shown
    )


def test_labels_say_whether_the_ray_meets_the_disc():
    samples = [arrow(i, seed=1, size=300) for i in range(500)]
    for one in samples:
        dx, dy = one.disc_x - one.x, one.disc_y - one.y
        off = abs((one.angle - atan2(dy, dx) + pi) % (2 * pi) - pi)
        assert (off < asin(one.radius / hypot(dx, dy))) == one.points
        assert min(abs(dx), abs(dy)) >= 2 * one.radius - 1e-9
    share = np.mean([one.points for one in samples])
    assert 0.4 < share < 0.6  # five standard deviations: fails by chance once in a million


def test_a_sample_does_not_depend_on_those_before_it():
    whole, labels = arrows(5, seed=3)
    later, _ = arrows(2, seed=3, first=3)
    np.testing.assert_array_equal(whole[3:], later)
    assert labels.dtype == np.int64
    assert set(np.unique(draw(arrow(0, seed=3)))) == {0, 255}


def test_wrong_calls():
    with pytest.raises(ValueError, match=f"size: want at least {SMALLEST} pixels, got 100; arrow and disc"):
        arrow(0, seed=0, size=100)
    with pytest.raises(ValueError, match="index: want a whole number >= 0"):
        arrow(-1, seed=0)
    with pytest.raises(ValueError, match="count: want a whole number >= 1"):
        arrows(0, seed=0)
