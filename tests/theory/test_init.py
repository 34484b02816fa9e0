"""`critical_init_`: gradients that are as large at the first layer as at the last, in networks of every shape."""

import numpy as np
import pytest
import torch
from torch import nn

from isocline.lab.claims.theory.networks import NETWORKS, PlainCNN, ResNet, gradient_ratio, mlp
from isocline.theory import InitReport, critical_init_, criticality
from isocline.theory.functional import single_input
from isocline.theory.init import semi_orthogonal


class Encoder(nn.Module):
    """PyTorch's own pre-norm encoder."""

    def __init__(self, blocks=4, width=32):
        super().__init__()
        layer = nn.TransformerEncoderLayer(width, 4, 64, activation="gelu", norm_first=True, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, blocks, enable_nested_tensor=False)
        self.head = nn.Linear(width, 10)

    def forward(self, x):
        return self.head(self.encoder(x).mean(1))


class Gated(nn.Module):
    """Layers behind a product of two branches, which is no function of one value."""

    def __init__(self, depth=8, width=128):
        super().__init__()
        for name in "abc":
            setattr(self, name, nn.ModuleList(nn.Linear(width, width) for _ in range(depth)))

    def forward(self, x):
        for a, b, c in zip(self.a, self.b, self.c, strict=True):
            x = c(a(x) * torch.sigmoid(b(x)))
        return x


class Untraceable(nn.Module):
    def __init__(self, depth=30, width=128):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.act, self.head = nn.Tanh(), nn.Linear(width, 10)

    def forward(self, x):
        for layer in self.layers:
            x = self.act(layer(x))
            if x.sum() > 1e9:  # a value decides
                x = x * 2
        return self.head(x)


class Written(nn.Module):
    """Its nonlinearity is an expression, its residual stream is multiplied."""

    def __init__(self, depth=10, width=64, skip=0.8):
        super().__init__()
        self.skip, self.layers = skip, nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.head = nn.Linear(width, 10)

    def forward(self, x, mask=None):
        for layer in self.layers:
            x = self.skip * x + layer(x * torch.sigmoid(1.702 * x))
        return self.head(x)


def _sample(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(7))


# a network, the shape of a batch, two layers of one shape, and what PyTorch's defaults leave of the first's gradient
DEEP = {
    **{
        name: (*NETWORKS[name], most)
        for name, most in zip(NETWORKS, (1e-20, 1e-12, 1e-8, 10.0, 10.0), strict=True)
    },
    "PyTorch's encoder": (Encoder, (8, 12, 32), "encoder.layers.0.linear1", "encoder.layers.3.linear1", 10.0),
    "gated layers": (Gated, (64, 128), "a.0", "a.7", 1e-2),
    "cannot be traced": (Untraceable, (64, 128), "layers.0", "layers.29", 1e-3),
    "residual, written out": (Written, (64, 64), "layers.0", "layers.9", 10.0),
}


@pytest.mark.parametrize("name", DEEP)
def test_gradients_of_the_first_and_last_layer_are_within_a_factor_three(name):
    """Of a hundred other seeds the plain CNN never left the band; of 40 the untraceable network (whose K falls) twice."""
    make, shape, first, last, default = DEEP[name]
    torch.manual_seed(0)
    model, x = make().float(), _sample(*shape).float()
    assert gradient_ratio(model, x, first, last) < default
    report = critical_init_(model, x, seed=1)
    assert 1 / 3 < gradient_ratio(model, x, first, last) < 3
    assert isinstance(report, InitReport)
    for module, wanted in ((nn.Linear, True), (nn.LayerNorm, False)):
        names = {name for name, part in model.named_modules() if isinstance(part, module)}
        covered = {layer.name for layer in report.layers}
        assert (names <= covered) if wanted else not names & covered


@pytest.mark.parametrize(
    ("activation", "name"), [(nn.Tanh, "tanh"), (nn.ReLU, "relu"), (nn.GELU, "gelu"), (nn.SiLU, "swish")]
)
def test_weights_and_kernels_are_those_of_the_theory(activation, name):
    model, point = mlp(activation, 12, 400), criticality(name)
    x = 3.0 * _sample(256, 400)
    report = critical_init_(model, x)
    hidden, kernel = report.layers[1:-1], point.first_kernel
    for layer in hidden:
        weights = model.get_submodule(layer.name)
        assert layer.weight_variance == pytest.approx(point.weight_variance, rel=1e-6)
        assert layer.bias_variance == pytest.approx(point.bias_variance, rel=1e-6)
        assert float(weights.weight.detach().var()) * 400 == pytest.approx(point.weight_variance, rel=0.03)
        assert layer.how == f"after {name}"
    assert report.layers[0].how == "first layer"
    assert report.layers[0].measured == pytest.approx(kernel, rel=0.05)  # 400 biases of random size
    assert report.layers[-1].how == "readout"
    assert (report.layers[-1].weight_variance, report.layers[-1].bias_variance) == (1, 0)
    run = single_input(name, 11, kernel, point.bias_variance, point.weight_variance)
    np.testing.assert_allclose([layer.kernel for layer in report.layers[:-1]], run.K, rtol=1e-6)
    np.testing.assert_allclose([layer.chi_perp for layer in hidden], run.chi_perp[:-1], rtol=1e-6)
    # measured kernels fluctuate by V / n
    np.testing.assert_allclose([layer.measured for layer in report.layers[:-1]], run.K, rtol=0.6)
    assert all(layer.chi_before < 0.5 for layer in hidden)  # PyTorch's defaults are far in the ordered phase


def _flat(weight, groups=1):
    return [part.flatten(1) for part in weight.detach().chunk(groups)]


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(5, 9), nn.Linear(9, 5), nn.Linear(6, 6), nn.Conv1d(4, 6, 3), nn.Conv2d(4, 8, 3, groups=2),
        nn.ConvTranspose2d(6, 4, 2), nn.ConvTranspose1d(6, 4, 3, groups=2), nn.Conv3d(2, 30, 2, padding=1),
    ],
    ids=str,
)  # fmt: skip
def test_orthogonal_weights_are_orthogonal_and_of_the_variance_of_gaussian_ones(layer):
    layer.double()
    row = critical_init_(layer, seed=3).layers[0]
    found = layer.weight.detach().clone()
    for matrix in _flat(found, getattr(layer, "groups", 1)):
        wide = matrix if len(matrix) <= matrix.shape[1] else matrix.T
        gram = wide @ wide.T
        scale = row.weight_variance / row.fan_in * wide.shape[1]
        torch.testing.assert_close(gram, scale * torch.eye(len(wide)))
    assert float(found.square().mean()) == pytest.approx(row.weight_variance / row.fan_in)  # exactly
    critical_init_(layer, seed=3, distribution="gaussian")
    assert not torch.allclose(found, layer.weight)


@pytest.mark.parametrize(("m", "n"), [(3, 3), (2, 5), (5, 2)])
def test_semi_orthogonal_matrices_are_uniform(m, n):
    """Mean zero and independent signs: QR alone would have a positive diagonal. 2000 draws, entries of deviation one."""
    draws = torch.stack(
        [semi_orthogonal(torch.randn(m, n, generator=torch.Generator().manual_seed(i))) for i in range(2000)]
    )
    assert float(draws.mean(0).abs().max()) < 5 / 2000**0.5
    torch.testing.assert_close(draws.square().mean(0), torch.ones(m, n), atol=0.15, rtol=0)


def test_orthogonal_networks_fluctuate_less():
    """A ratio of the first layer's gradient over the last's for each of twelve networks, 30 layers of tanh."""
    spread = {}
    for distribution in ("orthogonal", "gaussian"):
        ratios = []
        for seed in range(12):
            model, x = mlp(nn.Tanh, 30, 32), _sample(64, 32)
            critical_init_(model, x, distribution=distribution, seed=seed)
            ratios.append(np.log(gradient_ratio(model, x, "0", "56")))
        spread[distribution] = np.std(ratios)
        assert (np.abs(ratios) < np.log(3)).all() or distribution == "gaussian"
    assert spread["orthogonal"] < 0.3 * spread["gaussian"]


def test_a_sample_of_the_same_seed_is_no_row_of_the_weights():
    layer = nn.Linear(500, 500)
    x = torch.randn(500, generator=torch.Generator().manual_seed(5))
    critical_init_(layer, distribution="gaussian", seed=5)
    cosines = layer.weight.detach() @ x / (x.norm() * layer.weight.detach().norm(dim=1))
    assert float(cosines.abs().max()) < 0.3  # 6.7 deviations of independent ones


def test_any_order_of_activations():
    layers, kinds = [], [nn.ReLU, nn.Tanh, nn.GELU, nn.ELU, nn.SiLU, nn.LeakyReLU]
    for i in range(36):
        layers += [nn.Linear(256, 256), kinds[i % 6]()]
    model = nn.Sequential(*layers, nn.Linear(256, 10))
    critical_init_(model, _sample(64, 256))
    assert 0.1 < gradient_ratio(model, _sample(64, 256), "0", "70") < 10


def test_without_a_sample_structure_is_enough():
    model = mlp(nn.Tanh, 60, 256)
    report = critical_init_(model)
    assert all(np.isnan(layer.measured) for layer in report.layers)
    assert 1 / 3 < gradient_ratio(model, _sample(64, 256), "0", "116") < 3
    gated = critical_init_(Gated())
    assert any("pass a sample" in note for note in gated.notes)
    walked = critical_init_(Untraceable(5))
    assert "not traced" in walked.notes[0]
    assert walked.layers[-1].how == "after tanh, it seems"


def test_residual_branches_share_what_they_may_add():
    report = critical_init_(ResNet(blocks=10))
    ends = [layer for layer in report.layers if layer.name.startswith("b.")]
    assert all(layer.weight_variance == pytest.approx(2 / 10) for layer in ends)
    assert all("end of a branch (0.1)" in layer.how for layer in ends)
    assert any("10 residual branches" in note for note in report.notes)
    streamed = critical_init_(Written(skip=0.8))
    assert [layer.chi_perp for layer in streamed.layers[:-1]] == pytest.approx([1 - 0.8**2] * 10)


def test_expressions_are_recognised():
    report = critical_init_(Written())
    assert (
        report.layers[1].how.startswith("after mul(z, sigmoid(mul(1.702, z)))")
        or "quick" in report.layers[1].how
    )
    assert report.layers[0].chi_perp > 0


def test_a_network_without_any_signal_is_mended():
    model = mlp(nn.GELU, 60, 256)
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    report = critical_init_(model)
    assert {layer.before for layer in report.layers} == {0.0}
    assert all(np.isfinite(layer.chi_before) for layer in report.layers)
    assert 0.3 < float(model(_sample(16, 256)).detach().square().mean()) < 30


def test_other_layers_and_what_is_left_alone():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.norm = nn.Conv1d(4, 8, 3, padding="same", groups=2), nn.BatchNorm1d(8)
            self.two, self.pool = nn.ConvTranspose1d(8, 6, 4, stride=2), nn.MaxPool1d(2)
            self.three, self.rnn, self.unused = nn.Conv1d(6, 5, 3, bias=False), nn.GRU(5, 5), nn.Linear(2, 2)
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, x):
            x = torch.relu(self.norm(self.one(x)))
            return self.three(self.pool(torch.relu(self.two(x)))) * self.scale

    report = critical_init_(Mixed(), _sample(6, 4, 20))
    assert [layer.fan_in for layer in report.layers] == [6, 8 * 4 / 2, 18]
    assert report.left_alone == ("the module itself (Mixed)", "norm (BatchNorm1d)", "rnn (GRU)")
    assert any("unused is never called" in note for note in report.notes)
    text = str(report)
    assert "left alone: the module itself (Mixed)" in text
    assert report.to_dict()["left_alone"][1] == "norm (BatchNorm1d)"  # type: ignore[index]
    ax = report.plot()
    assert report.plot(ax) is ax


def test_tokens_ties_and_parametrizations():
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.layer = (
                nn.Embedding(30, 64),
                nn.utils.parametrizations.weight_norm(nn.Linear(64, 64)),
            )
            self.head = nn.Linear(64, 30, bias=False)
            self.head.weight = self.embed.weight

        def forward(self, x):
            x = self.embed(x).mean(1)
            for _ in range(3):
                x = torch.tanh(self.layer(x))
            return self.head(x)

    model = Words()
    report = critical_init_(model, torch.arange(60).reshape(6, 10) % 30)
    assert [layer.name for layer in report.layers] == ["layer", "head"]
    assert model.head.weight is model.embed.weight
    assert torch.isfinite(model(torch.zeros(1, 2, dtype=torch.long))).all()
    row = report.layers[0]
    assert float(model.layer.weight.detach().var()) * 64 == pytest.approx(row.weight_variance, rel=0.1)


def test_everything_else_is_as_it_was_found():
    model = PlainCNN(4, 8, 8)
    model.convs[1].eval()
    model.convs[2].weight.requires_grad_(False)
    model.convs[0].register_forward_hook(lambda *_: None)
    modes = [part.training for part in model.modules()]
    torch.manual_seed(3)
    state = torch.get_rng_state()
    critical_init_(model, _sample(4, 3, 8, 8))
    assert torch.equal(state, torch.get_rng_state())
    assert [part.training for part in model.modules()] == modes
    assert sum(len(part._forward_hooks) for part in model.modules()) == 1
    assert [p.requires_grad for p in model.parameters()].count(False) == 1
    assert all(p.grad is None for p in model.parameters())
    with pytest.raises(RuntimeError):
        critical_init_(model, _sample(4, 5, 8, 8))  # five channels: the forward fails
    assert sum(len(part._forward_hooks) for part in model.modules()) == 1
    assert [part.training for part in model.modules()] == modes


@pytest.mark.parametrize(
    ("make", "shape"), [(lambda: mlp(nn.GELU, 5, 16), (8, 16)), (Encoder, (4, 6, 32)), (Gated, (8, 128))]
)
def test_the_seed_alone_decides(make, shape):
    x = _sample(*shape)
    models = [make(), make(), make()]
    for model, seed in zip(models, (5, 5, 6), strict=True):
        critical_init_(model, x, seed=seed)
    one, two, three = ([p for p in model.state_dict().values() if p.ndim > 1] for model in models)
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(one, three, strict=True))


BAD = [
    (
        lambda: critical_init_(nn.Linear(2, 2), distribution="uniform"),
        ValueError,
        "distribution: want one of 'orthogonal', 'gaussian', got 'uniform'",
    ),
    (lambda: critical_init_(3), TypeError, "module: want a torch module, got 3"),
    (
        lambda: critical_init_(nn.ReLU()),
        ValueError,
        "module: want linear, convolutional or attention layers in it, got ReLU",
    ),
    (
        lambda: critical_init_(nn.Linear(2, 2), torch.zeros(3, 2)),
        ValueError,
        "sample: want a batch that is not zero",
    ),
    (
        lambda: critical_init_(nn.Linear(2, 2), torch.full((3, 2), torch.nan)),
        ValueError,
        "sample: want finite values",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD)
def test_wrong_calls_are_answered(call, error, message):
    with pytest.raises(error, match=message):
        call()
