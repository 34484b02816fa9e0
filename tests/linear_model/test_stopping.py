"""The first parameters that get every sample right."""

import pytest
import torch

from isocline.linear_model import stop_at_separation


def test_strictly_above_zero():
    assert stop_at_separation(torch.tensor([0.1, 5.0])) is True
    assert stop_at_separation(torch.tensor([0.0, 5.0])) is False
    assert stop_at_separation(torch.tensor([float("nan"), 5.0])) is False
    assert stop_at_separation(torch.tensor([5e-324, 1.0], dtype=torch.float64)) is True
    assert stop_at_separation(torch.tensor([1e-30], dtype=torch.bfloat16, requires_grad=True)) is True


def test_logits_and_labels():
    logits = torch.tensor([2.0, -1.0])
    assert stop_at_separation(logits, torch.tensor([1, 0]))
    assert not stop_at_separation(logits, torch.tensor([1, 1]))
    scores = torch.tensor([[1.0, 0.9, 0.9], [0.0, 1.0, 0.0]])
    assert stop_at_separation(scores, torch.tensor([0, 1]))  # right is right, however little
    assert not stop_at_separation(scores, torch.tensor([1, 1]))


@pytest.mark.parametrize("margins", [torch.zeros(0), torch.tensor(1.0), torch.ones(2, 2)])
def test_wrong_calls(margins):
    with pytest.raises(
        ValueError, match=r"margins: want \(n,\) with n >= 1, got .*; pass the margins of all samples"
    ):
        stop_at_separation(margins)
