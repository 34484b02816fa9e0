"""One input: the golden coefficients, exact answers, and laws of the recursion."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isocline.theory import SingleInput
from isocline.theory.functional import single_input

GOLDEN = [
    "tanh_critical", "tanh_critical_equiv", "tanh_ordered", "relu_critical", "relu_critical_equiv",
    "sin_critical", "linear_critical", "leaky0.1_critical", "gelu_critical", "gelu_He",
]  # fmt: skip
QUANTITIES = ["K", "Theta", "chi_par", "chi_perp", "h", "G1", "V", "H1", *"ABDFPQRSTU"]
# layers from which gelu_He's stored values have lost more than 1e-7 to rounding
LOST = {"A": 30, "H1": 30, "D": 45}


def _golden_run(data):
    name = str(data["act"]).replace("leaky0.1", "leaky_relu(0.1)")
    return single_input(name, 50, *(float(data[k]) for k in ("K1", "Cb", "CW")), data["lamb"], data["lamW"])


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_coefficients(golden, name):
    data = np.load(golden / "effective_theory" / f"single_{name}.npz")
    found = _golden_run(data)
    for key in QUANTITIES:
        expected, tolerance = data[key], 1e-9 if key in ("K", "Theta", "chi_par", "chi_perp") else 1e-7
        end = LOST.get(key, 50) if name == "gelu_He" else 50
        size = {"sin_critical": 1e-12, "linear_critical": 1e-11}.get(name, 1e-14) * np.nanmax(
            np.abs(expected), initial=1.0
        )
        mine = getattr(found, key)
        np.testing.assert_allclose(
            mine[:end], expected[:end], rtol=tolerance, atol=size if end == 50 else 0, err_msg=key
        )


@given(below=st.floats(-1.5, 1.5), K1=st.floats(1e-3, 1e3), depth=st.integers(1, 60))
def test_scale_invariant_vertices_grow_by_the_same_every_layer(below, K1, depth):
    second, fourth = (below**2 + 1) / 2, (below**4 + 1) / 2
    run = single_input(f"leaky_relu({below!r})", depth, K1, 0.0, 1 / second, 0.0, 1.0)
    layers = np.arange(depth)
    np.testing.assert_allclose(run.K, K1, rtol=1e-10)
    np.testing.assert_allclose(run.V / run.K**2, (3 * fourth / second**2 - 1) * layers, rtol=1e-10)
    np.testing.assert_allclose(run.Theta, second * K1 * (layers + 1), rtol=1e-10)
    assert not run.G1.any()
    np.testing.assert_allclose(run.H1, 0, atol=1e-9 * run.Theta[-1] * depth)


@given(
    name=st.sampled_from(["tanh", "gelu", "relu", "swish"]),
    factor=st.floats(0.1, 10.0),
    K1=st.floats(0.2, 4.0),
)
def test_coefficients_scale_with_the_learning_rates(name, factor, K1):
    """The NTK is linear in the rates: A, B, P, Q are of second order in them, R to U of third."""
    once = single_input(name, 8, K1, 0.1, 1.5, 0.7, 1.3)
    scaled = single_input(name, 8, K1, 0.1, 1.5, 0.7 * factor, 1.3 * factor)
    power = dict.fromkeys(["K", "V", "G1", "chi_par", "h"], 0) | dict.fromkeys(["Theta", "H1", "D", "F"], 1)
    power |= dict.fromkeys("ABPQ", 2) | dict.fromkeys("RSTU", 3)
    for key, p in power.items():
        np.testing.assert_allclose(
            getattr(scaled, key), factor**p * getattr(once, key), rtol=1e-9, err_msg=key
        )


@given(ratio=st.floats(0.2, 5.0))
def test_width_ratios_multiply_what_is_inherited(ratio):
    same = single_input("tanh", 3, 1.0, 0.1, 1.2)
    scaled = single_input("tanh", 3, 1.0, 0.1, 1.2, width_ratio=ratio)
    for key in "VADFBPQRSTU":
        mine, other = getattr(scaled, key), getattr(same, key)
        np.testing.assert_allclose(mine[:2], other[:2])  # nothing is inherited by layer 2
        assert mine[2] != other[2] or ratio == 1
    fresh = same.V[2] - same.chi_par[1] ** 2 * same.V[1]
    np.testing.assert_allclose(scaled.V[2], fresh + ratio * same.chi_par[1] ** 2 * same.V[1])


def test_known_limits_per_layer():
    """Slopes far from the input, PDLT chapter 8: at depth 4000 corrections are of the order log(l) / l."""
    tanh = single_input("tanh", 4000, 1.0, 0.0, 1.0, 1 / np.arange(1, 4001), 1.0)
    ratios, l = tanh.ratios(), 4000
    assert 2 * l * tanh.K[-1] == pytest.approx(1, abs=1e-3)
    assert ratios["V"][-1] / l == pytest.approx(2 / 3, abs=2e-3)
    assert ratios["G1"][-1] / l == pytest.approx(-1 / 3, abs=3e-3)
    assert ratios["B"][-1] / l == pytest.approx(1 / 3, abs=2e-3)
    assert ratios["F"][-1] / l == pytest.approx(1 / 4, abs=2e-3)
    assert ratios["A"][-1] / l == pytest.approx(0.066, abs=2e-3)
    assert ratios["D"][-1] / l == pytest.approx(-0.148, abs=2e-3)
    relu = single_input("relu", 4000, 1.0, 0.0, 2.0, 0.0, 1.0).ratios()
    for key, slope in (("V", 5), ("B", 2 / 3), ("F", 1), ("A", 7 / 3), ("D", 3)):
        assert relu[key][-1] / l == pytest.approx(slope, rel=1e-3), key


def test_what_is_not_defined_is_nan_and_says_why():
    kinked, residual = (
        single_input("relu", 4, 1.0, 0.0, 2.0),
        single_input("tanh", 4, 1.0, 0.0, 0.5, skip=0.5),
    )
    assert all(np.isnan(getattr(kinked, key)[1:]).all() for key in "RSTU")
    assert np.isfinite(kinked.Q).all()
    assert not kinked.P.any()
    assert "delta" in kinked.why_nan
    assert all(np.isnan(getattr(residual, key)).all() for key in ("A", "B", "D", "F", "H1", "P"))
    assert "residual" in residual.why_nan
    assert single_input("tanh", 4, 1.0, 0.0, 1.0).why_nan == ""


def test_results_print_plot_and_become_json():
    run = single_input("gelu", 20, 1.0, 0.1, 1.9)
    assert isinstance(run, SingleInput)
    assert len(run) == 20
    assert repr(run).startswith("SingleInput(20 layers; at the end K = ")
    assert len(run.to_dict()["V"]) == 20  # type: ignore[arg-type]
    assert single_input("relu", 3, 1.0, 0.0, 2.0).to_dict()["R"] == [0.0, "nan", "nan"]
    ax = run.plot()
    assert ax.get_xscale() == "log"
    assert len(ax.lines) == 6
    assert ax is run.plot(ax)


BAD = [
    ({"depth": 0}, ValueError, "depth: want a whole number >= 1, got 0"),
    ({"K1": 0.0}, ValueError, "K1: want a finite number > 0, got 0.0"),
    ({"K1": np.nan}, ValueError, "K1: want a finite number > 0, got nan"),
    ({"K1": 0.05, "C_b": 0.1}, ValueError, "K1: want at least C_b = 0.1, got 0.05"),
    ({"C_b": -1}, ValueError, "C_b: want a finite number >= 0, got -1"),
    ({"C_W": "2"}, TypeError, "C_W: want a finite number > 0, got '2'"),
    ({"lambda_b": [[1.0]]}, ValueError, "lambda_b: want one number, or 5 of them"),
    ({"width_ratio": 0.0}, ValueError, "width_ratio: want finite numbers > 0, got 0.0"),
    ({"skip": -0.1}, ValueError, "skip: want a number >= 0 and <= 1, got -0.1"),
    ({"skip": 0.5, "width_ratio": 2.0}, ValueError, "width_ratio: want 1 with a residual connection"),
    (
        {"residual_vertex": "ful"},
        ValueError,
        "residual_vertex: want one of 'full', 'quartic', got 'ful'; did you mean 'full'",
    ),
    ({"depth": 2000, "C_W": 4.0, "activation": "relu"}, ValueError, "C_W: want .* got K = .* at layer"),
    ({"depth": 2000, "C_W": 0.1}, ValueError, "take fewer layers, or the critical variances"),
]


@pytest.mark.parametrize(("change", "error", "message"), BAD, ids=[message[:30] for *_, message in BAD])
def test_wrong_settings_are_refused(change, error, message):
    settings = {"activation": "tanh", "depth": 5, "K1": 1.0, "C_b": 0.0, "C_W": 1.0} | change
    with pytest.raises(error, match=message):
        single_input(**settings)
