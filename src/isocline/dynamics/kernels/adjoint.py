"""From the adjoint to every gradient, for all times at once: what is left to do once lambda is known."""

from __future__ import annotations

import torch
from torch import Tensor

from ..maps import shallow_plrnn

Parameters = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def states_fed(z0: Tensor, target: Tensor, weight: Tensor, predicted: Tensor) -> Tensor:
    """``y_0 = z_0, y_t = (1 - w_t) z_t + w_t target_t``: the states that the map was applied to, ``(T, B,
    M)``.

    Shapes: z0 ``(B, M)``; target ``(T, B, D)`` without NaN; weight broadcasts to it; predicted ``(T, B, M)``.
    """
    fed = torch.cat([z0.unsqueeze(0), predicted[:-1]])
    D = target.shape[-1]
    fed[1:, :, :D].lerp_(target[:-1], weight.expand(target.shape)[:-1].contiguous())
    return fed


def parameter_gradients(
    parameters: Parameters, fed: Tensor, adjoint: Tensor, *, clipped: bool
) -> tuple[tuple[Tensor, ...], Tensor]:
    """``sum_t (d+z_t / d theta)^T lambda_t`` for A, W1, W2, h1, h2, and ``J_t^T lambda_t`` for every state
    fed in.

    Shapes: fed, adjoint ``(T, B, M)``; the second result likewise. As products over all times and sequences.
    """
    with torch.enable_grad():
        leaves = [p.detach().requires_grad_() for p in (*parameters, fed)]
        *weights, states = leaves
        stepped = shallow_plrnn(states, *weights, clipped=clipped)
        *found, back = torch.autograd.grad(stepped, leaves, adjoint)
    return tuple(found), back


def weight_gradient(back: Tensor, target: Tensor, predicted: Tensor) -> Tensor:
    """``dl/dw_t = back_{t+1} (target_t - z_t)`` ``(T, B, D)``; the last step's weight has no effect."""
    D = target.shape[-1]
    found = torch.zeros_like(target)
    found[:-1] = back[1:, :, :D] * (target - predicted[..., :D])[:-1]
    return found
