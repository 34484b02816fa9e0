"""The models as modules: what they hold, where they start, one step, its Jacobian and the free run."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isocline.dynamics import (
    PLRNN,
    AffineObservation,
    AlmostLinearRNN,
    DendriticPLRNN,
    IdentityObservation,
    ShallowPLRNN,
    functional,
)

MODELS = {
    "PLRNN(4, mean_centred=False, input_dim=0)": lambda: PLRNN(4),
    "PLRNN(4, mean_centred=True, input_dim=2)": lambda: PLRNN(4, mean_centred=True, input_dim=2),
    "DendriticPLRNN(4, 3, clipped=True, input_dim=2)": lambda: DendriticPLRNN(
        4, 3, clipped=True, input_dim=2
    ),
    "AlmostLinearRNN(4, 2, input_dim=0)": lambda: AlmostLinearRNN(4, 2),
    "ShallowPLRNN(4, 9, clipped=True, input_dim=0)": lambda: ShallowPLRNN(4, 9),
    "ShallowPLRNN(4, 9, clipped=False, input_dim=2)": lambda: ShallowPLRNN(4, 9, clipped=False, input_dim=2),
}


def parameters(*modules):
    return sum(p.numel() for module in modules for p in module.parameters())


@pytest.mark.parametrize(("M", "L", "N", "count"), [(5, 250, 5, 2785), (16, 512, 64, 17952)])
def test_the_paper_s_parameter_counts(M, L, N, count):
    assert parameters(ShallowPLRNN(M, L), AffineObservation(N, M)) == count
    assert parameters(ShallowPLRNN(3, 50)) == 356
    assert parameters(ShallowPLRNN(3, 50, input_dim=2)) == 362


@pytest.mark.parametrize("name", MODELS)
class TestEveryModel:
    def test_its_repr_rebuilds_it(self, name):
        model = MODELS[name]()
        assert repr(model) == name
        again = eval(name)  # a repr of our own, a few lines up
        again.load_state_dict(model.state_dict())
        z, s = torch.randn(5, 4), torch.randn(5, 2) if model.input_dim else None
        assert torch.equal(again(z, s), model(z, s))

    def test_the_jacobian_is_that_of_the_step(self, name):
        model = MODELS[name]()
        z = torch.randn(6, 4)
        s = torch.zeros(2) if model.input_dim else None
        expected = torch.func.vmap(torch.func.jacrev(lambda z: model(z, s)))(z)
        torch.testing.assert_close(model.jacobian(z), expected)

    def test_the_free_run_is_the_step_again_and_again(self, name):
        model = MODELS[name]()
        for shape in ((4,), (3, 4), (2, 3, 4)):
            z0 = torch.randn(shape)
            inputs = torch.randn(7, *shape[:-1], 2) if model.input_dim else None
            states = model.generate(z0, 7, inputs)
            assert not states.requires_grad
            z = z0
            for t in range(7):
                z = model(z, None if inputs is None else inputs[t])
                torch.testing.assert_close(states[t], z.detach(), rtol=1e-11, atol=1e-12)

    def test_a_generator_decides_the_start(self, name):
        model = MODELS[name]()
        starts = []
        for seed in (1, 1, 2):
            before = torch.get_rng_state()
            model.reset_parameters(generator=torch.Generator().manual_seed(seed))
            assert torch.equal(before, torch.get_rng_state())
            starts.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
        assert torch.equal(starts[0], starts[1])
        assert not torch.equal(starts[0], starts[2])

    def test_wrong_calls(self, name):
        model = MODELS[name]()
        with pytest.raises(ValueError, match=r"steps: want a whole number >= 1, got 0"):
            model.generate(torch.zeros(4), 0)
        inputs = torch.zeros(3, 2) if model.input_dim else None
        with pytest.raises(ValueError, match=r"z0: want \(..., 4\), got \(3,\); the last axis is the state"):
            model.generate(torch.zeros(3), 3, inputs)
        if model.input_dim:
            with pytest.raises(ValueError, match=r"inputs: want \(3, 2\), got None"):
                model.generate(torch.zeros(4), 3)
            with pytest.raises(ValueError, match=r"s: want \(..., 2\), got None; input_dim is 2"):
                model(torch.zeros(4))
        else:
            with pytest.raises(ValueError, match=r"s: want None: the model has no inputs, got a tensor"):
                model(torch.zeros(4), torch.zeros(2))


@given(seed=st.integers(0, 2**31), M=st.integers(1, 12))
def test_the_linear_part_starts_positive_and_stable(seed, M):
    model = PLRNN(M)
    model.reset_parameters(torch.Generator().manual_seed(seed))
    K = (torch.diag(model.A) + model.W).detach()
    values = torch.linalg.eigvalsh(K)
    assert (model.W.diagonal() == 0).all()
    assert (model.h == 0).all()
    assert values[0] > 0
    assert values[-1].item() == pytest.approx(1, rel=1e-9)


def test_where_the_shallow_model_starts():
    plain, clipped = ShallowPLRNN(3, 400, clipped=False), ShallowPLRNN(3, 400)
    assert (plain.h2 == 0).all()
    assert (clipped.h2 != 0).all()  # at h2 = 0 the clipped map is linear, W1 and W2 get no gradient
    for model in (plain, clipped):
        assert (model.h1 == 0).all()
        for weight, bound in ((model.W1, 400**-0.5), (model.W2, 3**-0.5)):
            assert weight.abs().max() <= bound
            assert weight.abs().max() > 0.98 * bound
            assert weight.mean().abs() < 5 * bound / (3 * weight.numel()) ** 0.5  # five standard errors
    assert clipped.h2.abs().max() <= 400**-0.5


def test_the_diagonal_of_w_is_no_parameter():
    model = PLRNN(4)
    with torch.no_grad():
        model.W += torch.eye(4)  # has no effect
    z = torch.randn(3, 4)
    torch.testing.assert_close(model(z), functional.plrnn(z, model.A, model.W - torch.eye(4), model.h))
    model(z).sum().backward()
    assert (model.W.grad.diagonal() == 0).all()


def test_dendritic_thresholds_cover_the_data():
    model = DendriticPLRNN(20, 30)
    model.reset_parameters(data_range=(2.0, 5.0))
    assert 2 <= model.thresholds.min() < 2.1 < 4.9 < model.thresholds.max() <= 5


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ShallowPLRNN(0, 5), r"latent_dim: want a whole number >= 1, got 0"),
        (lambda: ShallowPLRNN(3, 0), r"hidden_dim: want a whole number >= 1, got 0"),
        (lambda: ShallowPLRNN(3, 5, input_dim=-1), r"input_dim: want a whole number >= 0, got -1"),
        (lambda: AlmostLinearRNN(3, 4), r"relu_units: want a whole number >= 0 and <= 3, got 4"),
        (lambda: DendriticPLRNN(3, 0), r"bases: want a whole number >= 1, got 0"),
        (
            lambda: IdentityObservation(4, 3),
            r"latent_dim: want at least the 4 observed channels, got 3; take",
        ),
        (lambda: AffineObservation(0, 3), r"observed_dim: want a whole number >= 1, got 0"),
    ],
)
def test_wrong_sizes(build, message):
    with pytest.raises(ValueError, match=message):
        build()
