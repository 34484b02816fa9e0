"""Rotations are orthogonal, whatever they are made from; the transitions they make have the norm of their axes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isocline.plstm.rotations import MatrixTransition, power_series, rotated, rotation

SIZES = st.integers(1, 5)


def drawn(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@given(seed=st.integers(0, 2**31), J=SIZES, scale=st.floats(0, 6))
def test_a_rotation_is_the_exponential_and_orthogonal(seed, J, scale):
    A = scale * drawn(seed, 3, J, J)
    R = rotation(A)
    torch.testing.assert_close(R @ R.mT, torch.eye(J).expand(3, J, J), rtol=0, atol=1e-12)  # six squarings
    torch.testing.assert_close(R, torch.linalg.matrix_exp(A - A.mT), rtol=0, atol=1e-11)


def test_the_published_series_is_orthogonal_only_while_its_generator_is_small():
    K = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
    off = [
        float((power_series(s * K) @ power_series(s * K).mT - torch.eye(2)).abs().max()) for s in (0.5, 8.0)
    ]
    assert off[0] < 1e-15
    assert off[1] > 1  # 8^16 / 16! = 13


@given(seed=st.integers(0, 2**31), J=SIZES)
def test_a_transition_has_the_singular_values_of_its_axes(seed, J):
    O, I, a = rotation(drawn(seed, J, J)), rotation(drawn(seed + 1, J, J)), torch.tanh(drawn(seed + 2, J))
    values = torch.linalg.svdvals(rotated(O, a, I))
    torch.testing.assert_close(values, a.abs().sort(descending=True).values, rtol=1e-10, atol=1e-12)


def test_gradients():
    assert torch.autograd.gradcheck(rotation, drawn(0, 2, 3, 3).requires_grad_())
    assert torch.autograd.gradgradcheck(power_series, drawn(1, 2, 2).requires_grad_())


@pytest.mark.parametrize("exact", [True, False])
def test_the_layer_starts_near_rotations_and_rebuilds(exact):
    layer = MatrixTransition(6, 2, 3, 1.0, exact=exact)
    T = layer(drawn(0, 4, 5, 6))
    assert T.shape == (4, 5, 2, 3, 3)
    if exact:
        assert torch.linalg.matrix_norm(T, ord=2).max() < 1
        assert torch.linalg.svdvals(T).min() > 0.9999  # tanh 5
    assert eval(f"MatrixTransition({layer.extra_repr()})").extra_repr() == layer.extra_repr()
