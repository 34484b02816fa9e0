"""Products of two matrices on a CPU, by whichever library is fastest for their size."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

LONG = 160  # rows from which oneDNN's kernel pays for its call


def product(a: Tensor, b: Tensor) -> Tensor:
    """``a b^T``. Shapes: a ``(n, d)``; b ``(m, d)``; returns ``(n, m)``.

    BLAS, or for large float32 matrices the kernel behind PyTorch's compiled linear layers, which uses the widest vectors of
    any processor; MKL does on some only. It wants rows, or columns, side by side: others it takes hundreds of times as long for.
    """
    largest = max(a.shape[0], b.shape[0])
    if largest >= LONG and a.dtype == torch.float32 and torch.backends.mkldnn.enabled and _LINEAR is not None:
        return _LINEAR(a, b, None, "none", [], "")
    return torch.mm(a, b.mT)


def _found() -> Any:
    """The operator that torch.compile calls for a linear layer; None where PyTorch was built without oneDNN."""
    if not torch.backends.mkldnn.is_available():
        return None
    return getattr(torch.ops.mkldnn, "_linear_pointwise", None)


_LINEAR = _found()
