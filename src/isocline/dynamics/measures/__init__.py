"""The measures of dynamical systems reconstruction, each usable alone on arrays ``(T, N)``."""

from .attractor import CorrelationDimension, correlation_dimension, escaped_at, marginal_distance
from .memory import autocorrelation, autocorrelation_error, mutual_information, predictability_time
from .noise import NoiseFloor, noise_floor
from .prediction import PredictionError, ValidTime, persistence_error, prediction_error, valid_prediction_time
from .spectrum import SpectralDistance, smoothed_spectrum, spectral_hellinger
from .state_space import (
    Divergence,
    binned_divergence,
    mixture_divergence,
    mixture_log_density,
    state_space_divergence,
)

__all__ = [
    "CorrelationDimension",
    "Divergence",
    "NoiseFloor",
    "PredictionError",
    "SpectralDistance",
    "ValidTime",
    "autocorrelation",
    "autocorrelation_error",
    "binned_divergence",
    "correlation_dimension",
    "escaped_at",
    "marginal_distance",
    "mixture_divergence",
    "mixture_log_density",
    "mutual_information",
    "noise_floor",
    "persistence_error",
    "predictability_time",
    "prediction_error",
    "smoothed_spectrum",
    "spectral_hellinger",
    "state_space_divergence",
    "valid_prediction_time",
]
