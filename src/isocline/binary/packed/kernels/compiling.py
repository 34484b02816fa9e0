"""numba with a cache on disk that knows all it depends on.

numba remembers a compiled function by its own file. What is inlined into it comes from other files here, and an edit there
would go unnoticed; so the digest of this folder's sources is made part of what the cache looks up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache

SOURCES = hashlib.sha256(
    b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
).hexdigest()


def inlined(function: Callable[..., Any]) -> Any:
    """Compile as part of what calls it."""
    return njit(function)


class _SourcesCache(FunctionCache):
    def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        return (*super()._index_key(sig, codegen), SOURCES)


def compiled(function: Callable[..., Any]) -> Any:
    """Compile at the first call, without the interpreter's lock, and keep the result on disk."""
    dispatcher: Any = njit(nogil=True)(function)
    dispatcher._cache = _SourcesCache(function)
    return dispatcher
