"""The maps ``z -> F(z)`` of the piecewise-linear RNN family, and their Jacobians.

Notation of the room: ``M`` states, ``L`` hidden units, ``P`` bases, ``K`` inputs; ``relu(u) = max(u, 0)``
with slope 0 at 0, so a gate is ``u > 0``. ``A`` is the diagonal of the linear part, kept as a vector. States
are the last axis; any leading axes are batch. External inputs enter every map the same way, as a term ``C
s_t`` added to ``h`` (see ``forcing``). Source of all: Hess, Monfared, Brenner and Durstewitz 2023, section
3.1; the dendritic maps: Brenner et al. 2022; the almost-linear map: Brenner et al. 2024.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import linear, relu


def plrnn(z: Tensor, A: Tensor, W: Tensor, h: Tensor) -> Tensor:
    """``A z + W relu(z) + h``. Shapes: z ``(..., M)``; A, h ``(M,)``; W ``(M, M)``; returns ``(..., M)``."""
    return A * z + linear(relu(z), W) + h


def plrnn_jacobian(z: Tensor, A: Tensor, W: Tensor) -> Tensor:
    """``diag(A) + W diag(z > 0)``. Shapes: z ``(..., M)``; returns ``(..., M, M)``, row = output."""
    return torch.diag(A) + W * _gate(z).unsqueeze(-2)


def mean_centred_plrnn(z: Tensor, A: Tensor, W: Tensor, h: Tensor) -> Tensor:
    """``A z + W relu(z - mean(z)) + h``, the mean over the M states. Shapes as in ``plrnn``."""
    return A * z + linear(relu(_centred(z)), W) + h


def mean_centred_plrnn_jacobian(z: Tensor, A: Tensor, W: Tensor) -> Tensor:
    """``diag(A) + W diag(Pz > 0) P`` with ``P = I - 11^T/M``.

    Shapes: z ``(..., M)``; returns ``(..., M, M)``.
    """
    gated = W * _gate(_centred(z)).unsqueeze(-2)
    return torch.diag(A) + _centred(gated)


def dendritic_plrnn(
    z: Tensor, A: Tensor, W: Tensor, h: Tensor, slopes: Tensor, thresholds: Tensor, *, clipped: bool = False
) -> Tensor:
    """``A z + W sum_b a_b relu(z - H_b) + h``; clipped: ``relu(z - H_b) - relu(z)`` in its place.

    Shapes: z ``(..., M)``; A, h ``(M,)``; W ``(M, M)``; slopes a ``(P,)``; thresholds H ``(M, P)``;
    returns ``(..., M)``.
    """
    basis = relu(z.unsqueeze(-1) - thresholds)
    if clipped:
        basis = basis - relu(z).unsqueeze(-1)
    return A * z + linear((basis * slopes).sum(-1), W) + h


def dendritic_plrnn_jacobian(
    z: Tensor, A: Tensor, W: Tensor, slopes: Tensor, thresholds: Tensor, *, clipped: bool = False
) -> Tensor:
    """``diag(A) + W diag(sum_b a_b [z > H_b])``; clipped: minus ``sum_b a_b [z > 0]`` inside the diagonal.

    Shapes: z ``(..., M)``; slopes ``(P,)``; thresholds ``(M, P)``; returns ``(..., M, M)``.
    """
    gate = _gate(z.unsqueeze(-1) - thresholds)
    if clipped:
        gate = gate - _gate(z).unsqueeze(-1)
    return torch.diag(A) + W * (gate * slopes).sum(-1).unsqueeze(-2)


def shallow_plrnn(
    z: Tensor, A: Tensor, W1: Tensor, W2: Tensor, h1: Tensor, h2: Tensor, *, clipped: bool = True
) -> Tensor:
    """``A z + W1 relu(W2 z + h2) + h1``; clipped: ``W1 [relu(W2 z + h2) - relu(W2 z)]`` in its place.

    Shapes: z ``(..., M)``; A, h1 ``(M,)``; W1 ``(M, L)``; W2 ``(L, M)``; h2 ``(L,)``; returns ``(..., M)``. A
    clipped unit is bounded by ``|h2|``; with ``h2 = 0`` the clipped map is linear and W1, W2 get no gradient.
    """
    u = linear(z, W2)
    hidden = relu(u + h2) - relu(u) if clipped else relu(u + h2)
    return A * z + linear(hidden, W1) + h1


def shallow_plrnn_jacobian(
    z: Tensor, A: Tensor, W1: Tensor, W2: Tensor, h2: Tensor, *, clipped: bool = True
) -> Tensor:
    """``diag(A) + W1 diag(gate) W2``, gate by ``shallow_gates``; z ``(..., M)`` to ``(..., M, M)``."""
    return torch.diag(A) + (W1 * shallow_gates(z, W2, h2, clipped=clipped).unsqueeze(-2)) @ W2


def shallow_mean_jacobian(
    z: Tensor, A: Tensor, W1: Tensor, W2: Tensor, h2: Tensor, *, clipped: bool = True
) -> Tensor:
    """Mean of the Jacobians over the first axis of z ``(T, ..., M)``, by averaging the gates first; ``(...,
    M, M)``.
    """
    gate = shallow_gates(z, W2, h2, clipped=clipped).mean(0)
    return torch.diag(A) + (W1 * gate.unsqueeze(-2)) @ W2


def shallow_gates(z: Tensor, W2: Tensor, h2: Tensor, *, clipped: bool = True) -> Tensor:
    """``[W2 z > -h2]``, clipped minus ``[W2 z > 0]``: in {0, 1}, clipped {-1, 0, 1}. z ``(..., M)`` to
    ``(..., L)``.
    """
    u = linear(z, W2)
    return _gate(u + h2) - _gate(u) if clipped else _gate(u + h2)


def almost_linear_rnn(z: Tensor, A: Tensor, W: Tensor, h: Tensor, *, relu_units: int) -> Tensor:
    """``A z + W [z_1 .. z_{M-P}, relu(z_{M-P+1} .. z_M)] + h`` with ``P = relu_units``.

    Shapes as in ``plrnn``.
    """
    linear_units = z.shape[-1] - relu_units
    bent = torch.cat([z[..., :linear_units], relu(z[..., linear_units:])], dim=-1)
    return A * z + linear(bent, W) + h


def almost_linear_rnn_jacobian(z: Tensor, A: Tensor, W: Tensor, *, relu_units: int) -> Tensor:
    """``diag(A) + W diag(gate)``, the gate 1 on the linear units.

    Shapes: z ``(..., M)``; returns ``(..., M, M)``.
    """
    linear_units = z.shape[-1] - relu_units
    gate = torch.cat([torch.ones_like(z[..., :linear_units]), _gate(z[..., linear_units:])], dim=-1)
    return torch.diag(A) + W * gate.unsqueeze(-2)


def unclipped(
    A: Tensor, W1: Tensor, W2: Tensor, h1: Tensor, h2: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The plain map with 2L units that equals the clipped one with L: ``[W1, -W1], [W2; W2], [h2; 0]``.

    So every analysis of the plain map serves the clipped one. Returns (A, W1 ``(M, 2L)``, W2 ``(2L, M)``, h1,
    h2 ``(2L,)``).
    """
    return A, torch.cat([W1, -W1], -1), torch.cat([W2, W2], -2), h1, torch.cat([h2, torch.zeros_like(h2)], -1)


def orbit_bound(A: Tensor, W1: Tensor, h1: Tensor, h2: Tensor) -> Tensor:
    """Where every orbit of the clipped map ends: ``|z_i| <= (sum_l |W1_il| |h2_l| + |h1_i|) / (1 - |A_i|)``.

    Infinite where ``|A_i| >= 1``: nothing bounds that state. Shapes: A, h1 ``(M,)``; W1 ``(M, L)``; h2
    ``(L,)``; returns ``(M,)``, in units of z.
    """
    reach = linear(h2.abs(), W1.abs()) + h1.abs()
    return torch.where(A.abs() < 1, reach / (1 - A.abs()), torch.inf)


def _gate(u: Tensor) -> Tensor:
    return (u > 0).to(u.dtype)


def _centred(z: Tensor) -> Tensor:
    return z - z.mean(-1, keepdim=True)
