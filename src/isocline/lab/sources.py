"""Which files make a claim's numbers: its own, its room's, and what those import from isocline, however far."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

HOUSE = "isocline"
FRAME = f"{HOUSE}.lab"  # runs, judges and draws; makes no numbers


@cache
def source_digest(module: str, room: str) -> str:
    """sha256 of the code that makes the numbers of a claim whose `run` is in `module`.

    Of the claim's module, or the package of its room's claims; of every file of the room; and of every file of isocline
    that one of those imports, at the top or inside a function, directly or through others: the training loop, the data sets,
    the ground floor. A result therefore never outlives the code it came from. Nothing is imported.
    """
    digest = hashlib.sha256()
    for name, path in source_files(module, room).items():
        digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def source_files(module: str, room: str) -> dict[str, Path]:
    """The modules behind a claim and their files, sorted by name."""
    package = module.rpartition(".")[0]
    own = package if package.endswith(f".{room}") else module
    todo = {**_inside(own), **_inside(f"{HOUSE}.{room}")}
    found: dict[str, Path] = {}
    while todo:
        name, path = todo.popitem()
        found[name] = path
        for wanted in _imports(name, path):
            part_of_the_house = wanted.startswith(f"{HOUSE}.") and not f"{wanted}.".startswith(f"{FRAME}.")
            source = _file(wanted) if part_of_the_house and wanted not in found else None
            if source is not None:
                todo[wanted] = source
    return dict(sorted(found.items()))


def _inside(name: str) -> dict[str, Path]:
    """A module, or a package with all that is in it; nothing if there is no such thing."""
    path = _file(name)
    if path is None or path.name != "__init__.py":
        return {} if path is None else {name: path}
    parts = {
        source: source.relative_to(path.parent).with_suffix("").parts for source in path.parent.rglob("*.py")
    }
    return {".".join([name, *inner]).removesuffix(".__init__"): source for source, inner in parts.items()}


def _imports(name: str, path: Path) -> Iterator[str]:
    """The full names of the modules that a file may import; of ``from a import b`` both ``a`` and ``a.b``."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*start, *filter(None, [node.module])])
            yield from (source, *(f"{source}.{alias.name}" for alias in node.names))


def _file(name: str) -> Path | None:
    """The file of a module by its place below the first package, which alone is looked up."""
    first, *rest = name.split(".")
    try:
        spec = find_spec(first)
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.origin:
        return None
    if not rest and not spec.submodule_search_locations:
        return Path(spec.origin)
    for place in map(Path, spec.submodule_search_locations or ()):
        for path in (place.joinpath(*rest, "__init__.py"), place.joinpath(*rest).with_suffix(".py")):
            if path.is_file():
                return path
    return None
