"""The indicators: laws for any weights, the reference vectors, and what wrong calls are told."""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from isocline.binary.functional import reste_primitive
from isocline.binary.indicators import (
    dead_zone_share,
    estimating_error,
    estimating_error_rms,
    flip_ratio,
    gradient_stability,
    gradient_stability_scale_free,
    plateau_share,
)

VALUES = arrays(np.float64, st.integers(1, 20), elements=st.floats(-1e6, 1e6))
POWERS = st.floats(1.0, 100.0)


@pytest.fixture
def vectors(golden):
    with np.load(golden / "binary" / "indicators.npz") as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


def _close(found, wanted):
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=0.0)  # the vectors' own tolerance


def test_errors_equal_the_reference(vectors):
    weights = [vectors[f"w{i}"] for i in range(3)]
    for i, o in enumerate(vectors["o"].tolist()):
        primitive = partial(reste_primitive, o=o)
        each = torch.stack([estimating_error(w, primitive) for w in weights])
        _close(each, vectors["err_per_layer"][i])
        _close(estimating_error(weights, primitive), vectors["err_sum_over_layers"][i])
        _close(estimating_error_rms(weights, primitive), vectors["err_rms"][i])
        one = torch.cat([w.flatten() for w in weights])
        _close(estimating_error(one, primitive), vectors["err_global_l2"][i])


def test_stabilities_equal_the_reference(vectors):
    gradients = [vectors[f"g{i}"] for i in range(3)]
    each = torch.stack([gradient_stability(g) for g in gradients])
    _close(each, vectors["instab_per_layer_var_ddof1"])
    _close(gradient_stability(gradients), vectors["instab_sum_over_layers"])
    one = torch.cat([g.flatten() for g in gradients])
    _close(gradient_stability(one), vectors["instab_global_ddof1"])
    _close(gradient_stability_scale_free(gradients), vectors["instab_cv2_scale_free"])


@given(VALUES, POWERS, POWERS)
def test_the_error_never_grows_with_the_power(values, one, other):
    z, (low, high) = torch.from_numpy(values), sorted((one, other))
    flat, sharp = (estimating_error(z, partial(reste_primitive, o=o)) for o in (low, high))
    assert sharp <= flat * (1 + 1e-12)  # roundings of a power and a sum in float64


@given(VALUES, POWERS)
def test_every_value_errs_at_most_as_much_as_under_the_identity(values, o):
    z = torch.from_numpy(values)
    for value in z:
        assert estimating_error(value, partial(reste_primitive, o=o)) <= estimating_error(
            value, lambda x: x
        ) * (1 + 1e-12)


@given(VALUES.filter(lambda g: len(g) > 1 and np.abs(g).max() > 1e-100), st.floats(1e-3, 1e3))
def test_a_scaled_loss_changes_the_published_form_alone(values, c):
    g = torch.from_numpy(values)
    plain, scaled = gradient_stability(g), gradient_stability(c * g)
    torch.testing.assert_close(scaled, c**2 * plain, rtol=1e-9, atol=1e-9 * float((c * g).square().max()))
    torch.testing.assert_close(
        gradient_stability_scale_free(c * g), gradient_stability_scale_free(g), rtol=1e-9, atol=1e-12
    )


@given(VALUES)
def test_shares_lie_between_0_and_1_and_the_zones_exclude_each_other(values):
    z = torch.from_numpy(values)
    dead, plateau = dead_zone_share(z), plateau_share(z)
    assert 0 <= dead <= 1
    assert 0 <= plateau <= 1
    assert dead + plateau <= 1
    assert flip_ratio(z, z) == 0
    moved = z[z != 0]
    assert not len(moved) or flip_ratio(moved, -moved) == 1


def test_shares_of_a_few_values():
    z = torch.tensor([0.0, -0.1, 0.1000001, 1.5, -1.5000001, 9.0])
    assert plateau_share(z) == 2 / 6
    assert dead_zone_share(z) == 2 / 6
    assert dead_zone_share([z, z], t=5.0) == 1 / 6
    assert flip_ratio([z, z], [z, -z]) == pytest.approx(5 / 12)  # of -z: 0 stays positive


def test_half_precision_gradients_are_measured_in_float32():
    g = torch.full((100,), 2.0**-14, dtype=torch.float16)
    g[::2] *= 2
    assert gradient_stability(g).dtype == torch.float32
    assert gradient_stability_scale_free(g).item() == pytest.approx(1 / 9, rel=1e-6)  # float32


def test_nan_is_not_hidden():
    z = torch.tensor([0.5, float("nan")])
    assert estimating_error(z, lambda x: x).isnan()
    assert gradient_stability(z).isnan()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: estimating_error(torch.arange(3), abs),
            TypeError,
            r"latent: want a floating-point tensor.*int64",
        ),
        (lambda: estimating_error([], abs), TypeError, "latent: want a floating-point tensor.*got none"),
        (lambda: gradient_stability([None]), TypeError, "gradient: want.*got NoneType"),
        (
            lambda: flip_ratio(torch.ones(2), torch.ones(3)),
            ValueError,
            r"after: want the shapes of before, \[\(2,\)\]",
        ),
        (lambda: dead_zone_share(torch.ones(2), t=0.0), ValueError, "t: want a finite number > 0"),
        (lambda: plateau_share(torch.ones(2), m=-1.0), ValueError, "m: want a finite number > 0"),
    ],
)
def test_wrong_calls_are_answered(call, error, message):
    with pytest.raises(error, match=message):
        call()
