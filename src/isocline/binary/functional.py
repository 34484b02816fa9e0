"""The formulas of binary networks: the sign, ReSTE's surrogate gradient and its primitive, the schedule, the weights' scale.

Glossary: z latent value (weight or activation), b = sign(z) what the network computes with, g(z) the surrogate that stands
for d sign/dz on the way back, f its primitive, o ReSTE's power (its sharpness), t and m its two truncations, alpha the scale
of the binary weights. The other papers' surrogates are in `surrogates`.

Source: Wu, Zheng, Liu, Zheng, *Estimator Meets Equilibrium Perspective: A Rectified Straight Through Estimator for Binary
Neural Networks Training*, ICCV 2023.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from isocline._core.checks import check_choice, wrong

if TYPE_CHECKING:
    from .estimators import Estimator

__all__ = [
    "binarize",
    "power",
    "reste_primitive",
    "reste_surrogate",
    "reste_truncated",
    "sign",
    "straight_through",
    "weight_scale",
]

Zero = Literal["one", "zero"]
Number = Tensor | float
ZEROS = ("one", "zero")
SCALES = ("none", "tensor", "channel")


def sign(z: Tensor, zero: Zero = "one") -> Tensor:
    """+1 where ``z >= 0``, -1 below; NaN stays NaN. ``zero="zero"`` gives 0 at 0, the third value of published code.

    Shapes: z any; returns the same, in its dtype. The minus zero is a zero.

    >>> sign(torch.tensor([-2.0, 0.0, 3.0, float("nan")]))
    tensor([-1.,  1.,  1., nan])
    """
    at_rest = 1.0 if zero == "one" else 0.0
    return torch.where(z > 0, 1.0, torch.where(z < 0, -1.0, torch.where(z == 0, at_rest, z)))


def reste_primitive(z: Tensor, o: Number) -> Tensor:
    """``f(z; o) = sign(z) |z|^(1/o)``: the identity at o = 1, the sign as o grows.

    Shapes: z any, o scalar >= 1; returns z's. Source: Wu et al. 2023, the power function of Section 3.
    """
    return torch.sign(z) * z.abs() ** (1 / o)


def reste_surrogate(z: Tensor, o: Number, t: Number = 1.5, m: Number = 0.1) -> Tensor:
    """The rectified estimator's slope: ``f'`` between the truncations m and t, a plateau below, nothing above.

    ::

        g(z) = m^(1/o - 1)               |z| <= m      the secant of f over [0, m]
             = (1/o) |z|^(1/o - 1)       m < |z| <= t
             = 0                         |z| > t

    Shapes: z any; o >= 1 and t >= m > 0 scalars; returns z's shape and dtype. At o = 1 it is a straight-through
    estimator clipped at t. Source: Wu et al. 2023, the truncated gradient of Section 3.
    """
    a = z.abs()
    c = 1 / o - 1
    slope = a.clamp(min=m).clamp(max=t) ** c / o  # clamped: no dtype overflows near 0
    beyond = torch.where(a > t, 0.0, a)  # NaN stays NaN, whatever its power is
    return torch.where(a <= m, m**c, torch.where(a <= t, slope, beyond))


def reste_truncated(z: Tensor, o: Number, t: Number = 1.5, m: Number = 0.1) -> Tensor:
    """What `reste_surrogate` is the slope of, piece by piece: a line through 0 up to m, f up to t, the sign beyond.

    Shapes: z any; returns z's. Source: Wu et al. 2023, Section 3.
    """
    a = z.abs()
    curve = torch.where(a > t, 1.0, a.clamp(min=m) ** (1 / o))
    return torch.sign(z) * torch.where(a <= m, a * m ** (1 / o - 1), curve)


def power(progress: Number, o_end: float = 3.0) -> Any:
    """ReSTE's power along training: ``o = 1 + (1 - cos(pi p / 2)) (o_end - 1)``, slow at first.

    progress p in [0, 1], a number or a tensor: epochs (or steps) done / all of them. 1 at the start, o_end at the end.
    Source: Wu et al. 2023, Section 4 (the growth of o), in the cosine form of the published runs.

    >>> power(0.0), power(1.0)
    (1.0, 3.0)
    """
    cosine = (
        torch.cos(progress * (math.pi / 2))
        if isinstance(progress, Tensor)
        else math.cos(progress * math.pi / 2)
    )
    return 1 + (1 - cosine) * (o_end - 1)


def weight_scale(weight: Tensor, mode: str = "tensor") -> Tensor | None:
    """``alpha = mean |w|``: of the whole tensor ``()``, of each output channel ``(M, 1, ...)``, or None for ``"none"``.

    Shapes: weight ``(M, C, ...)``. Source: Wu et al. 2023, Section 3 (one scalar a layer); per channel: Rastegari et al.
    2016 (XNOR-Net).

    >>> weight_scale(torch.tensor([[1.0, -3.0], [0.0, 0.5]]), "channel")
    tensor([[2.0000],
            [0.2500]])
    """
    check_choice("mode", mode, SCALES)
    if mode == "none":
        return None
    return (
        weight.abs().mean()
        if mode == "tensor"
        else weight.abs().mean(tuple(range(1, weight.ndim)), keepdim=True)
    )


def binarize(x: Tensor, estimator: str | Estimator = "reste") -> Tensor:
    """``sign(x)``, with the estimator's surrogate as its derivative.

    Shapes: x any floating-point tensor; returns the same. estimator: a name (`isocline.binary.ESTIMATORS`) or an object.
    Raises: ValueError for an unknown name, TypeError for a tensor of whole numbers. NaN stays NaN.

    >>> x = torch.tensor([-0.5, 0.05, 2.0], requires_grad=True)
    >>> b = binarize(x, "clipped_ste")
    >>> b.sum().backward()
    >>> b.detach(), x.grad
    (tensor([-1.,  1.,  1.]), tensor([1., 1., 0.]))
    """
    from .estimators import make_estimator  # they are built of these formulas

    return make_estimator(estimator)(x)


def straight_through(
    x: Tensor, there: Callable[..., Tensor], back: Callable[..., Tensor], *parameters: Number
) -> Tensor:
    """``there(x, *parameters)``, whose derivative to x is taken to be ``back(x, *parameters)``, elementwise.

    Shapes: x any floating-point tensor; returns the same. The derivative to the parameters is 0; a second derivative is
    that of ``back``. Raises TypeError for a tensor of whole numbers.
    """
    if not x.is_floating_point():
        raise wrong("x", "a floating-point tensor", x, "convert it with .float()", error=TypeError)
    if not x.requires_grad:  # also: torch.compile cannot trace the function below without a gradient
        return there(x, *parameters)
    return _StraightThrough.apply(x, there, back, *parameters)  # type: ignore[no-any-return]


class _StraightThrough(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor, there: Callable[..., Tensor], back: Callable[..., Tensor], *parameters: Number
    ) -> Tensor:
        return there(x, *parameters)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, _, ctx.back, *parameters = inputs
        ctx.numbers = [None if isinstance(p, Tensor) else p for p in parameters]
        ctx.save_for_backward(x, *(p for p in parameters if isinstance(p, Tensor)))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, *tensors = ctx.saved_tensors
        saved = iter(tensors)
        parameters = [next(saved) if number is None else number for number in ctx.numbers]
        return grad * ctx.back(x, *parameters), None, None, *(None for _ in parameters)
