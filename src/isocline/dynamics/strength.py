"""alpha from the Jacobians of a whole ensemble along its windows: what ``AdaptiveForcing`` asks for during training.

The Jacobians are taken at the forcing signals, that is at the states the data say, not at those visited. Missing
samples are left out of the product. The norm of the exact product is compiled, as it is asked for every few updates
and would otherwise cost more than they do; the others go through ``alpha.METHODS``. Source: Hess et al. 2023,
section 3.3.
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
        return _exact_product(A, W1, W2, h2, signals, clipped)
    seen = signals[:, ~signals.isnan().any(-1).any(0)]
    if not seen.numel():
        return 0.0
    if not all(bool(torch.isfinite(p).all()) for p in (A, W1, W2, h2)):
        return math.nan
    if method == "arithmetic_mean":  # by way of the mean gates: no Jacobian of its own for every step
        mean = shallow_mean_jacobian(seen, A, W1, W2, h2, clipped=clipped)
        return float(alpha_from_norm(torch.linalg.matrix_norm(mean, 2).amax()))
    jacobians = shallow_plrnn_jacobian(seen, A, W1, W2, h2, clipped=clipped)
    return float(alpha_from_jacobians(jacobians, method))


def _exact_product(A: Tensor, W1: Tensor, W2: Tensor, h2: Tensor, signals: Tensor, clipped: bool) -> float:
    """As ``alpha_from_jacobians(..., "exact_product")``."""
    B, M = signals.shape[1:]
    products, logs = np.empty((B, M, M)), np.empty(B)
    counts = np.empty(B, np.int64)
    a, w1, w2, threshold, z = (t.detach().cpu().contiguous().numpy() for t in (A, W1, W2.mT, h2, signals))
    _multiply(a, w1, w2, threshold, z, clipped, products, logs, counts)
    if not np.isfinite(products).all():
        return math.nan
    norms = torch.linalg.matrix_norm(torch.from_numpy(products), 2).log() + torch.from_numpy(logs)
    return float(alpha_from_norm((norms / torch.from_numpy(counts).clamp_min(1)).exp().amax()))


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"})
def _multiply(A, W1, W2, h2, signals, clipped, products, logs, counts):
    """Products ``(B, M, M)`` of the Jacobians at signals ``(T, B, M)``, scaled, with the logarithms of the scales and
    how many factors there were. W2 is transposed: ``(M, L)``.
    """
    T, B, M = signals.shape
    L = len(h2)
    u, gated = np.empty(L, A.dtype), np.empty(L, A.dtype)
    J, pushed = np.empty((M, M)), np.empty((M, M))
    zero, one = A.dtype.type(0), A.dtype.type(1)
    for b in range(B):
        Q = products[b]
        Q[:] = np.eye(M)
        logs[b], counts[b] = 0.0, 0
        for t in range(T):
            known = True
            for i in range(M):
                known = known and not np.isnan(signals[t, b, i])
            if not known:
                continue
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
            largest = 0.0
            for i in range(M):
                for j in range(M):
                    total64 = 0.0
                    for k in range(M):
                        total64 += J[i, k] * Q[k, j]
                    pushed[i, j] = total64
                    largest = max(largest, abs(total64))
            scale = largest if largest > 0 else 1.0
            for i in range(M):
                for j in range(M):
                    Q[i, j] = pushed[i, j] / scale
            logs[b] += math.log(scale)
            counts[b] += 1
