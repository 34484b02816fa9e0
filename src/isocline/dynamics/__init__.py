"""Learning chaotic dynamics through time with generalized teacher forcing.

A recording in, a small piecewise-linear model out, whose free run has the recording's attractor, spectrum and
Lyapunov exponents. Source: Hess, Monfared, Brenner and Durstewitz, "Generalized Teacher Forcing for Learning
Chaotic Dynamics", ICML 2023.

>>> from isocline.dynamics import ConstantForcing, Reconstructor
>>> Reconstructor(hidden_dim=20, forcing=ConstantForcing(0.2)).forcing.alpha
0.2
"""

from typing import TYPE_CHECKING

from isocline._core.lazy import lazy_names

if TYPE_CHECKING:
    from . import analysis, functional, kernels, measures, pictures
    from .estimator import DivergedWarning, Reconstructor
    from .findings import Findings
    from .forcing import forced_rollout
    from .models import PLRNN, AlmostLinearRNN, DendriticPLRNN, ShallowPLRNN
    from .observation import AffineObservation, IdentityObservation
    from .schedules import AdaptiveForcing, ConstantForcing, NoForcing, SparseForcing
    from .scores import Scores

# Where a name lives. It is imported when first used: torch, numba and matplotlib take their time.
_WHERE = {
    "AdaptiveForcing": "schedules",
    "AffineObservation": "observation",
    "AlmostLinearRNN": "models",
    "ConstantForcing": "schedules",
    "DendriticPLRNN": "models",
    "DivergedWarning": "estimator",
    "Findings": "findings",
    "IdentityObservation": "observation",
    "NoForcing": "schedules",
    "PLRNN": "models",
    "Reconstructor": "estimator",
    "Scores": "scores",
    "ShallowPLRNN": "models",
    "SparseForcing": "schedules",
    "forced_rollout": "forcing",
}
_SUBMODULES = ("analysis", "functional", "kernels", "measures", "pictures")

__all__ = [
    "PLRNN",
    "AdaptiveForcing",
    "AffineObservation",
    "AlmostLinearRNN",
    "ConstantForcing",
    "DendriticPLRNN",
    "DivergedWarning",
    "Findings",
    "IdentityObservation",
    "NoForcing",
    "Reconstructor",
    "Scores",
    "ShallowPLRNN",
    "SparseForcing",
    "analysis",
    "forced_rollout",
    "functional",
    "kernels",
    "measures",
    "pictures",
]

__getattr__, __dir__ = lazy_names(__name__, __all__, _WHERE, _SUBMODULES)
