"""Random networks of finite width, many at once: what the formulas are held against."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from isocline.theory import EffectiveTheory

_AT_ONCE = 1 << 18  # preactivations, or weights of one layer, that are held together: what a cache holds


def metrics(theory: EffectiveTheory, nets: int, seed: int) -> Tensor:
    """The metric ``G = C_b + C_W mean_j s_j^2`` of each network's layers, ``(nets, depth - 1)``, for one input.

    Given layer l, the preactivations of layer l + 1 are independent Gaussians of variance G, whatever the weights: drawing
    those draws the network, and its n^2 weights need not be.
    """
    return torch.cat([G for G, _, _ in _batches(theory, nets, seed)])


def vertex(theory: EffectiveTheory, nets: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """``n Cov(z_i^2, z_j^2)``, ``i != j``, of layers 2 to the last, with standard errors; each ``(depth - 1,)``.

    Taken given the layer before, where ``z_i^2`` has the mean ``a_i = G + gamma^2 z_i^2``: the noise of a layer's own weights is
    left out.
    """
    _, means, boths = zip(*_batches(theory, nets, seed), strict=True)
    mean, both, n = torch.cat(means), torch.cat(boths), theory.widths[0]
    K = mean.mean(0)
    each = n * (both - 2 * K * mean + K**2)
    return each.mean(0).numpy() * nets / (nets - 1), each.std(0).numpy() / nets**0.5


def _batches(theory: EffectiveTheory, nets: int, seed: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Metrics, ``mean_i a_i`` and ``mean_{i != j} a_i a_j`` of networks, batch by batch, each ``(batch, depth - 1)``.

    Drawn in float32, averaged in float64.
    """
    n, s, square = theory.widths[0], theory.activation.function, theory.skip**2
    generator = _generator(theory, seed)
    batch = max(1, _AT_ONCE // n)
    for begin in range(0, nets, batch):
        size = min(batch, nets - begin)
        normal = partial(torch.randn, size, n, generator=generator, dtype=torch.float32)
        z, found = theory.nominal_kernel**0.5 * normal(), []
        for _ in range(theory.depth - 1):
            G = theory.bias_variance + theory.weight_variance * s(z).square().mean(1, dtype=torch.float64)
            total, squares = n * G, n * G**2  # of a, and of its square
            if square:
                a = G[:, None] + square * z.double() ** 2
                total, squares = a.sum(1), a.square().sum(1)
            found.append((G, total / n, (total**2 - squares) / (n * (n - 1))))
            z = theory.skip * z + G.sqrt().float()[:, None] * normal()
        G, mean, both = (torch.stack(rows, 1) for rows in zip(*found, strict=True))
        yield G, mean, both


def _generator(theory: EffectiveTheory, seed: int) -> torch.Generator:
    """A stream of random numbers of each architecture's own."""
    return torch.Generator().manual_seed(crc32(f"{theory!r} {seed}".encode()))


def tangent_kernels(theory: EffectiveTheory, nets: int, seed: int) -> Tensor:
    """The neural tangent kernel of the first output for one input, ``(nets,)``, from weights that are drawn and gradients that
    are computed.

    ``sum_l (lb_l |d_l|^2 + lW_l / n_(l-1) |d_l|^2 |s_(l-1)|^2)`` with ``d_l`` the output's gradient at layer l.
    """
    n = theory.widths[0]
    batch = max(1, 4 * _AT_ONCE // (n * n))
    generator = _generator(theory, seed)
    parts = [_tangent(theory, min(batch, nets - begin), generator) for begin in range(0, nets, batch)]
    return torch.cat(parts)


def _tangent(theory: EffectiveTheory, nets: int, generator: torch.Generator) -> Tensor:
    n, L, C_b, C_W = theory.widths[0], theory.depth, theory.bias_variance, theory.weight_variance
    normal = partial(torch.randn, generator=generator, dtype=torch.float32)
    z = theory.nominal_kernel**0.5 * normal(nets, n)  # layer 1
    first = (theory.nominal_kernel - C_b) / C_W  # mean square of the input
    inputs, slopes, weights = [torch.full((nets,), first, dtype=torch.float64)], [], []
    for layer in range(2, L + 1):
        s, slope = (torch.from_numpy(v).float() for v in theory.activation.derivatives(z.double().numpy(), 1))
        outputs = 1 if layer == L else n
        W = normal(nets, outputs, n) * (C_W / n) ** 0.5
        z = (W @ s[:, :, None])[:, :, 0] + C_b**0.5 * normal(nets, outputs)
        inputs.append(s.square().mean(1, dtype=torch.float64))
        slopes.append(slope)
        weights.append(W)
    gradient, H = torch.ones(nets, 1, dtype=torch.float32), torch.zeros(nets, dtype=torch.float64)
    for i in reversed(range(L)):
        H += gradient.square().sum(1, dtype=torch.float64) * (
            theory.lambda_b[i] + theory.lambda_w[i] * inputs[i]
        )
        if i:
            gradient = slopes[i - 1] * (gradient[:, None] @ weights[i - 1])[:, 0]
    return H
