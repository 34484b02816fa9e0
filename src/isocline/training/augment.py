"""Random changes of images that leave their labels true: flips, shifts, turns and contrast of a batch; crops of one picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate, pad

from isocline._core.checks import check_number, check_shape, wrong
from isocline.training.colour import jittered, three_augmented


@dataclass(frozen=True, slots=True)
class Augment:
    """What may happen to an image; by default nothing. Each image of a batch is drawn for itself.

    Random numbers are drawn for the batch, in the process that trains, so that a resumed run sees the same images.
    """

    flip: bool = False  # left and right, every second image
    shift: float = 0.0  # up to this share of the side, in whole pixels, zeros behind
    rotation: float = 0.0  # degrees, up to, either way
    contrast: tuple[float, float] = (1.0, 1.0)  # factor of the distance from the image's mean
    three: bool = False  # grey, solarized or blurred, a third each (DeiT III); of three channels
    jitter: float = 0.0  # brightness, contrast and saturation by up to this share; of three channels

    def __post_init__(self) -> None:
        check_number("shift", self.shift, least=0, below=1)
        check_number("rotation", self.rotation, least=0, most=180)
        check_number("jitter", self.jitter, least=0, below=1)
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
    if how.three:
        images = three_augmented(images, generator)
    return jittered(images, how.jitter, generator) if how.jitter else images


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


@dataclass(frozen=True, slots=True)
class RandomCrop:
    """A random part of a picture, resized to ``size x size``: `random_resized_crop` with its constants, for a data set."""

    size: int = 224
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)

    def __post_init__(self) -> None:
        check_number("size", self.size, least=1, integer=True)
        for name in ("scale", "ratio"):
            pair = tuple(getattr(self, name))
            object.__setattr__(self, name, pair)  # JSON has only lists
            if len(pair) != 2 or not 0 < pair[0] <= pair[1] < math.inf:
                raise wrong(name, "two numbers, 0 < least <= largest", repr(pair))

    def __call__(self, image: Tensor, generator: Generator | None = None) -> Tensor:
        return random_resized_crop(image, self, generator)


@dataclass(frozen=True, slots=True)
class CentreCrop:
    """The picture with its shorter side resized to `resize`, and of that the ``size x size`` in the middle."""

    resize: int = 256
    size: int = 224

    def __post_init__(self) -> None:
        check_number("size", self.size, least=1, integer=True)
        check_number("resize", self.resize, least=self.size, integer=True)

    def __call__(self, image: Tensor, generator: Generator | None = None) -> Tensor:
        _, H, W = check_shape("image", image, "C H W").values()
        shape = [max(self.resize, round(side * self.resize / min(H, W))) for side in (H, W)]
        top, left = ((side - self.size) // 2 for side in shape)
        return resized(image, shape)[:, top : top + self.size, left : left + self.size].contiguous()


def random_resized_crop(image: Tensor, how: RandomCrop, generator: Generator | None = None) -> Tensor:
    """A part whose area is a uniform share of the picture's and whose width : height is log-uniform, resized to a square.

    Shapes: ``(C, H, W)``; returns ``(C, size, size)`` of the same dtype. A part that does not fit into the picture is drawn
    again, ten times in all, and then the largest in the middle with an allowed ratio is taken. So a scale above 1 enlarges
    nothing: its draws above 1 never fit, and for 0.08 to 1.25 the share is that of 0.08 to 1, but whole pictures are more
    frequent. Source: Szegedy et al. 2015, *Going Deeper with Convolutions*, section 6 (the ten draws are PyTorch's custom).
    """
    check_shape("image", image, "C H W")
    top, left, height, width = _part(image.shape[1], image.shape[2], how, generator)
    return resized(image[:, top : top + height, left : left + width], (how.size, how.size))


def _part(H: int, W: int, how: RandomCrop, generator: Generator | None) -> tuple[int, int, int, int]:
    """Top, left, height and width."""

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator, dtype=torch.float64))

    for _ in range(10):
        area, ratio = H * W * uniform(*how.scale), math.exp(uniform(*map(math.log, how.ratio)))
        height, width = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
        if 0 < height <= H and 0 < width <= W:
            top, left = (int(uniform(0, most + 1)) for most in (H - height, W - width))
            return min(top, H - height), min(left, W - width), height, width
    ratio = min(max(W / H, how.ratio[0]), how.ratio[1])
    height, width = min(H, max(1, round(W / ratio))), min(W, max(1, round(H * ratio)))
    return (H - height) // 2, (W - width) // 2, height, width


def resized(image: Tensor, shape: Sequence[int]) -> Tensor:
    """Bilinear, with a filter as wide as a pixel of the result. ``(C, H, W)``; bytes stay bytes."""
    number = image if image.is_floating_point() else image.float()
    found = interpolate(number[None], list(shape), mode="bilinear", antialias=True, align_corners=False)[0]
    return found if image.is_floating_point() else found.round().clamp(0, 255).to(image.dtype)
