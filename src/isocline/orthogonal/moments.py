"""A bound on every singular value of a convolution, at every size and padding, from two moments of its Gram matrices.

With ``K(w) = sum_q A_q exp(-i w q)``, r x s, and ``G(w) = K(w) K(w)^H``, every squared singular value of the layer is
at most ``sup_w lambda_max(G(w))``, whatever the size, and with zeros or without padding too (a smaller matrix, cut out
of a larger). For any centre c, ``lambda_max <= c + ||G - c I||_F``, and the norm is that of a trigonometric polynomial,
whose supremum its values on a grid bound. All [ours]; the best c at one frequency is Wolkowicz and Styan 1980, *Bounds
for eigenvalues using traces*.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import cos, pi, prod

import torch
from torch import Tensor

from isocline.orthogonal.frequencies import half_grid

_POINTS = {1: 256, 2: 40, 3: 20}  # of the fine grid, an axis


@dataclass(frozen=True, slots=True)
class Moments:
    """Of the Gram matrices of the rows of A, ``(B, r, s, *q)``: all figures hold for every frequency, group by group."""

    size: int  # r
    residual: Tensor  # (B,) sum of squares of all lags of G - I: L_orth
    trace: Tensor  # (B, P) tr G(w) on a fine grid
    square: Tensor  # (B, P) tr G(w)^2
    between: float  # sup over all w <= max over the grid / between, for norms of degree q - 1
    rounding: Tensor  # (B,) by how much any ||G(w) - c I||_F may be off


def moments(A: Tensor, points: tuple[int, ...] | None = None) -> Moments:
    """The two moments, from the Gram matrices at the ``2 q - 1`` frequencies an axis that determine all others.

    Shapes: A ``(B, r, s, *q)`` real; points: of the fine grid, one number an axis. Sums of squares are taken in float64.
    """
    plan = _plan(tuple(A.shape[3:]), A.dtype, A.device, points)
    B, r, s = A.shape[:3]
    parts = plan.basis @ A.reshape(B * r * s, -1).T  # (2 F, B r s), cosines and sines by turns
    X = parts.reshape(-1, 2, B, r, s).permute(2, 0, 1, 3, 4).reshape(-1, 2, r, s)
    real = (X.flatten(0, 1) @ X.flatten(0, 1).mT).reshape(B, -1, 2, r, r).sum(2)
    mixed = (X[:, 1] @ X[:, 0].mT).reshape(B, -1, r, r)
    imaginary = mixed - mixed.mT
    traces = real.diagonal(dim1=-2, dim2=-1).sum(-1, dtype=torch.float64)
    P_real, P_imaginary = _inner(real), _inner(imaginary)
    square = ((plan.real @ P_real) * plan.real).sum(-1) + (
        (plan.imaginary @ P_imaginary) * plan.imaginary
    ).sum(-1)
    own = (P_real + P_imaginary).diagonal(dim1=-2, dim2=-1)
    residual = ((own - 2 * traces + r) @ plan.counts) / plan.counts.sum()
    roundings = 2 * s + 2 * plan.basis.shape[1] + 10
    rounding = roundings * torch.finfo(A.dtype).eps / 2 * plan.spread * traces.amax(-1)
    return Moments(r, residual.clamp(min=0), traces @ plan.real.T, square, plan.between, rounding)


def _inner(matrices: Tensor) -> Tensor:
    """All inner products of ``(B, F, r, r)`` among the F, in float64."""
    flat = matrices.flatten(2).double()
    return flat @ flat.mT


def eigenvalue_ceiling(found: Moments) -> Tensor:
    """At each point of the fine grid, ``lambda_max <= m + sd sqrt(r - 1)`` (mean and deviation of r eigenvalues). ``(B, P)``.

    Source: Wolkowicz and Styan 1980.
    """
    mean = found.trace / found.size
    spread = (found.square / found.size - mean.square()).clamp(min=0).sqrt()
    return mean + spread * (found.size - 1) ** 0.5 + found.rounding[:, None]


def suprema(found: Moments) -> tuple[Tensor, Tensor]:
    """Above ``sup_w lambda_max(G(w))``, and above ``err_s = sup_w ||G(w) - I||_2``; each ``(B,)``, float64.

    The second is ``sup_w ||G(w) - I||_F``; the first ``c + sup_w ||G(w) - c I||_F`` for the best of three centres c: 1
    (nearly orthogonal layers), what is best at the frequency that looks worst, and half of it.
    """
    r = found.size
    mean = found.trace / r
    spread = (found.square / r - mean.square()).clamp(min=0).sqrt()
    worst = (mean + spread * (r - 1) ** 0.5).argmax(1, keepdim=True)
    best = (mean - spread / max(1, r - 1) ** 0.5).gather(1, worst).clamp(min=0) if r > 1 else 0 * mean[:, :1]
    centres = torch.cat([torch.ones_like(best), best, 0.5 * best], 1)
    norms = _norm(found, centres)
    return (centres + norms).amin(1), norms[:, 0]


def _norm(found: Moments, centres: Tensor) -> Tensor:
    """``sup_w ||G(w) - c I||_F`` for centres ``(B, n)``: the maximum over the grid, what may hide between, and rounding."""
    c = centres[:, :, None]
    square = found.square[:, None] - 2 * c * found.trace[:, None] + c.square() * found.size
    return square.amax(-1).clamp(min=0).sqrt() / found.between + found.rounding[:, None]


@dataclass(frozen=True, slots=True)
class _Plan:
    basis: Tensor  # (2 F, taps) cosines and sines of the half grid of 2 q - 1 points an axis
    counts: Tensor  # (F,)
    real: Tensor  # (P, F) the real part of G anywhere, from the real parts on the half grid
    imaginary: Tensor  # (P, F) and the imaginary part, likewise
    between: float
    spread: float  # at most this times the largest error on the half grid is an error anywhere


@lru_cache(maxsize=64)
def _plan(
    q: tuple[int, ...], dtype: torch.dtype, device: torch.device, points: tuple[int, ...] | None
) -> _Plan:
    n = tuple(2 * size - 1 for size in q)
    at, counts = half_grid(n)
    sizes = torch.tensor(n, dtype=torch.float64)
    taps = torch.cartesian_prod(*(torch.arange(size) for size in q)).reshape(-1, len(q)).double()
    known = 2 * pi * at / sizes  # (F, d) radians
    angle = -known @ taps.T
    basis = torch.stack([angle.cos(), angle.sin()], 1).flatten(0, 1)
    points = points or tuple(1 if size == 1 else max(_POINTS[len(q)], 4 * size) for size in q)
    fine = 2 * pi * half_grid(points)[0] / torch.tensor(points, dtype=torch.float64)
    here, mirrored = (_dirichlet(fine[:, None] + sign * known, n) for sign in (-1, 1))
    twice = counts == 2
    real, imaginary = here + twice * mirrored, twice * (here - mirrored)
    between = prod(cos(pi * (size - 1) / m) for size, m in zip(q, points, strict=True))
    spread = float((here.abs() + twice * mirrored.abs()).sum(1).max())
    move = {"device": device, "dtype": torch.float64}
    return _Plan(
        basis.to(device, dtype),
        counts.to(**move),
        real.to(**move),
        imaginary.to(**move),
        between,
        spread / between,
    )


def _dirichlet(angle: Tensor, n: tuple[int, ...]) -> Tensor:
    """``prod sum_{|a| < q} cos(a angle) / n``, which is 1 at 0 and 0 at the other points of the grid. ``(.., d) -> (..)``."""
    value = torch.ones(angle.shape[:-1], dtype=torch.float64)
    for axis, size in enumerate(n):
        a = torch.arange(1, size // 2 + 1)
        value = value * (1 + 2 * (angle[..., axis, None] * a).cos().sum(-1)) / size
    return value
