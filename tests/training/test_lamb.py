"""LAMB: a step is the tensor's own length times the rate, whatever the gradient's scale."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from isocline.training import Recipe, fit
from isocline.training.lamb import Lamb, trust_ratio
from isocline.training.recipe import optimizer_of


@given(st.integers(0, 99), st.floats(1e-3, 1e3), st.floats(1e-4, 0.5), st.floats(0, 0.1))
def test_a_step_is_as_long_as_rate_times_length(seed, scale, lr, decay):
    g = torch.Generator().manual_seed(seed)
    weight = nn.Parameter(scale * torch.randn(4, 3, generator=g))
    optimizer = Lamb([weight], lr, weight_decay=decay)
    for _ in range(3):
        weight.grad = torch.randn(4, 3, generator=g)
        before = weight.detach().clone()
        optimizer.step()
        torch.testing.assert_close((weight - before).norm(), lr * before.norm())


def test_two_steps_by_hand():
    weight = nn.Parameter(torch.tensor([3.0, 4.0]))
    optimizer = Lamb([weight], 0.1, eps=1e-8, weight_decay=0.5)
    weight.grad = torch.tensor([2.0, 2.0])
    optimizer.step()
    direction = torch.tensor([1 + 1.5, 1 + 2.0])  # m / sqrt(v) = 1 at first, and half of the weight
    first = torch.tensor([3.0, 4.0]) - 0.1 * 5 * direction / direction.norm()
    torch.testing.assert_close(weight.detach(), first, rtol=1e-7, atol=0)
    weight.grad = torch.tensor([2.0, 0.0])
    optimizer.step()
    m = torch.tensor([2.0, 0.9 * 0.1 * 2 / 0.19])
    v = torch.tensor([4.0, 0.999 * 0.001 * 4 / (1 - 0.999**2)])
    direction = m / v.sqrt() + 0.5 * first
    expected = first - 0.1 * first.norm() * direction / direction.norm()
    torch.testing.assert_close(weight.detach(), expected, rtol=1e-7, atol=0)


def test_nothing_is_divided_by_nothing():
    assert float(trust_ratio(torch.zeros(2), torch.ones(2))) == 1
    assert float(trust_ratio(torch.ones(2), torch.zeros(2))) == 1
    assert float(trust_ratio(torch.tensor([6.0]), torch.tensor([-2.0]))) == 3


def test_its_state_comes_back_and_a_recipe_names_it(tmp_path, data, network):
    recipe = Recipe(epochs=2, batch_size=16, lr=1e-2, optimizer="lamb", weight_decay=0.02)
    whole = network()
    expected = fit(whole, data, recipe=recipe, device="cpu")
    assert isinstance(optimizer_of(recipe, whole.parameters()), Lamb)

    from lightning.pytorch import Callback

    class Stop(Callback):
        def on_train_batch_start(self, trainer, *_):
            if trainer.global_step == 6:
                raise KeyError

    with pytest.raises(KeyError):
        fit(network(), data, recipe=recipe, device="cpu", folder=tmp_path, save_every=1, callbacks=[Stop()])
    again = network()
    found = fit(again, data, recipe=recipe, device="cpu", folder=tmp_path)
    assert found.resumed_at == 6
    assert found.history == expected.history
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize(
    ("how", "message"),
    [({"lr": -1.0}, "lr: want"), ({"eps": 0.0}, "eps: want"), ({"betas": (1.0, 0.9)}, "betas: want")],
)
def test_wrong_numbers_are_answered(how, message):
    with pytest.raises(ValueError, match=message):
        Lamb([nn.Parameter(torch.ones(1))], **how)
