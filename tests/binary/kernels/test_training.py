"""The kernels of single precision against the same layer in double precision: any estimator, layout, border and grouping."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isocline.binary import ESTIMATORS, BinaryConv1d, BinaryConv2d, BinaryConv3d, BinaryLinear, ReSTE
from isocline.binary.functional import reste_surrogate
from isocline.binary.kernels import elementwise
from isocline.binary.kernels.compiled import reste_slope

F32 = {"rtol": 2e-5, "atol": 2e-5}  # sums of some dozen products in float32; slopes up to 10

LAYERS = [
    lambda how: BinaryConv2d(4, 6, 3, padding=1, **how),
    lambda how: BinaryConv2d(4, 6, 3, padding=1, stride=2, pad_value=-1, bias=True, **how),
    lambda how: BinaryConv2d(4, 6, (3, 2), padding="same", dilation=(1, 3), pad_value=1, **how),
    lambda how: BinaryConv2d(4, 6, (2, 3), padding="same", groups=2, **how),
    lambda how: BinaryConv1d(4, 6, 3, padding=1, **how),
    lambda how: BinaryConv3d(4, 6, 2, padding=1, stride=(1, 2, 1), **how),
    lambda how: BinaryLinear(4, 6, bias=True, **how),
]


def _input(layer, size=5, batch=3):
    if isinstance(layer, BinaryLinear):
        return torch.randn(batch, size, 4)
    return torch.randn(batch, 4, *(size + i for i in range(layer.weight.ndim - 2)))


def _gradients(layer, x, upstream=None):
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    layer.zero_grad()
    y = layer(x)
    y.backward(
        torch.linspace(-1, 1, y.numel()).to(y.dtype).reshape(y.shape) if upstream is None else upstream(y)
    )
    return y.detach(), x.grad, *(p.grad for p in layer.parameters())


def _agree(found, wanted):
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one.double(), other.double(), **F32)


@pytest.fixture
def counted(monkeypatch):
    """How often the loop of the sign was really called."""
    calls = []
    original = elementwise.signs

    def signs(*arguments):
        calls.append(arguments[0].size)
        original(*arguments)

    monkeypatch.setattr(elementwise, "signs", signs)
    return calls


@pytest.mark.parametrize("make", LAYERS)
@pytest.mark.parametrize("scale", ["tensor", "learnable"])
def test_every_layer(make, scale, counted):
    double = make({"estimator": ReSTE(2.5), "scale": scale})
    single, x = copy.deepcopy(double).float(), _input(double)
    x[:, 0] = x[:, 0].float().double()
    x = x.float().double()
    wanted = _gradients(double, x)
    assert not counted  # the reference is another computation
    _agree(_gradients(single, x.float()), wanted)
    assert counted


@pytest.mark.parametrize("name", list(ESTIMATORS))
def test_every_estimator(name):
    double = BinaryConv2d(4, 6, 3, padding=1, estimator=name)
    double.weight.data = double.weight.data.float().double()
    for estimator in (double.weight_estimator, double.input_estimator):
        estimator.advance(0.4)
    x = torch.randn(3, 4, 5, 6).float().double()
    x[0, 0] = 0
    _agree(_gradients(copy.deepcopy(double).float(), x.float()), _gradients(double, x))


@given(st.integers(1, 300), st.floats(1, 20), st.floats(0.01, 1), st.floats(1, 8), st.integers(0, 99))
def test_the_slope_of_any_power_is_right_to_a_millionth(n, o, m, t, seed):
    x = 3 * torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float32)
    x[: n // 3] = torch.tensor([0.0, m, -t])[torch.arange(n // 3) % 3]
    found = torch.ones_like(x)
    reste_slope(x.numpy(), found.numpy(), o, t, m)
    want = reste_surrogate(x.double(), o, *(float(torch.tensor(edge).float()) for edge in (t, m)))
    torch.testing.assert_close(found.double(), want, rtol=2e-6, atol=0)


@pytest.mark.parametrize("name", ["reste", "polynomial"])
def test_any_layout_and_any_upstream_gradient(name):
    layer = BinaryConv2d(4, 6, 3, estimator=name).float()
    x = torch.randn(3, 4, 6, 5, dtype=torch.float32)
    wanted = _gradients(layer, x)
    _agree(_gradients(layer, x.contiguous(memory_format=torch.channels_last)), wanted)
    gap = torch.zeros(3, 4, 6, 10, dtype=torch.float32)[..., ::2].copy_(x)
    assert not gap.is_contiguous()
    _agree(_gradients(layer, gap), wanted)
    spread = lambda y: torch.ones((), dtype=y.dtype).expand_as(y)  # noqa: E731
    _agree(_gradients(layer, x, spread), _gradients(copy.deepcopy(layer).double(), x.double(), spread))
    assert layer(x[0]).shape == (6, 4, 3)  # one image without a batch


@pytest.mark.parametrize("name", list(ESTIMATORS))
def test_the_upstream_gradient_of_an_activation_is_left_alone(name):
    estimator = ESTIMATORS[name]()
    x = torch.randn(7, 5, dtype=torch.float32)
    upstream = torch.randn(5, 7, dtype=torch.float32).T
    before = upstream.clone()
    x.requires_grad_()
    estimator(x).backward(upstream)
    assert torch.equal(upstream, before)
    torch.testing.assert_close(x.grad, upstream * estimator.surrogate(x.detach()))


def test_threads_share_the_work_and_the_numbers_stay():
    x = torch.randn(elementwise.SHARED + 77, dtype=torch.float32, requires_grad=True)
    estimator = ReSTE(2.5)
    (alone,) = torch.autograd.grad(estimator(x).sum(), x)
    torch.set_num_threads(3)
    try:
        (together,) = torch.autograd.grad(estimator(x).sum(), x)
    finally:
        torch.set_num_threads(1)
    assert torch.equal(alone, together)


def test_nothing_is_kept_but_the_input():
    layer = BinaryConv2d(4, 6, 3, padding=1, pad_value=1).float()
    x = torch.randn(2, 4, 50, 50, dtype=torch.float32, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        layer(x)
    large = [t for t in kept if t.numel() >= x.numel()]
    assert len(large) == 1
    assert large[0].data_ptr() == x.data_ptr()


def test_the_power_that_counts_is_the_one_of_the_way_there():
    layer = BinaryConv2d(2, 3, 3, estimator=ReSTE(1.0)).float()
    x = torch.randn(1, 2, 5, 5, dtype=torch.float32, requires_grad=True)
    wanted = torch.autograd.grad(layer(x).sum(), x)
    y = layer(x)
    layer.input_estimator.advance(1.0)
    assert torch.equal(torch.autograd.grad(y.sum(), x)[0], wanted[0])


@pytest.mark.parametrize("make", LAYERS)
def test_a_gradient_can_be_differentiated_again(make):
    double = make({"estimator": ReSTE(2.5), "scale": "channel"})
    single = copy.deepcopy(double).float()
    found = []
    x = _input(double).float().double()
    for layer, start in ((double, x), (single, x.float())):
        start = start.clone().requires_grad_()
        gx, gw = torch.autograd.grad(layer(start).sin().sum(), (start, layer.weight), create_graph=True)
        found.append(torch.autograd.grad(gx.square().sum() + gw.square().sum(), (start, layer.weight)))
    for one, other in zip(*found, strict=True):
        scale = float(one.abs().max())
        torch.testing.assert_close(
            other.double(), one, rtol=1e-3, atol=1e-4 * scale
        )  # slopes of slopes: up to 100


def test_a_hook_on_the_estimator_is_still_called():
    layer, seen = BinaryConv2d(2, 3, 1).float(), []
    handle = layer.input_estimator.register_forward_hook(lambda *_: seen.append(1))
    x = torch.randn(1, 2, 4, 4, dtype=torch.float32)
    y = layer(x)
    handle.remove()
    assert seen == [1]
    assert torch.equal(layer(x), y)
    assert seen == [1]


@pytest.mark.parametrize("zero", ["one", "zero"])
@pytest.mark.parametrize("mode", ["tensor", "channel", "none"])
@pytest.mark.parametrize("scale_grad", [True, False])
def test_the_weights_side_with_exact_zeros_and_in_any_layout(zero, mode, scale_grad):
    double = BinaryConv2d(3, 4, 3, estimator=ReSTE(2.0, zero=zero), scale=mode, scale_grad=scale_grad)
    with torch.no_grad():
        double.weight.copy_(double.weight.float())
        double.weight[1] = 0
        double.weight[2, :, 0] = 0
    x = torch.randn(2, 3, 6, 5).float().double()
    wanted = _gradients(double, x)
    single = copy.deepcopy(double).float()
    _agree(_gradients(single, x.float()), wanted)
    _agree(_gradients(single.to(memory_format=torch.channels_last), x.float()), wanted)
