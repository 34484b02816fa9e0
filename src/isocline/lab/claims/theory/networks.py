"""Five networks that a practitioner may meet, deep, and without what usually hides a bad initialisation."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def mlp(
    activation: type[nn.Module], depth: int, width: int, inputs: int | None = None, outputs: int = 10
) -> nn.Sequential:
    """``depth`` layers of weights; `inputs` are as many as `width` where not given."""
    layers: list[nn.Module] = [nn.Linear(inputs or width, width), activation()]
    for _ in range(depth - 2):
        layers += [nn.Linear(width, width), activation()]
    return nn.Sequential(*layers, nn.Linear(width, outputs))


class PlainCNN(nn.Module):
    """3 × 3 convolutions and ReLUs, no skips, no normalisation."""

    def __init__(self, depth: int = 40, channels: int = 128, size: int = 8) -> None:
        super().__init__()
        sizes = [3] + [channels] * (depth - 1)
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(sizes))
        self.head = nn.Linear(channels * size * size, 10)

    def forward(self, x: Tensor) -> Tensor:
        for conv in self.convs:
            x = torch.relu(conv(x))
        return self.head(x.flatten(1))


class ResNet(nn.Module):
    """No normalisation; ``x + b(relu(a(relu(x))))``."""

    def __init__(self, blocks: int = 12, channels: int = 32, size: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, padding=1)
        self.a = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(blocks))
        self.b = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(blocks))
        self.head = nn.Linear(channels * size * size, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for a, b in zip(self.a, self.b, strict=True):
            x = x + b(torch.relu(a(torch.relu(x))))
        return self.head(torch.relu(x).flatten(1))


class Block(nn.Module):
    """A pre-norm Transformer block, attention written by hand."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.first, self.second, self.heads = nn.LayerNorm(width), nn.LayerNorm(width), heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        B, T, D = x.shape
        heads = self.qkv(self.first(x)).view(B, T, 3, self.heads, D // self.heads)
        q, k, v = (heads[:, :, i].transpose(1, 2) for i in range(3))
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(B, T, D)
        x = x + self.proj(attended)
        return x + self.down(F.gelu(self.up(self.second(x))))


class Transformer(nn.Module):
    """A pre-norm stack over tokens of 16 numbers."""

    def __init__(self, blocks: int = 8, width: int = 48) -> None:
        super().__init__()
        self.embed = nn.Linear(16, width)
        self.blocks = nn.ModuleList(Block(width, 4) for _ in range(blocks))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x).mean(1))


# how to make it, the shape of a batch, and its first and last layer of one shape
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], str, str]] = {
    "100-layer tanh MLP": (lambda: mlp(nn.Tanh, 100, 256), (64, 256), "0", "196"),
    "50-layer GELU MLP": (lambda: mlp(nn.GELU, 50, 512), (64, 512), "0", "96"),
    "40-layer plain CNN": (PlainCNN, (8, 3, 8, 8), "convs.1", "convs.38"),
    "pre-norm Transformer": (Transformer, (8, 16, 16), "blocks.0.up", "blocks.7.up"),
    "ResNet without norm": (ResNet, (8, 3, 8, 8), "a.0", "a.11"),
}


def gradient_ratio(model: nn.Module, x: Tensor, first: str, last: str, examples: int = 6) -> float:
    """The gradient norm of one layer's weights over another's, root mean square over single examples.

    In the gradient of a batch, deep layers, which see all inputs alike, add up coherently; that is no matter of size. 0
    where the first layer has none at all.
    """
    squares = [0.0, 0.0]
    for i in range(examples):
        model.zero_grad()
        logits = model(x[i : i + 1]).reshape(1, -1)[:, :10]
        F.cross_entropy(logits, torch.tensor([i % 10])).backward()
        for place, name in enumerate((first, last)):
            squares[place] += float(model.get_submodule(name).weight.grad.double().square().sum())  # type: ignore[union-attr]
    return (squares[0] / squares[1]) ** 0.5
