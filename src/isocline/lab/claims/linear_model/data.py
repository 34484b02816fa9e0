"""The real data of this room's claims: two classes each, from scikit-learn and from image files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...claim import Missing, data_folder

# scikit-learn is slow to import and only wanted where a task runs, so it is imported there.

KNOWN = ("breast cancer", "digits 1/8", "digits 3/rest", "iris 0/1")


def two_classes(name: str, n: int | None = None, *, fetch: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """X ``(n, d)`` and y ``(n,)`` in {-1, +1} of ``breast cancer``, ``iris 0/1``, ``digits 1/8``,
    ``digits 3/rest``, or of two classes of an image set, such as ``fashion-mnist 1/8``: their first n images.

    Breast cancer is standardised, digits are divided by 16 and images by 255; iris is as it is. Raises
    Missing when the image set is not on this machine and cannot (or, without `fetch`, may not) be fetched.
    """
    from sklearn import datasets

    source, _, classes = name.rpartition(" ")
    if name == "breast cancer":
        X, y = _from_sklearn(datasets.load_breast_cancer)
        return (X - X.mean(axis=0)) / X.std(axis=0), np.where(y == 1, 1, -1)
    if source == "iris":
        X, y = _from_sklearn(datasets.load_iris)
    elif source == "digits":
        X, y = _from_sklearn(datasets.load_digits)
        X = X / 16.0
    else:
        X, y = _images(source, fetch)
    first, second = classes.split("/")
    keep = np.ones(len(y), bool) if second == "rest" else np.isin(y, [int(first), int(second)])
    return X[keep][:n], np.where(y[keep][:n] == int(first), 1, -1)


def image_rows(name: str, n: int) -> np.ndarray:
    """Signed rows of two classes of an image set, with a constant column for the intercept; radius one."""
    X, y = two_classes(name, n, fetch=True)
    rows = np.hstack([X.astype(float), np.ones((len(X), 1))]) * y[:, None]
    return rows / np.linalg.norm(rows, axis=1).max()


def _from_sklearn(load: Callable[..., Any]) -> tuple[np.ndarray, np.ndarray]:
    X, y = load(return_X_y=True)
    return np.asarray(X, float), np.asarray(y)


def _images(source: str, fetch: bool) -> tuple[np.ndarray, np.ndarray]:
    """Pixels in [0, 1] ``(n, C H W)`` float32 and labels ``(n,)`` of the training split."""
    from isocline.datasets.images import load_images

    try:
        found = load_images(source, "train", data_folder(), fetch=fetch)
    except FileNotFoundError as error:
        raise Missing(str(error)) from error
    pixels = found.images.reshape(len(found), -1).astype(np.float32)
    return pixels / np.float32(255), found.labels
