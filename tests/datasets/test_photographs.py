"""Pictures, cut for a network."""

import numpy as np
import pytest
import torch
from PIL import Image

from isocline.datasets.photographs import photograph, read_picture


@pytest.mark.parametrize("shape", [(40, 60), (60, 40), (33, 33), (3, 90)])
@pytest.mark.parametrize("size", [1, 7, 32])
def test_any_picture_becomes_a_square_in_range(tmp_path, shape, size):
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = read_picture(tmp_path / "a.png", size)
    assert found.shape == (3, size, size)
    assert found.dtype == torch.float32
    assert found.min() >= 0 and found.max() <= 1  # noqa: PT018


def test_a_flat_picture_keeps_its_colour(tmp_path):
    Image.new("RGB", (50, 30), (255, 0, 51)).save(tmp_path / "a.png")
    found = read_picture(tmp_path / "a.png", 16)
    torch.testing.assert_close(found.mean((1, 2)), torch.tensor([1.0, 0.0, 0.2], dtype=torch.float32))


def test_an_unknown_photograph_is_answered():
    with pytest.raises(ValueError, match="did you mean 'coffee'"):
        photograph("cofee")
