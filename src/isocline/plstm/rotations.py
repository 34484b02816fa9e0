"""Transitions that turn a state: matrices ``T = O diag(a) I`` with O and I orthogonal, so that a alone decides what lasts."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from isocline.plstm.gates import affine, small_init_
from isocline.plstm.kernels.keeping import full_precision

PUBLISHED, EXACT = 16, 19  # terms of the power series, 1 and K included; 1 / 19! is below float64's rounding
HALVINGS = 6  # exact to rounding for generators of norm up to 64


def rotation(A: Tensor) -> Tensor:
    """``exp(A - A^T)``, an orthogonal matrix, by scaling, a power series, and squaring.

    No step depends on values, so nothing waits for the device. Shapes: ``(..., J, J)``; returns the same. Source: pLSTM,
    the exponential map of state tracking.
    """
    turned = power_series((A - A.mT) / 2**HALVINGS, EXACT)
    for _ in range(HALVINGS):
        turned = turned @ turned
    return turned


def power_series(K: Tensor, terms: int = PUBLISHED) -> Tensor:
    """``1 + K + ... + K^15 / 15!``, the published stand-in for ``exp(K)``; orthogonal only while K is small (norm < 4).

    Shapes: ``(..., J, J)``; returns the same.
    """
    one = torch.eye(K.shape[-1], dtype=K.dtype, device=K.device)
    total = one.expand_as(K)
    for n in range(terms - 1, 0, -1):
        total = one + K @ total / n
    return total


def rotated(O: Tensor, a: Tensor, I: Tensor) -> Tensor:
    """``O diag(a) I``. Shapes: O, I ``(..., J, J)``; a ``(..., J)``; returns ``(..., J, J)``, of spectral norm ``max |a|``."""
    with full_precision():
        return (O * a.unsqueeze(-2)) @ I


class MatrixTransition(nn.Module):
    """Input-dependent ``T = O diag(tanh(5 z)) I`` for every head; its spectral norm is below one.

    Shapes: x ``(..., D)`` to ``(..., heads, J, J)``, in float32 at least. ``exact=False`` takes the published power series in
    place of the exponential.
    """

    def __init__(self, dim: int, heads: int, channels: int, bias: float, *, exact: bool = True) -> None:
        super().__init__()
        self.start, self.exact = float(bias), exact
        shape = (heads, channels, channels)
        self.out_weight, self.in_weight = (nn.Parameter(torch.empty(*shape, dim)) for _ in range(2))
        self.out_bias, self.in_bias = (nn.Parameter(torch.empty(shape)) for _ in range(2))
        self.weight = nn.Parameter(torch.empty(heads, channels, dim))
        self.bias = nn.Parameter(torch.empty(heads, channels))
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Random rotations of every head, SmallInit for what depends on the input, ``tanh(5 bias)`` along the axes."""
        for bias in (self.out_bias, self.in_bias):
            nn.init.normal_(bias, std=bias.shape[-1] ** -0.5, generator=generator)
        for weight in (self.out_weight, self.in_weight):
            small_init_(weight, generator)
        nn.init.zeros_(self.weight)
        nn.init.constant_(self.bias, self.start)

    def forward(self, x: Tensor) -> Tensor:
        O, z, I = self.parts(x)
        return rotated(O, torch.tanh(5 * z), I)

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """O, z and I before the activation. Shapes: ``(..., heads, J, J)``, z ``(..., heads, J)``."""
        with full_precision():
            O, I = (
                self._orthogonal(_field(x, weight, bias))
                for weight, bias in ((self.out_weight, self.out_bias), (self.in_weight, self.in_bias))
            )
            return O, _field(x, self.weight, self.bias), I

    def _orthogonal(self, A: Tensor) -> Tensor:
        return rotation(A) if self.exact else power_series(A - A.mT)

    def extra_repr(self) -> str:
        heads, channels, dim = self.weight.shape
        return f"{dim}, {heads}, {channels}, {self.start:g}, exact={self.exact}"


def _field(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """An affine map whose outputs have the shape of `bias`."""
    return affine(x, weight.flatten(0, -2), bias.flatten()).unflatten(-1, bias.shape)
