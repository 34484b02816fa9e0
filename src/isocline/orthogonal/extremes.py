"""The two ends of a spectrum, at sizes where all of it would be too much: Golub-Kahan-Lanczos, with residuals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from isocline._core.checks import check_finite, check_number
from isocline._core.files import plain
from isocline._core.seeds import torch_generator
from isocline.orthogonal.operators import Place, apply, apply_transposed, place_of
from isocline.orthogonal.shapes import ConvShape, weight_of
from isocline.orthogonal.spectrum import spectrum_of

_WHOLE = 4e9  # rows x columns x the fewer of them, of a matrix that is decomposed whole: about a second
_EVERY = 20  # steps between two looks at the residuals
_GONE = 1e-10  # of the largest value: what rounding leaves of a zero
_CLOSE = 1e-10  # of the largest value: a residual that is not worth another step

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Extremes:
    """The smallest and the largest singular value; of an estimate, how far it may be off. Unpacks as ``low, high``.

    residual: some singular value lies within it of the one reported (0: exact). But for rounding, an estimate of the
    largest is never too high, and one of the smallest never too low.
    """

    smallest: float
    largest: float
    exact: bool
    how: str
    residual_smallest: float = 0.0
    residual_largest: float = 0.0

    def __iter__(self) -> Iterator[float]:
        return iter((self.smallest, self.largest))

    def __str__(self) -> str:
        return f"singular values from {self.smallest:.6g} to {self.largest:.6g} ({self.how})"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {field.name: plain(getattr(self, field.name)) for field in fields(self)}


@torch.no_grad()
def extreme_singular_values(
    conv: nn.Module,
    input_size: int | Sequence[int],
    padding: str | None = "circular",
    *,
    steps: int = 200,
    seed: int = 0,
) -> Extremes:
    """The smallest and the largest singular value of a layer at an input size; unpacks as ``low, high``.

    Circular padding and small layers: exact. Others: Lanczos bidiagonalisation, each group for itself, in float64, at
    most `steps` products with the layer and its transpose, all vectors kept orthogonal. The smallest value converges
    slowest; its residual says how far it got.

    Arguments and errors as of `singular_values`. Source: Golub & Kahan 1965.
    """
    weight, shape = weight_of(conv)
    check_number("steps", steps, least=1, integer=True)
    place = place_of(conv, shape, input_size, padding)
    rows, columns = shape.M * prod(place.outputs), shape.C * prod(place.size)
    if place.circular or rows * columns * min(rows, columns) <= _WHOLE:
        found = spectrum_of(conv, input_size, padding)
        return Extremes(found.smallest, found.largest, True, found.how)
    check_finite("weight", weight)
    one = ConvShape(shape.M, shape.C, shape.k, shape.S, shape.D)
    generator = torch_generator(seed)
    parts = weight.double().reshape(shape.groups, shape.M, shape.C, *shape.k)
    ends = [_ends(part, one, place, steps, generator) for part in parts]
    (low, low_residual), (high, high_residual) = min(e[0] for e in ends), max(e[1] for e in ends)
    how = f"Lanczos, residuals {low_residual:.1g} and {high_residual:.1g}"
    return Extremes(low, high, False, how, low_residual, high_residual)


def _ends(
    weight: Tensor, shape: ConvShape, place: Place, steps: int, generator: torch.Generator
) -> list[tuple[float, float]]:
    """The smallest and the largest singular value of one group, each with its residual."""
    rows, columns = (shape.M, *place.outputs), (shape.C, *place.size)

    def down(x: Tensor) -> Tensor:
        return apply(x.reshape(1, *columns), weight, shape, place).flatten()

    def up(y: Tensor) -> Tensor:
        return apply_transposed(y.reshape(1, *rows), weight, shape, place).flatten()

    tall = prod(rows) >= prod(columns)
    start = torch.randn(min(prod(rows), prod(columns)), generator=generator, dtype=torch.float64).to(
        weight.device
    )
    return bidiagonal_ends(*((down, up) if tall else (up, down)), start, steps)


def bidiagonal_ends(matvec: Map, rmatvec: Map, start: Tensor, steps: int) -> list[tuple[float, float]]:
    """The smallest and largest singular value of a tall A from ``A V = U B``, B upper bidiagonal, each with its residual.

    ``A^T u - s v`` has the norm ``beta_k |p_k|`` for a singular triplet (s, p, q) of B. Shapes: start ``(n,)``, n the
    columns of A.
    """
    v = start / start.norm()
    V, U, alphas, betas = [v], [], [], []
    for step in range(1, min(steps, len(start)) + 1):
        u = _against(matvec(V[-1]), U)
        length = u.norm()
        new = not alphas or float(length) > _GONE * float(max(alphas))  # else a value is 0
        alphas.append(length if new else torch.zeros_like(length))
        U.append(u / length if new and length > 0 else torch.zeros_like(u))
        v = _against(rmatvec(U[-1]), V)
        betas.append(v.norm())
        exhausted = float(betas[-1]) <= _GONE * float(max(alphas))  # all directions of the start are found
        last = step == min(steps, len(start)) or exhausted
        if last or step % _EVERY == 0:
            found = _read(alphas, betas)
            if last or max(found[0][1], found[1][1]) <= _CLOSE * found[1][0]:
                return found
        V.append(v / betas[-1])
    raise AssertionError("the last step returns")


def _read(alphas: list[Tensor], betas: list[Tensor]) -> list[tuple[float, float]]:
    B = torch.diag(torch.stack(alphas))
    if len(alphas) > 1:
        B += torch.diag(torch.stack(betas[:-1]), 1)
    P, s, _ = torch.linalg.svd(B)
    s = torch.where(s > _GONE * s[0], s, 0.0)
    low, high = ((float(s[i]), float(betas[-1] * P[-1, i].abs())) for i in (-1, 0))
    return [(low[0], min(low)), high]  # the smallest value is between 0 and the one reported


def _against(vector: Tensor, basis: list[Tensor]) -> Tensor:
    """What is left of a vector outside the basis, taken out twice."""
    if basis:
        Q = torch.stack(basis)
        for _ in range(2):
            vector = vector - Q.T @ (Q @ vector)
    return vector
