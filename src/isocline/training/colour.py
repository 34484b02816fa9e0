"""Random changes of colour: one of three for each image, and brightness, contrast and saturation a little off.

Source: Touvron, Cord & Jégou 2022, *DeiT III*, section 3 (3-Augment). Images are ``(B, 3, H, W)`` in [0, 1], each drawn
for itself.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torch.nn.functional import conv2d, pad

from isocline._core.checks import check_shape

GREY = (0.299, 0.587, 0.114)  # ITU-R 601, the luma of Pillow
BLUR = (0.1, 2.0)  # pixels: standard deviations of the blur
REACH = 6  # pixels: where the widest blur is cut off


def grey(images: Tensor) -> Tensor:
    """The luma in all three channels."""
    weights = torch.tensor(GREY, dtype=images.dtype, device=images.device)
    return torch.einsum("bchw,c->bhw", images, weights)[:, None].expand_as(images)


def solarized(images: Tensor, threshold: float = 0.5) -> Tensor:
    """``1 - x`` where x is at least the threshold."""
    return torch.where(images >= threshold, 1 - images, images)


def blurred(images: Tensor, sigma: Tensor) -> Tensor:
    """Each image under a Gaussian of its own width, ``(B,)`` in pixels; the border is continued. Images ``(B, C, H, W)``."""
    B, C, H, W = images.shape
    offsets = torch.arange(-REACH, REACH + 1, dtype=images.dtype, device=images.device)
    kernel = torch.softmax(-(offsets**2) / (2 * sigma[:, None] ** 2), 1).repeat_interleave(C, 0)
    flat = pad(images.reshape(1, B * C, H, W), (REACH,) * 4, mode="replicate")
    down = conv2d(flat, kernel[:, None, :, None], groups=B * C)
    return conv2d(down, kernel[:, None, None, :], groups=B * C).view_as(images)


def three_augmented(images: Tensor, generator: Generator | None = None) -> Tensor:
    """Each image grey, solarized or blurred, a third each. Raises ValueError unless it has three channels."""
    B = check_shape("images", images, "B 3 H W")["B"]
    which = torch.randint(3, (B,), generator=generator, device=images.device).view(-1, 1, 1, 1)
    drawn = torch.rand(B, generator=generator, device=images.device, dtype=images.dtype)
    blur = blurred(images, BLUR[0] + (BLUR[1] - BLUR[0]) * drawn)
    return torch.where(which == 0, grey(images), torch.where(which == 1, solarized(images), blur))


def jittered(images: Tensor, most: float, generator: Generator | None = None) -> Tensor:
    """Brightness, contrast and saturation, in this order, by factors in ``[1 - most, 1 + most]``; cut to [0, 1].

    Raises ValueError unless it has three channels.
    """
    B = check_shape("images", images, "B 3 H W")["B"]
    for step in ("brightness", "contrast", "saturation"):
        drawn = torch.rand(B, generator=generator, device=images.device, dtype=images.dtype)
        factor = (1 + most * (2 * drawn - 1)).view(-1, 1, 1, 1)
        towards = {
            "brightness": torch.zeros_like,
            "contrast": lambda x: grey(x).mean((1, 2, 3), keepdim=True).expand_as(x),
            "saturation": grey,
        }[step](images)
        images = (towards + factor * (images - towards)).clamp(0, 1)
    return images
