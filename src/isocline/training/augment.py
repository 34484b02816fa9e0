"""Random changes of a batch of images that leave its labels true: flips, shifts, turns, contrast."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn.functional import affine_grid, grid_sample, pad

from isocline._core.checks import check_number, check_shape, wrong


@dataclass(frozen=True, slots=True)
class Augment:
    """What may happen to an image; by default nothing. Each image of a batch is drawn for itself.

    Random numbers are drawn for the batch, in the process that trains, so that a resumed run sees the same images.
    """

    flip: bool = False  # left and right, every second image
    shift: float = 0.0  # up to this share of the side, in whole pixels, zeros behind
    rotation: float = 0.0  # degrees, up to, either way
    contrast: tuple[float, float] = (1.0, 1.0)  # factor of the distance from the image's mean

    def __post_init__(self) -> None:
        check_number("shift", self.shift, least=0, below=1)
        check_number("rotation", self.rotation, least=0, most=180)
        object.__setattr__(self, "contrast", tuple(self.contrast))  # JSON has only lists
        if len(self.contrast) != 2 or not 0 <= self.contrast[0] <= self.contrast[1] < math.inf:
            raise wrong("contrast", "two factors, 0 <= least <= largest", repr(self.contrast))


def augmented(images: Tensor, how: Augment, generator: Generator | None = None) -> Tensor:
    """The images, changed. Shapes: ``(B, C, H, W)`` in [0, 1]; returns the same, in [0, 1] where contrast was changed.

    generator: None draws from torch's global one. Raises ValueError for another shape.
    """
    B, _, H, W = check_shape("images", images, "B C H W").values()

    def uniform(low: float, high: float) -> Tensor:
        drawn = torch.rand(B, generator=generator, device=images.device, dtype=images.dtype)
        return low + (high - low) * drawn

    if how.flip:
        images = torch.where((uniform(0, 1) < 0.5).view(B, 1, 1, 1), images.flip(3), images)
    if how.shift:
        most_y, most_x = int(how.shift * H), int(how.shift * W)
        down, right = (uniform(-n - 0.5, n + 0.5).round().clamp(-n, n).long() for n in (most_y, most_x))
        images = shifted(images, down, right, (most_y, most_x))
    if how.rotation:
        images = rotated(images, uniform(-how.rotation, how.rotation))
    if how.contrast != (1.0, 1.0):
        middle = images.mean((1, 2, 3), keepdim=True)
        images = (middle + uniform(*how.contrast).view(B, 1, 1, 1) * (images - middle)).clamp(0, 1)
    return images


def shifted(images: Tensor, down: Tensor, right: Tensor, most: tuple[int, int]) -> Tensor:
    """Each image moved by its own number of pixels (at most `most`), zeros behind. Shapes: ``(B, C, H, W)``, ``(B,)`` twice."""
    B, _, H, W = images.shape
    y, x = (torch.arange(n, device=images.device) for n in (H, W))
    rows, columns = y - down[:, None] + most[0], x - right[:, None] + most[1]  # (B, H), (B, W)
    framed = pad(images, (most[1], most[1], most[0], most[0])).movedim(1, 3)
    batch = torch.arange(B, device=images.device)[:, None, None]
    return framed[batch, rows[:, :, None], columns[:, None, :]].movedim(3, 1)


def rotated(images: Tensor, degrees: Tensor) -> Tensor:
    """Each image turned counterclockwise about its centre, bilinear, zeros outside. Shapes: ``(B, C, H, W)``, ``(B,)``."""
    H, W = images.shape[2:]
    angle = torch.deg2rad(degrees)
    cos, sin, none = angle.cos(), angle.sin(), torch.zeros_like(angle)
    # in pixels the map is a rotation; coordinates run over [-1, 1] on either axis
    rows = torch.stack([cos, -sin * H / W, none, sin * W / H, cos, none], 1)
    grid = affine_grid(rows.view(-1, 2, 3), list(images.shape), align_corners=False)
    return grid_sample(images, grid, align_corners=False)
