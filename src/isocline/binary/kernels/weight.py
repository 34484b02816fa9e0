"""The weight that a binary layer multiplies with, ``alpha sign(w)``, as one operation: few passes, one new tensor each way."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..functional import weight_scale
from . import rows
from .elementwise import AT_ZERO, Slope, binarised, dense, slope_times


def scaled_weight(w: Tensor, slope: Slope, mode: str, scale_grad: bool) -> Tensor:
    """``weight_scale(w, mode) sign(w)`` for mode "tensor" or "channel". Shapes: w ``(M, C, ...)``; returns the same."""
    return _Scaled.apply(w, slope, mode, scale_grad)  # type: ignore[no-any-return]


def _rows(t: Tensor) -> Any:
    M = t.shape[0]
    return t.detach().as_strided((M, t.numel() // M), (t.numel() // M, 1)).numpy()


def _over(sums: np.ndarray, n: int, mode: str) -> np.ndarray:
    """Means of each channel's n numbers, or of all."""
    return sums / n if mode == "channel" else np.full_like(sums, sums.sum() / (n * len(sums)))


class _Scaled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, w: Tensor, slope: Slope, mode: str, scale_grad: bool) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.save_for_backward(w)
        w = dense(w)
        out, latent = torch.empty_like(w), _rows(w)
        alpha = np.empty(len(latent))
        rows.absolute_sums(latent, alpha)
        alpha = _over(alpha, latent.shape[1], mode)
        rows.scaled_signs(latent, alpha, _rows(out), AT_ZERO[slope.zero])
        ctx.how, ctx.alpha = (slope, mode, scale_grad), alpha
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        (w,), (slope, mode, scale_grad) = ctx.saved_tensors, ctx.how
        if torch.is_grad_enabled():
            return _again(w, grad, slope, mode, scale_grad), None, None, None
        w = dense(w)
        grad = grad if grad.stride() == w.stride() else torch.empty_like(w).copy_(grad)
        out, latent, upstream = torch.empty_like(w), _rows(w), _rows(grad)
        rows.scaled(upstream, ctx.alpha, _rows(out))
        out = slope_times(w, out, slope, in_place=True)
        if scale_grad:
            along = np.empty(len(latent))
            rows.sums_along(latent, upstream, along, AT_ZERO[slope.zero])
            rows.add_signs(latent, _over(along, latent.shape[1], mode), _rows(out))
        return out, None, None, None


def _again(w: Tensor, grad: Tensor, slope: Slope, mode: str, scale_grad: bool) -> Tensor:
    """A gradient that can be differentiated once more: of the same numbers in PyTorch, computed again."""
    with torch.enable_grad():
        alpha = weight_scale(w if scale_grad else w.detach(), mode)
        assert alpha is not None
        y = binarised(w, slope) * alpha
    return torch.autograd.grad(y, w, grad, create_graph=True)[0]
