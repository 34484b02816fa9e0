"""Layers to test with, and their matrices written out entry by entry."""

from itertools import product
from math import prod

import numpy as np
import torch
from hypothesis import strategies as st
from torch import nn

from isocline.orthogonal import ConvShape

CONVS = {
    False: (nn.Conv1d, nn.Conv2d, nn.Conv3d),
    True: (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
}


@st.composite
def shapes(draw, dims=(1, 2, 3), taps=4, dilated=True):
    """Small layers of every kind: unequal axes, groups, dilation (also with a common divisor with the stride), transposed."""
    d = draw(st.sampled_from(dims))
    most = {1: taps + 1, 2: taps, 3: 2}[d]
    axis = lambda low, high: st.tuples(*[st.integers(low, high)] * d)  # noqa: E731
    g = draw(st.sampled_from((1, 1, 2)))
    C, M = draw(st.integers(1, 3)) * g, draw(st.integers(1, 5)) * g
    D = draw(axis(1, 3)) if dilated and d < 3 else (1,) * d
    return ConvShape(M, C, draw(axis(1, most)), draw(axis(1, 3 if d < 3 else 2)), D, g, draw(st.booleans()))


def layer(shape: ConvShape, seed: int = 0, scale: float = 1.0) -> nn.Module:
    """A module of that shape, Gaussian weights of the size that keeps variances times `scale`."""
    conv = CONVS[shape.transposed][len(shape.k) - 1](
        shape.in_channels,
        shape.out_channels,
        shape.k,
        shape.S,
        dilation=shape.D,
        groups=shape.groups,
        bias=False,
    )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        drawn = torch.randn(conv.weight.shape, generator=generator, dtype=torch.float64)
        conv.weight.copy_(drawn * scale / (shape.C * prod(shape.k)) ** 0.5)
    return conv


def inputs_of(shape: ConvShape, N: tuple[int, ...]) -> tuple[int, ...]:
    """The input size of the module for N outputs a side of the convolution with its weight."""
    return N if shape.transposed else tuple(n * S for n, S in zip(N, shape.S, strict=True))


def unrolled(weight, shape: ConvShape, N: tuple[int, ...]) -> np.ndarray:
    """The matrices of all groups, ``(g, M prod(N), C prod(S N))``: entry by entry, as the definition says."""
    K = np.asarray(weight.detach()).reshape(shape.groups, shape.M, shape.C, *shape.k)
    size = tuple(S * n for S, n in zip(shape.S, N, strict=True))
    found = np.zeros((shape.groups, shape.M, *N, shape.C, *size))
    for n in product(*map(range, N)):
        for u in product(*map(range, shape.k)):
            at = zip(n, u, shape.S, shape.D, size, strict=True)
            x = tuple((S * i + D * j) % length for i, j, S, D, length in at)
            found[(slice(None), slice(None), *n, slice(None), *x)] += K[(..., *u)]
    return found.reshape(shape.groups, shape.M * prod(N), shape.C * prod(size))
