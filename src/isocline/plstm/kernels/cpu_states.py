"""The compiled recursion over a grid as an operator of PyTorch: states carried from node to node, on a CPU.

Time and memory grow with the number of nodes, not with its square, and nothing but the inputs is kept between the two ways:
the states are made once more on the way back, some of their columns at a time. A gradient that is to be differentiated
itself is taken by `tiled`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import states as loops
from . import tiled
from .cpu import NOTHING, again, over_heads, read, turned
from .inputs import GridInputs
from .keeping import full_precision


@torch.library.custom_op("isocline::grid_states", mutates_args=(), device_types="cpu")
def grid_states(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    gates: Tensor,
    direct: Tensor | None,
    right: Tensor | None,
    down: Tensor | None,
    directions: Sequence[int],
    X: int,
    Y: int,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """What all directions read ``(B, N, dv)``, and the states that leave, in the shapes of those that enter.

    Shapes: q, k ``(B, N, dk)``; v ``(B, N, dv)``; gates ``(8, B, O, N)``; direct ``(B, N)``; right ``(B, O, Y, dk, dv)`` and
    down ``(B, O, X, dk, dv)``, or both None: then nothing enters, and what leaves is not given out.
    """
    border = None if right is None or down is None else (right, down)
    y, *leaves = read(q * scale, k, v, gates, direct, border, directions, X, Y)
    return y, turned(leaves[0]), turned(leaves[1])


@grid_states.register_fake
def _(
    q: Tensor, k: Tensor, v: Tensor, gates: Tensor, direct: Any, right: Any, down: Any, *_others: Any
) -> tuple[Tensor, Tensor, Tensor]:
    return _empty(v, v), _empty(right, v), _empty(down, v)


@torch.library.custom_op("isocline::grid_states_backward", mutates_args=(), device_types="cpu")
def grid_states_backward(
    slope: Tensor,
    to_right: Tensor,
    to_down: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    gates: Tensor,
    direct: Tensor | None,
    right: Tensor | None,
    down: Tensor | None,
    directions: Sequence[int],
    X: int,
    Y: int,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """dl/dq, dl/dk, dl/dv, dl/dgates, dl/ddirect and those of the states that enter.

    For slope = dl/dy and the slopes of the states that leave.
    """
    with full_precision():
        q, slope = q * scale, slope.contiguous()
        found = [torch.zeros_like(t, memory_format=torch.contiguous_format) for t in (q, k, v, gates)]
        borders = [_turned(t, v) for t in (right, down, to_right, to_down)]
        given = (*(t.contiguous() for t in (q, k, v)), slope, right is not None, *borders, *found)
        over_heads(loops.grid_gradients, gates, np.array(directions), X, Y, *given)
        near, wanted = (q * k).sum(-1), (v * slope).sum(-1)
        if direct is not None:
            weight = (direct * wanted).unsqueeze(-1)
            found[0].addcmul_(weight, k)
            found[1].addcmul_(weight, q)
            found[2].addcmul_((direct * near).unsqueeze(-1), slope)
        into = [turned(t) for t in borders[2:]]
        return found[0].mul_(scale), found[1], found[2], found[3], near.mul_(wanted), into[0], into[1]


@grid_states_backward.register_fake
def _(
    slope: Tensor,
    to_right: Tensor,
    to_down: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    gates: Tensor,
    *_others: Any,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    near = q.new_empty(q.shape[:2])
    return (*(_empty(t, v) for t in (q, k, v, gates)), near, _empty(to_right, v), _empty(to_down, v))  # pyright: ignore[reportReturnType]


def _turned(states: Tensor | None, like: Tensor) -> Tensor:
    """States as their transposes, in memory of their own; nothing stays nothing."""
    return like.new_empty(NOTHING) if states is None else turned(states)


def _empty(t: Tensor | None, like: Tensor) -> Tensor:
    return like.new_empty(NOTHING if t is None else t.shape)


def _keep(ctx: Any, inputs: Any, output: Any) -> None:
    *tensors, ctx.directions, ctx.X, ctx.Y, ctx.scale = inputs
    ctx.save_for_backward(*tensors)


def _back(ctx: Any, slope: Tensor, to_right: Tensor, to_down: Tensor) -> tuple[Tensor | None, ...]:
    given = ctx.saved_tensors
    if torch.is_grad_enabled():
        slopes = (slope,) if given[5] is None else (slope, to_right, to_down)
        function = partial(_in_torch, directions=ctx.directions, X=ctx.X, Y=ctx.Y, scale=ctx.scale)
        return *again(function, given, slopes), None, None, None, None
    found = grid_states_backward(slope, to_right, to_down, *given, ctx.directions, ctx.X, ctx.Y, ctx.scale)
    missing = [None if inputs is None else to for inputs, to in zip(given[4:], found[4:], strict=True)]
    return *found[:4], *missing, None, None, None, None


def _in_torch(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    gates: Tensor,
    direct: Tensor | None,
    right: Tensor | None,
    down: Tensor | None,
    *,
    directions: Sequence[int],
    X: int,
    Y: int,
    scale: float,
) -> tuple[Tensor, ...]:
    q, k, v = (t.unflatten(1, (X, Y)) for t in (q, k, v))
    direct = None if direct is None else direct.unflatten(1, (X, Y))
    border = None if right is None or down is None else (right, down)
    given = GridInputs(q, k, v, list(gates.unflatten(3, (X, Y))), direct, directions, scale)
    y, leaves = tiled.quadrants(given, border)
    return (y.flatten(1, 2),) if border is None else (y.flatten(1, 2), *leaves)


grid_states.register_autograd(_back, setup_context=_keep)
