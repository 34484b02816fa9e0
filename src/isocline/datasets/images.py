"""Published image sets and folders of pictures, as arrays and as a torch data set."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from isocline._core.checks import check_choice, check_number, wrong
from isocline.datasets.folders import read_folder
from isocline.datasets.image_sets import SETS
from isocline.datasets.locate import find


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """Labelled images of one size."""

    images: np.ndarray  # (n, C, H, W) uint8
    labels: np.ndarray  # (n,) int64, index into classes
    classes: tuple[str, ...]
    source: str  # the set, the split, and the file or folder it was read from

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        n, channels, height, width = self.images.shape
        return f"Images({n} of {channels}x{height}x{width}, {len(self.classes)} classes, from {self.source})"


class ImageDataset(Dataset[tuple[Any, int]]):
    """Images for torch's loaders: item i is ``(image, label)``.

    The image is ``(C, H, W)`` in [0, 1], in torch's default dtype, after ``transform`` if there is one.

    >>> images = Images(np.full((2, 1, 4, 4), 255, np.uint8), np.array([0, 1]), ("cat", "dog"), "made here")
    >>> image, label = ImageDataset(images, transform=torch.sum)[1]
    >>> float(image), label
    (16.0, 1)
    """

    def __init__(self, images: Images, transform: Callable[[Tensor], Any] | None = None) -> None:
        self.images = images
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        image = torch.tensor(self.images.images[index]).to(torch.get_default_dtype()) / 255
        return (self.transform(image) if self.transform else image), int(self.images.labels[index])


def load_images(
    name: str,
    split: str = "train",
    data: str | os.PathLike[str] | None = None,
    *,
    count: int | None = None,
    fetch: bool = True,
) -> Images:
    """The images of a published set: ``"mnist"``, ``"fashion-mnist"``, ``"cifar-10"`` or ``"cifar-10-jpeg"``.

    They are looked for in ``data`` (a folder, or a file of the set), then in ``$ISOCLINE_DATA``, then where
    the system keeps data sets, then fetched once into the user's cache (not with ``fetch=False``).
    ``count`` keeps only the first so many. CIFAR-10 as JPEG is lossy: name it "CIFAR-10 (JPEG)" wherever a
    figure from it is quoted.

    Raises ValueError for an unknown name or split and for a damaged file, which it names; FileNotFoundError
    that says what was the matter in each of the four places.
    """
    check_choice("name", name, SETS)
    check_choice("split", split, ("train", "test"))
    limit = None if count is None else check_number("count", count, least=1, integer=True)
    image_set = SETS[name]
    found = find(name, image_set, split, data, fetch=fetch)
    images, labels = found.form.read(found.paths, limit)
    source = f"{image_set.title} {split}, {found.paths[0]}"
    if not len(images) or labels.max() >= len(image_set.classes):
        want = f"images of {len(image_set.classes)} classes"
        raise wrong(str(found.paths[0]), want, f"{len(images)} images, labels up to {labels.max(initial=0)}")
    images, labels = images[:limit], labels[:limit].astype(np.int64)
    return Images(np.ascontiguousarray(images), labels, image_set.classes, source)


def load_image_folder(folder: str | os.PathLike[str], size: int | tuple[int, int] | None = None) -> Images:
    """Your own pictures, ``folder/<class>/<picture>``, in alphabetical order.

    Grey pictures give one channel, otherwise three. ``size`` is a side or ``(H, W)``: pictures are scaled
    to cover it and cut at the centre; without it all must have one size. Pictures that lie in ``folder``
    itself are one class. Raises FileNotFoundError or ValueError, naming the file.
    """
    images, labels, classes = read_folder(Path(folder).expanduser(), size)
    return Images(images, labels.astype(np.int64), classes, str(folder))
