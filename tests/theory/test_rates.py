"""The equivalence principle: every layer contributes as much to the NTK."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isocline.theory import EffectiveTheory
from isocline.theory.functional import asymptotic_rates


@pytest.mark.parametrize("name", ["tanh", "relu"])
def test_golden_rates_are_the_asymptotic_ones(golden, name):
    data = np.load(golden / "effective_theory" / f"single_{name}_critical_equiv.npz")
    rates = asymptotic_rates("K*=0" if name == "tanh" else "scale-invariant", 50)
    np.testing.assert_allclose(rates, (data["lamb"], data["lamW"]), rtol=1e-12)


@given(
    name=st.sampled_from(["tanh", "relu", "gelu", "swish", "sin", "elu"]),
    depth=st.integers(1, 40),
    skip=st.sampled_from([0.0, 0.7]),
    off=st.sampled_from([1.0, 0.8]),
)
def test_every_layer_contributes_as_much(name, depth, skip, off):
    critical = EffectiveTheory(name, depth, 64, skip=skip)
    theory = EffectiveTheory(name, depth, 64, weight_variance=off * critical.weight_variance, skip=skip)
    run = theory.single_input()
    later = np.array([np.prod(run.chi_perp[i:-1]) for i in range(depth)])
    square = np.append((run.K[0] - theory.bias_variance) / theory.weight_variance, 0.0)[:1]
    square = np.append(
        square, (run.K[1:] - theory.bias_variance - skip**2 * run.K[:-1]) / theory.weight_variance
    )
    for share in (theory.lambda_b * later, theory.lambda_w * square * later):
        np.testing.assert_allclose(share, share[-1], rtol=1e-6)
    assert run.Theta[-1] == pytest.approx(
        depth * (theory.lambda_b[-1] + theory.lambda_w[-1] * square[-1]), rel=1e-6
    )
    assert theory.lambda_b.sum() > 0


def test_numeric_rates_tend_to_the_asymptotic_ones():
    relu = EffectiveTheory("relu", 30, 64)
    np.testing.assert_allclose(
        (relu.lambda_b, relu.lambda_w), asymptotic_rates("scale-invariant", 30), rtol=1e-12
    )
    tanh = EffectiveTheory("tanh", 4000, 64)
    expected = asymptotic_rates("K*=0", 4000)
    np.testing.assert_allclose(tanh.lambda_b[200:], expected[0][200:], rtol=0.02)
    np.testing.assert_allclose(tanh.lambda_w[200:], expected[1][200:], rtol=0.02)
    assert tanh.single_input().Theta[-1] == pytest.approx(1.5, rel=1e-3)  # lb + lW s'(0)^2 / (-a1)
    assert asymptotic_rates("K*=0", 10, p_perp=2.0)[0][0] == pytest.approx(10)
