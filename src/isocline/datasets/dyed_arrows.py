"""Arrow pointing on small images: every arrow is dyed by its direction, every disc has a channel of its own.

The arrows and discs are those of `arrows`, at the same places. What is left out is the drawing of the arrow's head, in whose few
pixels a network must otherwise learn to read a direction before it can ask where that direction leads.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from isocline._core.checks import check_number, wrong
from isocline.datasets.arrows import Arrow, arrow

POINTS = 4  # an area is measured at 4 x 4 points of every pixel
HALF_WIDTH = 3.0  # of a shaft, in pixels of the large image: wide enough for those points to meet it
CHUNK = 256


def dyed(found: list[Arrow], size: int, factor: int = 8) -> npt.NDArray[np.float32]:
    """Pictures with pixels of ``factor x factor`` of the large image's: ``(n, 3, size / factor, size / factor)``.

    Channels: the share of the pixel under the shaft times the cosine of the arrow's angle, the same times its sine, and the share
    of the pixel under the disc. Raises: ValueError where `factor` does not divide `size`.
    """
    factor = check_number("factor", factor, least=1, integer=True)
    if size % factor:
        raise wrong("factor", f"a divisor of size = {size}", factor)
    names = ("x", "y", "angle", "length", "disc_x", "disc_y", "radius")
    columns = np.array([[getattr(one, name) for one in found] for name in names], np.float32)
    x, y, angle, length, disc_x, disc_y, radius = columns[:, :, None, None]
    at = (np.arange(size // factor * POINTS, dtype=np.float32) + 0.5) * factor / POINTS
    right, down = at[None, None, :], at[None, :, None]
    cos, sin = np.cos(angle), np.sin(angle)
    along = (right - x) * cos + (down - y) * sin
    beside = (down - y) * cos - (right - x) * sin
    shaft = _share((np.abs(along) < length / 2) & (np.abs(beside) < HALF_WIDTH))
    disc = _share((right - disc_x) ** 2 + (down - disc_y) ** 2 < radius**2)
    return np.stack([shaft * cos, shaft * sin, disc], 1)


def _share(inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    n, side, _ = inside.shape
    return inside.reshape(n, side // POINTS, POINTS, side // POINTS, POINTS).mean((2, 4), dtype=np.float32)


def dyed_arrows(
    count: int, *, seed: int, size: int = 192, factor: int = 8, first: int = 0
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Pictures as `dyed` makes them, and labels ``(count,)``, 1 where the arrow points at the disc, from sample `first` on.

    The samples are those of `arrows` with the same seed. Raises: ValueError for sizes that do not fit.
    """
    count = check_number("count", count, least=1, integer=True)
    found = [arrow(first + i, seed=seed, size=size) for i in range(count)]
    pictures = [dyed(found[i : i + CHUNK], size, factor) for i in range(0, count, CHUNK)]
    return np.concatenate(pictures), np.array([int(one.points) for one in found])
