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

from numba import njit
from numba.core.caching import FunctionCache

_njit: Any = njit  # its stubs do not know all its options

SOURCES = hashlib.sha256(
    b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
).hexdigest()


def inlined(function: Callable[..., Any]) -> Any:
    """Compile as part of what calls it. A division by zero gives infinity or NaN, as in NumPy.

    Python does not call it, so the way there is not compiled: that would take a third longer.
    """
    return _njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)(function)


class _SourcesCache(FunctionCache):
    def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        return (*super()._index_key(sig, codegen), SOURCES)


def compiled(function: Callable[..., Any]) -> Any:
    """Compile at the first call, without the interpreter's lock, and keep the result on disk."""
    dispatcher: Any = _njit(nogil=True, error_model="numpy", no_cfunc_wrapper=True)(function)
    dispatcher._cache = _SourcesCache(function)
    return dispatcher
