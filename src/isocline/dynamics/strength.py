"""alpha from the Jacobians of a whole ensemble along its windows: what ``AdaptiveForcing`` asks for during training.

The Jacobians are taken at the forcing signals, that is at the states the data say, not at those visited. Missing
samples are left out of the product. On the CPU Jacobians and their exact product are compiled, as they are asked for
every few updates and would otherwise cost more than those do. Source: Hess et al. 2023, section 3.3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from numba import njit
from torch import Tensor

from .alpha import alpha_from_jacobians, alpha_from_norm
from .maps import shallow_mean_jacobian, shallow_plrnn_jacobian


def estimated_alpha(parameters: Mapping[str, Tensor], signals: Tensor, method: str, clipped: bool) -> float:
    """alpha of one run by ``method``; NaN where its parameters are not finite.

    Shapes: parameters A, W1, W2, h2 as in ``ShallowPLRNN``; signals ``(T, B, M)``, NaN = missing.
    """
    A, W1, W2, h2 = (parameters[name] for name in ("A", "W1", "W2", "h2"))
    if method == "exact_product" and A.device.type == "cpu":
        return _exact_product(_jacobians(A, W1, W2, h2, signals, clipped), ~signals.isnan().any(-1))
    seen = signals[:, ~signals.isnan().any(-1).any(0)]
    if not seen.numel():
        return 0.0
    if not all(bool(torch.isfinite(p).all()) for p in (A, W1, W2, h2)):
        return math.nan
    if method == "arithmetic_mean":  # by way of the mean gates: no Jacobian of its own for every step
        mean = shallow_mean_jacobian(seen, A, W1, W2, h2, clipped=clipped)
        return float(alpha_from_norm(torch.linalg.matrix_norm(mean, 2).amax()))
    if A.device.type == "cpu":
        return float(alpha_from_jacobians(_jacobians(A, W1, W2, h2, seen, clipped), method))
    jacobians = shallow_plrnn_jacobian(seen, A, W1, W2, h2, clipped=clipped)
    return float(alpha_from_jacobians(jacobians, method))


def _jacobians(A: Tensor, W1: Tensor, W2: Tensor, h2: Tensor, signals: Tensor, clipped: bool) -> Tensor:
    """As ``maps.shallow_plrnn_jacobian`` at signals ``(T, B, M)``; at missing ones finite numbers without a meaning."""
    found = A.new_empty(*signals.shape, signals.shape[-1])
    tensors = (A, W1, W2.mT, h2, signals.to(A.dtype))
    a, w1, w2, threshold, z = (t.detach().contiguous().numpy() for t in tensors)
    _differentiate(a, w1, w2, threshold, z, clipped, found.numpy())
    return found


def _exact_product(jacobians: Tensor, known: Tensor) -> float:
    """As ``alpha_from_jacobians(..., "exact_product")`` of those that are ``known`` ``(T, B)``."""
    B, M = jacobians.shape[1:3]
    products, logs = np.empty((B, M, M)), np.empty(B)
    counts = np.empty(B, np.int64)
    _multiply(jacobians.numpy(), known.numpy(), products, logs, counts)
    if not np.isfinite(products).all():
        return math.nan
    norms = torch.linalg.matrix_norm(torch.from_numpy(products), 2).log() + torch.from_numpy(logs)
    return float(alpha_from_norm((norms / torch.from_numpy(counts).clamp_min(1)).exp().amax()))


_FAST = {"reassoc", "contract", "nsz"}


@njit(nogil=True, cache=True, fastmath=_FAST)
def _differentiate(A, W1, W2, h2, signals, clipped, found):
    """``diag(A) + W1 diag(gate) W2`` at signals ``(T, B, M)``, W2 transposed: ``(M, L)``."""
    T, B, M = signals.shape
    L = len(h2)
    u, gated = np.empty(L, A.dtype), np.empty(L, A.dtype)
    zero, one = A.dtype.type(0), A.dtype.type(1)
    for t in range(T):
        for b in range(B):
            J = found[t, b]
            u[:] = zero
            for j in range(M):
                z = signals[t, b, j]
                for l in range(L):
                    u[l] += W2[j, l] * z
            for l in range(L):
                gate = one if u[l] + h2[l] > zero else zero
                if clipped and u[l] > zero:
                    gate -= one
                u[l] = gate
            for i in range(M):
                for l in range(L):
                    gated[l] = W1[i, l] * u[l]
                for j in range(M):
                    total = zero
                    for l in range(L):
                        total += gated[l] * W2[j, l]
                    J[i, j] = total
                J[i, i] += A[i]


@njit(nogil=True, cache=True, fastmath=_FAST)
def _multiply(jacobians, known, products, logs, counts):
    """Products ``(B, M, M)`` over time, scaled, with the logarithms of the scales and how many factors there were."""
    T, B, M = jacobians.shape[:3]
    pushed = np.empty((M, M))
    for b in range(B):
        Q = products[b]
        Q[:] = np.eye(M)
        logs[b], counts[b] = 0.0, 0
        for t in range(T):
            J = jacobians[t, b]
            if not known[t, b]:
                continue
            largest = 0.0
            for i in range(M):
                for j in range(M):
                    total = 0.0
                    for k in range(M):
                        total += J[i, k] * Q[k, j]
                    pushed[i, j] = total
                    largest = max(largest, abs(total))
            scale = largest if largest > 0 else 1.0
            for i in range(M):
                for j in range(M):
                    Q[i, j] = pushed[i, j] / scale
            logs[b] += math.log(scale)
            counts[b] += 1
