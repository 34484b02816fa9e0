"""The photographs that come with scikit-image, cut for a network: ``pip install 'isocline[examples]'``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from isocline._core.checks import check_choice, check_number, wrong

__all__ = ["PHOTOGRAPHS", "photograph", "photographs", "read_picture"]

PHOTOGRAPHS = {
    "coffee": "coffee.png",
    "cat": "chelsea.png",
    "astronaut": "astronaut.png",
    "rocket": "rocket.jpg",
    "motorcycle": "motorcycle_left.png",
    "galaxies": "hubble_deep_field.jpg",
}


def photograph(name: str, size: int = 224) -> Tensor:
    """One of `PHOTOGRAPHS` as `read_picture` gives it. Raises ValueError for another name, ImportError without scikit-image."""
    check_choice("name", name, PHOTOGRAPHS)
    try:
        import skimage  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        advice = "pip install 'isocline[examples]'"
        raise ImportError(f"scikit-image: want it installed, got none; {advice}") from error
    return read_picture(Path(str(skimage.__file__)).parent / "data" / PHOTOGRAPHS[name], size)


def read_picture(path: str | os.PathLike[str], size: int = 224) -> Tensor:
    """A picture as ``(3, size, size)`` float32 in [0, 1]: scaled until its short side is ``8/7 size``, cut at the centre.

    Raises FileNotFoundError, or ValueError for a file that is no picture, naming it.
    """
    side = check_number("size", size, least=1, integer=True)
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: want a picture, got no such file")
    try:
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise wrong(str(path), "a picture, such as PNG or JPEG", f"{type(error).__name__}") from error
    scale = side * 8 / 7 / min(picture.size)
    width, height = (max(side, round(length * scale)) for length in picture.size)
    pixels = np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC))
    top, left = (height - side) // 2, (width - side) // 2
    cut = pixels[top : top + side, left : left + side]
    return torch.tensor(cut.transpose(2, 0, 1), dtype=torch.float32) / 255


def photographs(names: Sequence[str], size: int = 224) -> Tensor:
    """Several as one batch ``(B, 3, size, size)``."""
    return torch.stack([photograph(name, size) for name in names])
