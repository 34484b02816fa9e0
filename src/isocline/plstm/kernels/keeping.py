"""What is kept: the inputs for the way back, nothing that can be computed from them again; and all digits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

Result = TypeVar("Result")
DEVICES = ("cpu", "cuda", "mps", "xpu")  # that have an autocast


@contextmanager
def full_precision() -> Iterator[None]:
    """Autocast is off inside: products of gates and sums over paths keep their float32."""
    with ExitStack() as off:
        for device in DEVICES:
            if torch.is_autocast_enabled(device):
                off.enter_context(torch.autocast(device, enabled=False))
        yield


def inside_torch_func() -> bool:
    """Whether `torch.vmap`, `torch.func.grad` or their like are tracing: they take PyTorch's own operators only."""
    return torch._C._are_functorch_transforms_active()


def compiled_for(tensor: Tensor) -> bool:
    """Whether the kernels compiled for the CPU apply."""
    return tensor.device.type == "cpu" and not inside_torch_func()


def recomputed(function: Callable[..., Result], *arguments: Any) -> Result:
    """``function(*arguments)``, run once more on the way back; inside ``torch.func``, which has no such thing, run once."""
    if inside_torch_func():
        return function(*arguments)
    return checkpoint(function, *arguments, use_reentrant=False, preserve_rng_state=False)  # pyright: ignore[reportReturnType]
