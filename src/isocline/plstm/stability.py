"""Transitions under which states stay bounded, however far they travel. Source: paper, the section on stability."""

from __future__ import annotations

import torch
from torch import Tensor

from .._core.checks import wrong
from .arguments import Fields

SLACK = 1e-6  # rounding of float32 gates that sum to one


def size(transition: Tensor) -> Tensor:
    """The largest singular value of ``(..., JT, JT)``; of one channel its absolute value. Returns ``(...)``."""
    if transition.shape[-1] == 1:
        return transition.abs()[..., 0, 0]
    return torch.linalg.matrix_norm(transition, ord=2)


def check_line(transition: Tensor) -> None:
    """Raise ValueError unless every ``|T| <= 1``."""
    _check("transition", "|transition| <= 1", size(transition))


def check_grid(fields: Fields) -> None:
    """Raise ValueError unless the transitions of a grid are stable as P-mode or as D-mode."""
    names = ("transition_rl", "transition_dl", "transition_ru", "transition_du")
    like = fields.given("q")[..., 0, 0].abs() * 0
    rl, dl, ru, du = (like if (gate := fields[name]) is None else size(gate) for name in names)
    if fields["transition_dl"] is None or fields["transition_ru"] is None:
        largest = torch.stack([rl, dl, ru, du]).amax(0)
        _check("transitions", "each |transition| <= 1 where one turn is absent (D-mode)", largest)
    else:
        columns = torch.maximum(rl + dl, ru + du)
        _check("transitions", "|rl| + |dl| <= 1 and |ru| + |du| <= 1 (P-mode)", columns)


def check_p(fields: Fields) -> None:
    """Raise ValueError unless every ``|a| + |b| <= 1`` (P-mode)."""
    columns = size(fields.given("transition_r")) + size(fields.given("transition_d"))
    _check("transition_r, transition_d", "|transition_r| + |transition_d| <= 1", columns)


def check_d(fields: Fields) -> None:
    """Raise ValueError unless every ``|T| <= 1`` (D-mode)."""
    for name in ("transition_r", "transition_d", "transition_turn"):
        _check(name, f"|{name}| <= 1", size(fields.given(name)))


def _check(argument: str, want: str, sizes: Tensor) -> None:
    largest = float(sizes.detach().max())
    if not largest <= 1 + SLACK:
        share = float((sizes > 1 + SLACK).double().mean())
        got = f"{largest:.6g} at the largest ({100 * share:.3g} % above one)"
        raise wrong(argument, want, got, "bound the gate, or call with check=False")
