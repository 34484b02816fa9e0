"""How the loops of this folder are compiled by numba: once for each dtype, kept on disk, without the interpreter's lock.

They say what they do number by number: an assignment of whole rows would bring numba's own broadcasting with it, which
takes seconds to compile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

S_R, S_D, T_RL, T_RU, T_DL, T_DU, M_L, M_U = range(
    8
)  # the gates of a grid, in the order of `reference.plstm_2d`
ZERO = np.int64(0)  # for a literal number numba would compile what it is passed to once more

# Sums may be reordered, so that they run in SIMD lanes; NaN and infinity keep their meaning.
HOW: dict[str, Any] = {"error_model": "numpy", "fastmath": {"reassoc", "contract", "nsz"}}


def compiled(function: Callable[..., Any]) -> Any:
    """Compile at the first call, and keep the result on disk."""
    return njit(nogil=True, cache=True, **HOW)(function)


def inlined(function: Callable[..., Any]) -> Any:
    """Compile as part of what calls it. On disk that is known by its caller's file: keep the two together."""
    return njit(**HOW)(function)


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
