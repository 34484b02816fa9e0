"""Randomness with a name: seeds derived from what a task is, global generators left as found."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from isocline._core.checks import check_number
from isocline._core.files import plain


def derive_seed(*parts: object) -> int:
    """A seed in [0, 2**63) from ``parts`` alone: the same in every process and on every machine.

    Parts are anything :func:`isocline._core.files.plain` takes; 1, 1.0 and "1" are three different parts.

    >>> derive_seed("linear_model/worst-case", {"n": 1000}, 0)
    949548928235674160
    """
    text = json.dumps(plain(parts), sort_keys=True, allow_nan=False)
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big") >> 1


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Python's, NumPy's and torch's global generators at ``seed`` inside, and as they were after.

    CPU and CUDA generators alike, and after an error too. A CUDA that nobody has started is not started
    here: its seed is set for when somebody does.
    """
    seed = check_number("seed", seed, least=0, below=2**63, integer=True)
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    first_seed = torch.initial_seed()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    try:
        random.seed(seed)
        np.random.seed([seed % 2**32, seed >> 32])  # noqa: NPY002
        torch.default_generator.manual_seed(seed)
        torch.cuda.manual_seed_all(seed)
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        torch.set_rng_state(before[2])
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)
        else:
            torch.cuda.manual_seed_all(first_seed)


def torch_generator(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch generator of its own on ``device``, at ``seed`` in [0, 2**63)."""
    seed = check_number("seed", seed, least=0, below=2**63, integer=True)
    return torch.Generator(device=device).manual_seed(seed)
