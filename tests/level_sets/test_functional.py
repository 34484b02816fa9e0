"""The identities of a step, for any numbers."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isocline.level_sets.functional import (
    accumulate,
    clip,
    corrected,
    hull_grid,
    inner,
    log_odds,
    log_probability,
    margin,
    schedule_bound,
    spendable,
    start,
    tangent,
)

seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(-300, 100)  # powers of two: down to where squares are zero in float64


def normal(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@given(seeds, sizes, st.integers(2, 9))
def test_the_step_is_orthogonal_to_the_gradient_of_any_size(seed, power, d):
    v, g = normal(seed, 2, 3, d)
    step = tangent(v, g * 2.0**power)
    assert (
        float((inner(step, g) / (inner(g, g) * inner(v, v)).sqrt()).abs().max()) < 1e-14
    )  # roundings of d sums
    torch.testing.assert_close(tangent(step, g), step)  # a projection
    assert bool((inner(step, step) <= inner(v, v) * (1 + 1e-14)).all())


@given(seeds, st.floats(0.01, 1.0), st.integers(1, 20))
def test_what_is_orthogonal_to_the_gradient_shrinks_by_the_schedule(seed, eta, steps):
    x, target, g = normal(seed, 3, 4, 5)
    before = target - x
    for _ in range(steps):
        x = x + eta * tangent(target - x, g)
        assert bool(((target - x).norm(dim=1) >= (1 - eta) ** steps * before.norm(dim=1) * (1 - 1e-9)).all())
    torch.testing.assert_close(
        tangent(target - x, g), (1 - eta) ** steps * tangent(before, g), atol=1e-12, rtol=1e-9
    )
    torch.testing.assert_close(inner(target - x, g), inner(before, g), atol=1e-11, rtol=1e-9)
    torch.testing.assert_close(
        schedule_bound(eta, torch.ones(4, steps, dtype=torch.bool)), torch.full((4,), (1 - eta) ** steps)
    )


@given(seeds, st.floats(1e-4, 1.0))
def test_the_first_gradient_step_goes_up_by_half_eps_times_the_square(seed, eps):
    """-g . (x_new - x) = g . a = (eps / 2) ||g||^2 while nothing is clipped, g the gradient of cross-entropy."""
    g = normal(seed, 3, 5).clamp(-1.9, 1.9)
    a = accumulate(torch.zeros_like(g), g, eps)
    torch.testing.assert_close(inner(g, a), eps / 2 * inner(g, g))
    assert float(accumulate(a, 1e6 * g, eps).abs().max()) <= eps


@given(seeds, sizes)
def test_a_newton_step_is_exact_for_a_linear_score(seed, power):
    x, g = normal(seed, 2, 3, 4)
    g, level = g * 2.0**power, normal(seed + 1, 3) * 2.0**power
    back = corrected(x, g, inner(x, g)[:, 0] - level)
    torch.testing.assert_close(inner(back, g)[:, 0] / 2.0**power, level / 2.0**power, atol=1e-12, rtol=1e-12)


def test_no_gradient_is_no_constraint():
    v = torch.tensor([[1.0, 2.0]])
    zero = torch.zeros_like(v)
    assert torch.equal(tangent(v, zero), v)
    assert torch.equal(corrected(v, zero, torch.ones(1)), v)
    tiny = torch.tensor([[1e-40, 0.0]], dtype=torch.float32)  # its square is zero, and it is subnormal
    torch.testing.assert_close(tangent(v.float(), tiny), torch.tensor([[0.0, 2.0]], dtype=torch.float32))


@given(seeds, st.integers(2, 6))
def test_three_scores_with_one_gradient_direction(seed, K):
    logits, y = 5 * normal(seed, 4, K), torch.arange(4) % K
    p = logits.softmax(1).gather(1, y[:, None])[:, 0]
    torch.testing.assert_close(log_odds(logits, y).sigmoid(), p)
    torch.testing.assert_close(log_probability(logits, y), p.log())
    z = logits.requires_grad_()
    (of_odds,) = torch.autograd.grad(log_odds(z, y).sum(), z)
    (of_log,) = torch.autograd.grad(log_probability(z, y).sum(), z)
    torch.testing.assert_close(of_log, (1 - p)[:, None] * of_odds, atol=1e-14, rtol=1e-10)
    assert bool((margin(logits, y) >= log_odds(logits, y)).all())


@given(st.integers(1, 30))
def test_the_triangle_has_every_point_once(n):
    grid = hull_grid(n)
    assert len(grid) == (n + 1) * (n + 2) // 2
    assert len({tuple(row) for row in grid.tolist()}) == len(grid)
    assert float(grid.min()) == 0
    assert float((grid.sum(1) - 1).abs().max()) < 1e-15  # whole numbers over n, two roundings
    assert grid[0].tolist() == [1.0, 0.0, 0.0]


@given(seeds, st.floats(-5, 5), st.floats(0.1, 10))
def test_the_noise_at_the_start_is_at_most_two_levels_of_255(seed, low, width):
    bounds = (low, low + width)
    source, u = torch.rand((2, 3, 7), generator=torch.Generator().manual_seed(seed))
    source = low + width * source
    x = start(source, u, bounds)
    assert float((x - source).abs().max()) <= 2 / 255 * width * (1 + 1e-9)
    assert torch.equal(clip(x, bounds), x)


@pytest.mark.parametrize("function", [tangent, accumulate, corrected])
def test_gradients_are_right(function):
    x, g = (normal(i, 2, 3).requires_grad_() for i in (1, 2))
    last = {tangent: (), accumulate: (10.0,), corrected: (normal(3, 2),)}[function]
    assert torch.autograd.gradcheck(lambda a, b: function(a, b, *last), (x, g))


@given(st.integers(0, 10**6), st.floats(-2, 2), st.floats(0.01, 1))
def test_what_is_spent_is_neither_more_than_there_is_nor_than_the_way_costs(seed, excess, eta):
    v, g = torch.randn((2, 3, 5), generator=torch.Generator().manual_seed(seed))
    spent = spendable(v, g, torch.full((3,), excess), torch.full((3,), eta))
    straight = (-eta * inner(g, v)).clamp(min=0).reshape(-1)
    assert bool((spent >= 0).all())
    assert bool((spent <= max(excess, 0) + 1e-12).all())
    assert bool((spent <= straight + 1e-12).all())
    assert bool((spendable(tangent(v, g), g, torch.ones(3), torch.ones(3)) < 1e-12).all())
    assert bool((spendable(v, torch.zeros_like(g), torch.ones(3), torch.ones(3)) == 0).all())
