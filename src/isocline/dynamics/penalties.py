"""What is minimised: the squared error over what was observed, and the penalties beside it.

Source: Hess et al. 2023, section 3.4; the manifold attractor penalty: Schmidt et al. 2021.
"""

from __future__ import annotations

import torch
from torch import Tensor


def observed_loss(predicted: Tensor, observed: Tensor) -> Tensor:
    """Mean squared error over the entries of ``observed`` that are not NaN.

    Any equal shapes; returns a scalar.
    """
    missing = observed.isnan()
    error = torch.where(missing, 0, predicted - torch.where(missing, 0, observed))
    return error.square().sum() / (~missing).sum().clamp_min(1)


def shrinkage(A: Tensor, *weights: Tensor) -> Tensor:
    """``sum (1 - A)^2 + sum w^2`` over the weights: sums, not means; A is pulled to 1. Returns a scalar.

    For the shallow PLRNN the weights are W1, W2, h1, h2 and, with inputs, C.
    """
    return (1 - A).square().sum() + sum((weight.square().sum() for weight in weights), A.new_zeros(()))


def condition_penalty(B: Tensor) -> Tensor:
    """``(1 - s_max / (s_min + 1e-8))^2`` of the observation matrix ``(N, M)``: keeps its inverse gentle."""
    singular = torch.linalg.svdvals(B)
    return (1 - singular[..., 0] / (singular[..., -1] + 1e-8)).square()


def manifold_attractor_penalty(A: Tensor, W: Tensor, h: Tensor, *, units: int) -> Tensor:
    """``|1 - A| + |W| + |h|`` over the last ``units`` states (rows of W): plain norms. They become slow
    memories.

    Shapes: A, h ``(M,)``; W ``(M, M)``; returns a scalar.
    """
    first = A.shape[-1] - units
    return (1 - A[first:]).norm() + W[first:].norm() + h[first:].norm()
