"""Sign and convolution as one operation: the binarised input is made again on the way back instead of being kept.

Apart, the sign keeps x and the convolution the sign of x: twice the memory. The gradient that the convolution returns is
nobody else's, so the slope is multiplied into it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .elementwise import Slope, binarised, dense, scratch, sign_of, slope_times


@dataclass(frozen=True, slots=True)
class Window:
    """The arguments of a convolution; border: what is put around the input first, as `torch.nn.functional.pad` takes it."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    border: tuple[int, ...] = ()
    value: float = 0.0

    def around(self, s: Tensor) -> Tensor:
        return F.pad(s, self.border, value=self.value) if self.border else s

    def inside(self, padded: Tensor) -> Tensor:
        """The part of a gradient that belongs to the input without its border."""
        sizes = padded.shape[2:]
        for axis, size in enumerate(sizes):
            before, after = self.border[-2 * axis - 2], self.border[-2 * axis - 1]
            padded = padded.narrow(axis + 2, before, size - before - after)
        return padded

    def convolve(self, s: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
        nothing = (0,) * len(self.stride)
        return torch.convolution(
            self.around(s), w, bias, self.stride, self.padding, self.dilation, False, nothing, self.groups
        )


def convolved(x: Tensor, w: Tensor, bias: Tensor | None, window: Window, slope: Slope) -> Tensor:
    """``conv(sign(x), w) + bias``; w is binary and scaled already. Shapes: x ``(B, C, ...)``, w ``(M, C / groups, ...)``."""
    return _Convolved.apply(x, w, bias, window, slope)  # type: ignore[no-any-return]


class _Convolved(torch.autograd.Function):
    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, x: Tensor, w: Tensor, bias: Tensor | None, window: Window, slope: Slope
    ) -> Tensor:
        ctx.save_for_backward(x, w, bias)
        ctx.window, ctx.slope = window, slope
        x = dense(x)
        return window.convolve(sign_of(x, slope.zero, scratch(x)), w, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        if torch.is_grad_enabled():
            return *_again(ctx, grad), None, None
        (x, w, bias), window, slope = ctx.saved_tensors, ctx.window, ctx.slope
        x = dense(x)
        to_x, to_w, to_bias = ctx.needs_input_grad[:3]
        s = window.around(sign_of(x, slope.zero, scratch(x)))
        gs, gw, gb = torch.ops.aten.convolution_backward(
            grad,
            s,
            w,
            None if bias is None else list(bias.shape),
            window.stride,
            window.padding,
            window.dilation,
            False,
            (0,) * len(window.stride),
            window.groups,
            (to_x, to_w, to_bias),
        )
        if to_x:
            gs = slope_times(x, window.inside(gs) if window.border else gs, slope, in_place=True)
        return gs, gw, gb, None, None


def _again(ctx: Any, grad: Tensor) -> list[Tensor | None]:
    """Gradients that can be differentiated once more: of the same operation as PyTorch's own, run again."""
    (x, w, bias), window, slope = ctx.saved_tensors, ctx.window, ctx.slope
    inputs = [t for t, wanted in zip((x, w, bias), ctx.needs_input_grad, strict=False) if wanted]
    with torch.enable_grad():
        y = window.convolve(binarised(x, slope), w, bias)
    found = iter(torch.autograd.grad(y, inputs, grad, create_graph=True))
    return [next(found) if wanted else None for wanted in ctx.needs_input_grad[:3]]
