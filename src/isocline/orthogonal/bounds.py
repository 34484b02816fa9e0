"""Bounds that hold for every image size, and the upper one for every padding: certified, from the weight alone."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache
from math import ceil, cos, pi, prod
from typing import Any

import torch
from torch import Tensor, nn

from isocline._core.checks import check_finite, check_number, wrong
from isocline._core.files import plain
from isocline.orthogonal.frequencies import frequency_blocks, half_grid
from isocline.orthogonal.functional import lag_gram, narrow_side
from isocline.orthogonal.moments import eigenvalue_ceiling, moments, suprema
from isocline.orthogonal.shapes import ConvShape, tap_stride, weight_of


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is certain of a layer's singular values, whatever the image size. Roundings are on the safe side.

    sigma_max bounds the largest one from above with circular padding, zeros (any amount) and none. sigma_min bounds the
    smallest from below, and err_s the spectral norm of ``KK KK^T - I`` or ``KK^T KK - I`` (the smaller) from above,
    with circular padding: at a border that is cut off, nothing bounds the smallest value from below.
    """

    sigma_max: float
    sigma_min: float
    err_s: float
    l_orth: float
    alpha: float  # err_s^2 <= alpha L_orth [ours]
    alpha_paper: float  # and as in the paper, from S N >= 2 k - 1 on
    how: str  # the theorem behind sigma_max
    how_err_s: str  # and the one behind err_s

    def __str__(self) -> str:
        return (
            f"{self.sigma_min:.6g} <= sigma <= {self.sigma_max:.6g} ({self.how}); L_orth = {self.l_orth:.4g}, "
            f"err_s <= {self.err_s:.4g} ({self.how_err_s})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {field.name: plain(getattr(self, field.name)) for field in fields(self)}


@torch.no_grad()
def certified_bounds(conv: nn.Module, *, grid: int | None = None) -> Bounds:
    """Bounds on the singular values of a convolution for every input size, the upper one for every padding.

    Without `grid`, from two moments of the Gram matrices (`isocline.orthogonal.moments`): under a millisecond for 64 x
    64 x 3 x 3; within 1 % for a nearly orthogonal layer, 1 to 14 % above the truth for the trained ones of
    `benchmarks/orthogonal.py`, 50 % for noise.

    With ``grid=n``, n > q - 1 points an axis, q taps an axis of the polyphase kernel: ``sigma_max <= max over the grid
    / cos(pi (q - 1) / (2 n))^d``, 1 % above the truth for k = 3, n = 32; it costs up to the exact spectrum of an n x n
    image. A matrix at a frequency is decomposed only when its moments do not rule out that it is the largest.

    Raises TypeError for what is no torch convolution, ValueError for weights that are not finite or a grid too coarse.
    Source: [ours]; the grid by the argument of Duffin and Schaeffer 1937 for functions of exponential type, axis by axis.

    >>> conv = nn.Conv2d(1, 1, 3, bias=False)
    >>> _ = nn.init.dirac_(conv.weight)
    >>> round(certified_bounds(conv).sigma_max, 4)
    1.0
    """
    weight, shape = weight_of(conv)
    check_finite("weight", weight)
    A = narrow_side(weight[None], shape)[0][0]
    q = tuple(A.shape[3:])
    points = None if grid is None else _checked_grid(grid, q)
    found = moments(A)
    highest, wide = suprema(found)
    ends = torch.stack([highest, wide, found.residual, found.rounding]).amax(1).tolist()
    top, widest, residual, margin = ends[0] ** 0.5, *ends[1:]
    unseen = (shape.C * (prod(shape.S) - prod(tap_stride(shape)))) if not shape.rows_fewer else 0
    alpha = float(prod(2 * size - 1 for size in q))
    choices = {
        "sup over frequencies of the Frobenius norm": widest,
        "sqrt(alpha L_orth)": alpha**0.5 * (residual**0.5 + margin),
    }
    how = "two moments of the Gram matrices"
    if prod(q) == 1:
        top, how = _single_tap(A), "one tap: its singular values"
    elif points is not None:
        choices["sum over lags of the spectral norm"] = _lag_norms(A)
        sharp = _grid_bound(weight, shape, A, points)
        if sharp < top:
            top, how = sharp, f"grid of {'x'.join(map(str, points))} frequencies, divided by its cosine"
    how_err = min(choices, key=lambda name: choices[name])
    err = choices[how_err]
    if unseen:
        err, how_err = max(err, 1.0), "inputs that no output sees"
    if (1 + err) ** 0.5 < top:
        top, how = (1 + err) ** 0.5, f"sqrt(1 + err_s), {how_err}"
    low = max(0.0, 1 - err) ** 0.5
    total = float(found.residual.sum()) + shape.groups * unseen
    return Bounds(top, low, err, total, alpha, alpha_paper(shape), how, how_err)


def alpha_paper(shape: ConvShape) -> float:
    """The paper's constant in ``err_s^2 <= alpha L_orth``, for ``S N >= 2 k - 1``. Source: AMM, spectral stability theorem.

    >>> alpha_paper(ConvShape(128, 128, 3, 2))
    1152.0
    """
    S = tap_stride(shape)
    rows = prod(2 * ((k - 1) // s) + 1 for k, s in zip(shape.k, S, strict=True)) * shape.M
    columns = prod(2 * k - 1 for k in shape.k) * shape.C
    if shape.C * prod(shape.S) == shape.M:
        return float(min(rows, columns))
    return float(rows if shape.rows_fewer else columns)


def alpha_tight(shape: ConvShape) -> float:
    """Ours, in either case the number of lags, ``(2 ceil(k / S) - 1)^d``; no condition on N in the row case.

    The residual is block-circulant with blocks ``sum_a R_a exp(i w a)``, whose spectral norm is at most
    ``sum_a ||R_a||_F <= sqrt(number of lags) sqrt(L_orth)``.
    """
    return float(prod(2 * ceil(k / s) - 1 for k, s in zip(shape.k, tap_stride(shape), strict=True)))


def _checked_grid(grid: int, q: tuple[int, ...]) -> tuple[int, ...]:
    least = max(q)
    if check_number("grid", grid, least=1, integer=True) < least:
        raise wrong("grid", f"at least {least} points an axis for this kernel", grid, "32 is a good choice")
    return tuple(1 if size == 1 else grid for size in q)


def _single_tap(A: Tensor) -> float:
    """The largest singular value of layers without overlap, above its rounding error."""
    value = torch.linalg.matrix_norm(A.flatten(2), 2).max()
    return float(value) * (1 + 10 * max(A.shape[1:3]) * torch.finfo(A.dtype).eps)


def _lag_norms(A: Tensor) -> float:
    """``err_s <= sum_a ||R_a||_2``, the largest over groups. A ``(g, r, s, *q)``."""
    R = lag_gram(A)
    R[:, 0] -= torch.eye(A.shape[1], dtype=A.dtype, device=A.device)
    norms = torch.linalg.matrix_norm(R, 2)
    taps, most = prod(A.shape[3:]), A.square().sum(tuple(range(1, A.ndim)))
    rounding = (A.shape[2] * taps + 10) * torch.finfo(A.dtype).eps * most
    return float((norms[:, 0] + 2 * norms[:, 1:].sum(1) + 2 * rounding * R.shape[1]).max())


def _grid_bound(weight: Tensor, shape: ConvShape, A: Tensor, points: tuple[int, ...]) -> float:
    """The largest singular value on the grid over its cosine, decomposing only where it may lie."""
    plain_shape = _undilated(shape)
    ceiling = eigenvalue_ceiling(moments(A, points)).amax(0)
    order = ceiling.argsort(descending=True)
    at = half_grid(points)[0].to(order.device)
    best = torch.zeros((), dtype=torch.float64, device=weight.device)
    for chunk in order.split(16):
        if float(ceiling[chunk[0]]) <= float(best) ** 2:
            break
        blocks = frequency_blocks(weight, plain_shape, points, at[chunk])
        best = torch.maximum(best, torch.linalg.svdvals(blocks)[..., 0].max().double())
    unit, taps = torch.finfo(weight.dtype).eps, prod(shape.k)
    safe = float(best) * (1 + 10 * max(A.shape[1:3]) * unit) + (taps + 4) * unit * taps**0.5 * float(
        weight.norm()
    )
    return safe / prod(cos(pi * (size - 1) / (2 * m)) for size, m in zip(A.shape[3:], points, strict=True))


@lru_cache(maxsize=256)
def _undilated(shape: ConvShape) -> ConvShape:
    """The layer on its taps alone: dilation only stretches the axis of frequencies."""
    S = tap_stride(shape)
    out, into = shape.M * shape.groups, shape.C * shape.groups
    return ConvShape(out, into, shape.k, S, 1, shape.groups)
