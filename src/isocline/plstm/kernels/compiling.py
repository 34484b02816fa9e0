"""How the loops of this folder are compiled by numba: once for each dtype, kept on disk, without the interpreter's lock.

They say what they do number by number: an assignment of whole rows would bring numba's own broadcasting with it, which
takes seconds to compile.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from isocline._core import compiling
from isocline._core.compiling import ZERO

__all__ = [
    "M_L",
    "M_U",
    "S_D",
    "S_R",
    "T_DL",
    "T_DU",
    "T_RL",
    "T_RU",
    "ZERO",
    "compiled",
    "gates_at",
    "inlined",
    "place",
]

S_R, S_D, T_RL, T_RU, T_DL, T_DU, M_L, M_U = range(8)  # a grid's gates, in the order of `reference.plstm_2d`

# Sums may be reordered, so that they run in SIMD lanes; NaN and infinity keep their meaning.
HOW: dict[str, Any] = {"fastmath": {"reassoc", "contract", "nsz"}}

compiled = partial(compiling.compiled, **HOW)
inlined = partial(compiling.inlined, **HOW)


@inlined
def place(i, size, flipped):
    """Where the i-th row, or node of a row, of a direction lies in the grid."""
    return size - 1 - i if flipped else i


@inlined
def gates_at(gates, b, o, n):
    """The eight gates of a node in one direction, of ``(8, B, O, N)``."""
    S_r, S_d, M_l, M_u = gates[S_R, b, o, n], gates[S_D, b, o, n], gates[M_L, b, o, n], gates[M_U, b, o, n]
    T_rl, T_ru, T_dl, T_du = (
        gates[T_RL, b, o, n],
        gates[T_RU, b, o, n],
        gates[T_DL, b, o, n],
        gates[T_DU, b, o, n],
    )
    return S_r, S_d, T_rl, T_ru, T_dl, T_du, M_l, M_u
