"""The recursions, one file per way of computing them; all give the same numbers.

=================  ==========================================================================================
``reference``      node after node: the truth the others are tested against
``dense``          grids: masked attention, all pairs of nodes at once; compiled masks on a CPU (`cpu`, `paths`)
``sweep``          grids on a CPU: the recursion, compiled; memory and time grow with the number of nodes
``tiled``          grids: dense inside tiles, states between them; so do its memory and time
``triton``         grids on CUDA: as dense, but the mask is made where it is used (`cuda`)
``chunked``        sequences: masked attention in chunks, a state from chunk to chunk
``fla``            sequences on CUDA: the kernel of flash-linear-attention, by an exact mapping (`linear_attention`)
=================  ==========================================================================================
"""

from __future__ import annotations

import os
from importlib import import_module
from importlib.util import find_spec

from torch import Tensor

from ..._core.checks import check_choice, wrong
from ..arguments import Fields
from . import chunked, dense, linear_attention, reference, sweep, tiled
from .inputs import Border, Gates, GridInputs
from .keeping import compiled_for, full_precision

LINES = ("auto", "reference", "chunked", "fla")
GRIDS = ("auto", "reference", "dense", "sweep", "tiled", "triton")
TRITON_ROW = 64  # longest row whose products of transitions fit the shared memory
DENSE_ON_CPU = 2048  # nodes above which carrying states is the faster one on both ways
DENSE_NODES = 4096  # above it, tiles are faster than the mask of all pairs
DENSE_MASKS = 1 << 28  # numbers in the masks of all heads that are held at once: a gigabyte in float32


@full_precision()
def line(backend: str, fields: Fields, scale: float) -> tuple[Tensor, Tensor]:
    """y ``(B, N, dv, JO)`` and the last state ``(B, dk, dv, JT)`` of a sequence."""
    check_choice("backend", backend, LINES)
    q, k, v, source, transition, mark = (
        fields.given(name) for name in ("q", "k", "v", "source", "transition", "mark")
    )
    q, direct, state = q * scale, fields["direct"], fields["initial_state"]
    if state is None:
        state = q.new_zeros(q.shape[0], q.shape[2], v.shape[2], transition.shape[-1])
    if backend == "fla":
        if not fields.one_channel:
            raise wrong("backend", "'chunked' or 'reference' for gates of several channels", "'fla'")
        s, a, m = (gate.flatten(1) for gate in (source, transition, mark))
        q, k, v, state = (t.squeeze(-1) for t in (q, k, v, state))
        y, state = linear_attention.plstm_1d(q, k, v, s, a, m, _plain(direct, 2), state)
        return y.unsqueeze(-1), state.unsqueeze(-1)
    kernel = reference.plstm_1d if backend == "reference" else chunked.plstm_1d
    return kernel(q, k, v, source, transition, mark, direct, state)


@full_precision()
def grid(
    backend: str, fields: Fields, gates: Gates, scale: float, want_state: bool
) -> tuple[Tensor, Border | None]:
    """One direction of a grid, ``(B, X, Y, dv, JO)``, and, if wanted, the states that leave; gates ``(B, X, Y, ...)``."""
    if fields.one_channel:
        one = tuple(None if gate is None else gate.unsqueeze(1) for gate in gates)
        border = None if (given := _given(fields)) is None else (given[0].unsqueeze(1), given[1].unsqueeze(1))
        y, border = _quadrants(backend, fields, one, (0,), border, scale, want_state)
        return y, None if border is None else (border[0].squeeze(1), border[1].squeeze(1))
    check_choice("backend", backend, GRIDS)
    if backend not in ("auto", "reference"):
        do = "use backend='auto'"
        raise wrong("backend", "'reference' for gates of several channels", repr(backend), do)
    q, k, v = (fields.given(name) for name in ("q", "k", "v"))
    JT = next((gate.shape[-1] for gate in gates[2:6] if gate is not None), 1)
    border = _given(fields) or _nothing(q, v, (JT,))
    y, border = reference.plstm_2d(q * scale, k, v, gates, fields["direct"], border)
    return y, border if want_state else None


@full_precision()
def quadrants(
    backend: str,
    fields: Fields,
    gates: Gates,
    directions: tuple[int, ...],
    scale: float,
    want_state: bool,
) -> tuple[Tensor, Border | None]:
    """The sum over directions, ``(B, X, Y, dv, 1)``, and, if wanted, the states that leave; gates ``(B, O, X, Y, ...)``."""
    return _quadrants(backend, fields, gates, directions, _given(fields), scale, want_state)


def _quadrants(
    backend: str,
    fields: Fields,
    gates: Gates,
    directions: tuple[int, ...],
    border: Border | None,
    scale: float,
    want_state: bool,
) -> tuple[Tensor, Border | None]:
    check_choice("backend", backend, GRIDS)
    q, k, v = (fields.given(name) for name in ("q", "k", "v"))
    X, Y = q.shape[1:3]
    states = want_state or border is not None
    if backend == "auto":
        backend = _fastest(q, states)
    if backend == "triton":
        _check_triton(q, states)
    if backend == "reference":
        border = border or _nothing(q, v, (1,), len(directions))
        y, border = reference.quadrants(q * scale, k, v, gates, fields["direct"], directions, border)
        return y, border if want_state else None
    q, k, v = (t.squeeze(-1) for t in (q, k, v))
    plain, direct = [_plain(gate, 4) for gate in gates], _plain(fields["direct"], 3)
    if all(gate is None for gate in plain):
        plain[-1] = v.new_zeros(len(v), len(directions), X, Y)
    given = GridInputs(q, k, v, plain, direct, directions, scale)
    if backend == "dense" and not states:
        return dense.quadrants(given).unsqueeze(-1), None
    if backend == "triton":
        return import_module(".cuda", __name__).quadrants(given).unsqueeze(-1), None
    if want_state and border is None:
        border = _nothing(q, v, (1,), len(directions))
    enters = None if border is None else (border[0].squeeze(-1), border[1].squeeze(-1))
    if backend == "sweep" and compiled_for(q):
        y, leaves = sweep.quadrants(given, enters)
    else:
        y, leaves = tiled.quadrants(given, enters, max(X, Y) if backend == "dense" else tiled.SIDE)
    if leaves is None or not want_state:
        return y.unsqueeze(-1), None
    return y.unsqueeze(-1), (leaves[0].unsqueeze(-1), leaves[1].unsqueeze(-1))


def _fastest(q: Tensor, states: bool) -> str:
    """Tiles where the mask of all pairs would cost more time, or memory, or where states are asked for; else dense.

    ``triton`` is taken by name only: its speed on a device has not been measured yet.
    """
    B, X, Y = q.shape[:3]
    if compiled_for(q):
        return "sweep" if states or X * Y > DENSE_ON_CPU else "dense"
    too_large = X * Y > DENSE_NODES or B * (X * Y) ** 2 > DENSE_MASKS
    return "tiled" if too_large or (states and max(X, Y) > tiled.SIDE) else "dense"


def _check_triton(q: Tensor, states: bool) -> None:
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    if not (q.device.type == "cuda" or interpreted):
        got = f"'triton' on {q.device.type}"
        raise wrong("backend", "a kernel for the tensors' device", got, "use backend='auto'")
    do = "use backend='tiled' or 'auto'"
    if states:
        raise wrong("backend", "one that takes and returns states", "'triton'", do)
    if q.shape[2] > TRITON_ROW:
        raise wrong(
            "backend", f"one for rows of more than {TRITON_ROW} nodes", f"'triton' for {q.shape[2]}", do
        )
    if find_spec("triton") is None:
        raise wrong("backend", "one that is installed", "'triton'", "pip install triton", error=ImportError)


def _given(fields: Fields) -> Border | None:
    if "initial_state[0]" not in fields.tensors:
        return None
    return fields.given("initial_state[0]"), fields.given("initial_state[1]")


def _nothing(q: Tensor, v: Tensor, channels: tuple[int, ...], *directions: int) -> Border:
    B, X, Y, dk = q.shape[:4]
    rest = (dk, v.shape[3], *channels)
    return q.new_zeros(B, *directions, Y, *rest), q.new_zeros(B, *directions, X, *rest)


def _plain(gate: Tensor | None, axes: int) -> Tensor | None:
    return None if gate is None else gate.reshape(gate.shape[:axes])
