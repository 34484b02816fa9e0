"""The IDX format of MNIST and its followers: four bytes of magic, big-endian sizes, then the values."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np

from isocline._core.checks import wrong

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_BLOCK = 1 << 20  # bytes read at once, so that a forged size does not ask for memory


def read_idx(path: Path) -> np.ndarray:
    """The array in an IDX file, gzipped or not, in the machine's byte order.

    Raises ValueError, naming the file, when it is not IDX, is cut short, or holds more than its header says.
    Source: LeCun, Cortes and Burges, the MNIST database, section "file formats".
    """
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    opener: Callable[[Path, str], IO[bytes]] = gzip.open if packed else open  # type: ignore[assignment]
    try:
        with opener(path, "rb") as file:
            return _read(path, file)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise wrong(str(path), "a whole gzip file", str(error), "copy or download it again") from error


def read_idx_pair(paths: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Images ``(n, 1, H, W)`` uint8 and labels ``(n,)`` uint8 from the two files of an MNIST-like split."""
    images, labels = (read_idx(path) for path in paths)
    for path, array, axes in ((paths[0], images, 3), (paths[1], labels, 1)):
        if array.dtype != np.uint8 or array.ndim != axes:
            raise wrong(str(path), f"unsigned bytes with {axes} axes", array)
    if len(images) != len(labels):
        raise wrong(str(paths[1]), f"{len(images)} labels, one for each of {paths[0].name}", f"{len(labels)}")
    return images[:, None], labels


def _read(path: Path, file: IO[bytes]) -> np.ndarray:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES or not 1 <= magic[3] <= 8:
        begins = magic.hex(" ") or "nothing"
        raise wrong(str(path), "an IDX file, which begins with 00 00 <type> <axes>", begins)
    sizes = file.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise wrong(str(path), f"{magic[3]} sizes in its header", f"{len(sizes) // 4}", "copy it again")
    shape = tuple(int(size) for size in np.frombuffer(sizes, ">u4"))
    dtype = np.dtype(_TYPES[magic[2]])
    expected = math.prod(shape) * dtype.itemsize
    content = bytearray()
    while len(content) <= expected and (block := file.read(_BLOCK)):
        content += block
    if len(content) != expected:
        found = f"only {len(content)}" if len(content) < expected else "more"
        want = f"{expected} bytes for the shape {shape} in its header"
        raise wrong(str(path), want, found, "copy it again")
    return np.frombuffer(content, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)
