"""The forced recursion in parallel over time: Newton on the whole trajectory.

The map of the states fed in, ``y_t = (1 - w_t) F(y_{t-1}) + w_t target_t``, contracts on average when the
forced Lyapunov exponent ``lambda + ln(1 - alpha)`` is negative. Newton (DEER; Lim et al. 2024) linearises it
around a guess of all y at once and solves the linear recursion by an associative scan, in log2(T) rounds; as
F is piecewise affine it ends exactly once the gates repeat. Where it does not end, on a map that does not
contract, the answer is that of the sequential run. The way back is linear: one scan in reverse, no iteration.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..maps import shallow_plrnn, shallow_plrnn_jacobian
from ..recursion import toward_teacher
from . import reference
from .adjoint import parameter_gradients, weight_gradient

MOST_ITERATIONS = 40


@dataclass(frozen=True, slots=True)
class Trajectory:
    """States fed in, ``y_0 .. y_{T-1}`` ``(T, B, M)``, and how they were found."""

    fed: Tensor
    iterations: int  # Newton steps taken
    residual: float  # largest |y_t - G(y_{t-1})| / (1 + |y_t|) of a step; NaN: it left the finite numbers
    converged: bool  # False: ``fed`` is no trajectory


def affine_scan(J: Tensor, b: Tensor) -> Tensor:
    """All ``y_t = J_t y_{t-1} + b_t`` from ``y_{-1} = 0``, in log2(T) rounds of products of neighbours.

    Shapes: J ``(T, ..., M, M)``; b ``(T, ..., M)``; returns ``(T, ..., M)``. Source: Blelloch 1990.
    """
    T = len(b)
    if T == 1:
        return b
    pairs = T // 2
    later, earlier = J[1::2], J[0 : 2 * pairs : 2]
    odd = affine_scan(later @ earlier, _apply(later, b[0 : 2 * pairs : 2]) + b[1::2])
    even = _apply(J[2::2], odd[: (T - 1) // 2]) + b[2::2]
    result = torch.empty_like(b)
    result[0], result[1::2], result[2::2] = b[0], odd, even
    return result


def newton(
    parameters: tuple[Tensor, ...],
    z0: Tensor,
    forcing: Tensor,
    weight: Tensor,
    drive: Tensor | None,
    *,
    clipped: bool = True,
    most: int = MOST_ITERATIONS,
) -> Trajectory:
    """The states fed in, by Newton from the forcing signals as the first guess; certified by its residual.

    Shapes: parameters (A, W1, W2, h1, h2); z0 ``(B, M)``; forcing ``(T, B, D)`` without NaN; weight like
    forcing; drive ``(T, B, M)``. Converged: the residual is below 1000 roundings, in float64 2.2e-13.
    """
    A, W1, W2, _, h2 = parameters
    T, B, D = forcing.shape
    fed = z0.expand(T, B, -1).clone()
    fed[1:, :, :D] = forcing[:-1]
    keep = torch.ones_like(fed)
    keep[..., :D] -= weight
    tolerance = 1000 * torch.finfo(fed.dtype).eps
    residual = torch.nan
    for iteration in range(most + 1):
        ahead = _advanced(parameters, fed, forcing, weight, drive, clipped)[1][:-1]
        residual = _residual(ahead, fed[1:]) if T > 1 else 0.0
        if residual <= tolerance:
            return Trajectory(fed, iteration, residual, True)
        if residual != residual or iteration == most:
            break
        J = keep[:-1].unsqueeze(-1) * shallow_plrnn_jacobian(fed[:-1], A, W1, W2, h2, clipped=clipped)
        offset = ahead - _apply(J, fed[:-1])
        offset[0] += _apply(J[0], z0)
        fed = torch.cat([z0.unsqueeze(0), affine_scan(J, offset)])
    return Trajectory(fed, iteration, residual, False)


def _residual(ahead: Tensor, fed: Tensor) -> float:
    """How far the worst step misses, each measured by its own state: one huge state must not hide a jump before it."""
    return float(((ahead - fed).abs().amax(-1) / (1 + fed.abs().amax(-1))).amax())


def forced_rollout(
    A: Tensor, W1: Tensor, W2: Tensor, h1: Tensor, h2: Tensor, z0: Tensor, forcing: Tensor, weight: Tensor,
    drive: Tensor | None, clipped: bool,
) -> Tensor:  # fmt: skip
    """Predictions; arguments as in ``reference.forced_rollout``.

    Sequential where Newton does not converge.
    """
    if A.dim() == 2:
        tensors = (A, W1, W2, h1, h2, z0, forcing, weight.expand(forcing.shape), drive)
        return torch.stack(
            [forced_rollout(*each, clipped=clipped) for each in reference.run_by_run(*tensors)]
        )
    missing = forcing.isnan()
    weights = torch.where(missing, 0, weight)
    target = torch.where(missing, 0, forcing)
    parameters = (A, W1, W2, h1, h2)
    with torch.no_grad():
        found = newton(parameters, z0, target, weights, drive, clipped=clipped)
    if not found.converged:
        return reference.forced_rollout(*parameters, z0, forcing, weight, drive, clipped)
    return _Rollout.apply(*parameters, z0, target, weights, drive, clipped, found.fed)


class _Rollout(torch.autograd.Function):
    """The predictions at known states; backward is one reverse scan, then one step's derivative for all
    times.
    """

    @staticmethod
    def forward(*arguments: Any) -> Tensor:
        *parameters, _, target, weight, drive, clipped, fed = arguments
        return _advanced(tuple(parameters), fed, target, weight, drive, clipped)[0]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *tensors, ctx.clipped, fed = inputs
        ctx.save_for_backward(*tensors, fed, output)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        A, W1, W2, h1, h2, _, target, weight, drive, fed, predicted = ctx.saved_tensors
        D = target.shape[-1]
        J = shallow_plrnn_jacobian(fed, A, W1, W2, h2, clipped=ctx.clipped)
        keep = torch.ones_like(fed)
        keep[..., :D] -= weight
        back_by = keep[:-1].unsqueeze(-1) * J[1:].mT  # from lambda_{t+1} to lambda_t
        onward = torch.cat([torch.zeros_like(J[:1]), back_by.flip(0)])
        adjoint = affine_scan(onward, slope.flip(0)).flip(0)
        found, back = parameter_gradients((A, W1, W2, h1, h2), fed, adjoint, clipped=ctx.clipped)
        to_weight = weight_gradient(back, target, predicted)
        return *found, back[0], None, to_weight, None if drive is None else adjoint, None, None


def _advanced(
    parameters: tuple[Tensor, ...],
    fed: Tensor,
    target: Tensor,
    weight: Tensor,
    drive: Tensor | None,
    clipped: bool,
) -> tuple[Tensor, Tensor]:
    """Predictions and next states fed in, from all states fed in at once."""
    predicted = shallow_plrnn(fed, *parameters, clipped=clipped)
    predicted = predicted if drive is None else predicted + drive
    return predicted, toward_teacher(predicted, target, weight)


def _apply(J: Tensor, x: Tensor) -> Tensor:
    return (J @ x.unsqueeze(-1)).squeeze(-1)
