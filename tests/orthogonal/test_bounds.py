"""Bounds are above what they bound, at every size and padding, and say by which theorem."""

from math import cos, pi

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from isocline.orthogonal import ConvShape, certified_bounds, exists, orthogonal_, residual, singular_values
from isocline.orthogonal.bounds import alpha_paper, alpha_tight
from isocline.orthogonal.functional import lag_gram, narrow_side
from isocline.orthogonal.moments import eigenvalue_ceiling, moments, suprema

from .layers import inputs_of, layer, shapes


@given(shapes(), st.sampled_from([0.0, 0.02, 1.0]), st.integers(0, 99))
def test_the_sandwich(shape, noise, seed):
    """sigma_min <= every circular value <= sigma_max and err_s <= its bounds, for exact, nearly exact and random weights."""
    conv, noisy = layer(shape, seed), layer(shape, seed + 1)
    if noise < 1:
        if exists(conv):
            orthogonal_(conv, generator=torch.Generator().manual_seed(seed))
        conv.weight.data.add_(noise * noisy.weight.data)
    quick, sharp = certified_bounds(conv), certified_bounds(conv, grid=12)
    for n in (1, 2, 3, 5):
        N = (n,) * len(shape.k)
        values = singular_values(conv, inputs_of(shape, N))
        found = residual(conv, N)
        for bounds in (quick, sharp):
            assert float(values[0]) <= bounds.sigma_max + 1e-12
            assert float(values[-1]) >= bounds.sigma_min - 1e-12
            assert found.err_s <= bounds.err_s + 1e-12
        if found.holds:
            per_group = found.l_orth / shape.groups
            low = per_group / min(shape.M, shape.C * np.prod(shape.S))
            assert low <= found.err_s**2 + 1e-12
            assert found.err_s**2 <= alpha_tight(shape) * found.l_orth + 1e-12
            assert found.err_s**2 <= alpha_paper(shape) * found.l_orth + 1e-12
    assert sharp.sigma_max <= quick.sigma_max
    assert sharp.err_s <= quick.err_s
    assert quick.l_orth == pytest.approx(found.l_orth, rel=1e-9, abs=1e-12)


@given(shapes(dims=(1, 2)), st.integers(0, 99), st.sampled_from(["zeros", "valid", 2]))
def test_it_holds_for_every_padding(shape, seed, padding):
    conv = layer(shape, seed)
    if padding == 2 and not shape.transposed:
        conv.padding = (2,) * len(shape.k)
        padding = None
    elif padding == 2:
        padding = "zeros"
    spans = [D * (k - 1) + 1 for k, D in zip(shape.k, shape.D, strict=True)]
    values = singular_values(conv, [max(4, span) for span in spans], padding)
    assert float(values[0]) <= certified_bounds(conv, grid=16).sigma_max + 1e-12
    assert float(values[0]) <= certified_bounds(conv).sigma_max + 1e-12


def test_a_circular_value_does_not_bound_zeros():
    """[-1, 2, -1] on three points: circular 3, zeros 2 + sqrt 2; the bound is above both."""
    conv = nn.Conv1d(1, 1, 3, padding=1, bias=False)
    conv.weight.data = torch.tensor([[[-1.0, 2.0, -1.0]]])
    assert float(singular_values(conv, 3)[0]) == pytest.approx(3)
    assert float(singular_values(conv, 3, None)[0]) == pytest.approx(2 + 2**0.5)
    assert 4 <= certified_bounds(conv, grid=64).sigma_max < 4.01  # the supremum over all sizes is 4


def test_the_constants(golden):
    """The paper's, but where M = C S^d: it has two there, the file keeps the row's, we take the smaller as it advises."""
    file = np.load(golden / "orthogonal" / "circular.npz")
    for i in range(int(file["n_cases"])):
        M, C, k, S, _ = file[f"c{i}_cfg"].tolist()
        shape = ConvShape(M, C, k, S)
        assert alpha_tight(shape) == float(file[f"c{i}_alpha_tight"])
        stored = float(file[f"c{i}_alpha_paper"])
        assert alpha_paper(shape) == (min(stored, (2 * k - 1) ** 2 * C) if M == C * S * S else stored)
        conv = layer(shape)
        conv.weight.data = torch.tensor(file[f"c{i}_K"])
        bounds, err = certified_bounds(conv, grid=16), float(file[f"c{i}_err_s"])
        assert bounds.alpha == alpha_tight(shape)
        assert err <= bounds.err_s + 1e-12
        assert float(file[f"c{i}_alpha_lower"]) * float(file[f"c{i}_L_orth"]) <= err**2 + 1e-12


def test_an_example_of_the_paper():
    """(128, 128, 3, 2) at L = 1e-6: sqrt(alpha) is 34 in the paper, 3 here."""
    shape = ConvShape(128, 128, 3, 2)
    assert alpha_paper(shape) ** 0.5 == pytest.approx(33.94, abs=0.01)
    assert alpha_tight(shape) ** 0.5 == 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_how_tight_it_is(dtype):
    """Nearly orthogonal: the quick bound within 1 %; any: the grid of 32 points within 1 / cos(pi / 16)^2."""
    conv = orthogonal_(nn.Conv2d(24, 24, 3, bias=False), generator=torch.Generator().manual_seed(0)).to(dtype)
    assert certified_bounds(conv).sigma_max < 1 + (1e-3 if dtype == torch.float32 else 1e-6)
    noise = layer(ConvShape(24, 24, 3), 1).weight.data.to(dtype)
    conv.weight.data += 1e-3 * noise
    top = float(singular_values(conv, 32)[0])
    assert certified_bounds(conv).sigma_max < 1.01 * top
    conv.weight.data = noise
    top = float(singular_values(conv, 32)[0])
    sharp = certified_bounds(conv, grid=32)
    assert top <= sharp.sigma_max <= 1.001 * top / cos(pi / 32) ** 2
    assert "grid of 32x32" in sharp.how
    assert certified_bounds(conv).sigma_max < 1.8 * top


@settings(max_examples=20)
@given(shapes(dims=(1, 2)), st.integers(0, 99))
def test_single_precision_is_certified_too(shape, seed):
    """Rounding is added, so the bound of the float32 weight is above its exact value in float64."""
    conv = layer(shape, seed).float()
    bounds = [certified_bounds(conv), certified_bounds(conv, grid=12)]
    values = singular_values(conv.double(), inputs_of(shape, (6,) * len(shape.k)))
    for found in bounds:
        assert float(values[0]) <= found.sigma_max


@pytest.mark.parametrize("q", [(1,), (3,), (2, 3), (2, 2, 2)])
def test_moments_are_those_of_the_gram_matrices(q):
    """At any frequency, from those on the grid of 2 q - 1 points: against the lags of functional.lag_gram."""
    A = torch.randn(2, 3, 5, *q, generator=torch.Generator().manual_seed(0))
    points = tuple(1 if size == 1 else 11 for size in q)
    found = moments(A, points)
    from isocline.orthogonal.frequencies import half_grid

    at = 2 * pi * half_grid(points)[0] / torch.tensor(points)
    taps = torch.cartesian_prod(*map(torch.arange, q)).reshape(-1, len(q)).double()
    basis = torch.exp(-1j * (at @ taps.T))
    K = torch.einsum("pt,brst->bprs", basis, A.flatten(3).to(basis.dtype))
    G = K @ K.mH
    torch.testing.assert_close(found.trace, G.diagonal(dim1=-2, dim2=-1).sum(-1).real)
    torch.testing.assert_close(found.square, G.abs().square().sum((-2, -1)))
    ceiling = eigenvalue_ceiling(found)
    values = torch.linalg.eigvalsh(G)[..., -1]
    assert (values <= ceiling + 1e-12).all()
    assert (values.amax(1) <= suprema(found)[0] + 1e-12).all()
    R = lag_gram(A)
    R[:, 0] -= torch.eye(3)
    torch.testing.assert_close(
        found.residual, R[:, 0].square().sum((1, 2)) + 2 * R[:, 1:].square().sum((1, 2, 3))
    )


def test_inputs_that_nobody_sees_are_in_the_bounds():
    conv = layer(ConvShape(9, 2, 3, 2, 2))
    bounds = certified_bounds(conv)
    assert bounds.sigma_min == 0
    assert bounds.err_s >= 1
    assert bounds.l_orth >= 2 * (4 - 1)
    assert narrow_side(conv.weight.detach()[None], ConvShape(9, 2, 3, 2, 2))[1] == 6


def test_it_prints_and_writes_itself():
    bounds = certified_bounds(nn.Conv2d(3, 3, 3))
    assert " <= sigma <= " in str(bounds)
    assert set(bounds.to_dict()) >= {"sigma_max", "err_s", "how", "alpha_paper"}


@pytest.mark.parametrize(
    ("conv", "settings", "message"),
    [
        (nn.ReLU(), {}, "conv: want a torch convolution, such as nn.Conv2d, got ReLU"),
        (nn.Conv2d(2, 2, 5), {"grid": 4}, "grid: want at least 5 points an axis for this kernel, got 4"),
        (nn.Conv2d(2, 2, 5), {"grid": 8.5}, "grid: want a whole number >= 1, got 8.5"),
    ],
)
def test_wrong_calls_are_answered(conv, settings, message):
    with pytest.raises((TypeError, ValueError), match=message):
        certified_bounds(conv, **settings)
