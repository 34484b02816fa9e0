"""Free-running orbits of any map, on NumPy arrays or on tensors, whichever the map speaks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from isocline._core.checks import wrong

Array = npt.NDArray[np.float64]


def states_for(step: Callable[..., Any], states: Array, as_tensors: bool = False) -> Any:
    """``states`` as ``step`` wants them: a module gets tensors of its own dtype and device, others arrays."""
    if isinstance(step, torch.nn.Module):
        like = next(step.parameters(), torch.empty(0, dtype=torch.float64))
        return torch.as_tensor(states).to(like.device, like.dtype)
    return torch.as_tensor(states) if as_tensors else states


def as_array(states: Any) -> Array:
    """Float64 NumPy array of a tensor of any device or of an array."""
    if isinstance(states, torch.Tensor):
        states = states.detach().cpu()
    return np.asarray(states, np.float64)


def orbit(step: Callable[[Any], Any], state: Any, steps: int) -> Any:
    """The free run ``(steps + 1, ...)`` from ``state``, itself included; by a module's own ``generate``."""
    generate: Any = getattr(step, "generate", None) if isinstance(step, torch.nn.Module) else None
    if steps and generate is not None:
        return torch.cat([state[None], generate(state, steps)])
    visited = [state]
    for _ in range(steps):
        visited.append(step(visited[-1]))
    return torch.stack(visited) if isinstance(state, torch.Tensor) else np.stack(visited)


def check_orbit(states: Array, begin: int) -> None:
    """Raise a ValueError that names the step at which ``states`` ``(T, ...)``, the first at step ``begin``,
    blew up.
    """
    if np.isfinite(states.sum()):
        return
    bad = ~np.isfinite(states).reshape(len(states), -1).all(1)
    if bad.any():
        at = begin + int(np.argmax(bad))
        raise wrong(
            "z0", "an orbit that stays finite", f"NaN or infinity at step {at}", "start elsewhere or clip"
        )
