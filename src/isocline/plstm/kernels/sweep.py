"""A grid on a CPU by the recursion itself, compiled: time and memory grow with the number of nodes."""

from __future__ import annotations

from torch import Tensor

from .inputs import Border, GridInputs


def quadrants(given: GridInputs, border: Border | None = None) -> tuple[Tensor, Border | None]:
    """The sum over directions and, with a border, the states that leave; a border as in `tiled.quadrants`."""
    from .cpu_states import grid_states

    X, Y = given.q.shape[1:3]
    enters = (None, None) if border is None else border
    y, *leaves = grid_states(*given.flat(), *enters, list(given.directions), X, Y, given.scale)
    return y.unflatten(1, (X, Y)), None if border is None else (leaves[0], leaves[1])
