"""Files that survive a kill, notice damage and cannot run code: JSON, safetensors, a manifest."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import safetensors.torch
import torch

from isocline._core.checks import wrong

try:
    import fcntl
except ImportError:  # Windows: two processes must not save into one folder at the same time
    fcntl = None

FORMAT = 1
MANIFEST = "manifest.json"
_NAMES = {"config": "config-{}.json", "arrays": "arrays-{}.safetensors"}
_OURS = re.compile(r"config-[0-9a-f]{12}\.json|arrays-[0-9a-f]{12}\.safetensors|\.[0-9a-f]{16}\.tmp")
_LARGEST_MANIFEST = 64 * 1024  # bytes; ours has about 400
_LARGEST_LIST = 100_000  # values of an array that may be written as JSON


class CheckpointError(ValueError):
    """A saved folder or file is missing, damaged, or not one of ours. Nothing of it was used."""


def write_atomic(path: str | os.PathLike[str], data: bytes | str) -> None:
    """Write ``data`` (text as UTF-8) so that ``path`` always holds all of the old or all of the new.

    Folders above it are made. The bytes reach the disk before the name does.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    temporary = path.parent / f".{secrets.token_hex(8)}.tmp"
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def plain(value: Any, *, name: str = "value") -> Any:
    """``value`` in JSON's own types, so that writing and reading it gives the same thing again.

    Takes numbers, text, None, mappings, lists and tuples (as lists), dataclasses, paths (as text), NumPy
    scalars, arrays and tensors of up to 100,000 values (as nested lists), and results that have
    ``to_dict``. NaN and infinity become the words ``"nan"``, ``"inf"`` and ``"-inf"``, which JSON can hold
    and ``float`` reads. Raises TypeError with the place of anything else.
    """
    if value is None or isinstance(value, (bool, str)):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, (np.generic, np.ndarray, torch.Tensor)):
        return plain(_listed(value, name), name=name)
    if hasattr(value, "to_dict"):
        return plain(value.to_dict(), name=name)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return _plain_mapping(value, name)
    if isinstance(value, (list, tuple)):
        return [plain(item, name=f"{name}[{i}]") for i, item in enumerate(value)]
    raise wrong(
        name, "numbers, text, None, lists, mappings or dataclasses", type(value).__name__, error=TypeError
    )


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write :func:`plain` ``(value)`` atomically as indented UTF-8 JSON."""
    write_atomic(path, _json(value))


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file; raises CheckpointError, naming the file, when it is missing or not JSON."""
    try:
        return _parse(Path(path).read_bytes(), Path(path))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from error


def save_folder(
    folder: str | os.PathLike[str],
    config: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray | torch.Tensor] | None = None,
) -> None:
    """Save ``config`` (JSON) and ``arrays`` (safetensors, bit for bit) as the state of ``folder``.

    Each data file is named after its content. ``manifest.json``, with the sha256 and the size of each, is
    replaced last, in one step: a save that is interrupted anywhere leaves the state before it, and what is
    no longer named is removed afterwards. Savers of one folder wait for each other.
    """
    folder = Path(folder)
    data = {"config": _json(config).encode("utf-8", "surrogatepass")}
    if arrays:
        data["arrays"] = safetensors.torch.save(_tensors(arrays))
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder, alone=True):
        files = {}
        for role, content in data.items():
            digest = hashlib.sha256(content).hexdigest()
            files[role] = {"name": _NAMES[role].format(digest[:12]), "sha256": digest, "bytes": len(content)}
            write_atomic(folder / files[role]["name"], content)
        write_atomic(folder / MANIFEST, _json({"format": FORMAT, "files": files}))
        kept = {entry["name"] for entry in files.values()}
        for path in folder.iterdir():
            if _OURS.fullmatch(path.name) and path.name not in kept:
                path.unlink(missing_ok=True)


@overload
def load_folder(
    folder: str | os.PathLike[str], *, tensors: Literal[False] = ...
) -> tuple[dict[str, Any], dict[str, np.ndarray]]: ...
@overload
def load_folder(
    folder: str | os.PathLike[str], *, tensors: Literal[True]
) -> tuple[dict[str, Any], dict[str, torch.Tensor]]: ...
def load_folder(
    folder: str | os.PathLike[str], *, tensors: bool = False
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What :func:`save_folder` put there: ``(config, arrays)``, arrays as NumPy's or as CPU tensors.

    Every byte is checked against the manifest before any is understood, and nothing is unpickled. Whatever
    is missing, damaged or forged raises CheckpointError.
    """
    folder = Path(folder)
    try:
        with _locked(folder, alone=False):
            data = {
                role: _read_checked(folder, role, entry) for role, entry in _read_manifest(folder).items()
            }
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be read ({error.strerror or error})") from error
    config = _parse(data["config"], folder / "config")
    if not isinstance(config, dict):
        raise CheckpointError(f"{folder}: its config is not a mapping")
    try:
        loaded: dict[str, Any] = safetensors.torch.load(data["arrays"]) if "arrays" in data else {}
    except Exception as error:  # a parser of foreign bytes: whatever it says, the file is not one of ours
        raise CheckpointError(f"{folder}: its arrays are not safetensors ({error})") from error
    if tensors:
        return config, loaded
    try:
        return config, {name: tensor.numpy() for name, tensor in loaded.items()}
    except TypeError as error:
        raise CheckpointError(
            f"{folder}: NumPy lacks a type that is saved here ({error}); use tensors=True"
        ) from error


def _read_manifest(folder: Path) -> dict[str, dict[str, Any]]:
    """The manifest's entries by role, and nothing in them that :func:`save_folder` does not write."""
    path = folder / MANIFEST
    if not path.is_file():
        raise CheckpointError(f"{folder}: holds no {MANIFEST}, so nothing was ever saved here completely")
    if path.stat().st_size > _LARGEST_MANIFEST:
        raise CheckpointError(f"{path}: is larger than any manifest of ours")
    manifest = _parse(path.read_bytes(), path)
    if not isinstance(manifest, dict) or type(manifest.get("format")) is not int:
        raise CheckpointError(f"{path}: is not a manifest of ours")
    if manifest["format"] != FORMAT:
        raise CheckpointError(
            f"{path}: format {manifest['format']}, this version reads {FORMAT}; update isocline"
        )
    files = manifest.get("files")
    if (
        set(manifest) != {"format", "files"}
        or not isinstance(files, dict)
        or not {"config"} <= set(files) <= set(_NAMES)
    ):
        raise CheckpointError(f"{path}: is not a manifest of ours")
    for role, entry in files.items():
        kinds = {key: type(item) for key, item in entry.items()} if isinstance(entry, dict) else {}
        if kinds != {"name": str, "sha256": str, "bytes": int} or entry["bytes"] < 0:
            raise CheckpointError(f"{path}: its entry for {role} is not ours")
        if not re.fullmatch(r"[0-9a-f]{64}", entry["sha256"]) or entry["name"] != _NAMES[role].format(
            entry["sha256"][:12]
        ):
            raise CheckpointError(f"{path}: its entry for {role} names a file that is not ours")
    return files


def _read_checked(folder: Path, role: str, entry: dict[str, Any]) -> bytes:
    path = folder / entry["name"]
    if not path.is_file():
        raise CheckpointError(f"{path}: the manifest names it, but it is not there")
    if path.stat().st_size != entry["bytes"]:
        raise CheckpointError(f"{path}: {path.stat().st_size} bytes, the manifest says {entry['bytes']}")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != entry["sha256"]:
        raise CheckpointError(
            f"{path}: its sha256 is not the one in the manifest: the {role} file is damaged"
        )
    return content


def _json(value: Any) -> str:
    return json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _parse(content: bytes, path: Path) -> Any:
    try:
        return json.loads(content.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: is not JSON ({error})") from error


def _plain_mapping(value: Mapping[Any, Any], name: str) -> dict[str, Any]:
    plainly: dict[str, Any] = {}
    for key, item in value.items():
        if not isinstance(key, (str, int, float)):
            raise wrong(name, "keys that are text or numbers", key, error=TypeError)
        word = key if isinstance(key, str) else str(key)
        if word in plainly:
            raise wrong(name, "keys that differ as text", f"{word!r} twice", error=TypeError)
        plainly[word] = plain(item, name=f"{name}.{word}")
    return plainly


def _listed(value: np.generic | np.ndarray | torch.Tensor, name: str) -> Any:
    if isinstance(value, torch.Tensor):
        tensor = value.detach().cpu()
        value = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    if value.size > _LARGEST_LIST or value.dtype.kind not in "biufUS":
        raise wrong(
            name,
            f"at most {_LARGEST_LIST} real numbers",
            np.asarray(value),
            "save it among the arrays",
            error=TypeError,
        )
    return value.tolist()


def _tensors(arrays: Mapping[str, np.ndarray | torch.Tensor]) -> dict[str, torch.Tensor]:
    """Contiguous CPU tensors, none of which shares memory with another."""
    tensors: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, value in arrays.items():
        if not isinstance(name, str) or name == "__metadata__":
            raise wrong("arrays", "names that are text, other than '__metadata__'", repr(name))
        tensor = value if isinstance(value, torch.Tensor) else _from_numpy(name, np.asarray(value))
        if tensor.layout is not torch.strided or tensor.is_quantized or tensor.dtype == torch.complex128:
            kind = f"{tensor.layout} {tensor.dtype}".replace("torch.", "")
            raise wrong(
                f"arrays[{name!r}]", "a dense array of a type safetensors knows", kind, error=TypeError
            )
        tensor = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
        pointer = tensor.untyped_storage().data_ptr()
        tensors[name] = tensor.clone() if pointer in seen else tensor
        seen.add(pointer)
    return tensors


def _from_numpy(name: str, array: np.ndarray) -> torch.Tensor:
    if array.dtype.kind not in "biufc" or array.dtype in (np.longdouble, np.clongdouble):
        raise wrong(f"arrays[{name!r}]", "numbers or booleans", array, error=TypeError)
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))


@contextmanager
def _locked(folder: Path, *, alone: bool) -> Iterator[None]:
    """Hold the folder against other savers. The lock dies with its process, so a kill leaves none behind."""
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems cannot lock: there, save from one process
            fcntl.flock(handle, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield
    finally:
        os.close(handle)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
