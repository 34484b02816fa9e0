"""A folder of pictures, one subfolder a class."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from isocline._core.checks import check_number, wrong

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
_DEEP = ("I", "F")  # modes of more than eight bits a channel


def read_folder(
    folder: Path, size: int | tuple[int, int] | None = None
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Images ``(n, C, H, W)`` uint8, labels ``(n,)`` and class names from ``folder/<class>/<picture>``.

    Classes and pictures are in alphabetical order. C is 1 when every picture is grey, otherwise 3. ``size``
    is a side or ``(H, W)``: pictures are scaled to cover it and cut at the centre; without it they must
    agree. A folder that holds pictures and no folders is one class, of its own name. Raises
    FileNotFoundError or ValueError, naming the file.
    """
    if not folder.is_dir():
        raise wrong(str(folder), "a folder of pictures", "no such folder", error=FileNotFoundError)
    shape = _checked_size(size)
    groups = {path.name: _pictures(path) for path in sorted(folder.iterdir()) if _is_class(path)}
    loose = _pictures(folder)
    if groups and loose:
        beside = f"{loose[0].name} beside them"
        raise wrong(str(folder), "folders of pictures only", beside, "move it into one")
    groups = groups or {folder.resolve().name: loose}
    paths = [path for group in groups.values() for path in group]
    empty = [name for name, group in groups.items() if not group]
    if empty:
        raise wrong(str(folder), "a picture in each class", f"none in {empty[0]!r}", error=FileNotFoundError)
    with ThreadPoolExecutor() as pool:
        pictures = list(pool.map(lambda path: read_picture(path, shape), paths))
    labels = np.repeat(np.arange(len(groups)), [len(group) for group in groups.values()])
    return _stacked(pictures, paths), labels, tuple(groups)


def _checked_size(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    sides = size if isinstance(size, (tuple, list)) else (size, size)
    if len(sides) != 2:
        raise wrong("size", "a side or (H, W)", size)
    height, width = (check_number("size", side, least=1, integer=True) for side in sides)
    return height, width


def _is_class(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".")


def _pictures(folder: Path) -> list[Path]:
    found = (path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    return sorted(path for path in found if not path.name.startswith("."))


def read_picture(path: Path, shape: tuple[int, int] | None = None) -> np.ndarray:
    """One picture ``(H, W, C)`` uint8, upright, grey or RGB, transparency on white left out."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as file:
                if file.mode.startswith(_DEEP):
                    raise wrong(str(path), "8 bits a channel", f"mode {file.mode}", "convert it first")
                image = ImageOps.exif_transpose(file)
                image = image.convert("L" if image.mode in ("1", "L") else "RGB")
    except (OSError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise wrong(str(path), "a picture", f"a file Pillow cannot read ({error})", "remove it") from error
    if shape is not None:
        image = ImageOps.fit(image, (shape[1], shape[0]), Image.Resampling.LANCZOS)
    array = np.asarray(image)
    return array[..., None] if array.ndim == 2 else array


def _stacked(pictures: list[np.ndarray], paths: list[Path]) -> np.ndarray:
    for picture, path in zip(pictures, paths, strict=True):
        if picture.shape[:2] != pictures[0].shape[:2]:
            want, got = ("{}x{}".format(*shape[:2]) for shape in (pictures[0].shape, picture.shape))
            raise wrong(str(path), f"{want}, the size of {paths[0].name}", got, "pass size=(H, W)")
    channels = max(picture.shape[2] for picture in pictures)
    images = np.empty((len(pictures), channels, *pictures[0].shape[:2]), np.uint8)
    for image, picture in zip(images, pictures, strict=True):
        image[:] = picture.transpose(2, 0, 1)
    return images
