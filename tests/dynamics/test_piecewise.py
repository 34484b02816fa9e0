"""Every map of the room equals its plain form, and the plain form equals its affine pieces."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isocline.dynamics import maps
from isocline.dynamics.analysis import almost_linear_form, dendritic_form, plrnn_form, shallow_form

M, L, P = 3, 5, 4


def _families(seed):
    """(plain form, map, Jacobian) of all seven families with random parameters."""
    g = torch.Generator().manual_seed(seed)
    A, h, h1 = (torch.randn(M, generator=g) for _ in range(3))
    W, H = torch.randn(M, M, generator=g), torch.randn(M, P, generator=g)
    W1, W2, h2, a = (torch.randn(*size, generator=g) for size in ((M, L), (L, M), (L,), (P,)))
    yield plrnn_form(A, W, h), lambda z: maps.plrnn(z, A, W, h), lambda z: maps.plrnn_jacobian(z, A, W)
    yield (
        plrnn_form(A, W, h, centred=True),
        lambda z: maps.mean_centred_plrnn(z, A, W, h),
        lambda z: maps.mean_centred_plrnn_jacobian(z, A, W),
    )
    for clipped in (False, True):
        yield (
            dendritic_form(A, W, h, a, H, clipped=clipped),
            lambda z, clipped=clipped: maps.dendritic_plrnn(z, A, W, h, a, H, clipped=clipped),
            lambda z, clipped=clipped: maps.dendritic_plrnn_jacobian(z, A, W, a, H, clipped=clipped),
        )
        yield (
            shallow_form(A, W1, W2, h1, h2, clipped=clipped),
            lambda z, clipped=clipped: maps.shallow_plrnn(z, A, W1, W2, h1, h2, clipped=clipped),
            lambda z, clipped=clipped: maps.shallow_plrnn_jacobian(z, A, W1, W2, h2, clipped=clipped),
        )
    yield (
        almost_linear_form(A, W, h, relu_units=2),
        lambda z: maps.almost_linear_rnn(z, A, W, h, relu_units=2),
        lambda z: maps.almost_linear_rnn_jacobian(z, A, W, relu_units=2),
    )


@given(st.integers(0, 10**6))
def test_plain_forms_of_all_seven_families(seed):
    z = torch.randn(20, M, generator=torch.Generator().manual_seed(seed + 1))
    families = list(_families(seed))
    assert len(families) == 7
    for plain, step, jacobian in families:
        np.testing.assert_allclose(plain.step(z.numpy()), step(z).numpy(), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(plain.jacobian(z.numpy()), jacobian(z).numpy(), rtol=1e-12, atol=1e-12)
        slope, offset = plain.pieces(plain.gates(z.numpy()))
        pieced = np.einsum("nij,nj->ni", slope, z.numpy()) + offset
        np.testing.assert_allclose(pieced, step(z).numpy(), rtol=1e-12, atol=1e-12)


def test_clipped_form_has_twice_the_units():
    ones = np.ones
    assert shallow_form(ones(2), ones((2, 3)), ones((3, 2)), ones(2), ones(3), clipped=True).W1.shape == (
        2,
        6,
    )


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((2,), (2, 3), (3, 3), (2,), (3,)), "W2: want shape (3, 2), got (3, 3)"),
        (((2,), (3, 2), (3, 2), (2,), (3,)), "W1: want shape (2, 3), got (3, 2)"),
        (((2, 3), (2, 3), (3, 2), (2,), (3,)), "A: want shape (2, 2), got (2, 3)"),
        (((2,), (2, 3), (3, 2), (3,), (3,)), "h1: want shape (2,), got (3,)"),
    ],
)
def test_shapes_that_do_not_fit(shapes, message):
    with pytest.raises(ValueError, match="want") as caught:
        shallow_form(*(np.ones(shape) for shape in shapes), clipped=False)
    assert message in str(caught.value)


def test_values_that_are_not_finite():
    with pytest.raises(ValueError, match="W1: want finite values, got 6 NaN"):
        shallow_form(
            np.ones(2), np.full((2, 3), np.nan), np.ones((3, 2)), np.ones(2), np.ones(3), clipped=True
        )
