"""The formulas of latent controls: laws, and exact answers."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isocline.latents import functional as F

seeds = st.integers(0, 2**31)


def drawn(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class TestStep:
    @given(seeds, st.floats(1e-3, 10))
    def test_has_the_length_that_was_asked_for(self, seed, length):
        w, g = drawn(seed, 5, 7), drawn(seed + 1, 5, 7)
        moved = (F.step(w, g, length) - w).norm(dim=-1)
        torch.testing.assert_close(moved, torch.full((5,), length), rtol=1e-12, atol=1e-12)

    @pytest.mark.parametrize("size", [1e-300, 1e-160, 1.0, 1e160, 1e300])
    def test_of_any_size_of_gradient(self, size):
        torch.testing.assert_close(F.unit(torch.tensor([[3.0, 4.0]]) * size), torch.tensor([[0.6, 0.8]]))

    def test_stays_without_a_gradient(self):
        w = drawn(0, 3, 4)
        assert torch.equal(F.step(w, torch.zeros_like(w), 1.0), w)


class TestChannels:
    @given(seeds, st.lists(st.integers(0, 8), min_size=1, max_size=3))
    def test_the_most_salient_of_each_are_gone_and_no_others(self, seed, counts):
        saliency = drawn(seed, len(counts), 4, 8).abs()
        stays = F.surviving_channels(saliency, counts)
        for b in range(4):
            gone = set()
            for e, k in enumerate(counts):
                gone |= set(sorted(range(8), key=lambda i, e=e: -float(saliency[e, b, i]))[:k])
            assert {i for i in range(8) if not stays[b, i]} == gone

    def test_of_equal_ones_as_many_are_gone_as_were_asked_for(self):
        stays = F.surviving_channels(torch.tensor([[[1.0, 1, 1, 0], [3, 2, 1, 0]]]), [2])
        assert stays.sum(-1).tolist() == [2, 2]
        assert stays[:, 3].all()

    @given(seeds)
    def test_leakage_for_every_count_is_that_of_the_masked_step(self, seed):
        g, kept = drawn(seed, 3, 6), drawn(seed + 1, 2, 3, 6)
        found = F.relative_leakage(g, kept)
        for e in range(2):
            for k in range(6):
                d = g * F.surviving_channels(kept[e : e + 1].abs(), [k])
                want = (kept[e] * d).sum(-1).abs() / (g * d).sum(-1)
                torch.testing.assert_close(found[e, :, k], want, rtol=1e-9, atol=1e-9)


class TestProjection:
    @given(seeds, st.integers(1, 4))
    def test_is_orthogonal_to_every_kept_gradient_and_idempotent(self, seed, E):
        g, kept = drawn(seed, 5, 9), drawn(seed + 1, E, 5, 9)
        p = F.project_out(g, kept)
        torch.testing.assert_close((p * kept).sum(-1), torch.zeros(E, 5), rtol=0, atol=1e-12)
        torch.testing.assert_close(F.project_out(p, kept), F.unit(p), rtol=1e-10, atol=1e-10)

    @given(seeds)
    def test_does_not_depend_on_the_axes(self, seed):
        g, kept = drawn(seed, 4, 6), drawn(seed + 1, 2, 4, 6)
        Q = torch.linalg.qr(drawn(seed + 2, 6, 6))[0]
        torch.testing.assert_close(
            F.project_out(g @ Q, kept @ Q), F.project_out(g, kept) @ Q, rtol=1e-9, atol=1e-9
        )

    @given(seeds, st.sampled_from([1.0, 1e-200, 1e200]))
    def test_repeated_zero_and_tiny_gradients_take_nothing_more(self, seed, size):
        g, one = drawn(seed, 3, 5), drawn(seed + 1, 1, 3, 5)
        many = torch.cat([one, one * size, torch.zeros_like(one), -2 * one])
        torch.testing.assert_close(F.project_out(g, many), F.project_out(g, one), rtol=1e-9, atol=1e-9)

    def test_nothing_is_left_within_the_span(self):
        kept = drawn(0, 2, 3, 6)
        assert torch.equal(F.project_out(kept[0] - 3 * kept[1], kept), torch.zeros(3, 6))

    def test_second_way_least_squares(self):
        g, kept = drawn(1, 1, 8), drawn(2, 3, 1, 8)
        A = kept[:, 0].T
        left = g[0] - A @ torch.linalg.lstsq(A, g[0][:, None]).solution[:, 0]
        torch.testing.assert_close(F.unit(F.project_out(g, kept))[0], F.unit(left), rtol=1e-10, atol=1e-10)


class TestScores:
    @given(seeds)
    def test_two_way_scores_have_one_direction(self, seed):
        logit = (3 * drawn(seed, 4)).requires_grad_()
        for score in ("log_prob", "prob"):
            (slope,) = torch.autograd.grad(F.two_way_score(logit, score).sum(), logit)
            assert (slope > 0).all()

    def test_a_class_by_probability_is_slower_than_by_its_logarithm(self):
        logits = torch.tensor([[0.0, 5.0, -40.0]], requires_grad=True)
        label = torch.tensor([2])
        slopes = [torch.autograd.grad(F.class_score(logits, label, s).sum(), logits)[0] for s in F.SCORES]
        p = F.class_score(logits, label, "prob").detach()
        torch.testing.assert_close(slopes[2], p[:, None] * slopes[1])
        assert torch.equal(slopes[0], torch.tensor([[0.0, 0.0, 1.0]]))


def test_style_directions_are_sorted_and_orthonormal():
    directions, values = F.style_directions([drawn(0, 10, 6), 100 * drawn(1, 4, 6)])
    torch.testing.assert_close(directions @ directions.T, torch.eye(6))
    assert (values[:-1] >= values[1:]).all()
    assert float(values.sum()) == pytest.approx(14)  # rows of length one


@given(seeds)
def test_conditional_normal_is_orthogonal_to_the_others(seed):
    n, others = drawn(seed, 7), drawn(seed + 1, 3, 7)
    found = F.conditional(n, others)
    torch.testing.assert_close(others @ found, torch.zeros(3), rtol=0, atol=1e-12)
    assert float(found.norm()) == pytest.approx(1)


def test_mahalanobis_of_a_normal():
    w = torch.tensor([[1.0, 2.0]])
    assert (
        float(F.squared_mahalanobis(w, torch.tensor([0.0, 1.0]), torch.diag(torch.tensor([4.0, 9.0])))) == 13
    )
