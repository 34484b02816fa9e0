"""The sign and the slope, one pass each over a tensor on a CPU, and the two as one differentiable operation."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .compiled import signs

BLOCK = 1 << 14  # numbers whose slopes are computed together: they and what they need stay in the cache
SHARED = 1 << 18  # numbers from which threads share the work
KEPT = 1 << 23  # numbers of scratch memory that a thread holds on to: 32 megabytes
AT_ZERO = {"one": 1.0, "zero": 0.0}

_held = threading.local()


@dataclass(frozen=True, slots=True)
class Slope:
    """An estimator at this moment: its sign at zero, its slope g(x, *numbers), and, if there is one, a compiled loop for it."""

    zero: str
    back: Callable[..., Tensor]
    numbers: tuple[float, ...]
    loop: Callable[..., None] | None = None


def applies(x: Tensor) -> bool:
    """Whether the loops take this tensor: single precision on a CPU, and nothing that traces or transforms is watching."""
    return (
        x.dtype == torch.float32
        and x.device.type == "cpu"
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
        and not torch._C._are_functorch_transforms_active()
        and type(x) in (Tensor, torch.nn.Parameter)
    )


def dense(x: Tensor) -> Tensor:
    """x, or a copy, whose numbers lie in memory without gaps."""
    if x.is_contiguous() or (x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)):
        return x
    return x.contiguous()


def scratch(x: Tensor) -> Tensor:
    """A tensor like the dense x whose memory this thread uses again: for what is gone before the next one is asked for.

    Fresh memory of some megabytes comes from the system page by page, which costs more than the pass that fills it.
    """
    if x.numel() > KEPT:
        return torch.empty_like(x)
    held = getattr(_held, "memory", None)
    if held is None or held.numel() < x.numel():
        held = _held.memory = torch.empty(x.numel(), dtype=torch.float32)
    return held.as_strided(x.shape, x.stride())


def sign_of(x: Tensor, zero: str, out: Tensor | None = None) -> Tensor:
    """`functional.sign` of a dense tensor, in its layout."""
    out = torch.empty_like(x) if out is None else out
    _in_parts(lambda a, b: signs(a, b, AT_ZERO[zero]), _flat(x), _flat(out))
    return out


def slope_times(x: Tensor, grad: Tensor, slope: Slope, *, in_place: bool) -> Tensor:
    """``grad g(x)`` in the layout of the dense tensor x; `in_place` allows grad to be overwritten."""
    if grad.stride() != x.stride() or not in_place:
        grad = torch.empty_like(x).copy_(grad)
    if slope.loop is not None:
        loop = slope.loop
        _in_parts(lambda a, b: loop(a, b, *slope.numbers), _flat(x), _flat(grad))
        return grad
    for a, b in zip(_line(x).split(BLOCK), _line(grad).split(BLOCK), strict=True):
        b.mul_(slope.back(a, *slope.numbers))
    return grad


def _line(x: Tensor) -> Tensor:
    return x.detach().as_strided((x.numel(),), (1,))


def _flat(x: Tensor) -> Any:
    return _line(x).numpy()


def _in_parts(loop: Callable[..., None], *arrays: Any) -> None:
    threads, n = torch.get_num_threads(), arrays[0].size
    if threads == 1 or n < SHARED:
        loop(*arrays)
        return
    each = -(-n // threads)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda at: loop(*(a[at : at + each] for a in arrays)), range(0, n, each)))


def binarised(x: Tensor, slope: Slope) -> Tensor:
    """``sign(x)`` with the slope for its derivative; what `functional.straight_through` gives, in one pass each way."""
    return _Binarised.apply(x, slope)  # type: ignore[no-any-return]


class _Binarised(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: Slope) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.save_for_backward(x)
        ctx.slope = slope
        return sign_of(dense(x), slope.zero)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (x,), slope = ctx.saved_tensors, ctx.slope
        if torch.is_grad_enabled():  # to be differentiated itself
            return grad * slope.back(x, *slope.numbers), None
        return slope_times(dense(x), grad, slope, in_place=False), None
