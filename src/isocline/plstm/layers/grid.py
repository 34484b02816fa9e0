"""A layer for images: four recurrences, one from each corner, without an order in which patches must be read."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from isocline._core.checks import check_choice
from isocline.plstm.functional import plstm_2d_d, plstm_2d_p
from isocline.plstm.gates import Gate, HeadNorm, affine, check_features, finish, head_width, words

DIRECTIONS = 4
ORIENTATION_SCALE = 0.5  # of the features' part in the angle, further divided by their number
FAN = 2.0  # the angles of the heads start at sigmoid(-2) .. sigmoid(2)


class PLSTM2d(nn.Module):
    """Long-range mixing on a grid of features by gated recurrences from all four corners.

    P-mode ("propagation") sends what enters a node on along an angle that each head and direction chooses: a beam
    whose mass is kept and whose width grows like the square root of the distance. D-mode ("distribution") sends everything
    everywhere in a quadrant, along one path each. Blocks alternate the two.

    ``variant="paper"`` is stable: transitions ``gamma [[a, a], [1 - a, 1 - a]]`` with ``gamma = tanh(..)`` in [-1, 1], sources
    ``a s`` and ``(1 - a) s``. ``variant="reference"`` computes what the published code does: in P-mode ``a gamma`` and
    ``1 - a gamma`` for transitions and ``a s`` and ``1 - a s`` for sources, so that gamma only turns the beam, a negative gamma
    lets states grow, and the start angles of heads and directions are interchanged. In D-mode both are the same.

    Shapes: ``(B, X, Y, dim)`` to ``(B, X, Y, dim)``, channels last, any X and Y. ``dim`` is a multiple of ``heads``, and of
    ``4 heads`` unless ``sliced_gates=False``: each of the four gates of a head sees its own slice of the features.
    Gates are computed in float32 at least, whatever the features' dtype.
    ``small_gates=True`` starts the gates' weights with SmallInit instead of zero (the choice for ImageNet).
    Raises: ValueError for sizes that do not divide, zero heads, an unknown mode or variant.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        mode: str = "P",
        *,
        variant: str = "paper",
        chirality: str = "L",
        sliced_gates: bool = True,
        small_gates: bool = False,
        source_bias: float = -4.0,
        mark_bias: float = -4.0,
        direct_bias: float = -6.0,
        transition_bias: float = 1.0,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        width = head_width(dim, heads)
        self.dim, self.heads = dim, heads
        self.mode = check_choice("mode", mode, ("P", "D"))
        self.variant = check_choice("variant", variant, ("paper", "reference"))
        self.chirality = check_choice("chirality", chirality, ("L", "R"))
        self.sliced_gates, self.small_gates, self.backend = sliced_gates, small_gates, backend
        self.direct_bias = float(direct_bias)
        starts = {"source": source_bias, "mark": mark_bias, "transition": transition_bias}
        names = ("source", "transition", "mark") if mode == "P" else D_GATES
        self.gate = nn.ModuleDict(
            {
                name: Gate(
                    dim,
                    DIRECTIONS * heads,
                    starts[name.split("_")[0]],
                    sliced=sliced_gates,
                    small=small_gates,
                )
                for name in names
            }
        )
        if mode == "P":
            self.gate["angle"] = Gate(dim, DIRECTIONS * heads, 0.0, sliced=False, small=small_gates)
        self.direct = nn.Parameter(torch.empty(heads))
        self.query, self.key, self.value = (nn.Linear(dim, dim) for _ in range(3))
        self.norm = HeadNorm(heads, width)
        self.out = nn.Linear(dim, dim, bias=False)
        self.reset_parameters()

    gate: Any  # a ModuleDict of Gate, by the name of the gate

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Gates at their biases, angles fanned out over the heads, SmallInit for the projections."""
        finish(self, generator)
        nn.init.constant_(self.direct, self.direct_bias)
        if self.mode == "P":
            fan = torch.linspace(-FAN, FAN, self.heads) if self.heads > 1 else torch.zeros(1)
            # Gate j belongs to head j // 4. The published code fills its bias as if j ran over the heads first.
            mixed = self.variant == "reference"
            with torch.no_grad():
                self.gate["angle"].bias.copy_(
                    fan.repeat(DIRECTIONS) if mixed else fan.repeat_interleave(DIRECTIONS)
                )

    def gates(self, x: Tensor) -> dict[str, Any]:
        """What the recurrence is given at every node: sources, transitions and marks ``(B, heads, 4, X, Y)``, by name."""
        check_features(x, self.dim, ("B", "X", "Y"))
        return self._p_gates(x) if self.mode == "P" else self._d_gates(x)

    def _p_gates(self, x: Tensor) -> dict[str, Any]:
        angle = self.gate["angle"]
        a = torch.sigmoid(_fields(affine(x, ORIENTATION_SCALE / self.dim * angle.weight, angle.bias)))
        gamma = torch.tanh(5 * _fields(self.gate["transition"](x)))
        s = torch.sigmoid(_fields(self.gate["source"](x)))
        m = torch.sigmoid(_fields(self.gate["mark"](x)))
        r, right = a * s, a * gamma
        paper = self.variant == "paper"
        return {
            "source_r": r,
            "source_d": s - r if paper else 1 - r,
            "transition_r": right,
            "transition_d": gamma - right if paper else 1 - right,
            "mark": m,
        }

    def _d_gates(self, x: Tensor) -> dict[str, Any]:
        found = {name: _fields(self.gate[name](x)) for name in D_GATES}
        return {
            name: torch.tanh(5 * z) if name.startswith("transition") else torch.sigmoid(z)
            for name, z in found.items()
        }

    def forward(self, x: Tensor) -> Tensor:
        gates = self.gates(x)
        q, k, v = (_heads(layer(x), self.heads) for layer in (self.query, self.key, self.value))
        direct = torch.sigmoid(self.direct.to(gates["source_r"].dtype))[:, None, None].expand(q.shape[:-1])
        if self.mode == "P":
            h: Any = plstm_2d_p(q, k, v, **gates, direct=direct, backend=self.backend)
        else:
            h = plstm_2d_d(q, k, v, **gates, direct=direct, chirality=self.chirality, backend=self.backend)
        return self.out(self.norm(h.movedim(-4, -2)).flatten(-2))  # heads beside their features

    def extra_repr(self) -> str:
        names = (
            "dim",
            "heads",
            "mode",
            "variant",
            "chirality",
            "sliced_gates",
            "small_gates",
            "direct_bias",
            "backend",
        )
        kinds = {name.split("_")[0]: gate.start for name, gate in self.gate.items() if name != "angle"}
        starts = {f"{kind}_bias": start for kind, start in kinds.items()}
        return words(self, **{name: getattr(self, name) for name in names}, **starts)


D_GATES = (
    "source_r",
    "source_d",
    "transition_r",
    "transition_d",
    "transition_turn",
    "mark_l",
    "mark_u",
)


def _fields(z: Tensor) -> Tensor:
    """``(..., X, Y, heads 4)`` as ``(..., heads, 4, X, Y)``."""
    return z.unflatten(-1, (-1, DIRECTIONS)).movedim((-2, -1), (-4, -3))


def _heads(x: Tensor, heads: int) -> Tensor:
    """``(..., X, Y, heads d)`` as ``(..., heads, X, Y, d)``."""
    return x.unflatten(-1, (heads, -1)).movedim(-2, -4)
