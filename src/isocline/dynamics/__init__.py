"""Learning chaotic dynamics through time with generalized teacher forcing.

A recording in, a small piecewise-linear model out, whose free run has the recording's attractor, spectrum and
Lyapunov exponents. Source: Hess, Monfared, Brenner and Durstewitz, "Generalized Teacher Forcing for Learning
Chaotic Dynamics", ICML 2023.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import analysis, functional, kernels, measures
    from .forcing import forced_rollout
    from .models import PLRNN, AlmostLinearRNN, DendriticPLRNN, ShallowPLRNN
    from .observation import AffineObservation, IdentityObservation

_WHERE = {
    "AffineObservation": "observation",
    "AlmostLinearRNN": "models",
    "DendriticPLRNN": "models",
    "IdentityObservation": "observation",
    "PLRNN": "models",
    "ShallowPLRNN": "models",
    "forced_rollout": "forcing",
}
_SUBMODULES = ("analysis", "functional", "kernels", "measures")

__all__ = [
    "PLRNN",
    "AffineObservation",
    "AlmostLinearRNN",
    "DendriticPLRNN",
    "IdentityObservation",
    "ShallowPLRNN",
    "analysis",
    "forced_rollout",
    "functional",
    "kernels",
    "measures",
]


def __getattr__(name: str) -> object:
    if name in _SUBMODULES:
        return import_module(f".{name}", __name__)
    if name in _WHERE:
        return getattr(import_module(f".{_WHERE[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)
