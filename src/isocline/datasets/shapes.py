"""One soft shape on a dark ground, drawn from factors that are known: the ground truth of latent controls.

Six continuous factors and a class of shape make a picture, by formulas that can be differentiated and hold for every real number.
`MixedShapes` is a generator whose latent code is an invertible mixture of them, so that what an edit has really changed is known
exactly, without a network that measures it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from isocline._core.checks import check_number, check_shape, wrong
from isocline._core.seeds import torch_generator

FACTORS = ("x", "y", "scale", "hue", "brightness", "rotation")
SHAPES = ("disc", "ring", "bar")
GROUND = 0.1  # grey level behind the shape
SOFTNESS = 0.35  # of an edge, in pixels
CERTAIN = 4.0  # how far the logit of a sampled shape lies above the others


def render(factors: Tensor, shape: Tensor, *, size: int = 24) -> Tensor:
    """Pictures ``ground + coverage (colour - ground)`` with values in [0, 1].

    Shapes: factors ``(N, 6)`` in the order of `FACTORS`, meant for [-1, 1], any real number allowed; shape ``(N,)`` whole numbers
    that count in `SHAPES`, or ``(N, 3)`` weights that sum to one, which blend; returns ``(N, 3, size, size)``.
    The middle is at ``0.4 (x, y)`` of the picture's half width, y downwards; the radius ``0.38 exp(0.35 scale)``; hue turns the
    colour by ``3 pi / 4``, so that its ends stay apart; brightness is the colour's value, through a sigmoid; rotation turns by
    ``pi / 3``, which shows in bars only. Raises: ValueError.
    Source: own benchmark.
    """
    size = check_number("size", size, least=8, integer=True)
    check_shape("factors", factors, f"n {len(FACTORS)}", f"the columns are {', '.join(FACTORS)}")
    weights = _weights(shape, factors)
    seen = (_coverage(factors, size) * weights[:, :, None, None]).sum(1, keepdim=True)
    return GROUND + seen * (_colour(factors)[:, :, None, None] - GROUND)


def _weights(shape: Tensor, factors: Tensor) -> Tensor:
    if shape.is_floating_point():
        count = check_shape("shape", shape, f"n {len(SHAPES)}", "one weight for every shape")["n"]
        weights = shape.to(factors)
    else:
        count = check_shape("shape", shape, "n")["n"]
        if bool(((shape < 0) | (shape >= len(SHAPES))).any()):
            raise wrong(
                "shape", f"numbers from 0 to {len(SHAPES) - 1}", f"{int(shape.min())} to {int(shape.max())}"
            )
        weights = torch.eye(len(SHAPES)).to(factors)[shape.to(factors.device, torch.long)]
    if count != len(factors):
        raise wrong("shape", f"as many rows as factors, {len(factors)}", shape)
    return weights


def _coverage(factors: Tensor, size: int) -> Tensor:
    """The share of every pixel that each shape covers, ``(N, 3, size, size)``."""
    x, y, scale, _, _, rotation = factors[:, :, None, None].unbind(1)
    at = (torch.arange(size).to(factors) + 0.5) * (2 / size) - 1
    right, down = at - 0.4 * x, at[:, None] - 0.4 * y
    radius, angle = 0.38 * torch.exp(0.35 * scale), math.pi / 3 * rotation
    along = right * torch.cos(angle) + down * torch.sin(angle)
    beside = down * torch.cos(angle) - right * torch.sin(angle)
    away = torch.sqrt(right.square() + down.square() + 1e-6)
    edge = 2 * SOFTNESS / size
    disc = torch.sigmoid((radius - away) / edge)
    ring = torch.sigmoid((0.25 * radius - _size(away - 0.75 * radius)) / edge)
    long, wide = 1.25 * radius - _size(along), 0.35 * radius - _size(beside)
    return torch.stack([disc, ring, torch.sigmoid(long / edge) * torch.sigmoid(wide / edge)], 1)


def _size(value: Tensor) -> Tensor:
    """A magnitude that is smooth at zero too."""
    return torch.sqrt(value.square() + 1e-6)


def _colour(factors: Tensor) -> Tensor:
    hue, brightness = factors[:, 3, None], factors[:, 4, None]
    phases = torch.arange(3).to(factors) * (2 * math.pi / 3)
    value = torch.sigmoid(0.6 + 1.6 * brightness)
    return value * (0.6 + 0.4 * torch.cos(0.75 * math.pi * hue - phases))


def sample_factors(count: int, *, spurious: float = 0.0, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Factors ``(count, 6)``, each uniform in [-1, 1], and shapes ``(count,)``, of equal chance.

    With probability `spurious` a picture's hue equals its scale, else they are independent, so that their correlation is
    `spurious`. Raises: ValueError for a probability outside [0, 1]. Source: own benchmark.
    """
    count = check_number("count", count, least=1, integer=True)
    spurious = check_number("spurious", spurious, least=0, most=1)
    device = generator.device
    factors = 2 * torch.rand(count, len(FACTORS), generator=generator, device=device) - 1
    follows = torch.rand(count, generator=generator, device=device) < spurious
    scale, hue = FACTORS.index("scale"), FACTORS.index("hue")
    factors[:, hue] = torch.where(follows, factors[:, scale], factors[:, hue])
    return factors, torch.randint(len(SHAPES), (count,), generator=generator, device=device)


class MixedShapes(nn.Module):
    """A generator that can be inverted exactly: latent codes are a mixture of factors, shape logits and nuisance numbers.

    ``w = R_L c_L( ... R_1 c_1(R_0 u))`` with ``u = (factors, logits, nuisance)``, rotations ``R`` and additive couplings
    ``c(a, b) = (a, b + V tanh(U a))``, all drawn from `seed`. With ``linear=True`` there are no couplings: the gradients of the
    factors are orthogonal everywhere, and an edit can move one of them alone. Numbers are those of the codes' dtype, drawn in
    float64. Shapes: codes w ``(N, latent_dim)``; ``forward`` returns ``(N, 3, size, size)``. Source: own benchmark.
    """

    CONTENT = len(FACTORS) + len(SHAPES)

    def __init__(
        self,
        latent_dim: int = 24,
        *,
        seed: int = 0,
        linear: bool = False,
        couplings: int = 4,
        strength: float = 1.0,
        size: int = 24,
    ) -> None:
        super().__init__()
        self.latent_dim = check_number("latent_dim", latent_dim, least=self.CONTENT, integer=True)
        self.seed, self.linear = seed, linear
        self.couplings = check_number("couplings", couplings, least=0, integer=True)
        self.strength = check_number("strength", strength, least=0)
        self.size = check_number("size", size, least=8, integer=True)
        layers = 0 if linear else self.couplings
        near, hidden = latent_dim // 2, 2 * latent_dim
        generator = torch_generator(seed)

        def drawn(*shape: int) -> Tensor:
            normal = torch.randn(layers + 1, *shape, generator=generator, dtype=torch.float64)
            return normal / shape[-1] ** 0.5

        self.register_buffer("rotations", torch.linalg.qr(drawn(latent_dim, latent_dim))[0])
        self.register_buffer("inner", 2 * drawn(hidden, near)[:layers])
        self.register_buffer("outer", self.strength * drawn(latent_dim - near, hidden)[:layers])

    def forward(self, w: Tensor) -> Tensor:
        """The pictures of codes; a shape's weights are the softmax of its logits."""
        u = self.unmixed(w)
        return render(u[:, : len(FACTORS)], self._logits(u).softmax(1), size=self.size)

    def factors(self, w: Tensor) -> Tensor:
        """The factors that codes hold, exactly: ``(N, latent_dim)`` to ``(N, 6)``."""
        return self.unmixed(w)[:, : len(FACTORS)]

    def logits(self, w: Tensor) -> Tensor:
        """The shape logits that codes hold, exactly: ``(N, latent_dim)`` to ``(N, 3)``."""
        return self._logits(self.unmixed(w))

    def _logits(self, u: Tensor) -> Tensor:
        return u[:, len(FACTORS) : self.CONTENT]

    def codes(self, factors: Tensor, logits: Tensor, nuisance: Tensor | None = None) -> Tensor:
        """The codes that hold factors ``(N, 6)``, logits ``(N, 3)`` and ``(N, latent_dim - 9)`` others, zero where not given."""
        if nuisance is None:
            nuisance = factors.new_zeros(len(factors), self.latent_dim - self.CONTENT)
        return self.mixed(torch.cat([factors, logits, nuisance], 1))

    def sample(self, count: int, *, spurious: float = 0.0, generator: torch.Generator) -> Tensor:
        """Codes of `sample_factors`: ``(count, latent_dim)``, with nearly certain shapes and normal nuisance numbers."""
        factors, shape = sample_factors(count, spurious=spurious, generator=generator)
        rest = torch.randn(
            count, self.latent_dim - len(FACTORS), generator=generator, device=generator.device
        )
        middle = CERTAIN * (nn.functional.one_hot(shape, len(SHAPES)) - 1 / len(SHAPES))
        logits, nuisance = rest[:, : len(SHAPES)] / 2 + middle.to(rest), rest[:, len(SHAPES) :]
        return self.codes(factors, logits, nuisance)

    def mixed(self, u: Tensor) -> Tensor:
        """Codes from what they hold, ``(N, latent_dim)`` both."""
        check_shape("u", u, f"n {self.latent_dim}")
        rotations, inner, outer = self._matrices(u)
        w, near = u @ rotations[0].T, self.latent_dim // 2
        for rotation, U, V in zip(rotations[1:], inner, outer, strict=True):
            a, b = w[:, :near], w[:, near:]
            w = torch.cat([a, b + torch.tanh(a @ U.T) @ V.T], 1) @ rotation.T
        return w

    def unmixed(self, w: Tensor) -> Tensor:
        """What codes hold: the inverse of `mixed`."""
        check_shape("w", w, f"n {self.latent_dim}")
        rotations, inner, outer = self._matrices(w)
        u, near = w, self.latent_dim // 2
        for rotation, U, V in zip(rotations[1:].flip(0), inner.flip(0), outer.flip(0), strict=True):
            u = u @ rotation
            a, b = u[:, :near], u[:, near:]
            u = torch.cat([a, b - torch.tanh(a @ U.T) @ V.T], 1)
        return u @ rotations[0]

    def _matrices(self, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rotations, inner, outer = (self.get_buffer(name).to(like) for name in ("rotations", "inner", "outer"))
        return rotations, inner, outer

    def extra_repr(self) -> str:
        return (
            f"{self.latent_dim}, seed={self.seed}, linear={self.linear}, couplings={self.couplings}, "
            f"strength={self.strength}, size={self.size}"
        )
