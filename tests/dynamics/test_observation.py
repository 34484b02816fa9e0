"""From states to observations and back."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isocline.dynamics import AffineObservation, IdentityObservation


@pytest.mark.parametrize(("N", "M"), [(3, 3), (2, 5)])
def test_identity_is_the_first_states(N, M):
    observation = IdentityObservation(N, M)
    x = torch.randn(6, N)
    z0 = observation.initial_state(x)
    assert z0.shape == (6, M)
    assert torch.equal(observation(z0), x)
    assert torch.equal(observation.forcing(x), x)
    assert not observation.forcing(x.requires_grad_()).requires_grad
    assert (observation.lift is None) == (N == M)
    if N < M:
        assert z0.requires_grad  # the lift learns through the initial state
        torch.testing.assert_close(z0[:, N:], x @ observation.lift.T)
        assert observation.penalty() == observation.lift.square().sum()
    else:
        assert observation.penalty() == 0


@given(N=st.integers(1, 6), M=st.integers(1, 6), bias=st.booleans(), seed=st.integers(0, 2**31))
def test_affine_goes_back_by_least_squares(N, M, bias, seed):
    observation = AffineObservation(N, M, bias)
    observation.reset_parameters(torch.Generator().manual_seed(seed))
    if bias:
        torch.nn.init.ones_(observation.b)
    x = torch.randn(5, N, generator=torch.Generator().manual_seed(seed + 1))
    z = observation.initial_state(x)
    centred = x - 1 if bias else x
    expected = torch.linalg.lstsq(observation.B.detach(), centred.T, driver="gelsd").solution.T
    condition = torch.linalg.cond(observation.B.detach())
    torch.testing.assert_close(z.detach(), expected, rtol=1e-11 * condition, atol=1e-12 * condition)
    if N <= M:
        torch.testing.assert_close(observation(z), x, rtol=1e-9 * condition, atol=1e-12 * condition)


def test_the_signal_is_a_constant_and_the_start_is_not():
    observation = AffineObservation(4, 2, bias=True)
    x = torch.randn(3, 4)
    assert not observation.forcing(x).requires_grad
    assert observation.initial_state(x).requires_grad
    x[1, 2] = torch.nan
    assert observation.forcing(x).isnan().all(1).tolist() == [False, True, False]


def test_gradcheck_through_the_pseudo_inverse():
    for N, M in ((5, 3), (3, 3), (2, 4)):
        observation = AffineObservation(N, M, bias=True)
        B, b = (p.detach().clone().requires_grad_() for p in observation.parameters())
        x = torch.randn(2, N)

        def call(B, b, x=x, observation=observation):
            return torch.func.functional_call(_Start(observation), {"inner.B": B, "inner.b": b}, (x,))

        assert torch.autograd.gradcheck(call, (B, b))


class _Start(torch.nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner.initial_state(x)


def test_where_they_start():
    affine = AffineObservation(200, 50, bias=True)
    assert affine.B.std().item() == pytest.approx((2 / 50) ** 0.5, rel=0.03)  # 10^4 values: three errors
    assert (affine.b == 0).all()
    lift = IdentityObservation(30, 90).lift
    bound = (6 / 90) ** 0.5
    assert 0.98 * bound < lift.abs().max() <= bound
    assert repr(affine) == "AffineObservation(200, 50, bias=True)"
    assert repr(IdentityObservation(3)) == "IdentityObservation(3, 3)"
