"""Pictures on disk, decoded when they are asked for: the same as those read at once, in little memory, with clear errors."""

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from isocline.datasets import picture_folder
from isocline.datasets.images import load_image_folder
from isocline.datasets.picture_folder import PictureFolder, imagenet_folders


def put(folder, name, size=(8, 6), seed=0, mode="RGB"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, np.uint8)).save(path)
    return path


@pytest.fixture
def folder(tmp_path):
    for i, name in enumerate(["owl/2.png", "cat/b.jpg", "cat/a.JPEG", "owl/é 1.png", "bee/x.png"]):
        put(tmp_path / "pictures", name, seed=i)
    put(tmp_path / "pictures", "cat/grey.png", seed=9, mode="L")
    (tmp_path / "pictures" / "cat" / "notes.txt").write_text("no picture")
    (tmp_path / "pictures" / ".hidden").mkdir()
    return tmp_path / "pictures"


def test_it_is_what_the_reader_of_whole_folders_gives(folder):
    lazy, whole = PictureFolder(folder), load_image_folder(folder)
    assert lazy.classes == whole.classes == ("bee", "cat", "owl")
    assert len(lazy) == len(whole) == 6
    for i in range(6):
        image, label = lazy[i]
        assert np.array_equal(image, whole.images[i])
        assert label == whole.labels[i]


def test_random_numbers_belong_to_seed_epoch_and_picture(folder):
    def draw(image, generator):
        return float(torch.rand((), generator=generator))

    pictures = PictureFolder(folder, draw, seed=1)
    first = [pictures[i][0] for i in range(6)]
    assert [pictures[i][0] for i in reversed(range(6))] == first[::-1]
    assert len(set(first)) == 6
    pictures.set_epoch(1)
    assert not set(first) & {pictures[i][0] for i in range(6)}
    assert not set(first) & {PictureFolder(folder, draw, seed=2)[i][0] for i in range(6)}


def test_memory_is_that_of_the_names(tmp_path):
    """A data set travels to every worker: a thousand pictures of a megapixel are forty kilobytes."""
    (tmp_path / "one").mkdir()
    path = put(tmp_path, "one/picture_00000.png", size=(1000, 1000))
    for i in range(1, 1000):
        (tmp_path / "one" / f"picture_{i:05}.png").hardlink_to(path)
    assert len(pickle.dumps(PictureFolder(tmp_path))) < 40_000


def test_wrong_folders_are_answered(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere: want a folder of pictures, got no such folder"):
        PictureFolder(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="bee: want a folder a class, got none"):
        PictureFolder(folder / "bee")
    with pytest.raises(
        ValueError, match=r"want the same 2 classes as elsewhere, got 3, and 'owl' in one only"
    ):
        PictureFolder(folder, classes=("bee", "cat"))
    (folder / "bee" / "x.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"bee/x\.png: want a picture, got a file Pillow cannot read"):
        PictureFolder(folder)[0]
    (folder / "bee" / "x.png").unlink()
    with pytest.raises(FileNotFoundError, match="bee: want a picture in each class, got none"):
        PictureFolder(folder)
    shutil.rmtree(folder / "bee")
    with pytest.raises(IndexError, match="index: want 0 to 4, got 5"):
        PictureFolder(folder)[5]


def test_imagenet_is_looked_for_and_what_is_missing_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(picture_folder, "SYSTEM", (tmp_path / "system",))
    monkeypatch.delenv("ISOCLINE_DATA", raising=False)
    with pytest.raises(
        FileNotFoundError, match="ImageNet: want folders train and val with one folder of pictures a class"
    ):
        imagenet_folders(tmp_path)
    for name in (
        "system/ImageNet/train",
        "system/ImageNet/val",
        "mine/train",
        "mine/validation",
        "half/train",
    ):
        (tmp_path / name).mkdir(parents=True)
    assert imagenet_folders(tmp_path / "mine") == (tmp_path / "mine/train", tmp_path / "mine/validation")
    assert imagenet_folders(tmp_path / "half") == (
        tmp_path / "system/ImageNet/train",
        tmp_path / "system/ImageNet/val",
    )
    monkeypatch.setenv("ISOCLINE_DATA", str(tmp_path / "mine"))
    assert imagenet_folders() == (Path(tmp_path / "mine/train"), tmp_path / "mine/validation")
