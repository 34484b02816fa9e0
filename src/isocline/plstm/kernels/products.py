"""Products of consecutive transitions, without a division: exact where a transition is zero, negative or tiny."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad


def segment_products(transition: Tensor) -> Tensor:
    """``L[t, s] = T_s T_{s+1} ... T_{t-1}``, so that ``L[t, t] = 1``, and 0 for ``t < s``.

    Shapes: transition ``(..., n)``; returns ``(..., n + 1, n + 1)``, the inverse of a unit bidiagonal matrix. A chain
    ``z_{t+1} = T_t z_t + w_t`` is ``z = L (z_0, w_0, ..., w_{n-1})``.
    """
    return _SegmentProducts.apply(transition)  # pyright: ignore[reportReturnType]


class _SegmentProducts(torch.autograd.Function):
    """``dL = L dB L`` where B holds T below the diagonal: two products, no quotient, and twice differentiable."""

    generate_vmap_rule = True

    @staticmethod
    def forward(transition: Tensor) -> Tensor:
        n = transition.shape[-1]
        at = torch.arange(n + 1, device=transition.device)
        below = at[:, None] > at[None, :]
        rows = pad(transition, (1, 0), value=1.0).unsqueeze(-1)
        products = torch.where(below, rows, 1.0).cumprod(-2)
        return torch.where(at[:, None] >= at[None, :], products, 0.0)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:  # type: ignore[override]
        (products,) = ctx.saved_tensors
        arriving = slope @ products.mT
        return (products[..., 1:] * arriving[..., :-1]).sum(-2)


def chunk_masks(source: Tensor, transition: Tensor, mark: Tensor, direct: Tensor | None) -> Tensor:
    """Masks of chunks; the last source is the state that enters, the last target the state that leaves.

    Shapes: gates ``(..., C)``; returns ``(..., C + 1, C + 1)``.
    """
    L = segment_products(transition)
    L = torch.cat([L[..., 1:], L[..., :1]], -1)  # from after each token, and from the start
    mask = L * pad(mark, (0, 1), value=1.0).unsqueeze(-1) * pad(source, (0, 1), value=1.0).unsqueeze(-2)
    return mask if direct is None else mask + torch.diag_embed(pad(direct, (0, 1)))


def matrix_products(transition: Tensor) -> Tensor:
    """As `segment_products` for matrices: ``L[t, s] = T_{t-1} ... T_{s+1} T_s``.

    Shapes: transition ``(..., n, J, J)``; returns ``(..., n + 1, n + 1, J, J)``.
    """
    *first, n, J, _ = transition.shape
    eye = torch.eye((n + 1) * J, dtype=transition.dtype, device=transition.device).unflatten(0, (n + 1, J))
    rows = [eye[0].expand(*first, J, (n + 1) * J)]
    for t in range(n):
        rows.append(transition[..., t, :, :] @ rows[-1] + eye[t + 1])
    return torch.stack(rows, -3).unflatten(-1, (n + 1, J)).movedim(-3, -2)
