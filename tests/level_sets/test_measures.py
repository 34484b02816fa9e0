"""Distances and confidences against a second way: scikit-image's published value, and plain loops."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isocline.level_sets import measures


def test_similarity_of_a_small_image_by_hand():
    """One window only: the formula of Wang et al. with NumPy's unbiased moments."""
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 7, 7))
    cov = np.cov(a.ravel(), b.ravel())
    luminance = (2 * a.mean() * b.mean() + 1e-4) / (a.mean() ** 2 + b.mean() ** 2 + 1e-4)
    expected = luminance * (2 * cov[0, 1] + 9e-4) / (cov[0, 0] + cov[1, 1] + 9e-4)
    found = measures.ssim(*(torch.from_numpy(x)[None, None] for x in (a, b)))
    torch.testing.assert_close(found, torch.tensor([expected], dtype=torch.float64), rtol=1e-10, atol=1e-12)


@given(st.integers(0, 100), st.floats(0, 0.2))
def test_similarity_is_one_only_of_an_image_with_itself_and_symmetric(seed, noise):
    generator = torch.Generator().manual_seed(seed)
    a = torch.rand(2, 3, 9, 8, generator=generator)
    b = (a + noise * torch.randn(a.shape, generator=generator)).clamp(0, 1)
    assert torch.allclose(measures.ssim(a, a), torch.ones(2, dtype=torch.float64))
    assert torch.allclose(measures.ssim(a, b), measures.ssim(b, a))
    assert (measures.ssim(a, b) <= 1 + 1e-12).all()


@given(st.integers(0, 100))
def test_root_mean_square_lies_below_the_largest_difference(seed):
    a, b = torch.rand(2, 4, 3, 5, 5, generator=torch.Generator().manual_seed(seed))
    assert (measures.rmse(a, b) <= measures.largest_difference(a, b) + 1e-7).all()
    assert measures.rmse(a, a).abs().max() == 0


@pytest.mark.parametrize("head", [torch.nn.Identity(), torch.nn.Softmax(1)])
def test_confidence_along_a_segment_and_over_a_triangle(head):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3), head).eval()
    corners, label = torch.rand(3, 3, 2, 2), torch.tensor([1, 2, 0])
    p = model(corners).softmax(1) if isinstance(head, torch.nn.Identity) else model(corners)
    segment = measures.segment_confidence(model, corners[:1], corners[1:2], label[:1], points=5)
    assert segment.shape == (1, 5)
    torch.testing.assert_close(segment[0, [0, -1]], p[:2, 1].detach())
    triangle = measures.hull_confidence(model, *corners, label[0], n=4)
    assert triangle.shape == (15,)
    torch.testing.assert_close(triangle[0], p[0, 1].detach())
    assert sum(bool(torch.isclose(triangle, p[i, 1]).any()) for i in range(3)) == 3
