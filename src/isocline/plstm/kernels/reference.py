"""The recursions themselves, one node after another: slow, plain, and the truth the other kernels are tested against.

A state is a matrix ``C (dk, dv)`` for each of ``JT`` channels and lives on an edge; a node reads the states that
come in, then writes those that go out. Gates may be None: then the term is absent. Source: the pLSTM paper (arXiv
2506.11997); symbols S source, T transition, M mark, D direct. All axes are explicit here:

=====================  ==================================  =========================================
q, k                   ``(B, ..., dk, JQ)``, ``JK``        ``...`` is ``N`` on a line, ``X, Y`` on a grid
v, result              ``(B, ..., dv, JV)``, ``JO``
source                 ``(B, ..., JT, JK, JV)``
transition             ``(B, ..., JT, JT)``                from the last axis to the one before
mark                   ``(B, ..., JO, JQ, JT)``
direct                 ``(B, ..., JO, JQ, JK, JV)``
state                  ``(B, [border,] dk, dv, JT)``
=====================  ==================================  =========================================
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor

from .inputs import Border, Gates


def read(mark: Tensor | None, q: Tensor, state: Tensor) -> Tensor | float:
    """``M C^T q`` of one node: ``(B, dv, JO)``."""
    return 0.0 if mark is None else torch.einsum("boij,bdi,bdvj->bvo", mark, q, state)


def carry(transition: Tensor | None, state: Tensor) -> Tensor | float:
    """``T C`` of one node: ``(B, dk, dv, JT)``."""
    return 0.0 if transition is None else torch.einsum("bij,bdvj->bdvi", transition, state)


def write(source: Tensor | None, k: Tensor, v: Tensor) -> Tensor | float:
    """``S k v^T`` of one node: ``(B, dk, dv, JT)``."""
    return 0.0 if source is None else torch.einsum("bijl,bdj,bvl->bdvi", source, k, v)


def skip(direct: Tensor | None, q: Tensor, k: Tensor, v: Tensor) -> Tensor | float:
    """``D (q . k) v`` of one node: ``(B, dv, JO)``."""
    return 0.0 if direct is None else torch.einsum("boijl,bdi,bdj,bvl->bvo", direct, q, k, v)


def plstm_1d(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    source: Tensor,
    transition: Tensor,
    mark: Tensor,
    direct: Tensor | None,
    state: Tensor,
) -> tuple[Tensor, Tensor]:
    """``y_t = M_t C^T q_t + D_t (q_t . k_t) v_t``, then ``C <- T_t C + S_t k_t v_t^T``, for t = 0 .. N-1.

    Shapes: above; returns y ``(B, N, dv, JO)`` and the state after the last token. The paper's section on sequences.
    """
    rows = []
    for t in range(q.shape[1]):
        at = q[:, t], k[:, t], v[:, t]
        rows.append(_sum(at[2], read(mark[:, t], at[0], state), skip(_at(direct, t), *at)))
        state = _sum(state, carry(transition[:, t], state), write(source[:, t], *at[1:]))
    return torch.stack(rows, 1), state


def plstm_2d(
    q: Tensor, k: Tensor, v: Tensor, gates: Gates, direct: Tensor | None, border: Border
) -> tuple[Tensor, Border]:
    """One direction of a grid: from (0, 0) along +X ("right") and +Y ("down"), with turns between the two.

    ::

        h(x, y)   = M_l R[x, y]^T q + M_u U[x, y]^T q + D (q . k) v
        R[x+1, y] = T_rl R[x, y] + T_ru U[x, y] + S_r k v^T         all gates at (x, y)
        U[x, y+1] = T_dl R[x, y] + T_du U[x, y] + S_d k v^T

    Shapes: gates are (S_r, S_d, T_rl, T_ru, T_dl, T_du, M_l, M_u); border the states that enter, R ``(B, Y, dk, dv,
    JT)`` at x = 0 and U ``(B, X, dk, dv, JT)`` at y = 0; returns h ``(B, X, Y, dv, JO)`` and the states that leave.
    The paper's section on grids.
    """
    X, Y = q.shape[1:3]
    right, down = list(border[0].unbind(1)), list(border[1].unbind(1))
    rows = []
    for x in range(X):
        for y in range(Y):
            S_r, S_d, T_rl, T_ru, T_dl, T_du, M_l, M_u = (_at(gate, x, y) for gate in gates)
            R, U, at = right[y], down[x], (q[:, x, y], k[:, x, y], v[:, x, y])
            rows.append(_sum(at[2], read(M_l, at[0], R), read(M_u, at[0], U), skip(_at(direct, x, y), *at)))
            right[y] = _sum(R, carry(T_rl, R), carry(T_ru, U), write(S_r, *at[1:]))
            down[x] = _sum(U, carry(T_dl, R), carry(T_du, U), write(S_d, *at[1:]))
    return torch.stack(rows, 1).unflatten(1, (X, Y)), (torch.stack(right, 1), torch.stack(down, 1))


def quadrants(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    gates: Gates,
    direct: Tensor | None,
    directions: Sequence[int],
    border: Border,
) -> tuple[Tensor, Border]:
    """The sum over directions: each is the recursion on a flipped grid; the direct term counts once.

    Shapes: as `plstm_2d`, with an axis O after B in the gates and the border. Source: the paper's section on directions.
    """
    total, right, down = skip_all(direct, q, k, v), [], []
    for o, direction in enumerate(directions):
        flips = flipped_axes(direction)
        one = [None if gate is None else gate[:, o].flip(flips) for gate in gates]
        along = [[1] if axis in flips else [] for axis in (2, 1)]  # R runs along Y, U along X
        entering = border[0][:, o].flip(along[0]), border[1][:, o].flip(along[1])
        y, (R, U) = plstm_2d(q.flip(flips), k.flip(flips), v.flip(flips), one, None, entering)
        total = total + y.flip(flips)
        right.append(R.flip(along[0]))
        down.append(U.flip(along[1]))
    return _sum(v, total), (torch.stack(right, 1), torch.stack(down, 1))


def flipped_axes(direction: int) -> list[int]:
    """Which axes of ``(B, X, Y, ...)`` a direction flips: 0 none, 1 X, 2 Y, 3 both."""
    return [axis for axis in (1, 2) if direction & axis]


def skip_all(direct: Tensor | None, q: Tensor, k: Tensor, v: Tensor) -> Tensor | float:
    """``D (q . k) v`` of all nodes of a grid at once: ``(B, X, Y, dv, JO)``."""
    return 0.0 if direct is None else torch.einsum("bxyoijl,bxydi,bxydj,bxyvl->bxyvo", direct, q, k, v)


def _at(gate: Tensor | None, *where: int) -> Tensor | None:
    return None if gate is None else gate[(slice(None), *where)]


def _sum(like: Tensor, *terms: Tensor | float) -> Tensor:
    found = [term for term in terms if isinstance(term, Tensor)]
    return reduce(torch.add, found) if found else torch.zeros_like(like)
