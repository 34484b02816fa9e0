"""Batch norms as limits: the reference table, the formula against the table, and what torch itself gives."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from isocline.binary.layers import BinaryConv2d, BinaryLinear
from isocline.binary.packed.epilogue import NEVER, affine
from isocline.binary.packed.thresholds import affine_of, batch_norm_limits, limits_of, outcomes


@pytest.fixture(scope="module")
def vectors(request):
    path = request.config.rootpath / "tests" / "golden" / "binary" / "packed_inference.npz"
    return dict(np.load(path, allow_pickle=False))


def bits(limits, sums):
    return (sums[:, None] >= limits.limit) ^ limits.flip


def test_both_ways_to_limits_give_the_reference_table(vectors):
    y, table = vectors["bn_y"], vectors["bn_bit"].T
    names = ("bn_gamma", "bn_beta", "bn_mean", "bn_var", "bn_eps")
    folded = batch_norm_limits(*(vectors[name] for name in names), alpha=vectors["bn_alpha"])
    np.testing.assert_array_equal(bits(folded, y), table)
    np.testing.assert_array_equal(bits(limits_of(iter([(y, table)])), y), table)
    a, b = vectors["bn_fold_scale"], vectors["bn_fold_shift"]
    np.testing.assert_array_equal(y[:, None] * a + b >= 0, table)


@given(st.integers(0, 2**32 - 1), st.integers(1, 300))
def test_the_formula_gives_the_table_of_every_sum(seed, n):
    rng = np.random.default_rng(seed)
    gamma, beta, mean, bias = rng.standard_normal((4, 8))
    gamma[rng.random(8) < 0.2] = 0
    var, alpha = rng.uniform(0.1, 50, 8), rng.uniform(0.01, 2, 8) * rng.choice([-1, 1], 8)
    y = np.arange(-n, n + 1)
    table = gamma * (alpha * y[:, None] + bias - mean) / np.sqrt(var + 1e-5) + beta >= 0
    np.testing.assert_array_equal(
        bits(batch_norm_limits(gamma, beta, mean, var, 1e-5, alpha=alpha, bias=bias), y), table
    )


@given(st.integers(1, 9), st.lists(st.integers(-5, 6), min_size=1, max_size=9), st.integers(0, 2**32 - 1))
def test_any_table_with_one_change_has_a_limit_and_others_have_none(piece, where, seed):
    sums, flip = np.arange(-5, 6), np.random.default_rng(seed).random(len(where)) < 0.5
    table = (sums[:, None] >= np.array(where)) ^ flip
    pieces = [(sums[i : i + piece], table[i : i + piece]) for i in range(0, len(sums), piece)]
    np.testing.assert_array_equal(bits(limits_of(iter(pieces)), sums), table)
    table[[4, 5, 6], 0] = [True, False, True]
    assert (
        limits_of(iter([(sums[i : i + piece], table[i : i + piece]) for i in range(0, len(sums), piece)]))
        is None
    )


def test_a_constant_sign_needs_no_sum():
    limits = limits_of(iter([(np.arange(-2, 3), np.ones((5, 1), bool))]))
    assert (limits.limit[0], limits.flip[0]) == (NEVER, True)


def layer_and_norm(kind, seed):
    generator = torch.Generator().manual_seed(seed)
    layer = (
        BinaryConv2d(5, 7, 3, bias=True, scale="channel")
        if kind == "conv"
        else BinaryLinear(45, 7, bias=True)
    )
    norm = nn.BatchNorm2d(7) if kind == "conv" else nn.BatchNorm1d(7)
    with torch.no_grad():
        for tensor in (norm.weight, norm.bias, norm.running_mean):
            tensor.copy_(torch.randn(7, generator=generator, dtype=torch.float64))
        norm.running_var.copy_(torch.rand(7, generator=generator, dtype=torch.float64) * 20)
        norm.weight[3] = 0
    return layer.float().eval(), norm.float().eval()


@pytest.mark.parametrize("kind", ["conv", "linear"])
@pytest.mark.parametrize("relu", [False, True])
@torch.no_grad()
def test_sums_that_occur_become_what_the_table_says(kind, relu):
    """A second way: real inputs through the layer, not whole numbers through a table."""
    layer, norm = layer_and_norm(kind, 1)
    links = [torch.relu, norm] if relu else [norm]
    axes, shape = (2, (40, 5, 4, 4)) if kind == "conv" else (0, (40, 45))
    x = torch.randn(*shape, dtype=torch.float32)
    y = layer(x)
    for link in links:
        y = link(y)
    sums, table = (np.concatenate(part) for part in zip(*outcomes(layer, links, 45, axes), strict=True))
    signs = torch.where(x >= 0, 1.0, -1.0).float()
    weight = layer.binary_weight()
    whole = torch.conv2d(signs, weight) if kind == "conv" else signs @ weight.T
    rows = whole.movedim(1, -1).reshape(-1, 7).int().numpy()
    expected = y.movedim(1, -1).reshape(-1, 7).numpy()
    np.testing.assert_array_equal(table[rows + 45, np.arange(7)], expected)
    how = affine_of(layer, relu, norm, 45, axes)
    np.testing.assert_array_equal(affine(rows, how), expected)
    assert sums[0] == -45
    assert sums[-1] == 45
