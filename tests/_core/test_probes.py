"""Probes against the explicit matrix: singular values, their residual as a bound, traces and their spread."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import conv2d, conv_transpose2d

from isocline._core.probes import (
    hutchinson_trace,
    jvp,
    largest_singular_value,
    smallest_singular_value,
    vjp,
)
from isocline._core.seeds import torch_generator

sizes = st.integers(1, 12)


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch_generator(seed), dtype=dtype)


def both(matrix, start=None, **settings):
    start = normal(matrix.shape[1], seed=99, dtype=matrix.dtype) if start is None else start
    pair = (lambda v: matrix @ v, lambda u: matrix.T @ u, start)
    return largest_singular_value(*pair, **settings), smallest_singular_value(*pair, **settings)


@given(m=sizes, n=sizes, seed=st.integers(0, 10**6))
def test_extreme_values_of_any_matrix(m, n, seed):
    matrix = normal(m, n, seed=seed)
    values = torch.linalg.svdvals(matrix)
    largest, smallest = both(matrix, steps=2000)
    # 100 roundings of s_max^2 in the residual, so at most their root in s where s is near 0
    assert largest.value == pytest.approx(float(values[0]), rel=1e-12)
    assert smallest.value == pytest.approx(float(values[-1]), abs=3e-7 * float(values[0]))


@given(m=sizes, n=sizes, steps=st.integers(1, 4), seed=st.integers(0, 10**6))
def test_the_residual_bounds_the_error_however_early_we_stop(m, n, steps, seed):
    matrix = normal(m, n, seed=seed)
    values = torch.linalg.svdvals(matrix)
    for found in both(matrix, steps=steps, tol=0.0):
        rounding = 1e-13 * float(values[0]) ** 2
        assert float((values**2 - found.value**2).abs().min()) <= found.residual + rounding
        assert found.steps <= steps


def test_left_and_right_vectors_belong_to_the_value():
    matrix = normal(9, 6)
    for found in both(matrix, steps=500):
        assert torch.allclose(matrix @ found.right, found.value * found.left, atol=1e-12)
        assert float(found.right.norm()) == pytest.approx(1)
        assert float(found.left.norm()) == pytest.approx(1)
        gap = matrix.T @ (matrix @ found.right) - found.value**2 * found.right
        assert float(gap.norm()) == pytest.approx(found.residual, abs=1e-13)
    wide = both(matrix.T.contiguous(), steps=500)[1]
    assert wide.left.shape == (6,)
    assert wide.right.shape == (9,)
    assert torch.allclose(matrix.T @ wide.right, wide.value * wide.left, atol=1e-6)


def test_a_convolution_without_its_matrix():
    kernel = normal(4, 3, 3, 3)
    start = normal(1, 3, 6, 5, seed=1)
    unit = torch.eye(start.numel()).reshape(-1, 3, 6, 5)
    values = torch.linalg.svdvals(conv2d(unit, kernel, padding=1).flatten(1))
    pair = (lambda x: conv2d(x, kernel, padding=1), lambda y: conv_transpose2d(y, kernel, padding=1), start)
    largest, smallest = largest_singular_value(*pair), smallest_singular_value(*pair, steps=3000)
    assert largest.value == pytest.approx(float(values[0]), rel=1e-12)
    assert smallest.value == pytest.approx(float(values[-1]), abs=1e-6)
    assert largest.right.shape == start.shape
    assert largest.left.shape == (1, 4, 6, 5)


def test_edges_of_the_spectrum():
    identity, zero = torch.eye(5), torch.zeros(4, 5)
    assert all(found.value == pytest.approx(1) and found.steps == 0 for found in both(identity))
    assert all(found.value == 0 and found.residual == 0 for found in both(zero))
    graded = torch.diag(torch.logspace(0, -2, 30))  # a condition number of 100
    assert both(graded, steps=3000)[1].value == pytest.approx(1e-2, rel=1e-9)
    for scale in (1e-100, 1e100):
        assert both(scale * graded)[0].value == pytest.approx(scale)


def test_float32_stays_float32():
    matrix = normal(20, 10, dtype=torch.float32)
    largest, smallest = both(matrix, steps=1000)
    values = torch.linalg.svdvals(matrix)
    assert largest.right.dtype == torch.float32
    assert largest.value == pytest.approx(float(values[0]), rel=1e-5)
    assert smallest.value == pytest.approx(float(values[-1]), rel=1e-3)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (torch.zeros(3), "start: want a vector that is not zero, got a tensor of shape"),
        (torch.zeros(0), "start: want a vector that is not zero"),
        (torch.tensor([1.0, torch.nan, 0]), "start: want finite values, got 1 NaN"),
    ],
)
def test_starts_that_lead_nowhere(start, message):
    with pytest.raises(ValueError, match=message):
        largest_singular_value(lambda v: v, lambda u: u, start)


def test_a_map_that_is_not_finite_is_named():
    with pytest.raises(ValueError, match="matvec: want finite values"):
        largest_singular_value(lambda v: v / 0, lambda u: u, torch.ones(3))
    with pytest.raises(ValueError, match="steps: want a whole number >= 1"):
        largest_singular_value(lambda v: v, lambda u: u, torch.ones(3), steps=0)


@given(n=st.integers(1, 8), seed=st.integers(0, 10**6))
def test_the_trace_of_a_diagonal_needs_no_luck(n, seed):
    diagonal = normal(n, seed=seed)
    found = hutchinson_trace(lambda z: diagonal * z, diagonal, samples=2, generator=torch_generator(seed))
    assert found.value == pytest.approx(float(diagonal.sum()), abs=1e-12)
    assert found.standard_error == pytest.approx(0, abs=1e-12)


def test_the_trace_estimate_is_unbiased_and_knows_its_spread():
    matrix = normal(6, 6)
    off = matrix + matrix.T - 2 * torch.diag(matrix.diagonal())
    spread = float((off**2).sum() / 2) ** 0.5  # the exact standard deviation of one draw, Hutchinson 1990
    found = hutchinson_trace(
        lambda z: (matrix @ z.flatten()).reshape(2, 3),
        torch.zeros(2, 3),
        samples=40_000,
        generator=torch_generator(8),
    )
    error = spread / 200
    assert abs(found.value - float(matrix.trace())) < 6 * error  # fails by chance once in 5e8 seeds
    assert found.standard_error == pytest.approx(error, rel=0.05)
    assert found.samples == 40_000


def test_the_trace_needs_two_draws_and_finite_ones():
    like, generator = torch.ones(2), torch_generator(0)
    with pytest.raises(ValueError, match="samples: want a whole number >= 2, got 1"):
        hutchinson_trace(lambda z: z, like, samples=1, generator=generator)
    with pytest.raises(ValueError, match="matvec: want finite values, got 2 NaN"):
        hutchinson_trace(lambda z: z * torch.nan, like, samples=2, generator=generator)


def test_jacobian_products_are_those_of_the_jacobian():
    weight = normal(4, 6)

    def function(x):
        return torch.tanh(weight @ x.flatten())

    x, v, u = normal(2, 3, seed=1), normal(2, 3, seed=2), normal(4, seed=3)
    jacobian = torch.autograd.functional.jacobian(function, x).reshape(4, 6)
    assert torch.allclose(jvp(function, x, v), jacobian @ v.flatten(), atol=1e-14)
    assert torch.allclose(vjp(function, x, u), (jacobian.T @ u).reshape(2, 3), atol=1e-14)
    with pytest.raises(ValueError, match=r"v: want the shape of x, \(2, 3\), got \(4,\)"):
        jvp(function, x, u)
    with pytest.raises(ValueError, match=r"u: want the shape of function\(x\), \(4,\), got \(2, 3\)"):
        vjp(function, x, v)


def test_a_module_as_a_map_keeps_its_gradients():
    layer = torch.nn.Conv2d(2, 3, 3, bias=False)
    x = normal(1, 2, 5, 5)
    found = largest_singular_value(lambda v: jvp(layer, x, v), lambda u: vjp(layer, x, u), x)
    unit = torch.eye(50).reshape(-1, 2, 5, 5)
    values = torch.linalg.svdvals(layer(unit).flatten(1).detach())
    assert found.value == pytest.approx(float(values[0]), rel=1e-12)
    assert layer.weight.grad is None
    assert not found.right.requires_grad
    assert not found.left.requires_grad
