"""The forced recursion, one file per way of computing it; ``reference`` is the truth.

Every kernel takes ``(A, W1, W2, h1, h2, z0, forcing, weight, drive, clipped)``, see
``reference.forced_rollout``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec

import torch
from torch import Tensor

from ..._core.checks import check_choice, wrong
from . import fused, parallel, reference

Kernel = Callable[..., Tensor]

BACKENDS = ("auto", "reference", "cpu", "parallel", "triton")


def availability() -> dict[str, str]:
    """Every backend but "auto": "available", or what it lacks on this machine."""
    found: dict[str, str] = dict.fromkeys(BACKENDS[1:], "available")
    if find_spec("triton") is None:
        found["triton"] = "not available: pip install triton"
    elif not torch.cuda.is_available():
        found["triton"] = "not available: no CUDA device"
    return found


def kernel_for(backend: str, like: Tensor) -> Kernel:
    """The kernel called ``backend``; ``auto`` takes the fastest that is right for like's device and dtype."""
    if backend == "auto" and like.is_cpu and like.dtype in (torch.float32, torch.float64):
        return fused.forced_rollout  # the usual case: at three states every microsecond shows
    check_choice("backend", backend, BACKENDS)
    device, compiled = like.device.type, like.dtype in (torch.float32, torch.float64)
    if backend == "auto":
        cuda = device == "cuda" and like.dtype == torch.float32 and find_spec("triton") is not None
        backend = "triton" if cuda else "reference"
    if backend == "reference":
        return reference.forced_rollout
    if backend == "parallel":
        return parallel.forced_rollout
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    fits = device == "cpu" if backend == "cpu" else device == "cuda" or interpreted
    if not (fits and compiled):
        got = f"{backend!r} for {str(like.dtype).removeprefix('torch.')} on {device}"
        raise wrong("backend", "a kernel for the tensors' device and dtype", got, "use backend='auto'")
    if backend == "cpu":
        return fused.forced_rollout
    if find_spec("triton") is None:
        raise wrong("backend", "one that is installed", "'triton'", "pip install triton", error=ImportError)
    return import_module(".cuda", __name__).forced_rollout
