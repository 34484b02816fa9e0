"""The noise floor: what truth scores against truth. No model can meaningfully score better."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy.typing as npt

from isocline._core.files import plain

from .prediction import persistence_error
from .series import as_series
from .spectrum import SpectralDistance, spectral_hellinger
from .state_space import Divergence, state_space_divergence


@dataclass(frozen=True, slots=True, eq=False)
class NoiseFloor:
    """The measures of a series against another stretch of itself."""

    divergence: Divergence
    hellinger: SpectralDistance
    persistence: float  # error of predicting no change, `steps` ahead: a model above it has learned nothing
    steps: int
    how: str

    def __str__(self) -> str:
        return (
            f"noise floor ({self.how}): {self.divergence}; {self.hellinger}; "
            f"persistence({self.steps}) {self.persistence:.4g}"
        )

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        return {field.name: plain(getattr(self, field.name)) for field in fields(self)}


def noise_floor(
    series: npt.ArrayLike,
    other: npt.ArrayLike | None = None,
    *,
    n: int = 20,
    bins: int | None = None,
    mixture: float | None = None,
    sigma: float = 20.0,
    seed: int = 0,
) -> NoiseFloor:
    """Score ``other`` as if a model had generated it; without ``other``, the second half of ``series`` for
    its first.

    Shapes: series ``(T, N)``, other ``(T', N)``; the spectra compare the first min(T, T') samples of both.
    The arguments are those of ``state_space_divergence``, ``spectral_hellinger`` and ``persistence_error``.
    Raises ValueError.
    """
    true = whole = as_series("series", series, least=max(4, n + 1))
    how = "series against other"
    if other is None:
        half = len(whole) // 2
        true, other = whole[:half], whole[half : 2 * half]
        how = "first half against second"
    second = as_series("other", other)
    shared = min(len(true), len(second))
    return NoiseFloor(
        state_space_divergence(true, second, bins=bins, mixture=mixture, seed=seed),
        spectral_hellinger(true[:shared], second[:shared], sigma=sigma),
        persistence_error(whole, n),
        n,
        how,
    )
