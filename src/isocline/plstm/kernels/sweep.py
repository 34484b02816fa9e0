"""A grid on a CPU by the recursion itself, compiled: time and memory grow with the number of nodes."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from .dense import stacked
from .masks import Gates

Border = tuple[Tensor, Tensor]


def quadrants(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    gates: Gates,
    direct: Tensor | None,
    directions: Sequence[int],
    scale: float,
    border: Border | None = None,
) -> tuple[Tensor, Border | None]:
    """The sum over directions and, with a border, the states that leave; arguments as `tiled.quadrants`."""
    from .cpu_states import grid_states

    X, Y = q.shape[1:3]
    if all(gate is None for gate in gates):
        gates = [*gates[:-1], v.new_zeros(len(v), len(directions), X, Y)]
    vectors = [t.flatten(1, 2) for t in (q, k, v)]
    diagonal = None if direct is None else direct.flatten(1)
    enters = (None, None) if border is None else border
    y, *leaves = grid_states(*vectors, stacked(gates), diagonal, *enters, list(directions), X, Y, scale)
    return y.unflatten(1, (X, Y)), None if border is None else (leaves[0], leaves[1])
