"""Linear recurrences on sequences and grids whose gates say how much of a state is made, passed on and read.

A state ``C (dk, dv)`` lives on every edge of a directed acyclic graph. A node ``n`` with key, value and query reads
the states that enter it and makes those that leave::

    C_e = S_{n,e} k_n v_n^T + sum over incoming e' of T_{n,e,e'} C_{e'}
    h_n = scale (sum over incoming e of M_{n,e} C_e^T q_n + D_n (q_n . k_n) v_n)

S is the source, T the transition, M the mark and D the direct gate; ``scale`` is ``dk^(-1/2)`` unless given. The output is
linear attention under a mask, ``h_n = scale sum over n' of G_{n,n'} (q_n . k_n') v_n'``, where G sums over all paths
``mark x transitions x source``. Source: pLSTM, *parallelizable Linear Source Transition Mark networks*, arXiv
2506.11997.

Leading axes (batch, heads) broadcast. Tensors come as scalars, as the shapes below say, or with the channel axes of
state tracking: see `kernels.reference` for those. `backend` names a way of computing (`kernels`); "auto" chooses by
size, device and what is asked for. Products of gates are computed in float32 at least, whatever the dtype of q, k and
v, which is the dtype of the result.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from isocline._core.checks import check_choice, wrong
from isocline.plstm import kernels, stability
from isocline.plstm.arguments import Fields, joined
from isocline.plstm.propagation import plstm_graph

__all__ = ["plstm_1d", "plstm_2d", "plstm_2d_d", "plstm_2d_p", "plstm_graph"]

State = tuple[Tensor, Tensor]

DIRECTIONS = (0, 1, 2, 3)  # no flip, X flipped, Y flipped, both flipped


def plstm_1d(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    source: Tensor,
    transition: Tensor,
    mark: Tensor,
    direct: Tensor | None = None,
    *,
    initial_state: Tensor | None = None,
    return_state: bool = False,
    scale: float | None = None,
    check: bool = False,
    backend: str = "auto",
) -> Tensor | tuple[Tensor, Tensor]:
    """A sequence: ``y_t = scale (m_t C^T q_t + d_t (q_t . k_t) v_t)``, then ``C <- a_t C + s_t k_t v_t^T``.

    Token t reads what the tokens before it wrote; its own key and value are seen through `direct` alone.

    Shapes: q, k ``(..., N, dk)``; v ``(..., N, dv)``; source s, transition a, mark m, direct d ``(..., N)``;
    initial_state ``(..., dk, dv)``; returns y ``(..., N, dv)``, with `return_state` also the last state. With channels:
    q ``(..., N, dk, JQ)``, k ``(..., N, dk, JK)``, v ``(..., N, dv, JV)``, source ``(..., N, JT, JK, JV)``, transition
    ``(..., N, JT, JT)``, mark ``(..., N, JO, JQ, JT)``, direct ``(..., N, JO, JQ, JK, JV)``, state ``(..., dk, dv, JT)``;
    y ``(..., N, dv, JO)``. Transitions may be zero or negative. `check` asks for ``|a| <= 1`` (the largest singular
    value), which keeps every state bounded.
    Raises: ValueError for shapes that do not fit, an unknown backend, an unstable transition if `check`.
    Source: paper, the section on sequences.

    >>> import torch
    >>> one = torch.ones(3, 1)
    >>> plstm_1d(one, one, one, *torch.ones(3, 3)).squeeze()  # a sum over what came before
    tensor([0., 1., 2.])
    """
    axes = {"q": ("N", "dk"), "k": ("N", "dk"), "v": ("N", "dv"), "initial_state": ("dk", "dv")}
    gates = {"source": source, "transition": transition, "mark": mark, "direct": direct}
    tensors = {"q": q, "k": k, "v": v, **gates, "initial_state": initial_state}
    fields = joined(tensors, {name: axes.get(name, ("N",)) for name in tensors})
    if check:
        stability.check_line(fields.given("transition"))
    y, state = kernels.line(backend, fields, _scale(scale, q, fields))
    return (fields.result(y), fields.state(state)) if return_state else fields.result(y)


def plstm_2d(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    source_r: Tensor | None = None,
    source_d: Tensor | None = None,
    transition_rl: Tensor | None = None,
    transition_ru: Tensor | None = None,
    transition_dl: Tensor | None = None,
    transition_du: Tensor | None = None,
    mark_l: Tensor | None = None,
    mark_u: Tensor | None = None,
    direct: Tensor | None = None,
    initial_state: State | None = None,
    return_state: bool = False,
    scale: float | None = None,
    check: bool = False,
    backend: str = "auto",
) -> Tensor | tuple[Tensor, State]:
    """A grid with all four transitions, in one direction: +X is "right" (r), +Y is "down" (d).

    ::

        h(x, y)   = scale (m_l R[x, y]^T q + m_u U[x, y]^T q + d (q . k) v)
        R[x+1, y] = t_rl R[x, y] + t_ru U[x, y] + s_r k v^T         all gates at (x, y)
        U[x, y+1] = t_dl R[x, y] + t_du U[x, y] + s_d k v^T

    X is the first axis of the grid (an image's rows), Y the second. A gate that is None is absent.

    Shapes: q, k ``(..., X, Y, dk)``; v ``(..., X, Y, dv)``; gates ``(..., X, Y)``; returns h ``(..., X, Y, dv)``, with
    `return_state` also the states that leave: R at x = X ``(..., Y, dk, dv)`` and U at y = Y ``(..., X, dk, dv)``; such a
    pair is `initial_state`, what enters at x = 0 and y = 0. So a grid can be cut into tiles and streamed. With channels
    the axes JT, JK, JV, JQ, JO follow as in `plstm_1d`. `check` asks for a stable set: every column ``|t_rl| + |t_dl|``
    and ``|t_ru| + |t_du|`` at most one (P-mode), or one of the turns absent and each entry at most one (D-mode).
    Raises: ValueError for shapes that do not fit, an unknown backend, unstable transitions if `check`.
    Source: paper, the section on grids.
    """
    gates: dict[str, Tensor | None] = {
        "source_r": source_r, "source_d": source_d, "transition_rl": transition_rl, "transition_ru": transition_ru,
        "transition_dl": transition_dl, "transition_du": transition_du, "mark_l": mark_l, "mark_u": mark_u,
    }  # fmt: skip
    fields = _grid_fields((q, k, v), gates, direct, initial_state)
    if check:
        stability.check_grid(fields)
    eight = tuple(fields[name] for name in gates)
    return _results(fields, *kernels.grid(backend, fields, eight, _scale(scale, q, fields), return_state))


def plstm_2d_p(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    source_r: Tensor,
    source_d: Tensor,
    transition_r: Tensor,
    transition_d: Tensor,
    mark: Tensor,
    direct: Tensor | None = None,
    directions: Sequence[int] = DIRECTIONS,
    initial_state: State | None = None,
    return_state: bool = False,
    scale: float | None = None,
    check: bool = False,
    backend: str = "auto",
) -> Tensor | tuple[Tensor, State]:
    """P-mode (propagation): all that enters a node goes on, `transition_r` of it to the right, `transition_d` down.

    The transition has rank one, ``t_rl = t_ru = a`` and ``t_dl = t_du = b``, so one state ``Z = R + U`` a node is enough::

        h(x, y) = scale (m Z[x, y]^T q + d (q . k) v)
        Z(x, y) = a(x-1, y) Z(x-1, y) + s_r k v^T (x-1, y) + b(x, y-1) Z(x, y-1) + s_d k v^T (x, y-1)

    With ``a = gamma alpha`` and ``b = gamma (1 - alpha)`` the angle alpha says where a state goes and gamma how much of it
    is kept; ``|a| + |b| <= 1`` (what `check` asks for) is the stable set.

    All `directions` are summed in one call: 0 runs along +X and +Y, 1 along -X, 2 along -Y, 3 along both; gates have an
    axis O for them, and q, k, v and `direct` are shared.

    Shapes: q, k ``(..., X, Y, dk)``; v ``(..., X, Y, dv)``; gates ``(..., O, X, Y)``; direct ``(..., X, Y)``; returns
    ``(..., X, Y, dv)``, with `return_state` also the states that leave, R ``(..., O, Y, dk, dv)`` and U ``(..., O, X, dk,
    dv)``: of a direction that runs along -X, R leaves at x = 0. Such a pair is `initial_state`. Indices along a border
    are those of the grid, whatever the direction.
    Raises: ValueError for shapes that do not fit, an unknown direction or backend, unstable transitions if `check`.
    Source: paper, the section on P-mode.
    """
    gates: dict[str, Tensor | None] = {
        "source_r": source_r, "source_d": source_d, "transition_r": transition_r, "transition_d": transition_d,
        "mark": mark,
    }  # fmt: skip
    fields = _grid_fields((q, k, v), gates, direct, initial_state, directions)
    if check:
        stability.check_p(fields)
    r, d, m = (fields["transition_r"], fields["transition_d"], fields["mark"])
    eight = (fields["source_r"], fields["source_d"], r, r, d, d, m, m)
    return _quadrants(backend, fields, eight, tuple(directions), _scale(scale, q, fields), return_state)


def plstm_2d_d(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    source_r: Tensor,
    source_d: Tensor,
    transition_r: Tensor,
    transition_d: Tensor,
    transition_turn: Tensor,
    mark_l: Tensor,
    mark_u: Tensor,
    direct: Tensor | None = None,
    chirality: str = "L",
    directions: Sequence[int] = DIRECTIONS,
    initial_state: State | None = None,
    return_state: bool = False,
    scale: float | None = None,
    check: bool = False,
    backend: str = "auto",
) -> Tensor | tuple[Tensor, State]:
    """D-mode (distribution): one turn only, so that a single path joins any two nodes and nothing can pile up.

    Chirality "L" turns from down to right: a state runs down the column of its source, turns once, and runs right along
    the row of its target (``t_ru = transition_turn``, ``t_dl = 0``); "R" turns from right to down. Then ``|t| <= 1`` each is
    the stable set (what `check` asks for).

    Shapes, directions, states and errors: as `plstm_2d_p`. Source: paper, the section on D-mode.
    """
    check_choice("chirality", chirality, ("L", "R"))
    gates: dict[str, Tensor | None] = {
        "source_r": source_r, "source_d": source_d, "transition_r": transition_r, "transition_d": transition_d,
        "transition_turn": transition_turn, "mark_l": mark_l, "mark_u": mark_u,
    }  # fmt: skip
    fields = _grid_fields((q, k, v), gates, direct, initial_state, directions)
    if check:
        stability.check_d(fields)
    right, down, turn = (fields[f"transition_{name}"] for name in ("r", "d", "turn"))
    turns = (turn, None) if chirality == "L" else (None, turn)
    eight = (fields["source_r"], fields["source_d"], right, *turns, down, fields["mark_l"], fields["mark_u"])
    return _quadrants(backend, fields, eight, tuple(directions), _scale(scale, q, fields), return_state)


def _grid_fields(
    vectors: tuple[Tensor, Tensor, Tensor],
    gates: dict[str, Tensor | None],
    direct: Tensor | None,
    initial_state: State | None,
    directions: Sequence[int] | None = None,
) -> Fields:
    """What a grid is given, compared; with `directions` gates and states have an axis O for them."""
    if isinstance(directions, int):
        raise wrong(
            "directions", "a sequence of 0, 1, 2, 3", directions, f"pass ({directions},)", error=TypeError
        )
    O = () if directions is None else ("O",)
    axes: dict[str, Sequence[str]] = {"q": ("X", "Y", "dk"), "k": ("X", "Y", "dk"), "v": ("X", "Y", "dv")}
    given: dict[str, Tensor | None] = {**dict(zip(axes, vectors, strict=True)), **gates, "direct": direct}
    axes |= {**dict.fromkeys(gates, (*O, "X", "Y")), "direct": ("X", "Y")}
    if initial_state is not None:
        given["initial_state[0]"], given["initial_state[1]"] = _pair(initial_state)
        axes |= {"initial_state[0]": (*O, "Y", "dk", "dv"), "initial_state[1]": (*O, "X", "dk", "dv")}
    fields = joined(given, axes, channels=directions is None)
    for direction in () if directions is None else directions:
        check_choice("directions", direction, DIRECTIONS)
    count = 0 if directions is None else fields.given("source_r").shape[1]
    if directions is not None and len(directions) != count:
        raise wrong("directions", f"{count}, as the gates' axis O", f"{len(directions)}: {tuple(directions)}")
    return fields


def _quadrants(
    backend: str,
    fields: Fields,
    gates: kernels.Gates,
    directions: tuple[int, ...],
    scale: float,
    return_state: bool,
) -> Tensor | tuple[Tensor, State]:
    return _results(fields, *kernels.quadrants(backend, fields, gates, directions, scale, return_state))


def _results(fields: Fields, y: Tensor, border: kernels.Border | None) -> Tensor | tuple[Tensor, State]:
    if border is None:
        return fields.result(y)
    return fields.result(y), (fields.state(border[0]), fields.state(border[1]))


def _scale(scale: float | None, q: Tensor, fields: Fields) -> float:
    return (q.shape[-1 if fields.scalar else -2]) ** -0.5 if scale is None else scale


def _pair(state: Any) -> State:
    if isinstance(state, Tensor) or len(state) != 2:
        got = "one tensor" if isinstance(state, Tensor) else f"{len(state)} parts"
        raise wrong("initial_state", "a pair (R, U) of states", got)
    return state
