"""Dyed arrows: the same questions as the drawn ones, and their answer can be read off the picture."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isocline.datasets.arrows import arrow
from isocline.datasets.dyed_arrows import dyed, dyed_arrows


@given(seed=st.integers(0, 99), size=st.sampled_from([192, 384]), factor=st.sampled_from([4, 8, 16]))
def test_what_is_seen_is_what_was_drawn(seed, size, factor):
    """The area of the disc, its middle, and the arrow's direction and middle, each to a part of a pixel."""
    one = arrow(seed, seed=43, size=size)
    cos, sin, disc = dyed([one], size, factor)[0].astype(float)
    at = (np.arange(size // factor) + 0.5) * factor
    assert disc.sum() * factor**2 == pytest.approx(np.pi * one.radius**2, rel=0.12)
    assert (disc.sum(0) * at).sum() / disc.sum() == pytest.approx(one.disc_x, abs=factor / 4)
    assert (disc.sum(1) * at).sum() / disc.sum() == pytest.approx(one.disc_y, abs=factor / 4)
    ink = np.hypot(cos, sin)
    assert (ink.sum(0) * at).sum() / ink.sum() == pytest.approx(one.x, abs=factor / 2)
    assert (ink.sum(1) * at).sum() / ink.sum() == pytest.approx(one.y, abs=factor / 2)
    turn = np.arctan2(sin.sum(), cos.sum()) - one.angle
    assert np.sin(turn) == pytest.approx(0, abs=1e-5)
    assert np.cos(turn) > 0


def test_the_picture_decides_the_label():
    """A ray along the dyed direction meets the disc that is seen, or not: right for nearly all, though pixels are coarse."""
    pictures, labels = dyed_arrows(200, seed=43)
    at = (np.arange(24) + 0.5) * 8
    right = 0
    for (cos, sin, disc), label in zip(pictures, labels, strict=True):
        ink = np.hypot(cos, sin)
        places = [
            ((part.sum(0) * at).sum() / part.sum(), (part.sum(1) * at).sum() / part.sum())
            for part in (ink, disc)
        ]
        dx, dy = np.subtract(places[1], places[0])
        direction = np.arctan2(sin.sum(), cos.sum())
        along = dx * np.cos(direction) + dy * np.sin(direction)
        beside = abs(dy * np.cos(direction) - dx * np.sin(direction))
        right += (along > 0 and beside < np.sqrt(disc.sum() * 64 / np.pi)) == bool(label)
    assert right >= 195


def test_samples_are_those_of_the_seed():
    pictures, labels = dyed_arrows(6, seed=43)
    later, more = dyed_arrows(2, seed=43, first=4)
    np.testing.assert_array_equal(pictures[4:], later)
    np.testing.assert_array_equal(labels[4:], more)
    assert labels.tolist() == [int(arrow(i, seed=43).points) for i in range(6)]
    assert pictures.shape == (6, 3, 24, 24)
    assert dyed_arrows(1, seed=43, size=384)[0].shape == (1, 3, 48, 48)


def test_wrong_calls_are_answered():
    with pytest.raises(ValueError, match="factor: want a divisor of size = 192, got 7"):
        dyed_arrows(1, seed=0, factor=7)
    with pytest.raises(ValueError, match="count: want"):
        dyed_arrows(0, seed=0)
    with pytest.raises(ValueError, match="size: want at least 180 pixels"):
        dyed_arrows(1, seed=0, size=96)
