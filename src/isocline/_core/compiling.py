"""numba with a cache on disk that knows all it depends on.

numba remembers a compiled function by its own file. What is inlined into it comes from other files of its folder, and an
edit there would go unnoticed; so the digest of the folder's sources is made part of what the cache looks up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numba.core.caching import FunctionCache

ZERO, ONE = (
    np.int64(0),
    np.int64(1),
)  # for a literal number numba would compile what it is passed to once more


@lru_cache
def sources_digest(folder: Path) -> str:
    """SHA-256 of a folder's Python sources, and of this file, as they were when first asked for."""
    files = [*sorted(folder.glob("*.py")), Path(__file__)]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def compiled(function: Callable[..., Any], **how: Any) -> Any:
    """Compile at the first call, without the interpreter's lock, and keep the result on disk.

    A division by zero gives infinity or NaN, as in NumPy. how: further options of `numba.njit`.
    """
    dispatcher: Any = njit(nogil=True, error_model="numpy", **how)(function)
    dispatcher._cache = _SourcesCache(function)
    return dispatcher


def inlined(function: Callable[..., Any], **how: Any) -> Any:
    """Compile as part of what calls it, in the same folder.

    Python cannot call it: that door is a third of what a small function takes to compile.
    """
    options: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, **how}
    return njit(error_model="numpy", **options)(function)


def merged(function: Callable[..., Any], **how: Any) -> Any:
    """As `inlined`, but put in before it is compiled at all: for what is large and called from one place.

    Each function is optimised with all that it calls, and again in what calls it.
    """
    return njit(error_model="numpy", inline="always", **how)(function)


class _SourcesCache(FunctionCache):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._sources = sources_digest(Path(function.__code__.co_filename).parent)

    def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        return (*super()._index_key(sig, codegen), self._sources)
