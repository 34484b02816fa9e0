"""Every estimator: its reference curve, its slope against its primitive, and what all of them have to keep."""

import copy
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isocline.binary import (
    DSQ,
    EDE,
    ESTIMATORS,
    FDA,
    RBNN,
    STE,
    Arctan,
    ClippedSTE,
    Polynomial,
    Progressive,
    ReSTE,
    Sigmoid,
    Swish,
    Tanh,
    binarize,
    make_estimator,
)

from .drawn import reals

NAMES = list(ESTIMATORS)
KEPT = {
    "ste_identity": STE(),
    "ste_clipped_c1": ClippedSTE(),
    "ste_clipped_c1p3": ClippedSTE(1.3),
    "bireal_poly": Polynomial(),
    "swish_beta2": Swish(2),
    "swish_beta5": Swish(5),
    "dsq_alpha0.2_range1": DSQ(0.2),
    "dsq_alpha0.5_range1": DSQ(0.5),
    "fda_terms3_omega1": FDA(1.0, 3),
    "fda_terms9_omega0.5": FDA(0.5, 9),
    **{f"sigmoid_beta{b}": Sigmoid(b) for b in (1, 4)},
    **{f"tanh_beta{b}": Tanh(b) for b in (1, 4)},
    **{f"arctan_beta{b}": Arctan(b) for b in (1, 4)},
}


def _advanced(estimator, progress):
    estimator.advance(progress)
    return estimator


def _curves():
    grown = {
        f"{name}{epoch}of400": _advanced(kind(), epoch / 400)
        for name, kind in (("ede_tmin1e-3_tmax1e1_ep", EDE), ("rbnn_tmin1e-2_tmax1e1_ep", RBNN))
        for epoch in (0, 200, 399)
    }
    return KEPT | grown


def test_every_reference_curve(golden):
    stored = np.load(golden / "binary" / "baseline_surrogates.npz")
    x, curves = torch.tensor(stored["x"]), _curves()
    assert set(stored.files) == {"x", *curves}
    for name, estimator in curves.items():
        want = stored[name]
        np.testing.assert_allclose(
            estimator.surrogate(x), want, rtol=1e-12, atol=1e-14 * np.abs(want).max(), err_msg=name
        )


def test_the_reference_gradient_through_the_sign(golden):
    grid = np.load(golden / "binary" / "reste_grid.npz")
    for i, o in enumerate(grid["o"]):
        for j, (t, m) in enumerate(zip(grid["t"], grid["m"], strict=True)):
            x = torch.tensor(grid["x"], requires_grad=True)
            b = ReSTE(float(o), float(t), float(m))(x)
            np.testing.assert_array_equal(b.detach(), grid["sign_pm1"])
            b.backward(torch.tensor(grid["upstream"]))
            np.testing.assert_allclose(x.grad, grid["grad_input"][i, j], rtol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_the_slope_is_the_derivative_of_the_primitive(name):
    estimator = _advanced(make_estimator(name), 0.4)
    x = torch.tensor([-1.3, -0.85, -0.4, 0.2, 0.31, 0.9, 1.2], requires_grad=True)
    (slope,) = torch.autograd.grad(estimator.primitive(x).sum(), x)
    inside = x.abs() < 0.99 if name in ("clipped_ste", "dsq") else x.abs() > 0.1
    torch.testing.assert_close(estimator.surrogate(x.detach())[inside], slope[inside], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
@given(x=reals(), progress=st.floats(0, 1))
def test_there_the_sign_and_back_the_slope(name, x, progress):
    estimator = _advanced(make_estimator(name), progress).eval()
    x.requires_grad_()
    b = estimator(x)
    assert set(b.tolist()) <= {-1.0, 1.0}
    assert torch.equal(b.detach(), torch.where(x >= 0, 1.0, -1.0))
    upstream = torch.linspace(-2, 3, len(x))
    b.backward(upstream)
    torch.testing.assert_close(x.grad, upstream * estimator.surrogate(x.detach()))


@pytest.mark.parametrize("name", NAMES)
def test_odd_values_and_every_dtype(name):
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        x = torch.tensor(
            [float("nan"), torch.inf, -torch.inf, 0.0, -0.0, 0.3], dtype=dtype, requires_grad=True
        )
        b = make_estimator(name).eval()(x)
        assert b.dtype == dtype
        assert b[0].isnan()
        assert b[1:].tolist() == [1, -1, 1, 1, 1]
        b[1:].sum().backward()
        assert x.grad.dtype == dtype
        assert x.grad[1:].isfinite().all()
        third = ESTIMATORS[name](zero="zero").eval()(x.detach())
        assert third[1:].tolist() == [1, -1, 0, 0, 1]


@pytest.mark.parametrize("name", NAMES)
def test_the_second_derivative_is_that_of_the_slope(name):
    estimator = _advanced(make_estimator(name), 0.4)
    x = torch.tensor([-0.85, -0.4, 0.2, 0.31, 0.9], requires_grad=True)
    upstream = torch.tensor([1.0, -2.0, 0.5, 3.0, 1.0], requires_grad=True)
    (gx,) = torch.autograd.grad(estimator(x), x, upstream, create_graph=True)
    found = torch.autograd.grad(gx.square().sum(), (x, upstream), allow_unused=True)
    own = upstream * estimator.surrogate(x)
    want = torch.autograd.grad(own.square().sum(), (x, upstream), allow_unused=True)
    for ours, theirs in zip(found, want, strict=True):
        if theirs is not None:
            torch.testing.assert_close(ours, theirs)


def test_progressive_is_a_ramp_until_it_is_evaluated():
    ramp, x = Progressive(0.5), torch.tensor([-1.0, -0.25, 0.0, 0.1])
    torch.testing.assert_close(ramp(x), torch.tensor([-1.0, -0.5, 0.0, 0.2]))
    assert ramp.eval()(x).tolist() == [-1, -1, 1, 1]
    ramp.train().advance(1.0)
    assert ramp(x).tolist() == [-1, -1, 0, 1]


def test_a_learned_distance_gets_the_primitives_gradient():
    soft, x = DSQ(0.3, learnable=True), torch.tensor([-0.7, 0.2, 0.9, 4.0])
    b = soft(x)
    assert b.tolist() == [-1, 1, 1, 1]
    b.sum().backward()
    (want,) = torch.autograd.grad(soft_primitive(x, a := torch.tensor(0.3, requires_grad=True)).sum(), a)
    torch.testing.assert_close(soft.a.grad, want)


def soft_primitive(x, a):
    k = torch.log(2 / a - 1) / 2
    return torch.tanh(k * x.clamp(-1, 1)) / (1 - a)


@pytest.mark.parametrize("name", NAMES)
def test_sharpness_is_saved_copied_and_kept_exact_when_the_model_is_cast(name):
    estimator = _advanced(make_estimator(name), 0.37)
    other = make_estimator(name)
    other.load_state_dict(estimator.state_dict())
    x = torch.linspace(-2, 2, 9)
    for one in (
        other,
        copy.deepcopy(estimator),
        copy.deepcopy(estimator).half(),
        copy.deepcopy(estimator).to("cpu"),
    ):
        assert torch.equal(one.surrogate(x), estimator.surrogate(x))


def test_the_input_of_a_layer_has_a_copy_of_its_own():
    assert RBNN().for_input().activation
    first = ReSTE(2)
    second = first.for_input()
    first.advance(1.0)
    assert float(second.o) == 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ReSTE(0.5), "o: want a finite number >= 1, got 0.5"),
        (lambda: ReSTE(float("nan")), "o: want a finite number >= 1, got nan"),
        (lambda: ReSTE(t=0), "t: want a finite number > 0, got 0"),
        (lambda: ReSTE(m=-0.1), "m: want a finite number > 0, got -0.1"),
        (lambda: ReSTE(t=0.05), "m: want at most t = 0.05, got 0.1"),
        (lambda: ReSTE(zero="two"), "zero: want one of 'one', 'zero', got 'two'"),
        (lambda: DSQ(1.0), "a: want a number > 0 and < 1, got 1.0"),
        (lambda: FDA(n=-1), "n: want a whole number >= 0, got -1"),
        (lambda: Progressive(1.5), "T: want a number >= 0 and <= 1, got 1.5"),
        (lambda: make_estimator("rest"), "did you mean 'reste'"),
    ],
)
def test_wrong_calls_are_answered(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


def test_by_name_and_by_object():
    x = torch.tensor([-0.5, 0.05, 2.0], requires_grad=True)
    binarize(x, ReSTE(2)).sum().backward()
    torch.testing.assert_close(x.grad, ReSTE(2).surrogate(x.detach()))
    assert repr(make_estimator("reste")) == "ReSTE(o=1, t=1.5, m=0.1)"
