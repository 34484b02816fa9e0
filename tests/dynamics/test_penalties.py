"""What is minimised: closed forms, and the same by other means."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isocline.dynamics import functional as F


@given(seed=st.integers(0, 2**31))
def test_missing_entries_do_not_count(seed):
    g = torch.Generator().manual_seed(seed)
    predicted, observed = torch.randn(5, 4, 2, generator=g), torch.randn(5, 4, 2, generator=g)
    holes = torch.rand(5, 4, 2, generator=g) < 0.3
    seen = (predicted - observed)[~holes].square().mean()
    predicted.requires_grad_()
    loss = F.observed_loss(predicted, torch.where(holes, torch.nan, observed))
    torch.testing.assert_close(loss.detach(), seen)
    (slope,) = torch.autograd.grad(loss, predicted)
    assert (slope[holes] == 0).all()
    assert torch.isfinite(slope).all()


def test_nothing_observed_costs_nothing():
    assert F.observed_loss(torch.ones(3, 2), torch.full((3, 2), torch.nan)) == 0


def test_shrinkage_pulls_a_to_one_and_sums():
    A, W1 = torch.tensor([0.5, 1.0]), torch.tensor([[2.0], [1.0]])
    assert F.shrinkage(A, W1, torch.tensor([3.0])) == 0.25 + 5 + 9


def test_the_condition_penalty_of_orthogonal_columns_is_nothing():
    Q = torch.linalg.qr(torch.randn(6, 3, generator=torch.Generator().manual_seed(0))).Q
    assert F.condition_penalty(Q) < 1e-12
    B = Q @ torch.diag(torch.tensor([4.0, 2.0, 1.0]))
    assert F.condition_penalty(B).item() == pytest.approx(9, rel=1e-6)  # (1 - 4)^2 up to the 1e-8


def test_the_manifold_attractor_penalty_is_of_plain_norms():
    A, W, h = torch.tensor([0.1, 0.0]), torch.tensor([[9.0, 9.0], [3.0, 4.0]]), torch.tensor([9.0, -2.0])
    assert F.manifold_attractor_penalty(A, W, h, units=1) == 1 + 5 + 2
    assert F.manifold_attractor_penalty(torch.ones(2), 0 * W, 0 * h, units=2) == 0


def test_gradcheck():
    g = torch.Generator().manual_seed(3)
    B = torch.randn(5, 3, generator=g).requires_grad_()
    assert torch.autograd.gradcheck(F.condition_penalty, B)
    A, W, h = (torch.randn(*s, generator=g).requires_grad_() for s in ((4,), (4, 4), (4,)))
    assert torch.autograd.gradcheck(lambda *a: F.manifold_attractor_penalty(*a, units=2), (A, W, h))
    assert torch.autograd.gradcheck(F.shrinkage, (A, W, h))
