"""`orthogonal_`: an exactly orthogonal kernel for every layer that can have one."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from isocline._core.checks import wrong
from isocline.orthogonal.existence import exists, usable_phases
from isocline.orthogonal.shapes import ConvShape, weight_of


def orthogonal_(conv: nn.Module, *, generator: torch.Generator | None = None) -> nn.Module:
    """Fill the weight of a convolution in place with an exactly orthogonal kernel, and return the module.

    A random semi-orthogonal matrix (Haar), M x C prod(b), is written into one block of ``b = min(k, S)`` taps an axis
    around the middle, zeros elsewhere: no two outputs share a phase of the input, so ``L_orth = 0`` to rounding. At
    stride 1 this is the delta-orthogonal initialisation. The bias is left alone. With zero padding the layer stays
    orthogonal where a kernel that is (`exists` with "zeros") has so few taps; elsewhere its largest singular value is 1
    still, and its smallest is not.

    generator: as in `torch.nn.init`; None takes the global one. Raises ValueError with the reason and a remedy for a
    layer that cannot be orthogonal (`exists`), TypeError for what is no torch convolution.
    Source: [ours]; S = 1: Xiao et al. 2018, *Dynamical isometry and a mean field theory of CNNs*.

    >>> from isocline.orthogonal import lorth
    >>> bool(lorth(orthogonal_(nn.Conv2d(8, 32, 3, stride=2)).weight, stride=2) < 1e-10)
    True
    """
    weight, shape = weight_of(conv)
    refuse_infeasible(shape)
    new = block_kernel(shape, generator, weight.device).to(conv.weight.dtype)  # type: ignore[union-attr]
    with torch.no_grad():
        if parametrize.is_parametrized(conv, "weight"):
            conv.weight = new  # through the parametrization, which may refuse
        else:
            conv.weight.copy_(new)  # type: ignore[union-attr,operator]
    return conv


def refuse_infeasible(shape: ConvShape) -> None:
    """Raise a ValueError for a layer that cannot be orthogonal under circular padding."""
    answer = exists(shape)
    if not answer:
        raise wrong(
            "conv", "a layer that can be orthogonal", f"{shape}: {answer.reason}", f"take {answer.remedy}"
        )


def block_kernel(
    shape: ConvShape, generator: torch.Generator | None, device: torch.device | str = "cpu"
) -> Tensor:
    """One of the kernels that `orthogonal_` writes, in float64. Shapes: returns ``(M g, C, *k)``."""
    blocks = usable_phases(shape)
    at = block_start(shape, blocks)
    weight = torch.zeros(shape.weight_shape, dtype=torch.float64, device=device)
    inside = (slice(None), slice(None), *(slice(a, a + b) for a, b in zip(at, blocks, strict=True)))
    drawn = [semi_orthogonal(shape.M, shape.C * prod(blocks), generator, device) for _ in range(shape.groups)]
    weight[inside] = torch.cat(drawn).reshape(-1, shape.C, *blocks)
    return weight


def block_start(shape: ConvShape, blocks: tuple[int, ...]) -> tuple[int, ...]:
    """Where a block of taps begins: at the middle tap, where "same" padding sees it whole, or as late as it fits."""
    return tuple(min((k - 1) // 2, k - b) for k, b in zip(shape.k, blocks, strict=True))


def semi_orthogonal(
    rows: int, columns: int, generator: torch.Generator | None, device: torch.device | str = "cpu"
) -> Tensor:
    """A Haar-random ``(rows, columns)`` matrix of orthonormal rows or columns, whichever are fewer, in float64.

    Source: Mezzadri 2007, QR of a Gaussian with the signs of R taken out.
    """
    tall = (max(rows, columns), min(rows, columns))
    on = generator.device if generator is not None else device
    drawn = torch.randn(tall, generator=generator, dtype=torch.float64, device=on).to(device)
    Q = positive_qr(drawn)
    return Q if rows >= columns else Q.mT


def positive_qr(tall: Tensor) -> Tensor:
    """The factor Q of ``tall = Q R`` with a positive diagonal of R, which makes it unique and smooth. ``(.., n, m)``, n >= m."""
    Q, R = torch.linalg.qr(tall)
    signs = R.diagonal(dim1=-2, dim2=-1).sign()
    return Q * torch.where(signs == 0, torch.ones_like(signs), signs)[..., None, :]
