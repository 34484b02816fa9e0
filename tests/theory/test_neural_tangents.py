"""Kernel and NTK against neural-tangents, where it is installed: it needs jax 0.4.30, so it lives in the benchmark
environment.
"""

import numpy as np
import pytest

from isocline.theory.functional import first_kernel, many_input

jax = pytest.importorskip(
    "jax", reason="jax and neural-tangents are not installed: they live in the benchmark environment"
)


@pytest.mark.parametrize("name", ["relu", "erf", "gelu"])
def test_kernel_and_ntk_agree(name):
    stax = pytest.importorskip("neural_tangents", reason="neural-tangents is not installed").stax
    jax.config.update("jax_enable_x64", True)
    x, C_b, C_W = (
        np.random.default_rng(0).normal(size=(6, 5)),
        0.1,
        {"relu": 2.0, "erf": 1.0, "gelu": 1.9}[name],
    )
    activation = {"relu": stax.Relu(), "erf": stax.Erf(), "gelu": stax.Gelu()}[name]
    dense = stax.Dense(1, W_std=C_W**0.5, b_std=C_b**0.5)
    network = stax.serial(*[layer for _ in range(9) for layer in (dense, activation)], dense)[2]
    theirs = network(x, None, ("nngp", "ntk"))
    # their parameters are of unit variance: rates are C_b and C_W
    mine = many_input(name, 10, first_kernel(x, C_b, C_W), C_b, C_W, C_b, C_W, layers=[10])
    np.testing.assert_allclose(mine.K[0], theirs.nngp, rtol=1e-6)
    np.testing.assert_allclose(mine.Theta[0], theirs.ntk, rtol=1e-6)
