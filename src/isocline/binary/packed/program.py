"""A program of steps, each a named operation on values made before it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Step:
    """One operation of the program. inputs: names of the values it takes; its own is the name of the value it makes."""

    op: str
    name: str
    inputs: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    call: Callable[..., Tensor] | None = None  # what no operation is written for, to be run as it is
