"""The maps and their Jacobians: the reference numbers, plain autograd, and the laws of the clipped map."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isocline.dynamics import functional as F

SEEDS = st.integers(0, 2**31)


def _drawn(seed, M=3, L=5, P=4):
    g = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=g)

    A, W, h = normal(M), normal(M, M), normal(M)
    shallow = (A, normal(M, L), normal(L, M), h, normal(L))
    slopes, thresholds = normal(P), normal(M, P)
    clipped, plain = (shallow[0], shallow[1], shallow[2], shallow[4]), {"clipped": False}
    return {
        "plrnn": (lambda z: F.plrnn(z, A, W, h), lambda z: F.plrnn_jacobian(z, A, W)),
        "mean-centred": (
            lambda z: F.mean_centred_plrnn(z, A, W, h),
            lambda z: F.mean_centred_plrnn_jacobian(z, A, W),
        ),
        "dendritic": (
            lambda z: F.dendritic_plrnn(z, A, W, h, slopes, thresholds),
            lambda z: F.dendritic_plrnn_jacobian(z, A, W, slopes, thresholds),
        ),
        "clipped dendritic": (
            lambda z: F.dendritic_plrnn(z, A, W, h, slopes, thresholds, clipped=True),
            lambda z: F.dendritic_plrnn_jacobian(z, A, W, slopes, thresholds, clipped=True),
        ),
        "shallow": (
            lambda z: F.shallow_plrnn(z, *shallow, **plain),
            lambda z: F.shallow_plrnn_jacobian(z, *clipped, **plain),
        ),
        "clipped shallow": (
            lambda z: F.shallow_plrnn(z, *shallow),
            lambda z: F.shallow_plrnn_jacobian(z, *clipped),
        ),
        "almost linear": (
            lambda z: F.almost_linear_rnn(z, A, W, h, relu_units=2),
            lambda z: F.almost_linear_rnn_jacobian(z, A, W, relu_units=2),
        ),
    }


FAMILIES = list(_drawn(0))


@pytest.mark.parametrize("family", FAMILIES)
@given(seed=SEEDS)
def test_the_jacobian_is_that_of_autograd(family, seed):
    step, jacobian = _drawn(seed)[family]
    z = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(seed + 1))
    expected = torch.func.vmap(torch.func.jacrev(step))(z.reshape(8, 3)).reshape(2, 4, 3, 3)
    torch.testing.assert_close(jacobian(z), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("family", FAMILIES)
def test_batches_are_rows(family):
    for call in _drawn(3)[family]:
        z = torch.randn(4, 3, generator=torch.Generator().manual_seed(4))
        torch.testing.assert_close(call(z), torch.stack([call(row) for row in z]), rtol=1e-14, atol=1e-14)


def test_the_reference_numbers(golden):
    d = {k: torch.from_numpy(v) for k, v in np.load(golden / "dynamics/plrnn_baselines.npz").items()}
    z, A, W, h, slopes, H = (d[k] for k in ("Z", "A", "W", "h", "dend_alpha", "dend_H"))
    pairs = {
        "plrnn": F.plrnn(z, A, W, h),
        "plrnn_jac": F.plrnn_jacobian(z, A, W),
        "mcplrnn": F.mean_centred_plrnn(z, A, W, h),
        "mcplrnn_jac": F.mean_centred_plrnn_jacobian(z, A, W),
        "dendplrnn": F.dendritic_plrnn(z, A, W, h, slopes, H),
        "dendplrnn_jac": F.dendritic_plrnn_jacobian(z, A, W, slopes, H),
        "clipped_dendplrnn": F.dendritic_plrnn(z, A, W, h, slopes, H, clipped=True),
        "clipped_dendplrnn_jac": F.dendritic_plrnn_jacobian(z, A, W, slopes, H, clipped=True),
        "alrnn": F.almost_linear_rnn(z, A, W, h, relu_units=int(d["alrnn_P"])),
    }
    for name, found in pairs.items():
        torch.testing.assert_close(found, d[name], rtol=1e-9, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")


def _shallow(seed, M=3, L=6):
    g = torch.Generator().manual_seed(seed)
    A = torch.rand(M, generator=g) * 1.6 - 0.8
    return A, *(torch.randn(*s, generator=g) for s in ((M, L), (L, M), (M,), (L,)))


@given(seed=SEEDS)
def test_clipped_is_plain_with_twice_the_units(seed):
    weights = _shallow(seed)
    z = torch.randn(7, 3, generator=torch.Generator().manual_seed(seed))
    wide = F.unclipped(*weights)
    torch.testing.assert_close(
        F.shallow_plrnn(z, *weights), F.shallow_plrnn(z, *wide, clipped=False), rtol=1e-12, atol=1e-12
    )
    A, W1, W2, _, h2 = wide
    torch.testing.assert_close(
        F.shallow_plrnn_jacobian(z, *(weights[k] for k in (0, 1, 2, 4))),
        F.shallow_plrnn_jacobian(z, A, W1, W2, h2, clipped=False),
        rtol=1e-12,
        atol=1e-12,
    )


@given(seed=SEEDS)
def test_every_clipped_orbit_ends_inside_its_bound(seed):
    A, W1, W2, h1, h2 = _shallow(seed)
    bound = F.orbit_bound(A, W1, h1, h2)
    z = 100 * torch.randn(20, 3, generator=torch.Generator().manual_seed(seed))
    for _ in range(150):  # 0.8^150 of the start is left: 1e-12 of it
        z = F.shallow_plrnn(z, A, W1, W2, h1, h2)
    assert (z.abs() <= bound + 1e-9).all()
    assert torch.isinf(F.orbit_bound(torch.ones(3), W1, h1, h2)).all()


@given(seed=SEEDS)
def test_the_mean_jacobian_is_the_mean_of_jacobians(seed):
    A, W1, W2, _, h2 = _shallow(seed)
    z = torch.randn(9, 2, 3, generator=torch.Generator().manual_seed(seed))
    one_by_one = F.shallow_plrnn_jacobian(z, A, W1, W2, h2).mean(0)
    torch.testing.assert_close(F.shallow_mean_jacobian(z, A, W1, W2, h2), one_by_one, rtol=1e-12, atol=1e-12)


def test_gates_are_open_only_between_the_kinks():
    W2, h2 = torch.tensor([[1.0], [1.0]]), torch.tensor([1.0, -1.0])
    gates = F.shallow_gates(torch.tensor([[-0.5], [0.5], [2.0], [0.0]]), W2, h2)
    assert gates.tolist() == [[1, 0], [0, -1], [0, 0], [1, 0]]  # at a kink itself the gate is that of u <= 0


@pytest.mark.parametrize("family", FAMILIES)
def test_gradcheck(family):
    step, _ = _drawn(11)[family]
    z = torch.randn(4, 3, generator=torch.Generator().manual_seed(12)).requires_grad_()
    assert torch.autograd.gradcheck(step, z.T.contiguous().T)
    assert torch.autograd.gradgradcheck(step, z)


def test_gradcheck_in_the_parameters_of_the_shallow_map():
    weights = [w.requires_grad_() for w in _shallow(5)]
    z = torch.randn(4, 3, generator=torch.Generator().manual_seed(6)).requires_grad_()
    for clipped in (True, False):
        assert torch.autograd.gradcheck(lambda *a, c=clipped: F.shallow_plrnn(*a, clipped=c), (z, *weights))
