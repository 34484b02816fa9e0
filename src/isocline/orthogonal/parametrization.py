"""A convolution that stays exactly orthogonal while it is trained: its kernel is a product of orthogonal factors."""

from __future__ import annotations

from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from isocline._core.checks import wrong
from isocline.orthogonal.existence import usable_phases
from isocline.orthogonal.initial import block_start, positive_qr, refuse_infeasible, semi_orthogonal
from isocline.orthogonal.shapes import ConvShape, weight_of


def block_orthogonal(matrix: Tensor, bases: Tensor, axes: list[int]) -> Tensor:
    """``A(z) = H prod_l ((I - P_l) + P_l z_axis(l))`` with projectors ``P_l = V_l V_l^T``.

    Shapes: matrix H ``(g, r, n, *b)`` (its taps on different phases), bases V ``(g, L, n, m)`` orthonormal columns,
    axes: for each of the L factors the axis along which it adds one tap. Returns ``(g, r, n, *k)``.
    Source: Xiao et al. 2018, Algorithm 1; Li et al. 2019 (BCOP), with factors of one axis each.
    """
    kernel = matrix
    d = matrix.ndim - 3
    for factor, axis in enumerate(axes):
        V = bases[:, factor]
        flat = kernel.flatten(3).transpose(2, 3).flatten(1, 2)  # (g, r taps, n)
        onto = ((flat @ V) @ V.mT).unflatten(1, (kernel.shape[1], -1)).transpose(2, 3).reshape(kernel.shape)
        place = [0, 0] * (d - 1 - axis)
        kernel = F.pad(kernel - onto, [*place, 0, 1]) + F.pad(onto, [*place, 1, 0])
    return kernel


class BlockOrthogonal(nn.Module):
    """The parametrization behind `parametrize_orthogonal`: ``weight = forward(matrix, bases)``, orthogonal to rounding.

    matrix ``(g, large, small)``: its QR is the semi-orthogonal matrix on ``b = min(k, S)`` taps an axis. bases ``(g, L,
    n, m)``: the QR of each spans one projector; ``L = sum(k - b)``. Both take any real values of full rank.
    """

    def __init__(self, shape: ConvShape, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.shape, self.generator = shape, generator
        self.blocks = usable_phases(shape)
        # Wide before the matrix where stride 1 lets the factors act on the outputs, the richer side.
        self.on_outputs = not shape.rows_fewer and prod(self.blocks) == 1
        extra = [k - b for k, b in zip(shape.k, self.blocks, strict=True)]
        factors = [axis for step in range(max(extra)) for axis, n in enumerate(extra) if step < n]
        self.axes = factors if self.channels > 1 else []  # one channel: no projectors but 0 and 1

    @property
    def channels(self) -> int:
        """How many channels the factors act on."""
        return self.shape.M if self.on_outputs else self.shape.C

    def forward(self, matrix: Tensor, bases: Tensor) -> Tensor:
        """The weight ``(M g, C, *k)``. Half precision is computed in float32."""
        dtype = matrix.dtype
        if dtype in (torch.float16, torch.bfloat16):
            matrix, bases = matrix.float(), bases.float()
        M, C, taps = self.shape.M, self.shape.C, prod(self.blocks)
        H = positive_qr(matrix)
        H = H if C * taps <= M else H.mT
        H = H.mT if self.on_outputs else H
        rows = C if self.on_outputs else M
        V = positive_qr(bases) if bases.numel() else bases
        A = block_orthogonal(H.reshape(-1, rows, self.channels, *self.blocks), V, self.axes)
        A = A.transpose(1, 2) if self.on_outputs else A
        if A.shape[3:] != self.shape.k:
            starts = block_start(self.shape, self.blocks)
            ends = [(a, k - a - b) for a, b, k in zip(starts, self.blocks, self.shape.k, strict=True)]
            A = F.pad(A, [size for pair in reversed(ends) for size in pair])
        return A.reshape(self.shape.weight_shape).to(dtype)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """A start for the factors. Only at registration: an arbitrary weight is no product, so assigning one is refused."""
        if hasattr(self, "started"):
            raise wrong(
                "weight", "no assignment", "a tensor", "train it, or remove the parametrization first"
            )
        self.started = True
        M, C, n = self.shape.M, self.shape.C * prod(self.blocks), self.channels
        draw = (self.generator, weight.device)
        H = [semi_orthogonal(max(M, C), min(M, C), *draw) for _ in range(self.shape.groups)]
        m = max(1, n // 2)
        V = [semi_orthogonal(n, m, *draw) for _ in range(self.shape.groups * len(self.axes))]
        bases = torch.stack(V) if V else torch.zeros(0, n, m, dtype=torch.float64, device=weight.device)
        return torch.stack(H).to(weight), bases.reshape(self.shape.groups, -1, n, m).to(weight)

    def extra_repr(self) -> str:
        return f"{self.shape}, {len(self.axes)} factors on {self.channels} channels"


def parametrize_orthogonal(conv: nn.Module, *, generator: torch.Generator | None = None) -> nn.Module:
    """Make a feasible convolution exactly orthogonal, now and after every step of any optimizer; returns the module.

    The weight becomes a function of two unconstrained parameters, drawn anew: a semi-orthogonal matrix on ``b = min(k,
    S)`` taps and ``k - b`` projector factors an axis (`block_orthogonal`). Any stride, dilation, groups, 1 to 3 axes,
    transposed. It reaches a part of all orthogonal kernels (connected, with projectors of half rank), all of them where
    k <= S.

    `plain_convolution` gives a copy without it; ``torch.nn.utils.parametrize.remove_parametrizations(conv, "weight")``
    takes it off.
    Raises ValueError for a layer that cannot be orthogonal, or is parametrized already, TypeError for no convolution.

    >>> conv = parametrize_orthogonal(nn.Conv2d(8, 8, 3))
    >>> from isocline.orthogonal import lorth
    >>> bool(lorth(conv.weight) < 1e-10)
    True
    """
    _, shape = weight_of(conv)
    if parametrize.is_parametrized(conv, "weight"):
        raise wrong("conv", "a weight without parametrization", "one that has some", "remove it first")
    refuse_infeasible(shape)
    parametrize.register_parametrization(conv, "weight", BlockOrthogonal(shape, generator))
    return conv


def plain_convolution(conv: nn.Module) -> nn.Module:
    """A copy of a (parametrized) convolution as a plain torch module with the same weight and bias, for export.

    Takes any torch convolution; mode, device and dtype are kept, and the weight is a parameter of its own.
    """
    weight_of(conv)
    kind = parametrize.type_before_parametrizations(conv)
    made = {name: getattr(conv, name) for name in ("stride", "padding", "dilation", "groups", "padding_mode")}
    if hasattr(conv, "output_padding") and conv.transposed:
        made["output_padding"] = conv.output_padding
    weight, bias = conv.weight, conv.bias
    on = {"device": weight.device, "dtype": weight.dtype, "bias": bias is not None}  # type: ignore[union-attr]
    plain = kind(conv.in_channels, conv.out_channels, conv.kernel_size, **made, **on)
    with torch.no_grad():
        plain.weight.copy_(weight)
        if bias is not None:
            plain.bias.copy_(bias)
    return plain.train(conv.training)
