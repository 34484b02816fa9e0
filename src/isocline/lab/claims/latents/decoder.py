"""A small generator with a spurious correlation: a style-modulated decoder, trained as a variational autoencoder.

Every hidden layer is scaled and shifted by an affine map of the latent code, as in the generators that the paper edits; it has
seen renders in which hue follows scale, and learned that as their nature.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from isocline._core.checks import check_number, check_shape
from isocline._core.seeds import seeded, torch_generator

from .regressor import PIXELS, SIZE, one_cycle, renders

SPURIOUS = 0.8


class Decoder(nn.Module):
    """Codes to pictures: ``h <- silu(W h (1 + s(w)) + t(w))`` three times from a learned start, then a sigmoid of ``V h``.

    ``(s, t)(w)`` is the layer's style, an affine map. The encoder that it was trained with stays, for `encode`.
    Shapes: w ``(N, latent_dim)``; returns ``(N, 3, 24, 24)`` in [0, 1]. Source: own benchmark.
    """

    def __init__(self, latent_dim: int = 24, *, hidden: int = 256, depth: int = 3) -> None:
        super().__init__()
        self.latent_dim = check_number("latent_dim", latent_dim, least=1, integer=True)
        self.hidden = check_number("hidden", hidden, least=1, integer=True)
        self.depth = check_number("depth", depth, least=1, integer=True)
        self.start = nn.Parameter(torch.randn(hidden))
        self.dense = nn.ModuleList(nn.Linear(hidden, hidden, bias=False) for _ in range(depth))
        self.styles = nn.ModuleList(nn.Linear(latent_dim, 2 * hidden) for _ in range(depth))
        self.picture = nn.Linear(hidden, PIXELS)
        self.encoder = nn.Sequential(
            nn.Linear(PIXELS, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Linear(hidden, 2 * latent_dim),
        )

    def forward(self, w: Tensor) -> Tensor:
        check_shape("w", w, f"n {self.latent_dim}")
        h = self.start
        for dense, style in zip(self.dense, self.styles, strict=True):
            scale, shift = style(w).chunk(2, 1)
            h = nn.functional.silu(dense(h) * (1 + scale) + shift)
        return torch.sigmoid(self.picture(h) - 2).view(-1, 3, SIZE, SIZE)  # -2: near the ground, 0.1

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the codes of pictures, ``(N, latent_dim)`` each."""
        check_shape("images", images, f"n 3 {SIZE} {SIZE}")
        mean, log_variance = self.encoder(4 * images.flatten(1) - 1).chunk(2, 1)
        return mean, log_variance - 2

    def encode(self, images: Tensor) -> Tensor:
        """The mean code of every picture: ``(N, 3, 24, 24)`` to ``(N, latent_dim)``."""
        return self.posterior(images)[0]

    def seen_codes(self, count: int, generator: torch.Generator) -> Tensor:
        """Codes ``(count, latent_dim)`` drawn from the posteriors of fresh renders of the kind it was trained on.

        They are as entangled as those renders; codes of the normal prior are less so, which no render has.
        """
        images, _, _ = renders(count, spurious=SPURIOUS, generator=generator)
        with torch.no_grad():
            mean, log_variance = self.posterior(images.to(self.start))
        drawn = torch.randn(mean.shape, generator=generator, dtype=mean.dtype)
        return mean + drawn * torch.exp(log_variance / 2)

    def style_weights(self) -> list[Tensor]:
        """The weights of every layer's style, scales first, then shifts: ``(2 hidden, latent_dim)`` each."""
        return [style.get_parameter("weight").detach() for style in self.styles]

    def extra_repr(self) -> str:
        return f"{self.latent_dim}, hidden={self.hidden}, depth={self.depth}"


def train_decoder(
    *,
    latent_dim: int = 24,
    updates: int = 4000,
    seed: int = 0,
    hidden: int = 256,
    batch: int = 128,
    lr: float = 2e-3,
    noise: float = 0.1,
) -> Decoder:
    """A decoder after `updates` steps of Adam on fresh renders in which hue equals scale with probability 0.8, in float32.

    The loss is the negative evidence bound, ``|x - x'|^2 / (2 noise^2) + KL``: less noise keeps more of a picture, and leaves
    codes further from the prior. The same seed gives the same weights. Source: own benchmark.
    """
    updates = check_number("updates", updates, least=1, integer=True)
    noise = check_number("noise", noise, above=0)
    generator = torch_generator(seed)
    with seeded(seed):
        decoder = Decoder(latent_dim, hidden=hidden).float()
    optimizer = torch.optim.Adam(decoder.parameters(), lr=lr, fused=True)
    schedule = one_cycle(optimizer, updates)
    for _ in range(updates):
        images, _, _ = renders(batch, spurious=SPURIOUS, generator=generator)
        loss = _loss(decoder, images, noise, generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return decoder.eval().requires_grad_(False)


def _loss(decoder: Decoder, images: Tensor, noise: float, generator: torch.Generator) -> Tensor:
    mean, log_variance = decoder.posterior(images)
    drawn = torch.randn(mean.shape, generator=generator, dtype=mean.dtype)
    again = decoder(mean + drawn * torch.exp(log_variance / 2))
    away = (images - again).square().sum() / (2 * noise**2)
    divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum()
    return (away + divergence) / (1000 * len(images))  # a number near one; Adam takes any
