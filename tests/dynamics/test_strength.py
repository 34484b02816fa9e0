"""alpha of an ensemble's windows: the compiled product against the formula, missing samples, and lost parameters."""

import math

import numpy as np
import pytest
import torch

from isocline.dynamics.functional import METHODS, alpha_from_jacobians, shallow_plrnn_jacobian
from isocline.dynamics.strength import estimated_alpha


def _parameters(M, L, dtype, gain=1.0):
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=dtype)  # noqa: E731
    return {"A": 0.9 + 0.1 * draw(M), "W1": gain * draw(M, L) / L**0.5, "W2": draw(L, M), "h2": draw(L)}


@pytest.mark.parametrize("clipped", [True, False])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("M", "L"), [(1, 3), (3, 20), (6, 31)])
def test_it_is_alpha_of_the_jacobians_at_the_signals(M, L, method, clipped):
    parameters = _parameters(M, L, torch.float64)
    signals = torch.randn(15, 4, M, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    jacobians = shallow_plrnn_jacobian(
        signals, *(parameters[k] for k in ("A", "W1", "W2", "h2")), clipped=clipped
    )
    want = float(alpha_from_jacobians(jacobians, method))
    found = estimated_alpha(parameters, signals, method, clipped)
    assert found == pytest.approx(want, abs=1e-12)  # a product of 15 small matrices in float64


def test_something_was_compared():
    parameters = _parameters(6, 31, torch.float64)
    signals = torch.randn(15, 4, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert estimated_alpha(parameters, signals, "exact_product", False) > 0.05


def test_long_products_do_not_overflow():
    parameters = _parameters(3, 20, torch.float32, gain=50.0)
    signals = torch.randn(4000, 2, 3, generator=torch.Generator().manual_seed(1))
    found = estimated_alpha(parameters, signals, "exact_product", True)
    jacobians = shallow_plrnn_jacobian(
        signals.double(), *(parameters[k].double() for k in ("A", "W1", "W2", "h2"))
    )
    assert found == pytest.approx(float(alpha_from_jacobians(jacobians)), rel=1e-4)  # float32 gates
    assert found > 0.5  # 1 - 1/n with n well above 1: 4000 factors would have overflowed float64


def test_missing_samples_are_left_out():
    parameters = _parameters(3, 20, torch.float64)
    signals = torch.randn(12, 1, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    gap = signals.clone()
    gap[[3, 7], 0, 1] = math.nan
    rest = signals[np.delete(np.arange(12), [3, 7])]
    assert estimated_alpha(parameters, gap, "exact_product", True) == pytest.approx(
        estimated_alpha(parameters, rest, "exact_product", True), abs=1e-12
    )


@pytest.mark.parametrize("method", METHODS)
def test_lost_parameters_have_no_alpha(method):
    parameters = _parameters(3, 20, torch.float64)
    parameters["A"][1] = math.inf
    signals = torch.randn(12, 2, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert math.isnan(estimated_alpha(parameters, signals, method, True))
