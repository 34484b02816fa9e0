"""A folder of pictures that is too large for memory: one subfolder a class, each picture decoded when it is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor
from torch.utils.data import Dataset

from isocline._core.checks import check_number, wrong
from isocline._core.seeds import derive_seed, torch_generator
from isocline.datasets.folders import SUFFIXES, read_picture
from isocline.datasets.locate import SYSTEM, VARIABLE

IMAGENET = (
    "imagenet",
    "ImageNet",
    "ILSVRC2012",
    "imagenet/ILSVRC2012",
)  # its usual names below a folder of data sets
SPLITS = {"train": ("train",), "validation": ("val", "validation")}


class PictureFolder(Dataset[tuple[Any, int]]):
    """The pictures of ``folder/<class>/<picture>``, classes and pictures in alphabetical order: item i is ``(image, label)``.

    An image is ``(3, H, W)`` uint8, upright RGB, after ``transform(image, generator)`` if there is one. The generator's seed
    comes from `seed`, the epoch (`set_epoch`) and i alone: what is drawn does not depend on workers, processes or a resume.
    Kept in memory are the names, as bytes, some thirty a picture; no pixels. classes: the names that must be found, in their
    order, those of another split for instance; None takes the folders there are. Raises FileNotFoundError or ValueError,
    naming the folder or, when it is asked for, the picture.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        transform: Callable[[Tensor, Generator], Any] | None = None,
        *,
        seed: int = 0,
        classes: tuple[str, ...] | None = None,
    ) -> None:
        self.folder, self.transform, self.epoch = Path(folder).expanduser(), transform, 0
        self.seed = check_number("seed", seed, least=0, below=2**63, integer=True)
        self.classes = _classes(self.folder, classes)
        names = [_names(self.folder / name) for name in self.classes]
        counts, lengths = [len(found) for found in names], [len(name) for found in names for name in found]
        self._starts = np.concatenate([[0], np.cumsum(counts)])  # of the classes, in pictures
        self._ends = np.concatenate([[0], np.cumsum(lengths)])  # of the names, in bytes
        self._names = np.frombuffer(b"".join(name for found in names for name in found), np.uint8)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int | tuple[int, int]) -> tuple[Any, int]:
        """Picture and label; ``(index, copy)`` is the same picture with other random numbers for every copy, 0 as without."""
        index, copy = index if isinstance(index, tuple) else (index, 0)
        if not 0 <= index < len(self):
            raise IndexError(f"index: want 0 to {len(self) - 1}, got {index}")
        label = int(np.searchsorted(self._starts, index, side="right")) - 1
        image = torch.tensor(read_picture(self._path(index, label)).transpose(2, 0, 1)).expand(3, -1, -1)
        if self.transform is None:
            return image.contiguous(), label
        generator = torch_generator(
            derive_seed("picture", self.seed, self.epoch, index, *[copy] * (copy > 0))
        )
        return self.transform(image, generator), label

    def set_epoch(self, epoch: int) -> None:
        """Other random numbers for the next epoch."""
        self.epoch = epoch

    def _path(self, index: int, label: int) -> Path:
        name = self._names[self._ends[index] : self._ends[index + 1]].tobytes()
        return self.folder / self.classes[label] / os.fsdecode(name)


def imagenet_folders(data: str | os.PathLike[str] | None = None) -> tuple[Path, Path]:
    """The folders of ImageNet's training and validation pictures, ``train`` and ``val``, each with one folder a class.

    Looked for in `data` or its ``imagenet``, then in ``$ISOCLINE_DATA``, then where the system keeps data sets. Raises
    FileNotFoundError in one sentence.
    """
    roots = [Path(root).expanduser() for root in (data, os.environ.get(VARIABLE)) if root] + list(SYSTEM)
    for folder in (place for root in roots for place in (root, *(root / name for name in IMAGENET))):
        found = [[folder / name for name in names if (folder / name).is_dir()] for names in SPLITS.values()]
        if all(found):
            return found[0][0], found[1][0]
    looked = ", ".join(map(str, roots))
    raise FileNotFoundError(
        f"ImageNet: want folders train and val with one folder of pictures a class, found neither in {looked} nor in "
        "imagenet below them; it cannot be fetched freely, so name its folder with --data or ISOCLINE_DATA"
    )


def _classes(folder: Path, wanted: tuple[str, ...] | None) -> tuple[str, ...]:
    if not folder.is_dir():
        raise wrong(str(folder), "a folder of pictures", "no such folder", error=FileNotFoundError)
    with os.scandir(folder) as entries:
        found = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    if not found:
        raise wrong(str(folder), "a folder a class", "none", error=FileNotFoundError)
    if wanted is not None and tuple(found) != wanted:
        odd = sorted(set(found) ^ set(wanted))
        raise wrong(
            str(folder),
            f"the same {len(wanted)} classes as elsewhere",
            f"{len(found)}, and {odd[0]!r} in one only",
        )
    return tuple(found)


def _names(folder: Path) -> list[bytes]:
    with os.scandir(folder) as entries:
        found = (entry.name for entry in entries if not entry.name.startswith("."))
        names = sorted(name for name in found if os.path.splitext(name)[1].lower() in SUFFIXES)
    if not names:
        raise wrong(str(folder), "a picture in each class", "none", error=FileNotFoundError)
    return [os.fsencode(name) for name in names]
