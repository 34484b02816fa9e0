"""isocline: gradients that hold their slope.

Rooms are imported when they are first used, so ``import isocline`` costs no more than ``import torch``:

>>> import isocline
>>> isocline.linear_model.__name__
'isocline.linear_model'
"""

from importlib import import_module
from typing import TYPE_CHECKING

from ._version import __version__

if TYPE_CHECKING:
    from . import (
        binary,
        datasets,
        dynamics,
        lab,
        latents,
        level_sets,
        linear_model,
        orthogonal,
        plstm,
        theory,
        training,
    )

_SUBMODULES = (
    "binary",
    "datasets",
    "dynamics",
    "lab",
    "latents",
    "level_sets",
    "linear_model",
    "orthogonal",
    "plstm",
    "theory",
    "training",
)

__all__ = [
    "__version__",
    "binary",
    "datasets",
    "dynamics",
    "lab",
    "latents",
    "level_sets",
    "linear_model",
    "orthogonal",
    "plstm",
    "theory",
    "training",
]


def __getattr__(name: str) -> object:
    if name in _SUBMODULES:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module 'isocline' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)
