"""The equilibrium in numbers: how far the estimator is from the sign, and how far apart the gradients' sizes are.

A sharper estimator errs less and spreads gradients more; both ends hurt. Every indicator takes one tensor or one a layer.
Two forms of each: the published one, which grows with the number of layers, their sizes and the scale of the loss, and one
free of scale, which may be compared between layers, networks and precisions.

Glossary: z latent weights, f the estimator's primitive, g = ``|dL/dz|``.
Source: Wu et al. 2023, section 3 (indicators e and s); the scale-free forms, the shares and the flip ratio are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from isocline._core.checks import check_number, wrong
from isocline.binary.functional import sign

Tensors = Tensor | Sequence[Tensor]
Primitive = Callable[[Tensor], Tensor]


def estimating_error(latent: Tensors, primitive: Primitive) -> Tensor:
    """The published error e: the sum over layers of ``|| f(z) - sign(z) ||_2``, not divided by their sizes.

    Shapes: latent any; returns ``()``. primitive: f, without truncation, of `latent`'s shape: ``estimator.primitive``, or
    ``partial(reste_primitive, o=3)``. Infinite weights give an infinite error, NaN gives NaN.
    Source: Wu et al. 2023, section 3, as it is computed there.

    >>> estimating_error(torch.tensor([0.25, -1.0]), lambda z: z)  # the identity: plain STE
    tensor(0.7500)
    """
    return torch.stack([_distance(z, primitive) for z in _layers("latent", latent)]).sum()


def estimating_error_rms(latent: Tensors, primitive: Primitive) -> Tensor:
    """The error of a typical weight: ``sqrt(mean (f(z) - sign(z))^2)`` over all layers together.

    Shapes: latent any; returns ``()``.
    """
    layers = _layers("latent", latent)
    norms = torch.stack([_distance(z, primitive) for z in layers])
    return torch.linalg.vector_norm(norms) / sum(z.numel() for z in layers) ** 0.5


def gradient_stability(gradient: Tensors) -> Tensor:
    """The published s, which is large where training is not stable: the sum over layers of the unbiased variance of ``|g|``.

    Shapes: gradient any, at least two values a layer; returns ``()``, in float32 at least. A loss scaled by c (as mixed
    precision does) scales it by c^2.
    Source: Wu et al. 2023, section 3, as it is computed there.

    >>> gradient_stability(torch.tensor([1.0, -3.0]))
    tensor(2.)
    """
    return torch.stack([g.var() for g in _sizes(gradient)]).sum()


def gradient_stability_scale_free(gradient: Tensors) -> Tensor:
    """``var |g| / (mean |g|)^2`` over all layers together: 0 where all sizes are equal, the same for every scale of the loss.

    The variance is the mean square deviation, not the unbiased one. Shapes: gradient any; returns ``()``. NaN where all
    gradients are 0.

    >>> gradient_stability_scale_free(torch.tensor([1.0, -3.0]))
    tensor(0.2500)
    """
    sizes = torch.cat([g.flatten() for g in _sizes(gradient)])
    return sizes.var(correction=0) / sizes.mean() ** 2


def flip_ratio(before: Tensors, after: Tensors) -> Tensor:
    """The share of weights whose sign changed.

    Shapes: before, after alike; returns ``()`` in [0, 1]. Zero counts as positive.
    """
    old, new = _layers("before", before), _layers("after", after)
    if [z.shape for z in old] != [z.shape for z in new]:
        raise wrong(
            "after",
            f"the shapes of before, {[tuple(z.shape) for z in old]}",
            f"{[tuple(z.shape) for z in new]}",
        )
    flips = torch.stack([((z >= 0) != (y >= 0)).sum() for z, y in zip(old, new, strict=True)]).sum()
    return flips / sum(z.numel() for z in old)


def dead_zone_share(z: Tensors, t: float = 1.5) -> Tensor:
    """The share of values that ReSTE gives no gradient: ``|z| > t``. Shapes: z any; returns ``()`` in [0, 1]."""
    check_number("t", t, above=0)
    return _share([x.abs() > t for x in _layers("z", z)])


def plateau_share(z: Tensors, m: float = 0.1) -> Tensor:
    """The share of values where ReSTE's slope is cut off at its largest: ``|z| <= m``. Shapes: z any; returns ``()``."""
    check_number("m", m, above=0)
    return _share([x.abs() <= m for x in _layers("z", z)])


def _distance(z: Tensor, primitive: Primitive) -> Tensor:
    z = z.detach()
    return torch.linalg.vector_norm(primitive(z) - sign(z))


def _sizes(gradient: Tensors) -> list[Tensor]:
    """``|g|`` of each layer, in float32 at least: squares of half-precision gradients vanish."""
    layers = [g.detach() for g in _layers("gradient", gradient)]
    return [g.abs() if g.dtype == torch.float64 else g.float().abs() for g in layers]


def _share(masks: list[Tensor]) -> Tensor:
    counts = torch.stack([mask.sum() for mask in masks]).sum()
    return counts / sum(mask.numel() for mask in masks)


def _layers(argument: str, given: Tensors) -> list[Tensor]:
    layers = [given] if isinstance(given, Tensor) else list(given)
    if not layers or any(not isinstance(z, Tensor) or not z.is_floating_point() for z in layers):
        got = "none" if not layers else ", ".join(_kind(z) for z in layers)
        raise wrong(argument, "a floating-point tensor, or a list of them, one a layer", got, error=TypeError)
    return layers


def _kind(z: object) -> str:
    return str(z.dtype) if isinstance(z, Tensor) else type(z).__name__
