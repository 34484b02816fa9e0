"""Wrong calls, and what they are answered."""

import pytest
import torch

from isocline.plstm import plstm_1d, plstm_2d, plstm_2d_d, plstm_2d_p

LINE = [
    (
        {"k": torch.ones(2, 7, 4)},
        r"k: want shape \(\.\.\., N, dk\) with N = 6 on axis 1 as in q \(2, 6, 4\), got \(2, 7, 4\)",
    ),
    ({"k": torch.ones(2, 6, 3)}, r"k: want .* with dk = 4 on axis 2 as in q \(2, 6, 4\), got \(2, 6, 3\)"),
    ({"mark": torch.ones(2, 5)}, r"mark: want .* with N = 6 on axis 1 as in q \(2, 6, 4\), got \(2, 5\)"),
    (
        {"source": torch.ones(3, 6)},
        r"source: want size 2 or 1 on axis 0 as in q \(2,\), got \(3,\) as leading axes",
    ),
    (
        {"source": torch.ones(6)},
        r"source: want shape \(\.\.\., N\) with 1 leading axes as in q \(2, 6, 4\), got \(6,\)",
    ),
    ({"direct": torch.ones(2, 6, dtype=torch.int64)}, "direct: want floating point numbers, got a tensor"),
    ({"initial_state": torch.ones(2, 3, 4)}, r"initial_state: want .* dk = 4 on axis 1 as in q"),
    ({"q": torch.ones(0, 6, 4)}, r"q: want every axis, heads included, of size >= 1, got \(0, 6, 4\)"),
    ({"q": torch.ones(4)}, r"q: want shape \(\.\.\., N, dk\)"),
    ({"q": [[1.0]]}, r"q: want a tensor, got"),
    (
        {"v": torch.ones(2, 6, 3).numpy()},
        r"v: want a tensor, got an array of shape \(2, 6, 3\), .*torch.as_tensor",
    ),
    ({"mark": 1.0}, r"mark: want a tensor, got 1.0"),
    ({"mark": torch.ones(2, 6, device="meta")}, r"mark: want the device of q, cpu, got meta; move it"),
    ({"backend": "fast"}, "backend: want one of 'auto', 'reference', 'chunked', 'fla', got 'fast'"),
    (
        {"backend": "fla"},
        "backend: want one that is installed, got 'fla'; pip install flash-linear-attention",
    ),
    (
        {"transition": torch.full((2, 6), -1.5), "check": True},
        r"transition: want \|transition\| <= 1, got 1.5 at the largest",
    ),
    ({"transition": torch.full((2, 6), torch.nan), "check": True}, "got nan at the largest"),
]


@pytest.mark.parametrize(("wrong", "message"), LINE)
def test_sequences(wrong, message):
    good = {"q": torch.ones(2, 6, 4), "k": torch.ones(2, 6, 4), "v": torch.ones(2, 6, 3)}
    good |= {name: torch.ones(2, 6) for name in ("source", "transition", "mark", "direct")}
    plstm_1d(**good, check=True)
    with pytest.raises((ValueError, TypeError, ImportError), match=message):
        plstm_1d(**{**good, **wrong})


GRID = [
    (
        {"v": torch.ones(2, 3, 5, 4)},
        r"v: want .* with Y = 4 on axis 2 as in q \(2, 3, 4, 5\), got \(2, 3, 5, 4\)",
    ),
    ({"mark": torch.ones(2, 4, 4, 4)}, r"mark: want .* with X = 3 on axis 2 as in q"),
    ({"mark": torch.ones(2, 3, 3, 4)}, r"mark: want .* with O = 4 on axis 1 as in source_r \(2, 4, 3, 4\)"),
    ({"directions": (0, 1)}, r"directions: want 4, as the gates' axis O, got 2: \(0, 1\)"),
    ({"directions": (0, 1, 2, 4)}, "directions: want one of 0, 1, 2, 3, got 4"),
    ({"backend": "denser"}, "backend: want one of .* got 'denser'; did you mean 'dense'?"),
    (
        {"initial_state": (torch.ones(2, 4, 4, 5, 6),)},
        r"initial_state: want a pair \(R, U\) of states, got 1 parts",
    ),
    (
        {"initial_state": torch.ones(2, 4, 4, 5, 6)},
        r"initial_state: want a pair \(R, U\) of states, got one tensor",
    ),
    ({"directions": 0}, r"directions: want a sequence of 0, 1, 2, 3, got 0; pass \(0,\)"),
    (
        {"initial_state": (torch.ones(2, 4, 3, 5, 6), torch.ones(2, 4, 3, 5, 6))},
        r"initial_state\[0\]: want shape \(\.\.\., O, Y, dk, dv\) with Y = 4 on axis 2 as in q",
    ),
    (
        {"check": True},
        r"transition_r, transition_d: want \|transition_r\| \+ \|transition_d\| <= 1, got 2 at the largest",
    ),
]


@pytest.mark.parametrize(("wrong", "message"), GRID)
def test_p_mode(wrong, message):
    good = {"q": torch.ones(2, 3, 4, 5), "k": torch.ones(2, 3, 4, 5), "v": torch.ones(2, 3, 4, 6)}
    names = ("source_r", "source_d", "transition_r", "transition_d", "mark")
    good |= {name: torch.ones(2, 4, 3, 4) for name in names}
    plstm_2d_p(**good)
    with pytest.raises((ValueError, TypeError), match=message):
        plstm_2d_p(**{**good, **wrong})


def test_d_mode():
    q = torch.ones(3, 4, 5)
    names = ("source_r", "source_d", "transition_r", "transition_d", "transition_turn", "mark_l", "mark_u")
    gates = {name: torch.ones(4, 3, 4) for name in names}
    plstm_2d_d(q, q, q, **gates, check=True)
    with pytest.raises(
        ValueError, match=r"transition_turn: want \|transition_turn\| <= 1, got 2 at the largest"
    ):
        plstm_2d_d(q, q, q, **{**gates, "transition_turn": 2 * gates["mark_l"]}, check=True)
    with pytest.raises(ValueError, match="chirality: want one of 'L', 'R', got 'left'"):
        plstm_2d_d(q, q, q, **gates, chirality="left")


def test_four_transitions():
    q, half, one = torch.ones(3, 4, 5), torch.full((3, 4), 0.5), torch.ones(3, 4)
    four = dict.fromkeys(("transition_rl", "transition_ru", "transition_dl", "transition_du"), half)
    plstm_2d(q, q, q, **four, check=True)
    plstm_2d(q, q, q, transition_rl=one, transition_ru=one, transition_du=one, check=True)
    with pytest.raises(ValueError, match=r"transitions: want \|rl\| \+ \|dl\| <= 1 .* \(P-mode\), got 1.5"):
        plstm_2d(q, q, q, **{**four, "transition_rl": one}, check=True)
    with pytest.raises(ValueError, match=r"transitions: want each \|transition\| <= 1 .* \(D-mode\), got 2"):
        plstm_2d(q, q, q, transition_rl=2 * one, check=True)
    wide = {"source_r": torch.ones(3, 4, 2, 1, 1), "mark_l": torch.ones(3, 4, 1, 1, 2)}
    with pytest.raises(
        ValueError, match="backend: want 'reference' for gates of several channels, got 'dense'"
    ):
        plstm_2d(*(q.unsqueeze(-1),) * 3, **wide, backend="dense")


def test_leading_axes_broadcast():
    q, gate = torch.randn(2, 1, 6, 4), torch.rand(1, 3, 6)
    y, state = plstm_1d(q, q, q, gate, gate, gate, return_state=True)
    assert y.shape == (2, 3, 6, 4)
    assert state.shape == (2, 3, 4, 4)
    torch.testing.assert_close(y[1, 2], plstm_1d(q[1, 0], q[1, 0], q[1, 0], *(gate[0, 2],) * 3))
