"""The parts of a layer that speak of nothing but features: affine gates, the initialisation, the norm of the heads."""

from __future__ import annotations

from inspect import Parameter, signature

import torch
from torch import Tensor, nn

from isocline._core.checks import check_number, wrong
from isocline.plstm.kernels.keeping import full_precision


def small_init_(weight: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Fill with N(0, 2 / (5 fan)), fan the size of the last axis. Source: Nguyen and Salazar 2019 ("SmallInit")."""
    with torch.no_grad():
        return weight.normal_(0.0, (2 / (5 * weight.shape[-1])) ** 0.5, generator=generator)


def blockwise(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """``gate_j = bias_j + <weight_j, slice_j of x>``: the features are cut into as many slices as there are gates.

    Shapes: x ``(..., D)``; weight ``(gates, D / gates)``; bias ``(gates,)``; returns ``(..., gates)``, float32 at least.
    Source: pLSTM, block-diagonal gates.
    """
    dtype = torch.promote_types(weight.dtype, torch.float32)
    return (x.to(dtype).unflatten(-1, weight.shape) * weight.to(dtype)).sum(-1) + bias.to(dtype)


def affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """``weight x + bias`` in float32 at least, also under autocast. Shapes: ``(..., D)``; returns ``(..., gates)``."""
    dtype = torch.promote_types(weight.dtype, torch.float32)
    with full_precision():
        return nn.functional.linear(x.to(dtype), weight.to(dtype), bias.to(dtype))


class Gate(nn.Module):
    """The affine map in front of a gate's activation; ``sliced`` gates see only their own slice of the features.

    Shapes: ``(..., D)`` to ``(..., gates)``, in float32 at least whatever x is.
    """

    def __init__(
        self, dim: int, gates: int, bias: float, *, sliced: bool = True, small: bool = False
    ) -> None:
        super().__init__()
        if sliced and dim % gates:
            advice = "take dim a multiple of 4 * heads, or sliced_gates=False"
            raise wrong(
                "dim", f"a multiple of the {gates} gates, each of which sees its own slice", dim, advice
            )
        self.start, self.sliced, self.small = float(bias), sliced, small
        self.weight = nn.Parameter(torch.empty(gates, dim // gates if sliced else dim))
        self.bias = nn.Parameter(torch.empty(gates))
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """The bias at its start; weights zero, or SmallInit with ``small``."""
        nn.init.constant_(self.bias, self.start)
        if self.small:
            small_init_(self.weight, generator)
        else:
            nn.init.zeros_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        return (blockwise if self.sliced else affine)(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        gates, width = self.weight.shape
        dim = gates * width if self.sliced else width
        return f"{dim}, {gates}, {self.start:g}, sliced={self.sliced}, small={self.small}"


class HeadNorm(nn.Module):
    """RMS normalisation of every head by itself, a scale for each channel, no bias. Shapes: ``(..., heads, d)``."""

    def __init__(self, heads: int, width: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.scale = nn.Parameter(torch.ones(heads, width))

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        nn.init.ones_(self.scale)

    def forward(self, h: Tensor) -> Tensor:
        wide = h.to(torch.promote_types(h.dtype, torch.float32))
        mean = wide.square().mean(-1, keepdim=True)
        return (wide * torch.rsqrt(mean + self.eps) * self.scale).to(h.dtype)

    def extra_repr(self) -> str:
        return f"{self.scale.shape[0]}, {self.scale.shape[1]}, eps={self.eps:g}"


def head_width(dim: int, heads: int) -> int:
    """The width of a head, after a look at both numbers at the door. Raises: ValueError, TypeError."""
    dim = check_number("dim", dim, least=1, integer=True)
    heads = check_number("heads", heads, least=1, integer=True)
    if dim % heads:
        raise wrong("dim", f"a multiple of heads = {heads}", dim, "every head takes dim / heads features")
    return dim // heads


def check_features(x: Tensor, dim: int, axes: tuple[str, ...]) -> None:
    """Raise a ValueError or TypeError unless x is ``(*axes, dim)``, of floating point numbers."""
    want = f"shape ({', '.join((*axes, str(dim)))})"
    if not isinstance(x, Tensor) or not x.is_floating_point():
        raise wrong("x", f"a tensor of floating point numbers, {want}", x, error=TypeError)
    if x.dim() != len(axes) + 1 or x.shape[-1] != dim:
        raise wrong("x", want, f"{tuple(x.shape)}", f"the last axis holds the {dim} features")
    if "B" in axes and 0 in x.shape:
        raise wrong("x", f"{want}, every axis of size >= 1", f"{tuple(x.shape)}")


def words(layer: nn.Module, **arguments: object) -> str:
    """What the layer was made with, as one would write it: arguments at their defaults are left out."""
    defaults = {name: parameter.default for name, parameter in signature(type(layer)).parameters.items()}
    return ", ".join(
        repr(value) if defaults[name] is Parameter.empty else f"{name}={value!r}"
        for name, value in arguments.items()
        if value != defaults[name]
    )


def finish(modules: nn.Module, generator: torch.Generator | None) -> None:
    """Reset every module inside, in the order of their names."""
    for module in modules.modules():
        if module is not modules and hasattr(module, "reset_parameters"):
            _reset(module, generator)


def _reset(module: nn.Module, generator: torch.Generator | None) -> None:
    if isinstance(module, nn.Linear):
        small_init_(module.weight, generator)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv1d):
        bound = (module.in_channels // module.groups * module.kernel_size[0]) ** -0.5
        nn.init.uniform_(module.weight, -bound, bound, generator=generator)
        if module.bias is not None:
            nn.init.uniform_(module.bias, -bound, bound, generator=generator)
    else:
        module.reset_parameters(generator)  # type: ignore[operator]
