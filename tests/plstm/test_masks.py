"""Masks in PyTorch (what other devices than the CPU use) against the compiled ones; products without a division."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isocline.plstm.kernels import chunked, cpu, dense, tiled
from isocline.plstm.kernels.masks import rows_mask, separable_mask, summed_mask
from isocline.plstm.kernels.products import matrix_products, segment_products

CLOSE = {"rtol": 1e-10, "atol": 1e-12}  # products and sums of a few dozen numbers in float64
GATES = (
    "source_r",
    "source_d",
    "transition_rl",
    "transition_ru",
    "transition_dl",
    "transition_du",
    "mark_l",
    "mark_u",
)


def fields(problem):
    return [problem.tensors.get(name) for name in GATES]


def gradients(function, tensors):
    leaves = [None if t is None else t.detach().clone().requires_grad_() for t in tensors]
    out = function(leaves)
    slope = torch.randn(out.shape, generator=torch.Generator().manual_seed(0))
    return out.detach(), torch.autograd.grad(
        out, [t for t in leaves if t is not None], slope, materialize_grads=True
    )


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**31),
    size=st.sampled_from([(1, 1), (1, 4), (3, 1), (2, 5), (4, 3)]),
    without=st.sampled_from(
        [(), ("transition_dl",), ("transition_ru", "source_r"), ("mark_l", "transition_du")]
    ),
)
def test_rows_are_the_compiled_recursion(problems, seed, size, without):
    given_ = fields(problems(seed).grid(*size, states=False, without=without))

    def compiled(gates):
        return cpu.tile_masks(torch.stack([torch.zeros(2, *size) if g is None else g for g in gates]))

    def in_pytorch(gates):
        return rows_mask(gates, borders=True)

    ours, theirs = gradients(in_pytorch, given_), gradients(compiled, given_)
    torch.testing.assert_close(ours, theirs, **CLOSE)
    N = size[0] * size[1]
    torch.testing.assert_close(rows_mask(given_), ours[0][:, :N, :N])


@pytest.mark.parametrize("turn", ["transition_dl", "transition_ru"])
@pytest.mark.parametrize("size", [(1, 4), (3, 1), (2, 5), (4, 3)])
def test_one_turn_is_an_outer_product(turn, size, problems):
    given_ = fields(problems(1).grid(*size, states=False, without=(turn,)))
    torch.testing.assert_close(gradients(separable_mask, given_), gradients(rows_mask, given_), **CLOSE)


@pytest.mark.parametrize("mode", ["P", "D", "R"])
def test_all_directions(mode, problems, assert_same):
    problem = problems(2).quadrants(mode, 3, 4)

    expected = problem.with_gradients("reference")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dense, "compiled_for", lambda tensor: False)
        assert_same(problem.with_gradients("dense"), expected)


def test_tiles_with_masks_in_pytorch(problems, assert_same):
    problem = problems(3).quadrants("P", 5, 9, B=1, dk=1, states=True)
    expected = problem.with_gradients("tiled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiled, "_masks", lambda gates: rows_mask(list(gates), borders=True))
        assert_same(problem.with_gradients("tiled"), expected)


def test_only_the_direct_gate_lies_on_the_diagonal(problems):
    t = problems(4).quadrants("P", 2, 3).tensors
    a, b, m = t["transition_r"], t["transition_d"], t["mark"]
    mask = summed_mask([t["source_r"], t["source_d"], a, a, b, b, m, m], t["direct"], range(4))
    torch.testing.assert_close(mask.diagonal(dim1=1, dim2=2), t["direct"].flatten(1))


@pytest.mark.parametrize("N", [1, 5, 130])
def test_chunks_of_a_sequence(N, problems, assert_same):
    problem = problems(5).line(N, B=3)
    expected = problem.with_gradients("chunked")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunked, "compiled_for", lambda tensor: False)
        assert_same(problem.with_gradients("chunked"), expected)


class TestProducts:
    @given(values=st.lists(st.sampled_from([0.0, 1.0, -1.0, 0.5, -2.0, 1e-200]), max_size=7))
    def test_each_is_the_product_of_its_segment(self, values):
        L = segment_products(torch.tensor(values))
        for t in range(len(values) + 1):
            for s in range(len(values) + 1):
                assert L[t, s] == (np.prod(values[s:t]) if s <= t else 0.0)

    def test_gradients_twice_also_at_zero(self):
        T = torch.tensor([[0.5, 0.0, -0.7, 0.0], [0.0, 0.0, 1.0, 2.0]], requires_grad=True)
        assert torch.autograd.gradcheck(segment_products, T)
        assert torch.autograd.gradgradcheck(segment_products, T)

    def test_per_sample_gradients(self):
        T = torch.rand(3, 4)
        slopes = torch.func.vmap(torch.func.grad(lambda t: segment_products(t).square().sum()))(T)
        leaf = T.clone().requires_grad_()
        torch.testing.assert_close(
            slopes, torch.autograd.grad(segment_products(leaf).square().sum(), leaf)[0]
        )

    def test_matrices_multiply_from_the_left(self):
        T = torch.randn(2, 4, 3, 3)
        L = matrix_products(T)
        torch.testing.assert_close(L[:, 3, 1], T[:, 2] @ T[:, 1])
        torch.testing.assert_close(L[:, 4, 0], T[:, 3] @ T[:, 2] @ T[:, 1] @ T[:, 0])
        assert (L[:, 1, 2] == 0).all()
        torch.testing.assert_close(matrix_products(T[..., :1, :1])[..., 0, 0], segment_products(T[..., 0, 0]))
