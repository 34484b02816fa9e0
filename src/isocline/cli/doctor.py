"""What `isocline doctor` looks at: nothing is changed, nothing is fetched."""

from __future__ import annotations

import re
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import isocline
from isocline.lab import machine

SELF_OR_TOOLS = ("all", "dev")  # extras that only gather others


def examine(data: Path | None = None) -> dict[str, Any]:
    """The findings, group by group, as plain words; ``missing`` lists what isocline needs and has not."""
    core, extras = dependencies()
    versions = {name: machine.installed(name) or "not installed" for name in core}
    return {
        "machine": about_the_machine(),
        "versions": {"isocline": isocline.__version__, "python": machine.fingerprint()["python"], **versions},
        "extras": {name: _extra(name, needed) for name, needed in extras.items()},
        "kernels": kernels(),
        "data_sets": data_sets(data),
        "missing": [name for name, found in versions.items() if found == "not installed"],
    }


def about_the_machine() -> dict[str, str]:
    """Processor, memory, devices and the threads that torch uses."""
    import torch

    memory = machine.memory_gib()
    return {
        "processor": machine.processor(),
        "cores": str(machine.cores()),
        "memory": f"{memory:.1f} GiB" if memory else "unknown",
        "devices": ", ".join(machine.devices()),
        "threads of torch": str(torch.get_num_threads()),
        "threads of a task": "1",
    }


def dependencies() -> tuple[list[str], dict[str, list[str]]]:
    """The libraries isocline needs, and those of each extra, from the installed package's own metadata."""
    core: list[str] = []
    extras: dict[str, list[str]] = {}
    try:
        lines = requires("isocline") or []
    except PackageNotFoundError:  # used from a source tree without an installation
        return list(machine.LIBRARIES), {}
    for line in lines:
        name = re.split(r"[\s\[<>=!~;]", line, maxsplit=1)[0]
        extra = re.search(r"""extra\s*==\s*['"]([\w-]+)['"]""", line)
        if extra is None:
            core.append(name)
        elif extra.group(1) not in SELF_OR_TOOLS:
            extras.setdefault(extra.group(1), []).append(name)
    return core, extras


def kernels() -> dict[str, str]:
    """Every room's kernels, each available or with what it lacks.

    A room whose kernels are more than one file each says in ``kernels.availability()`` which there are.
    """
    found: dict[str, str] = {}
    for room in iter_modules(isocline.__path__):
        name = f"isocline.{room.name}.kernels"
        spec = find_spec(name) if room.ispkg and room.name != "cli" else None
        if spec is None:
            continue
        told = _availability(name)
        if told is None:
            files = [module.name for module in iter_modules(spec.submodule_search_locations)]
            told = {file: _loads(f"{name}.{file}") for file in files if not file.startswith("_")}
        found |= {f"{room.name}: {kernel}": words for kernel, words in told.items()}
    return found


def _availability(package: str) -> dict[str, str] | None:
    """What the package itself says; None if it says nothing."""
    try:
        tell = getattr(import_module(package), "availability", None)
    except (ImportError, RuntimeError) as error:
        return {"all": f"not available: {error}"}
    return tell() if tell else None


def _loads(module: str) -> str:
    try:
        import_module(module)
    except (ImportError, RuntimeError) as error:
        return f"not available: {error}"
    return "available"


def data_sets(data: Path | None) -> dict[str, str]:
    """Where each image set lies on this machine; nothing is fetched."""
    from isocline.datasets.images import SETS
    from isocline.datasets.locate import find

    found: dict[str, str] = {}
    for name, image_set in SETS.items():
        try:
            found[name] = str(find(name, image_set, "train", data, fetch=False).paths[0].parent)
        except (FileNotFoundError, ValueError):
            found[name] = "not found"
    return found


def _extra(name: str, needed: list[str]) -> str:
    absent = [library for library in needed if machine.installed(library) is None]
    if absent:
        return f"not installed: {', '.join(absent)} (pip install 'isocline[{name}]')"
    return ", ".join(f"{library} {machine.installed(library)}" for library in needed)
