"""IDX files: what is written is read, and each way of being broken has its sentence."""

import gzip
import re
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from isocline.datasets.idx import read_idx, read_idx_pair

CODES = {"u1": 8, "i1": 9, ">i2": 11, ">i4": 12, ">f4": 13, ">f8": 14}


def idx_bytes(array: np.ndarray, code: int = 8) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape) + array.tobytes()


@given(
    array=st.sampled_from(sorted(CODES)).flatmap(
        lambda kind: npst.arrays(kind, npst.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4))
    ),
    packed=st.booleans(),
)
def test_every_type_and_shape_comes_back(tmp_path_factory, array, packed):
    path = tmp_path_factory.mktemp("idx") / "x"
    content = idx_bytes(array, CODES[array.dtype.str.replace("|", "")])
    path.write_bytes(gzip.compress(content) if packed else content)
    found = read_idx(path)
    assert found.dtype == array.dtype.newbyteorder("=")
    assert found.dtype.isnative
    assert found.shape == array.shape
    assert found.astype(array.dtype).tobytes() == array.tobytes()


WHOLE = idx_bytes(np.zeros((2, 3), np.uint8))
BROKEN = [
    (b"", "an IDX file, which begins with 00 00 <type> <axes>, got nothing"),
    (b"\x00\x00\x08", "an IDX file, which begins with 00 00 <type> <axes>, got 00 00 08"),
    (b"PNG!", "an IDX file, which begins with 00 00 <type> <axes>, got 50 4e 47 21"),
    (b"\x00\x00\x0a\x01", "got 00 00 0a 01"),
    (b"\x00\x00\x08\x00", "got 00 00 08 00"),
    (WHOLE[:6], "2 sizes in its header, got 0; copy it again"),
    (WHOLE[:-1], "6 bytes for the shape (2, 3) in its header, got only 5; copy it again"),
    (WHOLE + b"\x00", "6 bytes for the shape (2, 3) in its header, got more; copy it again"),
    (struct.pack(">I8I", 0x808, *[2**32 - 1] * 8) + b"x", "got only 1; copy it again"),
    (gzip.compress(WHOLE)[:-9], "a whole gzip file, got"),
    (gzip.compress(WHOLE)[:10] + b"\xff" * 20, "a whole gzip file, got"),
    (gzip.compress(WHOLE)[:-8] + b"\x00" * 8, "a whole gzip file, got CRC check failed"),
]


@pytest.mark.parametrize(("content", "message"), BROKEN, ids=range(len(BROKEN)))
def test_what_is_broken_is_named_in_one_sentence(tmp_path, content, message):
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        read_idx(path)
    assert str(caught.value).startswith(f"{path}: want ")
    assert "\n" not in str(caught.value)


def test_a_gzip_that_unpacks_to_more_is_not_unpacked_whole(tmp_path):
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(WHOLE + bytes(50_000_000)))
    with pytest.raises(ValueError, match="got more"):
        read_idx(path)


class TestPair:
    def write(self, folder, images, labels):
        (folder / "images").write_bytes(idx_bytes(images))
        (folder / "labels").write_bytes(idx_bytes(labels))
        return [folder / "images", folder / "labels"]

    def test_images_get_a_channel(self, tmp_path):
        drawn = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
        images, labels = read_idx_pair(self.write(tmp_path, drawn, np.array([7, 1], np.uint8)))
        assert images.shape == (2, 1, 3, 4)
        assert np.array_equal(images[:, 0], drawn)
        assert labels.tolist() == [7, 1]

    def test_counts_and_axes_must_agree(self, tmp_path):
        images, labels = np.zeros((2, 3, 4), np.uint8), np.zeros(3, np.uint8)
        with pytest.raises(ValueError, match="labels: want 2 labels, one for each of images, got 3"):
            read_idx_pair(self.write(tmp_path, images, labels))
        with pytest.raises(
            ValueError, match="images: want unsigned bytes with 3 axes, got an array of shape"
        ):
            read_idx_pair(self.write(tmp_path, labels, labels))
        with pytest.raises(ValueError, match="labels: want unsigned bytes with 1 axes"):
            read_idx_pair(self.write(tmp_path, images, images))
