"""The two ends of a spectrum, where the whole of it is too much."""

import pytest
import torch
from torch import nn

from isocline.orthogonal import ConvShape, extreme_singular_values, extremes, orthogonal_, singular_values

from .layers import layer


@pytest.mark.parametrize(
    ("shape", "padding"),
    [
        (ConvShape(3, 5, 3), "zeros"),
        (ConvShape(5, 3, 3, 2), "zeros"),
        (ConvShape(4, 4, 2, groups=2), "valid"),
        (ConvShape(2, 3, 3, 2, transposed=True), "zeros"),
    ],
)
def test_lanczos_finds_both_ends_of_the_whole_matrix(monkeypatch, shape, padding):
    conv = layer(shape)
    want = singular_values(conv, 9, padding)
    monkeypatch.setattr(extremes, "_WHOLE", 0)
    found = extreme_singular_values(conv, 9, padding, steps=500)
    assert not found.exact
    assert found.largest == pytest.approx(float(want[0]), abs=1e-9)
    assert found.smallest == pytest.approx(float(want[-1]), abs=1e-8)


def test_a_run_that_is_too_short_says_how_far_it_got(monkeypatch):
    conv = layer(ConvShape(6, 6, 3))
    want = singular_values(conv, 8, "zeros")
    monkeypatch.setattr(extremes, "_WHOLE", 0)
    found = extreme_singular_values(conv, 8, "zeros", steps=30)
    assert found.residual_smallest > 1e-4
    for value, residual in (
        (found.smallest, found.residual_smallest),
        (found.largest, found.residual_largest),
    ):
        assert float((want - value).abs().min()) <= residual + 1e-9
    assert float(want[-1]) - 1e-12 <= found.smallest
    assert found.largest <= float(want[0]) + 1e-12
    assert "Lanczos, residuals" in found.how


def test_an_orthogonal_layer_is_over_at_the_first_look(monkeypatch):
    conv = orthogonal_(nn.Conv2d(4, 4, 3, bias=False), generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(extremes, "_WHOLE", 0)
    low, high = extreme_singular_values(conv, 12, "zeros")  # one tap, in the middle
    assert (low, high) == (pytest.approx(1), pytest.approx(1))


def test_circular_and_small_layers_are_exact():
    conv = layer(ConvShape(3, 2, 3, 2))
    found = extreme_singular_values(conv, 64)
    want = singular_values(conv, 64)
    assert found.exact
    assert tuple(found) == (float(want[-1]), float(want[0]))
    assert found.to_dict()["residual_largest"] == 0
    assert "exact" in str(found)


def test_the_same_seed_gives_the_same_numbers_and_leaves_the_global_one(monkeypatch):
    monkeypatch.setattr(extremes, "_WHOLE", 0)
    conv, before = layer(ConvShape(4, 4, 3)), torch.get_rng_state()
    found = [extreme_singular_values(conv, 7, "zeros", steps=15, seed=seed) for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]
    assert torch.equal(before, torch.get_rng_state())


def test_wrong_calls_are_answered():
    with pytest.raises(ValueError, match="steps: want a whole number >= 1, got 0"):
        extreme_singular_values(nn.Conv2d(2, 2, 3), 8, steps=0)
