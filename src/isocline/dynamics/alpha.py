"""How strongly to force: the estimators of alpha, its annealing, and what alpha does to gradients.

Every estimator gives a norm ``n`` of the Jacobians along the data, and ``alpha = max(0, 1 - 1/n)`` is the
least forcing under which products of ``(1 - alpha) J`` stay bounded in that norm. Jacobians are ``(T, B, M,
M)``: time, sequences, row = output. Source: Hess et al. 2023, section 3.3 and Proposition 2.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .._core.checks import check_choice, wrong


def alpha_from_norm(norm: Tensor) -> Tensor:
    """``max(0, 1 - 1/norm)``: the forcing that makes ``(1 - alpha) norm <= 1``. Any shape."""
    return (1 - 1 / norm).clamp_min(0)


def alpha_from_jacobians(jacobians: Tensor, method: str = "exact_product") -> Tensor:
    """Least forcing for a batch of sequences of Jacobians, by one of ``METHODS``.

    Shapes: jacobians ``(T, B, M, M)``, usually at the forcing signals; returns a scalar in [0, 1).
    Raises ``ValueError`` for another shape or an unknown method.
    """
    return alpha_from_norm(jacobian_norm(jacobians, method))


def jacobian_norm(jacobians: Tensor, method: str = "exact_product") -> Tensor:
    """The norm ``n`` behind ``alpha_from_jacobians``.

    Shapes: jacobians ``(T, B, M, M)``; returns a scalar.
    """
    check_choice("method", method, METHODS)
    if jacobians.dim() != 4 or jacobians.shape[-1] != jacobians.shape[-2] or 0 in jacobians.shape:
        raise wrong("jacobians", "(T, B, M, M), none empty", tuple(jacobians.shape), "add a batch axis of 1")
    return METHODS[method](jacobians)


def jacobian_upper_bound(A: Tensor, W1: Tensor, W2: Tensor) -> Tensor:
    """``max|A| + |W1|_2 |W2|_2``, above ``|J|_2`` of either shallow PLRNN everywhere.

    Far too large to be of use.
    """
    return A.abs().amax() + torch.linalg.matrix_norm(W1, 2) * torch.linalg.matrix_norm(W2, 2)


def batch_maximum(jacobians: Tensor) -> Tensor:
    """Max over sequences and time of ``|J|_2``."""
    return torch.linalg.matrix_norm(jacobians, 2).amax()


def product_upper_bound(jacobians: Tensor) -> Tensor:
    """Max over sequences of the geometric mean over time of ``|J_t|_2``."""
    return torch.linalg.matrix_norm(jacobians, 2).log().mean(0).exp().amax()


def arithmetic_mean(jacobians: Tensor) -> Tensor:
    """Max over sequences of ``|mean_t J_t|_2``; not an upper bound of the others."""
    return torch.linalg.matrix_norm(jacobians.mean(0), 2).amax()


def explog_approximation(jacobians: Tensor) -> Tensor:
    """Max over sequences of ``|exp(mean_t log J_t)|_2``, the principal (complex) logarithm.

    Undefined for singular Jacobians and inaccurate for nearly defective ones; kept for reproduction.
    """
    values, vectors = torch.linalg.eig(jacobians)
    logarithm = torch.linalg.solve(vectors, vectors * values.log().unsqueeze(-2), left=False)
    return torch.linalg.matrix_norm(torch.linalg.matrix_exp(logarithm.mean(0)), 2).amax()


def exact_product(jacobians: Tensor) -> Tensor:
    """Max over sequences of ``|J_T ... J_1|_2^(1/T)``: what the product really does. The recommended norm."""
    return (product_log_norm(jacobians) / jacobians.shape[0]).exp().amax()


METHODS: dict[str, Callable[[Tensor], Tensor]] = {
    "batch_maximum": batch_maximum,
    "product_upper_bound": product_upper_bound,
    "arithmetic_mean": arithmetic_mean,
    "explog_approx": explog_approximation,
    "exact_product": exact_product,
}


def product_log_norm(jacobians: Tensor) -> Tensor:
    """``ln |J_T ... J_1|_2``, never overflowing. Shapes: jacobians ``(T, ..., M, M)``; returns ``(...)``.

    A tree of pairwise products, log2(T) rounds; every product is scaled to norm 1 and its logarithm kept.
    """
    product, log_scale = jacobians, jacobians.new_zeros(jacobians.shape[:-2])
    while product.shape[0] > 1:
        pairs = product.shape[0] // 2
        joined = product[1 : 2 * pairs : 2] @ product[0 : 2 * pairs : 2]
        scales = log_scale[1 : 2 * pairs : 2] + log_scale[0 : 2 * pairs : 2]
        product = torch.cat([joined, product[2 * pairs :]])
        log_scale = torch.cat([scales, log_scale[2 * pairs :]])
        size = torch.linalg.matrix_norm(product, keepdim=True)
        product = product / torch.where(size > 0, size, 1)
        log_scale = log_scale + size.squeeze((-2, -1)).log()
    return torch.linalg.matrix_norm(product[0], 2).log() + log_scale[0]


def product_log_norms(jacobians: Tensor, *, alpha: float | Tensor = 0.0) -> Tensor:
    """``ln |J_t ... J_1|_2 + t ln(1 - alpha)`` for every t: how far a gradient has grown on its way.

    Shapes: jacobians ``(T, ..., M, M)``; returns ``(T, ...)``. Sequential in t.
    """
    product, log_scale, grown = torch.eye(jacobians.shape[-1]).to(jacobians), 0.0, []
    for jacobian in jacobians:
        product = jacobian @ product
        size = torch.linalg.matrix_norm(product, keepdim=True)
        product = product / torch.where(size > 0, size, 1)
        log_scale = log_scale + size.squeeze((-2, -1)).log()
        grown.append(log_scale + torch.linalg.matrix_norm(product, 2).log())
    steps = torch.arange(1, len(jacobians) + 1).to(jacobians)
    decay = steps * torch.log1p(-torch.as_tensor(alpha).to(jacobians))
    return torch.stack(grown) + decay.view(-1, *[1] * (jacobians.dim() - 3))


def anneal_alpha(alpha: float, estimate: float, *, gamma: float = 0.999) -> float:
    """One step of the adaptive rule: up at once, down slowly. Hess et al. 2023, algorithm 1.

    >>> anneal_alpha(0.2, 0.5), anneal_alpha(1.0, 0.5, gamma=0.9)
    (0.5, 0.95)
    """
    return estimate if estimate > alpha else gamma * alpha + (1 - gamma) * estimate


def critical_alpha(lyapunov_exponent: float) -> float:
    """``1 - exp(-lambda)``: forced products neither grow nor decay on average. lambda per step, not per unit
    time.
    """
    return max(0.0, -math.expm1(-lyapunov_exponent))


def gradient_horizon(lyapunov_exponent: float, alpha: float) -> float:
    """Steps over which a gradient falls to 1/e: ``-1 / (lambda + ln(1 - alpha))``; inf where it does not
    fall.
    """
    if alpha >= 1:
        return 0.0
    rate = lyapunov_exponent + math.log1p(-alpha)
    return -1 / rate if rate < 0 else math.inf
