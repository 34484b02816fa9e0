"""A layer for sequences: a linear recurrence with gates, and with matrices for transitions where states are to be tracked."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from isocline._core.checks import check_choice, check_number, wrong
from isocline.plstm.functional import plstm_1d
from isocline.plstm.gates import Gate, HeadNorm, check_features, finish, head_width, words
from isocline.plstm.rotations import MatrixTransition


class SequenceState(NamedTuple):
    """What a layer remembers between two pieces of a sequence."""

    memory: Tensor  # (B, heads, dk, dv), with channels (B, heads, dk, dv, J)
    tail: Tensor | None  # (B, width - 1, dim): the last inputs, which the convolution still sees


class PLSTM1d(nn.Module):
    """Mixing along a sequence by ``C <- T_t C + S_t k_t v_t^T``; token t reads what the tokens before it wrote.

    With ``channels = J > 1`` every head has J coupled states and its transition is a matrix ``O diag(a) I`` with orthogonal O
    and I and ``|a| < 1`` (state tracking); ``variant="reference"`` then takes the published power series for the
    rotations, which is exact for small generators only. With one channel the variants are the same. ``conv`` is the width
    of a causal depthwise convolution in front of everything but the values (0: none); ``passthrough`` adds its output,
    or the input without one, with a learned scale.

    Shapes: ``(B, T, dim)`` to ``(B, T, dim)``; with ``return_state`` also the `SequenceState` that continues the sequence.
    ``dim`` is a multiple of ``heads channels``. Raises: ValueError for sizes that do not divide, zero heads.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        channels: int = 1,
        conv: int = 0,
        passthrough: bool = False,
        variant: str = "paper",
        small_gates: bool = False,
        source_bias: float = -4.0,
        mark_bias: float = -4.0,
        direct_bias: float = -6.0,
        transition_bias: float = 1.0,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        width = head_width(dim, heads)
        J = check_number("channels", channels, least=1, integer=True)
        if width % J:
            raise wrong("dim", f"a multiple of heads * channels = {heads * J}", dim)
        self.dim, self.heads, self.channels, self.backend = dim, heads, J, backend
        self.conv_width = check_number("conv", conv, least=0, integer=True)
        self.variant = check_choice("variant", variant, ("paper", "reference"))
        self.small_gates, self.direct_bias = small_gates, float(direct_bias)
        how = {"sliced": False, "small": small_gates}
        self.source = Gate(dim, heads * J * J, source_bias, **how)
        self.mark = Gate(dim, heads * J * J, mark_bias, **how)
        self.transition = (
            Gate(dim, heads, transition_bias, **how)
            if J == 1
            else MatrixTransition(dim, heads, J, transition_bias, exact=variant == "paper")
        )
        self.direct = nn.Parameter(torch.empty(heads, J, J))
        self.query, self.key, self.value = (nn.Linear(dim, dim) for _ in range(3))
        self.norm = HeadNorm(heads, width)
        self.out = nn.Linear(dim, dim, bias=False)
        self.conv = nn.Conv1d(dim, dim, conv, groups=dim) if conv else None
        self.passthrough = nn.Parameter(torch.ones(dim)) if passthrough else None
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Gates at their biases, SmallInit for the projections, the passthrough at one."""
        finish(self, generator)
        nn.init.constant_(self.direct, self.direct_bias)
        if self.passthrough is not None:
            nn.init.ones_(self.passthrough)

    def gates(self, x: Tensor) -> dict[str, Any]:
        """Source, transition and mark at every token, each ``(B, heads, T)``; with channels the axes of `plstm_1d` follow."""
        check_features(x, self.dim, ("B", "T"))
        J = self.channels
        source, mark = (
            torch.sigmoid(gate(x)).unflatten(-1, (self.heads, J, J)) for gate in (self.source, self.mark)
        )
        if J == 1:
            found = (source[..., 0, 0], torch.tanh(5 * self.transition(x)), mark[..., 0, 0])
            source, transition, mark = (gate.movedim(-1, -2) for gate in found)
        else:  # JK = JQ = 1
            found = (source.unsqueeze(-2), self.transition(x), mark.unsqueeze(-2))
            source, transition, mark = (gate.movedim(2, 1) for gate in found)
        return {"source": source, "transition": transition, "mark": mark}

    def forward(
        self, x: Tensor, state: SequenceState | None = None, *, return_state: bool = False
    ) -> Tensor | tuple[Tensor, SequenceState]:
        u, tail = self._convolved(x, state)
        q, k, v = (_heads(part, self.heads) for part in (self.query(u), self.key(u), self.value(x)))
        gates = self.gates(u)
        direct = torch.sigmoid(self.direct.to(gates["source"].dtype))
        J, lead = self.channels, q.shape[:-1]
        if J == 1:
            direct = direct.flatten()[:, None].expand(lead)
        else:
            q, k, v = q.unsqueeze(-1), k.unsqueeze(-1), v.unflatten(-1, (-1, J))
            direct = direct[:, None, :, None, None, :].expand(*lead, J, 1, 1, J)
        memory = None if state is None else state.memory
        h, memory = plstm_1d(
            q, k, v, **gates, direct=direct, initial_state=memory, return_state=True, backend=self.backend
        )
        h = h if J == 1 else h.flatten(-2)
        y = self.out(self.norm(h.movedim(-3, -2)).flatten(-2))
        y = y if self.passthrough is None else y + self.passthrough * u
        return (y, SequenceState(memory, tail)) if return_state else y

    def _convolved(self, x: Tensor, state: SequenceState | None) -> tuple[Tensor, Tensor | None]:
        check_features(x, self.dim, ("B", "T"))
        if state is not None and not isinstance(state, SequenceState):
            do = "pass what return_state=True gave"
            raise wrong("state", "a SequenceState", f"a {type(state).__name__}", do, error=TypeError)
        if self.conv is None:
            return x, None
        before = x.new_zeros(x.shape[0], self.conv_width - 1, self.dim)
        before = before if state is None or state.tail is None else state.tail
        seen = torch.cat([before, x], 1)
        return self.conv(seen.mT).mT, seen[:, seen.shape[1] - self.conv_width + 1 :]

    def extra_repr(self) -> str:
        names = ("dim", "heads", "channels", "variant", "small_gates", "direct_bias", "backend")
        gates = ("source", "mark", "transition")
        return words(
            self,
            **{name: getattr(self, name) for name in names},
            **{f"{name}_bias": getattr(self, name).start for name in gates},
            conv=self.conv_width,
            passthrough=self.passthrough is not None,
        )


def _heads(x: Tensor, heads: int) -> Tensor:
    """``(B, T, heads d)`` as ``(B, heads, T, d)``."""
    return x.unflatten(-1, (heads, -1)).movedim(-2, -3)
