"""The JPEG archive: decoded like Pillow decodes, refused with a reason when it is not what it should be."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from isocline.datasets.cifar10 import CLASSES
from isocline.datasets.jpeg import read_jpeg_npz


def jpeg(array, mode="RGB"):
    buffer = io.BytesIO()
    Image.fromarray(array).convert(mode).save(buffer, "JPEG")
    return buffer.getvalue()


def arrays(n=5, seed=0):
    generator = np.random.default_rng(seed)
    smooth = generator.integers(0, 256, (n, 4, 4, 3), np.uint8).repeat(8, 1).repeat(8, 2)
    files = [jpeg(image) for image in smooth]
    return {
        "bytes": np.frombuffer(b"".join(files), np.uint8),
        "offsets": np.cumsum([0, *map(len, files)]),
        "labels": generator.integers(0, 10, n, np.uint8),
        "classes": np.array(CLASSES),
    }, files


def saved(path, **changes):
    made, _ = arrays()
    made |= changes
    np.savez(path, **{name: array for name, array in made.items() if array is not None})
    return path


def test_images_are_those_pillow_decodes(tmp_path):
    made, files = arrays()
    images, labels = read_jpeg_npz(saved(tmp_path / "x.npz"))
    expected = np.stack([np.asarray(Image.open(io.BytesIO(file))) for file in files])
    assert np.array_equal(images, expected.transpose(0, 3, 1, 2))
    assert images.flags.c_contiguous
    assert np.array_equal(labels, made["labels"])


def test_a_count_decodes_only_the_first(tmp_path):
    made, _ = arrays()
    made["bytes"] = made["bytes"].copy()
    made["bytes"][made["offsets"][2] :] = 0  # the rest is unreadable
    path = saved(tmp_path / "x.npz", bytes=made["bytes"])
    images, labels = read_jpeg_npz(path, 2)
    assert images.shape == (2, 3, 32, 32)
    assert len(labels) == 2
    with pytest.raises(ValueError, match=re.escape(f"{path}: image 2: want a JPEG, got other bytes")):
        read_jpeg_npz(path, 3)


made, _ = arrays()
BROKEN = [
    ({"labels": None}, "want an .npz of bytes, offsets and labels"),
    ({"labels": made["labels"][:3]}, "want rising offsets, one more than labels, got (6,) and (3,)"),
    ({"offsets": made["offsets"][::-1].copy()}, "want rising offsets"),
    ({"offsets": made["offsets"] + 1}, "want offsets within its"),
    ({"offsets": made["offsets"] - 1}, "want offsets within its"),
    ({"offsets": made["offsets"] + 0.5}, "want rows of whole numbers, got an array of shape (6,), float64"),
    ({"offsets": made["offsets"][:0]}, "want rising offsets"),
    ({"bytes": made["bytes"].astype(np.uint16)}, "want its bytes as uint8"),
    ({"bytes": made["bytes"][None]}, "want rows of whole numbers"),
    ({"classes": np.array(CLASSES[::-1])}, "want the classes of CIFAR-10 in alphabetical order"),
    ({"labels": np.array([None] * 5)}, "want an .npz of bytes, offsets and labels"),  # would be unpickled
]


@pytest.mark.parametrize(("changes", "message"), BROKEN, ids=[case[1] for case in BROKEN])
def test_what_is_wrong_is_said(tmp_path, changes, message):
    path = saved(tmp_path / "x.npz", **changes)
    with pytest.raises(ValueError, match=re.escape(f"{path}: {message}")):
        read_jpeg_npz(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"\x80\x04K\x01.", b"\x93NUMPY", b"text"])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "x.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"want an \.npz of bytes, offsets and labels"):
        read_jpeg_npz(path)
    np.save(tmp_path / "y.npy", np.zeros(3))
    with pytest.raises(ValueError, match=r"want an \.npz of bytes, offsets and labels"):
        read_jpeg_npz(tmp_path / "y.npy")


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (jpeg(np.zeros((16, 16, 3), np.uint8)), "image 0: want 32x32 RGB, got 16x16 RGB"),
        (jpeg(np.zeros((64, 64, 3), np.uint8)), "image 0: want 32x32 RGB, got 64x64 RGB"),
        (jpeg(np.zeros((32, 32, 3), np.uint8), "L"), "image 0: want 32x32 RGB, got 32x32 L"),
        (jpeg(np.zeros((32, 32, 3), np.uint8))[:-200], "image 0: want a JPEG, got other bytes"),
        (b"\x89PNG\r\n\x1a\n", "image 0: want a JPEG, got other bytes"),
    ],
)
def test_a_picture_of_another_kind_is_named(tmp_path, picture, message):
    path = saved(
        tmp_path / "x.npz",
        bytes=np.frombuffer(picture, np.uint8),
        offsets=np.array([0, len(picture)]),
        labels=np.zeros(1, np.uint8),
    )
    with pytest.raises(ValueError, match=message):
        read_jpeg_npz(path)
