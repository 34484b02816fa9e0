"""Layers whose weights, and inputs if wanted, are one bit on the way there and real numbers on the way back.

``y = alpha conv(sign(x), sign(w))``. They are torch's own layers with the latent weight in ``weight``, so initialisation,
optimisers and checkpoints know them. Source: Wu et al. 2023, Section 3.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isocline._core.checks import check_choice, wrong

from .estimators import Estimator, make_estimator
from .functional import sign, weight_scale
from .kernels.convolution import Window, convolved
from .kernels.elementwise import Slope, applies
from .kernels.weight import scaled_weight

SCALES = ("tensor", "none", "channel", "learnable")


class _Binary(nn.Module):
    """What all binary layers share; the class beside it is torch's layer."""

    weight: Tensor
    bias: Tensor | None
    weight_estimator: Estimator
    input_estimator: Estimator | None

    def _binarised(
        self,
        estimator: str | Estimator,
        input_estimator: str | Estimator | None,
        scale: str,
        scale_grad: bool,
    ) -> None:
        self.scale_mode = check_choice("scale", scale, SCALES)
        self.scale_grad = scale_grad
        self.weight_estimator = copy.deepcopy(make_estimator(estimator))
        if input_estimator is None:
            self.input_estimator = None
        elif isinstance(input_estimator, str) and input_estimator == "same":
            self.input_estimator = self.weight_estimator.for_input()
        else:
            self.input_estimator = copy.deepcopy(make_estimator(input_estimator))
        if scale == "learnable":
            self.alpha = nn.Parameter(self._channel_means())

    def binary_weight(self) -> Tensor:
        """``sign(w)``, +1 or -1 (0 at 0 for an estimator with ``zero="zero"``), in the weight's shape; no gradient."""
        return sign(self.weight.detach(), self.weight_estimator.zero)

    def scale(self) -> Tensor | None:
        """alpha: a 0-d tensor, one number an output channel ``(M, 1, ...)``, or None without scale."""
        if self.scale_mode == "learnable":
            return self.alpha
        return weight_scale(self.weight if self.scale_grad else self.weight.detach(), self.scale_mode)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the latent weight (and bias) as torch's own layer does; a learnable scale begins at the channels' means."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5), generator=generator)
        if self.bias is not None:
            bound = 1 / math.sqrt(self.weight[0].numel())
            nn.init.uniform_(self.bias, -bound, bound, generator=generator)
        if getattr(self, "scale_mode", None) == "learnable":
            with torch.no_grad():
                self.alpha.copy_(self._channel_means())

    def _channel_means(self) -> Tensor:
        found = weight_scale(self.weight.detach(), "channel")
        assert found is not None
        return found

    def forward(self, x: Tensor) -> Tensor:
        """As torch's layer, with binary operands. In evaluation alpha multiplies the sums, which are whole and so exact."""
        if not x.is_floating_point():
            raise wrong("x", "a floating-point tensor", x, "convert it with .float()", error=TypeError)
        if self.training or self.input_estimator is None or self.scale_mode == "none":
            return self._product(x, self._operand(), self.bias)
        whole, alpha = self._product(x, self.weight_estimator(self.weight), None), self.scale()
        assert alpha is not None
        y = whole * self._per_output(alpha).to(whole.dtype)
        return y if self.bias is None else y + self._per_output(self.bias).to(whole.dtype)

    def _operand(self) -> Tensor:
        """``alpha sign(w)``; in evaluation exactly the product of `scale` and `binary_weight`, which is what gets packed."""
        slope = _unwatched(self.weight_estimator, self.weight) if self.training else None
        if slope is not None and self.scale_mode in ("tensor", "channel"):
            return scaled_weight(self.weight, slope, self.scale_mode, self.scale_grad)
        w, alpha = self.weight_estimator(self.weight), self.scale()
        return w if alpha is None else w * alpha

    def _product(self, x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
        """Torch's layer of ``sign(x)`` and the weight that is binary already."""
        raise NotImplementedError

    def _bits(self, x: Tensor) -> Tensor:
        return x if self.input_estimator is None else self.input_estimator(x)

    def _per_output(self, numbers: Tensor) -> Tensor:
        """A number for all, or one an output channel, in a shape that multiplies the output."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        said = [super().extra_repr(), f"scale={self.scale_mode!r}"]
        said += [] if self.scale_grad else ["scale_grad=False"]
        said += ["input_estimator=None"] if self.input_estimator is None else []
        return ", ".join(said)


def _unwatched(estimator: Estimator, x: Tensor) -> Slope | None:
    """The estimator for the kernels, if they take x and no hook wants to see it called."""
    if estimator._forward_hooks or estimator._forward_pre_hooks:
        return None
    return estimator.slope() if applies(x) else None


class _BinaryConv(_Binary):
    """The convolutions' share: the border of a padded input is `pad_value`, 0 or a bit."""

    stride: Any
    padding: Any
    dilation: Any
    groups: int

    def _pads(self, pad_value: float) -> None:
        if pad_value not in (0, 1, -1):
            raise wrong("pad_value", "0, 1 or -1", pad_value, "0 is three-valued, 1 and -1 are bits")
        if pad_value != 0 and self.input_estimator is None:
            raise wrong("pad_value", "0 for an input of real numbers", pad_value, "give an input_estimator")
        self.pad_value = int(pad_value)

    def _product(self, x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
        slope, window = self._fused(x), self._window()
        if slope is not None:
            return convolved(x, w, bias, window, slope)
        convolve = (F.conv1d, F.conv2d, F.conv3d)[w.ndim - 3]
        b = window.around(self._bits(x))
        return convolve(b, w, bias, window.stride, window.padding, window.dilation, window.groups)

    def _fused(self, x: Tensor) -> Slope | None:
        """The input's estimator, if sign and convolution can be one operation."""
        plain = self.weight.dtype == x.dtype and x.ndim == self.weight.ndim
        if self.input_estimator is None or not plain or torch.is_autocast_enabled("cpu"):
            return None
        return _unwatched(self.input_estimator, x)

    def _window(self) -> Window:
        pads = tuple(self._reversed_padding_repeated_twice)  # type: ignore[attr-defined]
        stride, dilation, groups = tuple(self.stride), tuple(self.dilation), self.groups
        if self.pad_value == 0 and pads[::2] == pads[1::2]:
            return Window(stride, pads[::-2], dilation, groups)
        return Window(stride, (0,) * len(stride), dilation, groups, pads, float(self.pad_value))

    def _per_output(self, numbers: Tensor) -> Tensor:
        return numbers if numbers.ndim == 0 else numbers.reshape(-1, *(1,) * (self.weight.ndim - 2))

    def extra_repr(self) -> str:
        return super().extra_repr() + (f", pad_value={self.pad_value}" if self.pad_value else "")


def _convolution(base: type[nn.Module], axes: int) -> Any:
    """The constructor that the three convolutions share."""

    def __init__(
        self: Any,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = False,
        *,
        estimator: str | Estimator = "reste",
        input_estimator: str | Estimator | None = "same",
        scale: str = "tensor",
        scale_grad: bool = True,
        pad_value: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        base.__init__(
            self,
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            device=device,
            dtype=dtype,
        )
        self._binarised(estimator, input_estimator, scale, scale_grad)
        self._pads(pad_value)

    return __init__


class BinaryConv1d(_BinaryConv, nn.Conv1d):
    """A convolution along one axis with binary weights; arguments as `BinaryConv2d`, input ``(B, C, L)``."""

    __init__ = _convolution(nn.Conv1d, 1)


class BinaryConv2d(_BinaryConv, nn.Conv2d):
    """``y = alpha conv(sign(x), sign(w))``: `torch.nn.Conv2d` with binary weights and, if wanted, inputs.

    Input ``(B, C, H, W)``, output ``(B, M, H', W')``; the first eight arguments are torch's, without bias unless asked for.
    estimator: name or object for the weights, of which the layer keeps a copy of its own. input_estimator: "same", another, or
    None for real inputs (1W/32A). scale: alpha is the mean of ``|w|`` over the "tensor", over each output "channel", one
    "learnable" number a channel, or "none"; scale_grad: whether its dependence on w is part of the gradient.
    pad_value: what stands outside a padded binary input; 0 as published, +1 or -1 stay in one bit.

    Raises: ValueError for an unknown name or pad_value, TypeError for an input of whole numbers.

    >>> layer = BinaryConv2d(3, 8, 3, padding=1)
    >>> layer(torch.randn(2, 3, 8, 8)).shape
    torch.Size([2, 8, 8, 8])
    """

    __init__ = _convolution(nn.Conv2d, 2)


class BinaryConv3d(_BinaryConv, nn.Conv3d):
    """A convolution along three axes with binary weights; arguments as `BinaryConv2d`, input ``(B, C, D, H, W)``."""

    __init__ = _convolution(nn.Conv3d, 3)


class BinaryLinear(_Binary, nn.Linear):
    """``y = alpha sign(x) sign(W)^T``: `torch.nn.Linear` with binary weights; arguments as `BinaryConv2d`.

    Input ``(..., C)``, output ``(..., M)``.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = False,
        *,
        estimator: str | Estimator = "reste",
        input_estimator: str | Estimator | None = "same",
        scale: str = "tensor",
        scale_grad: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        nn.Linear.__init__(self, in_features, out_features, bias, device=device, dtype=dtype)
        self._binarised(estimator, input_estimator, scale, scale_grad)

    def _product(self, x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
        return F.linear(self._bits(x), w, bias)

    def _per_output(self, numbers: Tensor) -> Tensor:
        return numbers if numbers.ndim == 0 else numbers.reshape(-1)
