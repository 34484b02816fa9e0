"""Layer-wise learning rates, and deep networks that train with them where PyTorch's initialisation does not."""

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

from isocline.lab.claims.theory.networks import mlp
from isocline.theory import EffectiveTheory, critical_init_, layerwise_lr


def test_every_parameter_is_in_one_group_with_its_rate():
    model = nn.Sequential(
        nn.Linear(8, 16),
        nn.Tanh(),
        nn.LayerNorm(16),
        nn.Linear(16, 16),
        nn.Tanh(),
        nn.Linear(16, 2, bias=False),
    )
    theory = EffectiveTheory("tanh", 3, 16)
    groups = layerwise_lr(model, theory, 0.3)
    assert [group["name"] for group in groups] == [
        "0.weight",
        "0.bias",
        "3.weight",
        "3.bias",
        "5.weight",
        "the rest",
    ]
    assert [p for group in groups for p in group["params"]] == [
        model[0].weight, model[0].bias, model[3].weight, model[3].bias, model[5].weight, model[2].weight, model[2].bias
    ]  # fmt: skip
    assert groups[0]["lr"] == pytest.approx(0.3 * theory.lambda_w[0] / 8)
    assert groups[3]["lr"] == pytest.approx(0.3 * theory.lambda_b[1])
    assert groups[-1]["lr"] == 0.3
    for optimiser in (torch.optim.SGD, torch.optim.AdamW, torch.optim.RMSprop, torch.optim.Adagrad):
        assert len(optimiser(groups, lr=1.0).param_groups) == 6


def test_convolutions_and_frozen_layers():
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 2)
    )
    model[2].weight.requires_grad_(False)
    groups = layerwise_lr(model, EffectiveTheory("relu", 3, 54), 1.0)
    assert [group["name"] for group in groups] == ["0.weight", "0.bias", "2.bias", "5.weight", "5.bias"]
    assert groups[0]["lr"] == pytest.approx(1 / 3 / 27)


def test_the_ntk_step_of_every_layer_is_as_large():
    """One step of gradient descent with these rates moves the output as much through each layer, on average over
    networks.
    """
    depth, width = 6, 128
    theory = EffectiveTheory("tanh", depth, width)
    shares = torch.zeros(depth)
    for seed in range(20):
        model = mlp(nn.Tanh, depth, width, outputs=1)
        critical_init_(model, seed=seed)
        x = torch.randn(1, width, generator=torch.Generator().manual_seed(seed))
        model(x / x.square().mean().sqrt()).sum().backward()
        for group in layerwise_lr(model, theory, 1.0):
            layer = int(group["name"].split(".")[0]) // 2
            if group["name"].endswith("weight"):
                shares[layer] += group["lr"] * float(group["params"][0].grad.square().sum()) / 20
    assert float(shares.max() / shares.min()) < 1.3  # a sixth of A / n at 20 networks


def test_counts_that_differ_are_refused():
    model = mlp(nn.ReLU, 4, 8)
    with pytest.raises(
        ValueError, match="model: want 5 layers of weights, as the theory has, got 4; make the theory as deep"
    ):
        layerwise_lr(model, EffectiveTheory("relu", 5, 8), 0.1)
    with pytest.raises(ValueError, match="eta: want a finite number > 0, got 0"):
        layerwise_lr(model, EffectiveTheory("relu", 4, 8), 0.0)


def _accuracy_after_training(model, groups, steps):
    data, labels = load_digits(return_X_y=True)
    x, y = torch.tensor((data - data.mean()) / data.std(), dtype=torch.float32), torch.tensor(labels)
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.SGD(groups, lr=1e-3, momentum=0.9)
    for _ in range(steps):
        batch = torch.randint(0, 1400, (64,), generator=generator)
        optimiser.zero_grad()
        F.cross_entropy(model(x[batch]), y[batch]).backward()
        optimiser.step()
    with torch.no_grad():
        return float((model(x[1400:]).argmax(1) == y[1400:]).double().mean()), x[:256]


@pytest.mark.parametrize(
    ("activation", "name", "eta", "steps"),
    [(nn.Tanh, "tanh", 0.3, 80), pytest.param(nn.ReLU, "relu", 1.0, 400, marks=pytest.mark.slow)],
)
def test_fifty_layers_train_on_digits_where_the_default_initialisation_fails(activation, name, eta, steps):
    torch.manual_seed(0)
    default = mlp(activation, 50, 128, inputs=64).float()
    failed, x = _accuracy_after_training(default, default.parameters(), steps)
    assert failed < 0.2
    model = mlp(activation, 50, 128, inputs=64).float()
    critical_init_(model, x)
    groups = layerwise_lr(model, EffectiveTheory(name, 50, 128), eta)
    reached, _ = _accuracy_after_training(model, groups, steps)
    assert reached > 0.6
