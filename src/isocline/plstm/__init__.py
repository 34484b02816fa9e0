"""Through graphs: linear recurrences without a fixed scan order, on sequences, grids and directed acyclic graphs.

Source: pLSTM, *parallelizable Linear Source Transition Mark networks*, arXiv 2506.11997.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import functional, kernels
    from .functional import plstm_1d, plstm_2d, plstm_2d_d, plstm_2d_p

_WHERE = {
    "plstm_1d": "functional",
    "plstm_2d": "functional",
    "plstm_2d_d": "functional",
    "plstm_2d_p": "functional",
}
_SUBMODULES = ("functional", "kernels")

__all__ = ["functional", "kernels", "plstm_1d", "plstm_2d", "plstm_2d_d", "plstm_2d_p"]


def __getattr__(name: str) -> object:
    if name in _SUBMODULES:
        return import_module(f".{name}", __name__)
    if name in _WHERE:
        return getattr(import_module(f".{_WHERE[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)
