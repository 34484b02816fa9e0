"""Products of two matrices on a CPU, by whichever library is fastest for their size."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

LONG = 160  # rows from which oneDNN's kernel pays for its call


def product(a: Tensor, b: Tensor) -> Tensor:
    """``a b^T``, without a gradient. Shapes: a ``(n, d)``; b ``(m, d)``; returns ``(n, m)``.

    BLAS, or for large float32 matrices the kernel behind PyTorch's compiled linear layers, which uses the widest vectors of
    any processor; MKL does on some only. It wants rows, or columns, side by side: others it takes hundreds of times as long for.
    """
    largest = max(a.shape[0], b.shape[0])
    if largest >= LONG and a.dtype == torch.float32 and torch.backends.mkldnn.enabled and _LINEAR is not None:
        return _LINEAR(a, b, None, "none", [], "")
    return torch.mm(a, b.mT)


def products(a: Tensor, b: Tensor) -> Tensor:
    """``a b^T`` for each of a batch, differentiable any number of times, under vmap and torch.compile too.

    Shapes: a ``(B, n, d)``; b ``(B, m, d)``; returns ``(B, n, m)``.
    """
    return _Products.apply(a, b)  # type: ignore[no-any-return]


class _Products(torch.autograd.Function):
    @staticmethod
    def forward(a: Tensor, b: Tensor) -> Tensor:
        if a.device.type != "cpu" or torch.compiler.is_compiling():
            return a @ b.mT
        if len(a) == 1:
            return product(a[0], b[0])[None]
        return torch.stack([product(x, y) for x, y in zip(a, b, strict=True)])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        a, b = ctx.saved_tensors
        return _Products.apply(grad, b.mT), _Products.apply(grad.mT, a.mT)  # type: ignore[return-value]

    @staticmethod
    def vmap(info: Any, dims: tuple[int | None, int | None], a: Tensor, b: Tensor) -> tuple[Tensor, int]:
        whole = [
            x.expand(info.batch_size, *x.shape) if dim is None else x.movedim(dim, 0)
            for x, dim in zip((a, b), dims, strict=True)
        ]
        found = _Products.apply(*(x.flatten(0, 1) for x in whole))
        return found.unflatten(0, (info.batch_size, -1)), 0  # type: ignore[union-attr]


def _found() -> Any:
    """The operator that torch.compile calls for a linear layer; None where PyTorch was built without oneDNN."""
    if not torch.backends.mkldnn.is_available():
        return None
    return getattr(torch.ops.mkldnn, "_linear_pointwise", None)


_LINEAR = _found()
