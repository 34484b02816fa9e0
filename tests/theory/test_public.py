"""The names that people may rely on, and that a person is told of when a name is wrong."""

import pytest

import isocline.theory
from isocline.theory import functional

PUBLIC = [
    "Activation", "AspectRatio", "Criticality", "EffectiveTheory", "Ensemble", "InitReport", "KernelChange",
    "Prediction", "Recommendation", "Report", "SingleInput", "critical_init_", "criticality", "ensemble",
    "functional", "largest_depth", "layerwise_lr", "least_skip", "optimal_aspect_ratio", "recommend",
]  # fmt: skip


def test_public_names():
    assert isocline.theory.__all__ == PUBLIC
    assert dir(isocline.theory) == sorted(PUBLIC)
    for name in PUBLIC:
        assert getattr(isocline.theory, name).__name__ in (name, f"isocline.theory.{name}")
    for name in functional.__all__:
        assert getattr(functional, name).__doc__


def test_a_wrong_name_is_answered_with_the_names_there_are():
    with pytest.raises(AttributeError, match="no attribute 'crit'; it has Activation, AspectRatio"):
        isocline.theory.crit  # noqa: B018
