"""How strongly to force: the reference numbers, products that never overflow, and what alpha* promises."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isocline.dynamics import functional as F

SEEDS = st.integers(0, 2**31)


def _jacobians(seed, T, B=2, M=3):
    return torch.randn(T, B, M, M, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def reference(golden):
    return {k: torch.from_numpy(v) for k, v in np.load(golden / "dynamics/alpha_estimators.npz").items()}


def test_the_reference_numbers(reference):
    A, W1, W2, _, h2 = (reference[f"param_{name}"] for name in ("A", "W1", "W2", "h1", "h2"))
    jacobians = F.shallow_plrnn_jacobian(reference["Zs"], A, W1, W2, h2)
    torch.testing.assert_close(jacobians, reference["J"], rtol=1e-9, atol=1e-12)
    close = {"rtol": 1e-9, "atol": 1e-12}
    for method in F.METHODS:
        torch.testing.assert_close(
            F.jacobian_norm(jacobians, method), reference[f"norm_{method}"].squeeze(), **close
        )
        torch.testing.assert_close(
            F.alpha_from_jacobians(jacobians, method), reference[f"alpha_{method}"].squeeze(), **close
        )
    bound = F.jacobian_upper_bound(A, W1, W2)
    torch.testing.assert_close(bound, reference["norm_jacobian_upper_bound"].squeeze(), **close)
    expected = reference["alpha_jacobian_upper_bound"].squeeze()
    torch.testing.assert_close(F.alpha_from_norm(bound), expected, **close)
    mean = torch.linalg.matrix_norm(F.shallow_mean_jacobian(reference["Zs"], A, W1, W2, h2), 2).amax()
    torch.testing.assert_close(mean, reference["norm_arithmetic_mean"].squeeze(), **close)


def test_annealing_goes_up_at_once_and_down_slowly(reference):
    alpha, gamma = float(reference["anneal_alpha0"]), float(reference["anneal_gamma"])
    for estimate, expected in zip(reference["anneal_estimates"], reference["anneal_alpha"], strict=True):
        alpha = F.anneal_alpha(alpha, float(estimate), gamma=gamma)
        assert alpha == pytest.approx(float(expected), rel=1e-9)


@given(seed=SEEDS, T=st.integers(1, 40))
def test_the_tree_of_products_is_the_product(seed, T):
    jacobians = _jacobians(seed, T)
    product = torch.eye(3)
    for J in jacobians:
        product = J @ product
    expected = torch.linalg.matrix_norm(product, 2).log()
    torch.testing.assert_close(F.product_log_norm(jacobians), expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(F.product_log_norms(jacobians)[-1], expected, rtol=1e-9, atol=1e-9)


@given(seed=SEEDS)
def test_norms_lie_in_their_order(seed):
    jacobians = _jacobians(seed, 12)
    exact, geometric, largest = (
        F.jacobian_norm(jacobians, m) for m in ("exact_product", "product_upper_bound", "batch_maximum")
    )
    assert exact <= geometric * (1 + 1e-12) <= largest * (1 + 1e-12)
    weights = torch.rand(3), torch.randn(3, 5), torch.randn(5, 3)
    J = F.shallow_plrnn_jacobian(10 * torch.randn(50, 1, 3), *weights, torch.randn(5))
    assert F.jacobian_norm(J, "batch_maximum") <= F.jacobian_upper_bound(*weights)


def test_products_outlive_float64():
    growing = 10 * torch.linalg.qr(_jacobians(1, 5000)).Q  # 10^5000 is far outside float64
    torch.testing.assert_close(F.product_log_norm(growing), torch.full((2,), 5000 * math.log(10)))
    torch.testing.assert_close(F.jacobian_norm(growing), torch.tensor(10.0))
    shrinking = F.product_log_norms(0.1 * growing[:400] / 10, alpha=0.5)[-1]
    torch.testing.assert_close(shrinking, torch.full((2,), 400 * math.log(0.05)))


def test_a_product_that_vanishes_needs_no_forcing():
    nilpotent = torch.tensor([[0.0, 1.0], [0.0, 0.0]]).expand(4, 1, 2, 2)
    assert F.alpha_from_jacobians(nilpotent).item() == 0


@given(exponent=st.floats(1e-4, 2), alpha=st.floats(0, 0.99))
def test_forced_products_are_flat_at_the_critical_alpha(exponent, alpha):
    critical = F.critical_alpha(exponent)
    assert exponent + math.log1p(-critical) == pytest.approx(0, abs=1e-12)
    assert math.isinf(F.gradient_horizon(exponent, alpha)) == (alpha <= critical)
    assert F.gradient_horizon(exponent, 1.0) == 0
    assert F.critical_alpha(-exponent) == 0


def test_adjoints_are_bounded_at_alpha_star_and_explode_without(golden):
    """T = 10^4 on a chaotic model: above alpha* = 1 - 1/s every adjoint obeys |g| / (1 - rho)."""
    d = np.load(golden / "dynamics/lyapunov.npz")
    A, W1, W2, h1, h2 = (torch.from_numpy(d[f"param_{name}"]) for name in ("A", "W1", "W2", "h1", "h2"))
    z0 = torch.from_numpy(d["z_start"])[None]
    T = 10_000
    with torch.no_grad():
        orbit = F.forced_rollout(A, W1, W2, h1, h2, z0, torch.full((T, 1, 1), torch.nan), 0.0)
    norm = F.jacobian_upper_bound(A, W1, W2)
    rho = 0.99
    alpha = 1 - rho / norm.item()
    slope = torch.nn.functional.normalize(torch.ones(T, 1, 3), dim=-1)

    def adjoints(strength):
        inputs = torch.zeros(T, 1, 3, requires_grad=True)  # the adjoint is the slope along an added input
        states = F.forced_rollout(A, W1, W2, h1, h2, z0, orbit, strength, C=torch.eye(3), inputs=inputs)
        return torch.autograd.grad(states, inputs, slope)[0].norm(dim=-1)

    assert adjoints(alpha).max() <= 1 / (1 - rho) * (1 + 1e-9)
    free = adjoints(0.0)
    assert not (free < 1e30).all()  # beyond float64 it is infinite or NaN


@pytest.mark.parametrize(
    ("jacobians", "method", "message"),
    [
        (torch.eye(3), "exact_product", r"jacobians: want \(T, B, M, M\), none empty, got \(3, 3\); add a"),
        (torch.zeros(0, 1, 3, 3), "exact_product", r"jacobians: want .* got \(0, 1, 3, 3\)"),
        (torch.zeros(2, 1, 3, 4), "exact_product", r"jacobians: want .* got \(2, 1, 3, 4\)"),
        (
            torch.zeros(2, 1, 3, 3),
            "exact",
            r"method: want one of .* got 'exact'; did you mean 'exact_product'",
        ),
    ],
)
def test_wrong_calls(jacobians, method, message):
    with pytest.raises(ValueError, match=message):
        F.alpha_from_jacobians(jacobians, method)
