"""Monte Carlo over finite networks: the theory holds, and the networks are networks."""

import numpy as np
import pytest
import torch

from isocline.theory import EffectiveTheory, Ensemble, ensemble
from isocline.theory.functional import many_fluctuations
from isocline.theory.monte_carlo import NAMES, _step

SETTINGS = {
    "tanh": (0.0, 1.0, 1.0),
    "relu": (0.0, 2.0, 1.0),
    "sin": (0.0, 1.0, 1.0),
    "gelu": (None, None, None),
}


def _theory(name, depth, width):
    C_b, C_W, _ = SETTINGS[name]
    return EffectiveTheory(name, depth, width, C_b, C_W, lambda_b=1.0, lambda_w=1.0)


@pytest.mark.parametrize("name", SETTINGS)
def test_stored_ensembles_agree_with_the_theory(golden, name):
    """Layers 2 and 3 (nu L / n about 0.3 or less at both widths), extrapolated in 1 / n, within 3 standard errors.

    14 stored numbers for each activation: they fail by an error here, not by chance.
    """
    data = np.load(golden / "effective_theory" / "mc_ensembles.npz")
    run = _theory(name, 6, 64).single_input(SETTINGS[name][2])
    for key, stored, error in (
        ("K", "Gm", "Gse"),
        ("Theta", "Sm", "Sse"),
        *((k, k, f"{k}se") for k in "VADFB"),
    ):
        small, large = (data[f"{name}_n{n}_{stored}"] for n in (32, 64))
        spread = np.hypot(2 * data[f"{name}_n64_{error}"], data[f"{name}_n32_{error}"])
        scores = (2 * large - small - getattr(run, key)[1:])[:2] / spread[:2]
        assert (np.abs(scores) < 3).all(), (key, scores)


@pytest.mark.parametrize(("name", "depth", "width"), [("tanh", 4, 32), ("relu", 3, 36), ("gelu", 3, 36)])
def test_small_ensembles_agree_with_the_theory(name, depth, width):
    """K, Theta, V, A, D, F, B at layers 2 to the last, where nu L / n < 0.3, extrapolated from two widths.

    21 or 14 numbers at 3 standard errors, correlated between layers: a fresh seed fails about 1 in 40 times for each
    activation.
    """
    wide, K1 = _theory(name, depth, 2 * width), SETTINGS[name][2]
    small = ensemble(_theory(name, depth, width), 3000, K1=K1, seed=3)
    found = small.extrapolated(ensemble(wide, 1200, K1=K1, seed=4))
    assert found.trusted.all()
    run = wide.single_input(K1)
    scores = found.scores(run)
    assert set(scores) == set(NAMES)
    for key, score in scores.items():
        assert (np.abs(score) < 3).all(), (key, score)
    for key in "VAFB":  # it could have told these from zero, and from values of a third more
        assert (getattr(run, key)[1:] > 3 * found.error[key]).all(), key


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tanh", "relu", "gelu", "sin"])
def test_large_ensembles_agree_with_the_theory(name):
    """The same with sharp errors, where nu L / n < 0.3. About 30 numbers each: a fresh seed fails 1 in 20 times."""
    wide = _theory(name, 5, 128)
    parts = [
        ensemble(_theory(name, 5, n), nets, K1=SETTINGS[name][2], seed=n)
        for n, nets in ((64, 20_000), (128, 6000))
    ]
    found = parts[0].extrapolated(parts[1])
    for key, score in found.scores(wide.single_input(SETTINGS[name][2])).items():
        assert (np.abs(score[found.trusted]) < 3).all(), (key, score)


def test_ensembles_of_two_inputs_agree_with_the_theory():
    """Every component of every tensor at layer 3, ReLU and tanh. The worst of 2 x 70 at 4 standard errors: 1 in 100
    fails.
    """
    K1 = np.array([[1.0, 0.4], [0.4, 1.3]])
    for name in ("tanh", "relu"):
        parts = [ensemble(_theory(name, 3, n), nets, K1=K1, seed=n) for n, nets in ((24, 2000), (48, 1000))]
        found = parts[0].extrapolated(parts[1])
        C_b, C_W, _ = SETTINGS[name]
        scores = found.scores(many_fluctuations(name, 3, K1, C_b, C_W))
        assert scores["F"].shape == (2, 2, 2, 2, 2)
        for key, score in scores.items():
            assert (np.abs(score) < 4).all(), (name, key, np.abs(score).max())


def test_ensembles_with_a_skip_have_the_full_vertex():
    """K and n Cov(z_i^2, z_j^2) at layers 2 and 3: 4 numbers at 3 standard errors, 1 in 100 fails."""
    theory = EffectiveTheory("relu", 3, 60, skip=0.5, lambda_b=1.0, lambda_w=1.0)
    parts = [
        ensemble(EffectiveTheory("relu", 3, n, skip=0.5, lambda_b=1.0, lambda_w=1.0), nets, K1=1.0, seed=n)
        for n, nets in ((30, 8000), (60, 3000))
    ]
    found = parts[0].extrapolated(parts[1])
    assert found.trusted.all()  # nu L / n < 0.3
    run = theory.single_input(1.0)
    for key in ("K", "V"):
        assert (np.abs(found.scores(run)[key]) < 3).all(), key
    np.testing.assert_allclose(found.value["Theta"], run.Theta[1:], rtol=0.02)


@pytest.mark.parametrize(
    ("name", "C_W"),
    [
        ("tanh", 1.0),
        ("swish", 3.0),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in (("sin", 1.0), ("hard_tanh", 2.0))),
    ],
)
def test_the_corrections_of_kernel_and_ntk(name, C_W):
    """G1 and H1 at layers 2 to 4, with rates of biases at zero, where H1 is large beside its noise.

    6 numbers for each activation at 3 standard errors: a fresh seed fails 1 in 60 times.
    """
    theories = {n: EffectiveTheory(name, 4, n, 0.0, C_W, lambda_b=0.0, lambda_w=1.0) for n in (16, 32)}
    run = theories[32].single_input(1.0)
    found = {
        n: ensemble(theory, nets, K1=1.0, seed=n)
        for (n, theory), nets in zip(theories.items(), (8000, 4000), strict=True)
    }
    for key, limit, expected in (("K", run.K, run.G1), ("Theta", run.Theta, run.H1)):
        once, twice = (n * (found[n].value[key] - limit[1:]) for n in (16, 32))
        error = np.hypot(2 * 32 * found[32].error[key], 16 * found[16].error[key])
        assert (np.abs(2 * twice - once - expected[1:]) < 3 * error + 1e-12).all(), (
            key,
            2 * twice - once,
            expected,
            error,
        )
        if key == "Theta" and name in ("tanh", "sin"):
            assert abs(expected[-1]) > 3 * error[-1]  # zero would have been seen to be wrong


def test_the_ntk_that_is_carried_forward_is_that_of_autograd():
    theory = EffectiveTheory("tanh", 3, 5, 0.1, 1.3, lambda_b=[0.5, 0.7, 0.9], lambda_w=[1.1, 1.3, 1.7])
    W = [torch.randn(5, 4), torch.randn(5, 5), torch.randn(5, 5)]
    b = [torch.randn(5) for _ in W]
    x = torch.randn(2, 4)

    def network(weights, biases, inputs, layers):
        z = inputs @ weights[0].T + biases[0]
        for i in range(1, layers):
            z = torch.tanh(z) @ weights[i].T + biases[i]
        return z

    def by_autograd(layers):
        H = 0
        jacobians = torch.func.jacrev(lambda W, b: network(W, b, x, layers), argnums=(0, 1))(
            W[:layers], b[:layers]
        )
        for i in range(layers):
            weight, bias = (j[i].reshape(2, 5, -1) for j in jacobians)
            H = H + theory.lambda_w[i] / W[i].shape[1] * torch.einsum("ajp,bkp->abjk", weight, weight)
            H = H + theory.lambda_b[i] * torch.einsum("ajp,bkp->abjk", bias, bias)
        return H

    z, H = network(W, b, x, 1), by_autograd(1)
    for layer in (1, 2):
        z, H = _step(theory, theory.lambda_b[layer], theory.lambda_w[layer], z, H, W[layer], b[layer])
        torch.testing.assert_close(H, by_autograd(layer + 1), rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(z, network(W, b, x, layer + 1), rtol=1e-10, atol=1e-12)


def test_the_seed_alone_decides():
    theory = _theory("tanh", 3, 8)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = ensemble(theory, 20, seed=5)
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(1)
    second, other = ensemble(theory, 20, seed=5), ensemble(theory, 20, seed=6)
    assert all((first.value[name] == second.value[name]).all() for name in NAMES)
    assert (first.value["V"] != other.value["V"]).all()
    assert isinstance(first, Ensemble)
    assert repr(first) == "Ensemble(20 networks of width 8, 3 layers)"
    assert first.to_dict()["samples"] == 20


def test_wrong_ensembles_are_refused():
    theory = _theory("tanh", 3, 8)
    with pytest.raises(ValueError, match="samples: want a whole number >= 2, got 1"):
        ensemble(theory, 1)
    with pytest.raises(ValueError, match="theory: want two layers at least, and one width"):
        ensemble(EffectiveTheory("tanh", 3, [8, 9]), 10)
    with pytest.raises(ValueError, match="K1: want a diagonal > 0"):
        ensemble(theory, 10, K1=0.0)
    narrow = ensemble(theory, 10)
    with pytest.raises(ValueError, match="wider: want an ensemble of width > 8, got 8"):
        narrow.extrapolated(narrow)
