"""D_H: the reference numbers and the laws of a distance."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from isocline.dynamics.measures import smoothed_spectrum, spectral_hellinger
from isocline.dynamics.measures.spectrum import BOUNDARIES

SERIES = arrays(np.float64, st.just((24, 2)), elements=st.floats(-3, 3, width=32))


@pytest.mark.parametrize("sigma", [0, 2, 5, 20])
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_the_reference_number(golden, sigma, boundary):
    with np.load(golden / "dynamics/metrics.npz") as file:
        found = spectral_hellinger(file["X_true"], file["X_gen"], sigma=sigma, boundary=boundary)
        assert found.value == pytest.approx(file[f"dh_sigma{sigma}_{boundary}"].item(), rel=1e-9)
        np.testing.assert_allclose(
            found.per_channel, file[f"dh_sigma{sigma}_{boundary}_perdim"], rtol=1e-9, atol=1e-12
        )


def test_the_reference_spectrum(golden):
    with np.load(golden / "dynamics/metrics.npz") as file:
        found = smoothed_spectrum(file["X_true"], sigma=5)
        np.testing.assert_allclose(found, file["spectrum_true_sigma5_mirror"], rtol=1e-9, atol=1e-12)


@given(SERIES, SERIES, SERIES, st.sampled_from([0.0, 1.0, 20.0]))
def test_it_is_a_distance_between_0_and_1(x, y, z, sigma):
    assume(all((np.ptp(one, axis=0) > 1e-3).all() for one in (x, y, z)))
    xy, yx, yz, xz = (
        spectral_hellinger(*pair, sigma=sigma).per_channel for pair in ((x, y), (y, x), (y, z), (x, z))
    )
    assert ((xy >= 0) & (xy <= 1)).all()
    np.testing.assert_allclose(xy, yx, rtol=0, atol=1e-12)
    assert (xz <= xy + yz + 1e-12).all()
    assert spectral_hellinger(x, x, sigma=sigma).value == 0.0


@given(SERIES, st.floats(0.01, 100), st.floats(-10, 10))
def test_units_offset_and_direction_of_time_do_not_matter(x, scale, shift):
    assume((np.ptp(x, axis=0) > 1e-2).all())
    assert spectral_hellinger(x, scale * x[::-1] + shift, sigma=2).value < 1e-5  # square root of rounding


def test_lines_that_share_no_bin_are_as_far_apart_as_can_be():
    t = np.arange(1000)[:, None]
    found = spectral_hellinger(np.sin(2 * np.pi * 0.1 * t), np.sin(2 * np.pi * 0.3 * t), sigma=0)
    assert found.value == pytest.approx(1.0, abs=1e-9)


def test_smoothing_in_hz_is_the_same_width_for_every_length():
    t = np.arange(4000)[:, None] / 100.0
    series = np.sin(2 * np.pi * 7.0 * t) + 0.01 * np.cos(2 * np.pi * 3.0 * t)
    in_hz = spectral_hellinger(series[:2000], series[2000:], sigma_hz=0.5, sampling_rate=100.0)
    in_bins = spectral_hellinger(series[:2000], series[2000:], sigma=0.5 * 2000 / 100.0)
    assert in_hz.value == in_bins.value
    widths = []
    for length in (1000, 4000):
        width = 0.5 * length / 100.0
        spectrum = smoothed_spectrum(series[:length], sigma=width)[:, 0]
        widths.append(np.sum(spectrum > 0.5 * spectrum.max()) * 100.0 / length)
    assert widths[0] == pytest.approx(widths[1], rel=0.1)


def test_a_channel_that_stands_still_gets_the_largest_distance():
    generator = np.random.default_rng(0)
    true, made = generator.normal(size=(2, 100, 2))
    made[:, 1] = 0.3
    found = spectral_hellinger(true, made)
    assert found.per_channel[1] == 1.0
    assert found.per_channel[0] < 1.0
    assert "1 of 2 generated channels never change" in found.how
    assert spectral_hellinger(true, np.zeros_like(true)).value == 1.0


def test_a_run_that_blew_up_has_no_distance_and_huge_values_do_not_overflow():
    generator = np.random.default_rng(0)
    true, made = generator.normal(size=(2, 100, 2))
    made[60] = math.inf
    found = spectral_hellinger(true, made)
    assert math.isnan(found.value)
    assert "from step 60" in found.how
    assert found.to_dict()["per_channel"] == ["nan", "nan"]
    assert spectral_hellinger(true, 1e200 * true).value < 1e-6
