"""Residual blocks around a mixing layer: features are widened after it (vision, graphs) or before it (language)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from isocline._core.checks import check_number
from isocline.plstm.gates import small_init_

EPS = 1e-5  # of the RMS norms
MULTIPLE = 64  # hidden widths are rounded up to it


def drop_path(x: Tensor, rate: float) -> Tensor:
    """Leave whole examples out with probability `rate` and scale the others by ``1 / (1 - rate)``.

    Shapes: ``(B, ...)`` to the same. Source: Huang et al. 2016 (stochastic depth).
    """
    kept = torch.rand(len(x), *(1,) * (x.dim() - 1), device=x.device) >= rate
    return x * (kept.to(x.dtype) / (1 - rate))


def hidden_width(dim: int) -> int:
    """``4 dim``, rounded up to a multiple of 64."""
    return -(-4 * dim // MULTIPLE) * MULTIPLE


class PostUpBlock(nn.Module):
    """``x += mix(norm(x))``, then ``x += W_2 gelu(W_1 norm(x))``: mixing first, then a wide map of each node by itself.

    `drop`: rate of `drop_path` for both branches in training. `layer_scale`: start of a learned factor for each channel of
    both branches, none unless given. Shapes: ``(B, ..., dim)`` to the same. Source: pLSTM, the blocks of vision and graphs.
    """

    def __init__(
        self, dim: int, mix: nn.Module, *, drop: float = 0.0, layer_scale: float | None = None
    ) -> None:
        super().__init__()
        self.drop = float(check_number("drop", drop, least=0, below=1))
        self.layer_scale = layer_scale
        self.norm, self.mix = nn.RMSNorm(dim, EPS), mix
        self.wide_norm = nn.RMSNorm(dim, EPS)
        self.up, self.down = nn.Linear(dim, hidden_width(dim)), nn.Linear(hidden_width(dim), dim)
        for name in ("scale", "wide_scale"):
            value = None if layer_scale is None else nn.Parameter(torch.empty(dim))
            self.register_parameter(name, value)
        self.reset_parameters()

    scale: nn.Parameter | None
    wide_scale: nn.Parameter | None

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """SmallInit for maps, biases zero, norms one; the mixing layer its own way."""
        reset(self.mix, generator)
        for linear in (self.up, self.down):
            reset(linear, generator)
        for norm in (self.norm, self.wide_norm):
            nn.init.ones_(norm.weight)
        for scale in (self.scale, self.wide_scale):
            if scale is not None:
                nn.init.constant_(scale, self.layer_scale or 0.0)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._branch(self.mix(self.norm(x)), self.scale)
        wide = nn.functional.gelu(self.up(self.wide_norm(x)))
        return x + self._branch(self.down(wide), self.wide_scale)

    def _branch(self, y: Tensor, scale: Tensor | None) -> Tensor:
        y = y if scale is None else y * scale
        return drop_path(y, self.drop) if self.training and self.drop else y


class PreUpBlock(nn.Module):
    """``x += W_3 (mix(W_1 norm(x)) * silu(W_2 norm(x)))``: the layer mixes features that were widened before it.

    Shapes: ``(B, T, dim)`` to the same; `mix` works at width ``2 dim`` and may take and return a state. Source: pLSTM, the
    language model's block.
    """

    def __init__(self, dim: int, mix: nn.Module) -> None:
        super().__init__()
        self.norm, self.mix = nn.RMSNorm(dim, EPS), mix
        self.up, self.gate = nn.Linear(dim, 2 * dim), nn.Linear(dim, 2 * dim)
        self.down = nn.Linear(2 * dim, dim)
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """SmallInit for maps, biases zero, the norm one; the mixing layer its own way."""
        reset(self.mix, generator)
        for linear in (self.up, self.gate, self.down):
            reset(linear, generator)
        nn.init.ones_(self.norm.weight)

    def forward(self, x: Tensor, state: object = None) -> tuple[Tensor, object]:
        normed = self.norm(x)
        mixed, state = self.mix(self.up(normed), state, return_state=True)
        return x + self.down(mixed * nn.functional.silu(self.gate(normed))), state


def reset(module: nn.Module, generator: torch.Generator | None) -> None:
    """A linear map starts at SmallInit with bias zero, any other module its own way."""
    if isinstance(module, nn.Linear):
        small_init_(module.weight, generator)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    else:
        module.reset_parameters(generator)  # type: ignore[operator]
