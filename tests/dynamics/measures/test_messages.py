"""What a person reads who calls a measure wrongly."""

import math

import numpy as np
import pytest

from isocline.dynamics import measures as m

X = np.random.default_rng(0).normal(size=(50, 2))
STILL = np.column_stack([X[:, 0], np.ones(50)])
GONE = np.where(np.arange(50)[:, None] == 3, math.nan, X)

WRONG = [
    (lambda: m.binned_divergence(X[:, 0], X), "true: want shape (time, channels), got an array"),
    (lambda: m.binned_divergence(X, X[:, :1]), "generated: want 2 channels, as in true, got 1"),
    (lambda: m.binned_divergence(GONE, X), "true: want finite values, got 2 NaN of 100, the first at (3, 0)"),
    (lambda: m.binned_divergence(STILL, X), "true: want channels that change, got constant channel 1; drop"),
    (lambda: m.binned_divergence(X, X, bins=1), "bins: want a whole number >= 2, got 1"),
    (lambda: m.binned_divergence(X, X, smoothing=0), "smoothing: want a finite number > 0, got 0"),
    (lambda: m.binned_divergence(X, X, variant="minmax"), "did you mean 'minmax_drop0'?"),
    (lambda: m.binned_divergence(X[:1], X), "true: want at least 2 samples, got 1; give a longer series"),
    (lambda: m.binned_divergence("abc", X), "true: want numbers in an array (time, channels), got str"),
    (lambda: m.state_space_divergence(X, X, bins=5, mixture=1.0), "mixture: want None where bins is given"),
    (lambda: m.state_space_divergence(X, X, mixture=1.0, variant="legacy"), "variant: want one of 'default'"),
    (lambda: m.mixture_divergence(X, X, variance=-1.0), "variance: want a finite number > 0, got -1.0"),
    (lambda: m.spectral_hellinger(X, X[:40]), "generated: want 50 samples, as in true, got 40; cut both"),
    (lambda: m.spectral_hellinger(X, X, sigma=2, sigma_hz=1.0), "sigma_hz: want None where sigma is given"),
    (lambda: m.spectral_hellinger(X, X, sigma_hz=1.0), "sampling_rate: want samples per second"),
    (lambda: m.spectral_hellinger(X, X, boundary="wrap"), "boundary: want one of 'mirror', 'reflect'"),
    (lambda: m.spectral_hellinger(STILL, X), "true: want channels that change, got constant channel 1"),
    (lambda: m.prediction_error(lambda z: z, X, 0), "n: want a whole number >= 1, got 0"),
    (lambda: m.prediction_error(lambda z: z, X, 50), "series: want at least 51 samples, got 50"),
    (lambda: m.prediction_error(lambda z: z[:, :1], X, 2), "step: want predictions of shape (48, 2), got"),
    (lambda: m.prediction_error(lambda z, s: z, X, 2, inputs=X[:9]), "inputs: want 50 samples, as in series"),
    (lambda: m.valid_prediction_time(X, X[:9]), "predicted: want shape (50, 2), as true"),
    (lambda: m.valid_prediction_time(X, X, exponent=-0.1), "exponent: want a finite number > 0, got -0.1"),
    (lambda: m.noise_floor(X[:10]), "series: want at least 21 samples, got 10"),
    (lambda: m.predictability_time(), "series: want a series where no exponent is given, got None"),
    (lambda: m.autocorrelation(X, 50), "series: want at least 51 samples, got 50"),
    (lambda: m.correlation_dimension(np.tile(X[:2], (200, 1))), "series: want points that differ"),
    (lambda: m.correlation_dimension(X, apart=5, between=(0.5, 0.1)), "between: want two shares"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), WRONG, ids=[message[:40] for _, message in WRONG])
def test_the_message_names_what_was_wrong(call, message):
    with pytest.raises(ValueError, match="want") as caught:
        call()
    assert message in str(caught.value)
