"""CIFAR-10 as JPEG files end to end in one ``.npz``: ``bytes``, ``offsets``, ``labels``, ``classes``."""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from isocline._core.checks import wrong
from isocline.datasets.cifar10 import CLASSES

_BROKEN = (  # what NumPy and zipfile raise for a file that is none
    ValueError, TypeError, KeyError, EOFError, OSError, NotImplementedError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def read_jpeg_npz(path: Path, count: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The first ``count`` (default: all) images ``(n, 3, 32, 32)`` uint8 and labels ``(n,)`` uint8.

    The arrays are ``bytes`` uint8 ``(total,)``; ``offsets`` ``(n + 1,)``, image i being
    ``bytes[offsets[i]:offsets[i + 1]]``; ``labels`` ``(n,)``; and ``classes``. Nothing is unpickled. Raises
    ValueError, naming the file and the image, for anything else.
    """
    content, offsets, labels = _arrays(path)
    ends = offsets.astype(np.int64)
    if ends.ndim != 1 or labels.shape != (len(ends) - 1,) or (np.diff(ends) <= 0).any():
        raise wrong(str(path), "rising offsets, one more than labels", f"{offsets.shape} and {labels.shape}")
    if ends[0] < 0 or ends[-1] > content.size:
        raise wrong(str(path), f"offsets within its {content.size} bytes", f"{ends[0]} to {ends[-1]}")
    labels = labels[:count]
    images = np.empty((len(labels), 32, 32, 3), np.uint8)
    files = memoryview(content.tobytes())
    ends = ends.tolist()
    for i in range(len(labels)):
        images[i] = _decoded(files[ends[i] : ends[i + 1]], f"{path}: image {i}")
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)), labels


def _arrays(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = file["bytes"], file["offsets"], file["labels"]
            classes = tuple(file["classes"].tolist()) if "classes" in file else CLASSES
    except _BROKEN as e:
        raise wrong(str(path), "an .npz of bytes, offsets and labels", str(e), "copy it again") from e
    if classes != CLASSES:
        raise wrong(str(path), "the classes of CIFAR-10 in alphabetical order", classes)
    for array, kinds in zip(arrays, ("u", "iu", "iu"), strict=True):
        if array.dtype.kind not in kinds or array.ndim != 1:
            raise wrong(str(path), "rows of whole numbers", array)
    if arrays[0].dtype != np.uint8:
        raise wrong(str(path), "its bytes as uint8", arrays[0])
    return arrays


def _decoded(content: memoryview, name: str) -> np.ndarray:
    # Pillow's bare decoder takes half the time, but writes out of bounds when a size is not as told.
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
            if image.size != (32, 32) or image.mode != "RGB":
                raise wrong(name, "32x32 RGB", f"{image.size[0]}x{image.size[1]} {image.mode}")
            return np.asarray(image)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise wrong(name, "a JPEG", f"other bytes ({type(error).__name__})", "copy the file again") from error
