"""Metrics are the means they say, over all examples whatever the batches, and leave the model alone."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from isocline._core.seeds import torch_generator
from isocline.training import PGD, evaluate


class Logits(nn.Module):
    """The first pixels as they are."""

    def forward(self, images):
        return images.flatten(1)[:, :3]


def test_three_examples_by_hand():
    """Logits (0, ln 2, ln 3): softmax 1/6, 2/6, 3/6. Right for the label 2 only."""
    row = torch.tensor([0.0, math.log(2), math.log(3), 0.0]).view(1, 1, 2, 2)
    found = evaluate(Logits(), (row.repeat(3, 1, 1, 1), torch.tensor([0, 1, 2])))
    assert found == pytest.approx(
        {"loss": (math.log(6) + math.log(3) + math.log(2)) / 3, "accuracy": 1 / 3}, rel=1e-14
    )


@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 2**20))
def test_batches_do_not_matter(count, size, seed):
    g = torch_generator(seed)
    data = torch.randn(count, 1, 2, 2, generator=g), torch.randint(3, (count,), generator=g)
    one, many = (evaluate(Logits(), data, batch_size=n) for n in (count, size))
    assert many == pytest.approx(one, rel=1e-12)


def test_bytes_are_shares():
    images = torch.randint(256, (9, 1, 2, 2), dtype=torch.uint8, generator=torch_generator(0))
    labels = torch.arange(9) % 3
    assert evaluate(Logits(), (images, labels)) == evaluate(Logits(), (images.double() / 255, labels))


def test_the_model_is_left_as_it_was_found():
    model = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout(0.5), nn.Flatten(), nn.Linear(16, 3))
    model[1].eval()  # a mode of its own
    state = {name: value.clone() for name, value in model.state_dict().items()}
    random, data = torch.get_rng_state(), (torch.rand(9, 1, 4, 4), torch.arange(9) % 3)
    random = torch.get_rng_state()
    first, second = (evaluate(model, data, attack=PGD(steps=2), batch_size=4) for _ in range(2))
    assert first == second
    assert torch.equal(random, torch.get_rng_state())
    assert [module.training for module in model] == [True, False, True, True]
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_modes_come_back_after_an_error():
    model = nn.Sequential(nn.Flatten(), nn.Linear(5, 3))
    with pytest.raises(RuntimeError):
        evaluate(model, (torch.rand(2, 1, 4, 4), torch.tensor([0, 1])))
    assert model.training
