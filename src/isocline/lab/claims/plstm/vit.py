"""The Transformer beside which pLSTM is measured: torch's own encoder layers, of the same width and depth."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from isocline._core.checks import check_choice
from isocline.plstm.models.pooling import pool
from isocline.plstm.models.vision import resized

POOLINGS = ("cls", "mean", "corners")


class ViT(nn.Module):
    """Patches, learned positions (bicubic on other grids), pre-norm encoder layers, a token for the class.

    Shapes: images ``(B, channels, H, W)`` to logits ``(B, classes)``. Source: Dosovitskiy et al. 2021; pLSTM's baseline.
    """

    def __init__(
        self,
        classes: int,
        *,
        dim: int,
        heads: int,
        layers: int,
        patch: int,
        size: int,
        channels: int = 3,
        pooling: str = "cls",
    ) -> None:
        super().__init__()
        self.pooling = check_choice("pooling", pooling, POOLINGS)
        side = size // patch
        self.embed = nn.Conv2d(channels, dim, patch, patch)
        self.positions = nn.Parameter(torch.empty(side, side, dim))
        self.cls = nn.Parameter(torch.empty(dim)) if pooling == "cls" else None
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(dim, heads, 4 * dim, 0.0, "gelu", batch_first=True, norm_first=True)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(4 * dim if pooling == "corners" else dim, classes)
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Truncated normal of deviation 0.02 for maps, tokens and positions, biases zero: the usual start of a ViT."""
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.MultiheadAttention, nn.Conv2d)):
                for name, parameter in module.named_parameters(recurse=False):
                    if "bias" in name:
                        nn.init.zeros_(parameter)
                    elif isinstance(module, nn.Conv2d):
                        parameter.data.normal_(0.0, parameter[0].numel() ** -0.5, generator=generator)
                    else:
                        nn.init.trunc_normal_(parameter, std=0.02, generator=generator)
        for parameter in (self.positions, self.cls):
            if parameter is not None:
                nn.init.trunc_normal_(parameter, std=0.02, generator=generator)

    def forward(self, images: Tensor) -> Tensor:
        x = self.embed(images).movedim(1, -1)
        grid = cast(Any, tuple(x.shape[1:3]))
        x = (x + resized(self.positions, grid)).flatten(1, 2)
        if self.cls is not None:
            x = torch.cat([self.cls.expand(len(x), 1, -1), x], 1)
        for layer in self.layers:
            x = layer(x)
        x = self.norm(x)
        return self.head(x[:, 0] if self.cls is not None else pool(x.unflatten(1, grid), self.pooling))
