"""Arrow pointing: does the arrow point at the disc? A question about two far places of an image, at any image size.

The generator is exact: sample i of a seed is the same everywhere, whatever was drawn before it. Arrows and discs have the same
size in pixels in small and large images, so that a model trained on small ones can be asked about distances it never
saw. Source: Pöppel et al. 2025 (pLSTM, arXiv 2506.11997), arrow pointing extrapolation.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import acos, atan2, cos, pi, sin, sqrt

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from isocline._core.checks import check_number, wrong

BORDER = 30.0  # pixels around the places where arrows and discs have their middles
RADIUS, LENGTH, WIDTH = (15.0, 30.0), (15, 30), (2, 4)
NEAR = 1.2  # a disc this much smaller is hit for certain; one this much larger is missed for certain
HEAD_LENGTH, HEAD_ANGLE = 2.5, 0.5  # a head line is a 2.5th of the arrow, half a radian off the shaft
SMALLEST = int(2 * BORDER + 4 * RADIUS[1])


@dataclass(frozen=True, slots=True)
class Arrow:
    """One sample: lengths in pixels from the corner of the image, x to the right, y down; the angle in radians."""

    points: bool  # at the disc: the label
    length: int
    width: int  # of its lines
    x: float
    y: float
    angle: float
    disc_x: float
    disc_y: float
    radius: float


def arrow(index: int, *, seed: int, size: int = 192) -> Arrow:
    """Sample number `index` of a seed for images of ``size x size`` pixels.

    The disc lies at least two radii from the arrow's middle along both axes, on a torus; a positive arrow is aimed within
    the disc shrunk by 1.2, a negative one outside the disc grown by 1.2. Raises: ValueError for an image too small for that.

    >>> arrow(1, seed=43).points
    True
    """
    index = check_number("index", index, least=0, integer=True)
    if check_number("size", size, least=1, integer=True) < SMALLEST:
        raise wrong("size", f"at least {SMALLEST} pixels", size, "arrow and disc need room between them")
    first = int(np.random.default_rng(seed).integers(2**62))
    rng, side = np.random.default_rng(first + index), size - 2 * BORDER
    points = rng.random() < 0.5
    length, width = int(rng.uniform(*LENGTH)), int(rng.uniform(*WIDTH))
    x, y = side * rng.random(), side * rng.random()
    radius = RADIUS[0] + (RADIUS[1] - RADIUS[0]) * rng.random()
    disc_x, disc_y = (_apart(at, radius, side, rng) for at in (x, y))
    dx, dy = disc_x - x, disc_y - y
    aimed_at = radius / NEAR if points else radius * NEAR
    square = dx * dx + dy * dy
    half = acos(sqrt(abs(square - aimed_at * aimed_at) / square))  # the angle under which that disc is seen
    straight, where = atan2(dy, dx), rng.random()
    angle = straight - half + 2 * half * where if points else straight + half + (2 * pi - 2 * half) * where
    return Arrow(
        points, length, width, x + BORDER, y + BORDER, angle, disc_x + BORDER, disc_y + BORDER, radius
    )


def _apart(at: float, radius: float, side: float, rng: np.random.Generator) -> float:
    found = at + 2 * radius + (side - 4 * radius) * rng.random()
    return found - side if found > side else found


def draw(arrow: Arrow, size: int = 192) -> npt.NDArray[np.uint8]:
    """The picture, black on white: ``(size, size)``, 0 or 255. Its last pixels may depend on Pillow's version."""
    image = Image.new("L", (size, size), 255)
    pen = ImageDraw.Draw(image)
    ahead = np.array([cos(arrow.angle), sin(arrow.angle)]) * (arrow.length // 2)
    middle = np.array([arrow.x, arrow.y])
    tip = middle + ahead
    pen.line([*(middle - ahead), *tip], fill=0, width=arrow.width)
    for turn in (-HEAD_ANGLE, HEAD_ANGLE):
        back = np.array([cos(arrow.angle + turn), sin(arrow.angle + turn)]) * (arrow.length // HEAD_LENGTH)
        pen.line([*(tip - back), *tip], fill=0, width=arrow.width)
    disc, r = np.array([arrow.disc_x, arrow.disc_y]), arrow.radius
    pen.ellipse([*(disc - r), *(disc + r)], fill=0)
    return np.asarray(image).copy()


def arrows(
    count: int, *, seed: int, size: int = 192, first: int = 0
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Images ``(count, size, size)`` and labels ``(count,)``, 1 where the arrow points at the disc, from sample `first` on."""
    count = check_number("count", count, least=1, integer=True)
    found = [arrow(first + i, seed=seed, size=size) for i in range(count)]
    return np.stack([draw(one, size) for one in found]), np.array([int(one.points) for one in found])
