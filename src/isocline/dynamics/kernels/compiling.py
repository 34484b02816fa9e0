"""numba with a cache on disk that knows all it depends on.

numba remembers a compiled function by its own file. What is inlined into it comes from other files here, and
an edit there would go unnoticed; so the digest of this folder's sources is made part of what the cache looks
up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numba.core.caching import FunctionCache

SOURCES = hashlib.sha256(
    b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
).hexdigest()


ZERO, ONE = (
    np.int64(0),
    np.int64(1),
)  # for a literal number numba would compile what it is passed to once more


def inlined(function: Callable[..., Any]) -> Any:
    """Compile as part of what calls it. A division by zero gives infinity or NaN, as in NumPy.

    Python cannot call it: that door is a third of what a small function takes to compile.
    """
    options: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return njit(error_model="numpy", **options)(function)


def merged(function: Callable[..., Any]) -> Any:
    """As ``inlined``, but put in before it is compiled at all: for what is large and called from one place.

    Each function is optimised with all that it calls, and again in what calls it.
    """
    return njit(error_model="numpy", inline="always")(function)


class _SourcesCache(FunctionCache):
    def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        return (*super()._index_key(sig, codegen), SOURCES)


def compiled(function: Callable[..., Any]) -> Any:
    """Compile at the first call, without the interpreter's lock, and keep the result on disk."""
    dispatcher: Any = njit(nogil=True, error_model="numpy")(function)
    dispatcher._cache = _SourcesCache(function)
    return dispatcher
