"""A circular convolution as one small matrix a frequency: its singular values are theirs, each counted once."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import product
from math import pi, prod

import torch
from torch import Tensor

from isocline.orthogonal.shapes import ConvShape

_BLOCK = 1 << 23  # complex numbers that are held at a time


@lru_cache(maxsize=64)
def half_grid(N: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """One of every pair w, -w of the frequencies ``{0, .., N - 1}^d``, and how many it stands for: 2, or 1 where w = -w.

    Returns ``(F, d)`` and ``(F,)`` whole numbers. A real kernel's matrices at w and -w are conjugate: same singular
    values.
    """
    chosen, counts = [], []
    for w in product(*(range(n) for n in N)):
        mirrored = tuple(-x % n for x, n in zip(w, N, strict=True))
        if w <= mirrored:
            chosen.append(w)
            counts.append(1 if w == mirrored else 2)
    return torch.tensor(chosen), torch.tensor(counts)


def phases(shape: ConvShape, N: tuple[int, ...]) -> dict[tuple[int, ...], list[tuple[int, tuple[int, ...]]]]:
    """The taps of each of the ``S^d`` phases of the input: ``{p: [(number of the tap, q), ..]}``, tap at ``S q + p mod S N``.

    A kernel larger than the input wraps around, several taps then share a place. Phases without taps are left out.
    """
    found: dict[tuple[int, ...], list[tuple[int, tuple[int, ...]]]] = {}
    for number, tap in enumerate(product(*(range(k) for k in shape.k))):
        places = [D * u % (S * n) for u, D, S, n in zip(tap, shape.D, shape.S, N, strict=True)]
        p = tuple(x % S for x, S in zip(places, shape.S, strict=True))
        found.setdefault(p, []).append((number, tuple(x // S for x, S in zip(places, shape.S, strict=True))))
    return found


def frequency_blocks(weight: Tensor, shape: ConvShape, N: tuple[int, ...], at: Tensor) -> Tensor:
    """The matrix of the layer at chosen frequencies, ``K(w) = sum_q A_q exp(-2 pi i w q / N)`` of its polyphase kernel A.

    Shapes: weight ``(M g, C, *k)``, at ``(F, d)`` whole numbers; returns ``(F, g, M, columns)`` complex, with ``C``
    columns for each phase that has taps. The columns of the others are zero. Source: AMM appendix; the polyphase form
    for S > 1 is ours.
    """
    taps = weight.reshape(shape.groups * shape.M * shape.C, -1)
    sizes = torch.tensor(N, dtype=torch.float64)
    columns: list[Tensor] = []
    for members in phases(shape, N).values():
        turns = (at[:, None].double() * torch.tensor([q for _, q in members]).double() / sizes).sum(-1)
        angle = -2 * pi * (turns - turns.round())
        basis = torch.stack([angle.cos(), angle.sin()]).to(weight)  # (2, F, taps)
        parts = basis @ taps[:, [number for number, _ in members]].T
        columns.append(torch.complex(parts[0], parts[1]).reshape(-1, shape.groups, shape.M, shape.C))
    return torch.cat(columns, -1)


def block_values(weight: Tensor, shape: ConvShape, N: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """The singular values of every block of the half grid, and the grid's counts.

    Shapes: returns ``(F, g, min(M, C S^d))``, descending, and ``(F,)``. Nothing is scaled: the polyphase form keeps
    sizes.
    """
    at, counts = half_grid(N)
    found = [torch.linalg.svdvals(blocks) for blocks in _in_pieces(weight, shape, N, at)]
    values = torch.cat(found)
    missing = min(shape.M, shape.C * prod(shape.S)) - values.shape[-1]
    return torch.nn.functional.pad(values, (0, missing)), counts.to(values.device)


def _in_pieces(weight: Tensor, shape: ConvShape, N: tuple[int, ...], at: Tensor) -> Iterator[Tensor]:
    size = max(1, _BLOCK // (weight.numel() * prod(shape.S)))
    for piece in at.split(size):
        yield frequency_blocks(weight, shape, N, piece)
