"""What the numbers were made with: versions, processor, threads, memory, accelerators."""

from __future__ import annotations

import os
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LIBRARIES = ("torch", "numpy", "scipy", "scikit-learn", "numba", "joblib", "safetensors", "matplotlib")


@cache
def fingerprint() -> dict[str, str]:
    """What travels with every result: isocline, Python, torch, NumPy, and the machine, as words."""
    from isocline import __version__

    return {
        "isocline": __version__,
        "python": platform.python_version(),
        "torch": installed("torch") or "–",
        "numpy": installed("numpy") or "–",
        "machine": f"{processor()}, {cores()} cores, {platform.system()}",
    }


def installed(library: str) -> str | None:
    """The installed version of a library, or None; nothing is imported."""
    try:
        return version(library)
    except PackageNotFoundError:
        return None


@cache
def processor() -> str:
    """The processor's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def cores() -> int:
    """The number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_gib() -> float | None:
    """The machine's memory in GiB, or None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (AttributeError, ValueError, OSError):
        return None


def devices() -> list[str]:
    """What torch can compute on, best last: ``["cpu", "cuda: NVIDIA A100 (40 GiB)"]``."""
    import torch

    found = ["cpu"]
    if torch.backends.mps.is_available():
        found.append("mps")
    for index in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(index)
        found.append(f"cuda:{index}: {about.name} ({about.total_memory / 2**30:.0f} GiB)")
    return found


def choose_device(name: str) -> str:
    """``auto`` is CUDA when there is one, else the CPU; anything else must be a device that torch can use
    here.

    Raises ValueError.
    """
    import torch

    from isocline._core.checks import wrong

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        here = ", ".join(word.partition(": ")[0] for word in devices())
        raise wrong("device", f"auto or one of {here}", repr(name)) from error
    return str(device)
