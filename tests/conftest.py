"""The ground every test stands on: float64, one thread, deterministic algorithms, no display, files in memory."""

import os
import shutil
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("TRITON_INTERPRET", "1")  # kernels for CUDA run without a GPU; Triton looks once

from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

GOLDEN = Path(__file__).parent / "golden"
MEMORY = Path("/dev/shm")  # a disk waits whenever a file is written over, and the tests damage thousands
if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > 1 << 30:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))

# The laboratory's toy claim: worker processes, whichever test starts them first, inherit where it lies.
sys.path.append(str(Path(__file__).parent / "lab"))

settings.register_profile(
    "ci", derandomize=True, deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("nightly", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)  # also fills fresh memory with NaN: a read before a write shows


@pytest.fixture(autouse=True)
def _float64_default():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)  # whatever the test, or a fixture of a wider scope, has left


@pytest.fixture(autouse=True)
def _figures_closed():
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture
def golden() -> Path:
    """The folder of reference vectors."""
    return GOLDEN
