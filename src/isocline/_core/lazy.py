"""A package's public names, imported when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module


def lazy_names(
    package: str, public: Sequence[str], homes: Mapping[str, str], submodules: Sequence[str]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` for the package that has this ``__name__`` and ``__all__`` (PEP 562).

    homes: the submodule that defines a name, by the name. submodules: those that are public themselves.
    """

    def __getattr__(name: str) -> object:
        if name in submodules:
            return import_module(f".{name}", package)
        if name in homes:
            return getattr(import_module(f".{homes[name]}", package), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}; it has {', '.join(public)}")

    def __dir__() -> list[str]:
        return sorted(public)

    return __getattr__, __dir__
