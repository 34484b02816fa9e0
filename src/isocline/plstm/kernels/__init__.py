"""The recursions, one file per way of computing them; ``reference`` is the truth."""

from __future__ import annotations

import torch
from torch import Tensor

from ..._core.checks import check_choice
from ..arguments import Fields
from . import reference

Border = tuple[Tensor, Tensor]
Gates = tuple[Tensor | None, ...]  # S_r, S_d, T_rl, T_ru, T_dl, T_du, M_l, M_u

BACKENDS = ("auto", "reference")


def line(backend: str, fields: Fields, scale: float) -> tuple[Tensor, Tensor]:
    """y ``(B, N, dv, JO)`` and the last state ``(B, dk, dv, JT)`` of a sequence."""
    check_choice("backend", backend, BACKENDS)
    q, k, v, source, transition, mark = (
        fields.given(name) for name in ("q", "k", "v", "source", "transition", "mark")
    )
    state = fields["initial_state"]
    if state is None:
        state = q.new_zeros(q.shape[0], q.shape[2], v.shape[2], transition.shape[-1])
    return reference.plstm_1d(q * scale, k, v, source, transition, mark, fields["direct"], state)


def grid(
    backend: str, fields: Fields, gates: tuple[str, ...], scale: float, want_state: bool
) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
    """h ``(B, X, Y, dv, JO)`` and, if wanted, the states that leave the grid."""
    check_choice("backend", backend, BACKENDS)
    q, k, v = (fields.given(name) for name in ("q", "k", "v"))
    found = [fields[name] for name in gates]
    y, border = reference.plstm_2d(q * scale, k, v, found, fields["direct"], entering(fields))
    return y, border if want_state else None


def quadrants(
    backend: str,
    fields: Fields,
    gates: Gates,
    directions: tuple[int, ...],
    scale: float,
    want_state: bool,
) -> tuple[Tensor, Border | None]:
    """The sum over directions, ``(B, X, Y, dv, 1)``, and, if wanted, the states that leave, with an axis of one channel."""
    check_choice("backend", backend, BACKENDS)
    q, k, v = (fields.given(name) for name in ("q", "k", "v"))
    given = entering(fields, len(directions))
    y, border = reference.quadrants(q * scale, k, v, gates, fields["direct"], directions, given)
    return y, border if want_state else None


def entering(fields: Fields, directions: int | None = None) -> Border:
    """The states that enter a grid, zero unless given; with an axis for the directions, if any."""
    if "initial_state[0]" in fields.tensors:
        return fields.given("initial_state[0]"), fields.given("initial_state[1]")
    q, v = fields.given("q"), fields.given("v")
    B, X, Y, dk = q.shape[:4]
    JT = next(
        (t.shape[-1] for name, t in fields.tensors.items() if t is not None and "transition" in name), 1
    )
    first = (B,) if directions is None else (B, directions)
    return q.new_zeros(*first, Y, dk, v.shape[3], JT), q.new_zeros(*first, X, dk, v.shape[3], JT)
