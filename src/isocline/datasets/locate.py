"""Where published image files are looked for: what you name, $ISOCLINE_DATA, the system, the network."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

VARIABLE = "ISOCLINE_DATA"
SYSTEM = (Path("/usr/share/datasets"), Path("/usr/local/share/datasets"))

Reader = Callable[[list[Path], int | None], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, slots=True)
class Form:
    """One way in which a split lies on disk: its files, each by the names it may have, and their reader."""

    files: tuple[tuple[str, ...], ...]
    read: Reader


@dataclass(frozen=True, slots=True)
class Download:
    """A published file: its sha256 and the addresses that hold it."""

    name: str
    sha256: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ImageSet:
    """A published set of images: what it is called, where it lies, how it is read."""

    title: str
    classes: tuple[str, ...]
    folders: tuple[str, ...]  # its usual names below a folder of data sets
    forms: Mapping[str, tuple[Form, ...]]  # by split
    downloads: Mapping[str, tuple[Download, ...]] = field(default_factory=dict)  # by split


@dataclass(frozen=True, slots=True)
class Found:
    form: Form
    paths: list[Path]


def find(
    name: str, image_set: ImageSet, split: str, data: str | os.PathLike[str] | None, *, fetch: bool
) -> Found:
    """The files of a split, from the first of four places that has them.

    Raises FileNotFoundError that says of each place why it has not.
    """
    variable = os.environ.get(VARIABLE)
    places: dict[str, Callable[[], Found | str]] = {
        "data": lambda: _below(Path(data), image_set, split) if data else "not given",
        f"${VARIABLE}": lambda: _below(Path(variable), image_set, split) if variable else "not set",
        "the system": lambda: _in_system(image_set, split),
        "the network": lambda: _fetched(name, image_set, split) if fetch else "switched off, fetch=False",
    }
    reasons: list[str] = []
    for place, look in places.items():
        found = look()
        if isinstance(found, Found):
            return found
        reasons.append(f"\n  {place}: {found}")
    raise FileNotFoundError(f"{image_set.title} ({split}) is in none of four places" + "".join(reasons))


def _in_system(image_set: ImageSet, split: str) -> Found | str:
    results = [_below(root, image_set, split) for root in SYSTEM]
    return next((found for found in results if isinstance(found, Found)), "; ".join(map(str, results)))


def _below(root: Path, image_set: ImageSet, split: str) -> Found | str:
    """The files in ``root`` or in a usual folder below it, or why they are not there."""
    root = root.expanduser()
    if root.is_file():
        root_names, folders = {root.name}, [root.parent]
    elif root.is_dir():
        root_names, folders = None, [root, *(root / name for name in image_set.folders)]
        if _belongs_to_another(root, image_set):
            folders = folders[1:]
    else:
        return f"{root} does not exist"
    for form in image_set.forms[split]:
        for folder in folders:
            paths = [_first(folder, names, root_names) for names in form.files]
            if None not in paths:
                return Found(form, [path for path in paths if path])
    if folders[0] != root and root_names is None:
        return f"{root} is named after another set, which calls its files alike"
    wanted = " or ".join(form.files[0][0] for form in image_set.forms[split])
    return f"{root} holds no {wanted}"


def _first(folder: Path, names: tuple[str, ...], allowed: set[str] | None) -> Path | None:
    paths = (folder / name for name in names if allowed is None or name in allowed)
    return next((path for path in paths if path.is_file()), None)


def _belongs_to_another(root: Path, image_set: ImageSet) -> bool:
    """Whether the folder is named after another set: MNIST and Fashion-MNIST call their files alike."""
    called = _letters(root.parent.name if root.name == "raw" else root.name)
    return called.endswith("mnist") and called not in {_letters(name) for name in image_set.folders}


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _fetched(name: str, image_set: ImageSet, split: str) -> Found | str:
    """The files from the user's cache, fetched into it first where they are not there; or why not."""
    downloads = image_set.downloads.get(split, ())
    if not downloads:
        return "is not published for download in this form"
    try:
        import pooch
    except ImportError:
        return "needs pooch; pip install 'isocline[data]'"
    folder = Path(pooch.os_cache("isocline")) / "images" / name
    for file in downloads:
        reasons = []
        for address in file.addresses:
            try:  # written beside the target and moved there only when the digest is right
                pooch.retrieve(address, f"sha256:{file.sha256}", file.name, folder)
                break
            except Exception as error:  # whatever a downloader raises: the next address may do
                reasons.append(f"{address} ({type(error).__name__}: {error})")
        else:
            return f"{file.name} could not be fetched from {' or '.join(reasons)}"
    return _below(folder, image_set, split)
