"""CIFAR-10 as its authors publish it: the binary and the Python version, as archives or unpacked."""

from __future__ import annotations

import gzip
import tarfile
import zlib
from pathlib import Path

import numpy as np

from isocline._core.checks import wrong
from isocline.datasets.cifar10_batch import read_batch

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_RECORD = 1 + 3 * 32 * 32  # one byte of label, then the red, green and blue planes
_BLOCK = 1 << 20
_LARGEST = 1 << 29  # bytes of one member; the published ones have 31 million

BATCHES = {
    "train": tuple(f"data_batch_{i}" for i in range(1, 6)),
    "test": ("test_batch",),
}


def read_binary(paths: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Images ``(n, 3, 32, 32)`` uint8 and labels ``(n,)`` uint8 from ``*.bin`` files, one after another."""
    return _joined([_records(path.read_bytes(), str(path)) for path in paths])


def read_python(paths: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    """The same from the files of the Python version. Nothing in them is run."""
    return _joined([read_batch(path.read_bytes(), str(path)) for path in paths])


def read_archive(path: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """The same from ``cifar-10-binary.tar.gz`` or ``cifar-10-python.tar.gz``; nothing is unpacked to disk.

    Raises ValueError, naming the archive, when it is damaged or lacks a batch of the split.
    """
    parts: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    try:
        with gzip.open(path) as packed, tarfile.open(fileobj=packed, mode="r|") as archive:
            for member in archive:
                name = Path(member.name).name
                batch, binary = name.removesuffix(".bin"), name.endswith(".bin")
                if member.isfile() and batch in BATCHES[split] and member.size <= _LARGEST:
                    file = archive.extractfile(member)
                    content = file.read() if file else b""
                    parts[batch] = (_records if binary else read_batch)(content, f"{path}: {member.name}")
            while packed.read(_BLOCK):  # the check sum stands at the very end
                pass
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise wrong(str(path), "a whole .tar.gz", str(error), "copy or download it again") from error
    missing = [batch for batch in BATCHES[split] if batch not in parts]
    if missing:
        raise wrong(str(path), f"the batches of the {split} split", f"none called {', '.join(missing)}")
    return _joined([parts[batch] for batch in BATCHES[split]])


def _records(content: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    if not content or len(content) % _RECORD:
        raise wrong(name, f"records of {_RECORD} bytes", f"{len(content)} bytes", "copy or download it again")
    records = np.frombuffer(content, np.uint8).reshape(-1, _RECORD)
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0]


def _joined(parts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([images for images, _ in parts]), np.concatenate([labels for _, labels in parts])
