"""CIFAR-10 in both published versions: the same images from each, and a pickle that is never obeyed."""

import io
import os
import pickle
import random
import re
import struct
import tarfile

import numpy as np
import pytest

from isocline.datasets.cifar10 import BATCHES, read_archive, read_binary, read_python
from isocline.datasets.cifar10_batch import read_batch


def drawn(n, seed=0):
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (n, 3, 32, 32), np.uint8), generator.integers(0, 10, n, np.uint8)


def binary(images, labels):
    return np.concatenate([labels[:, None], images.reshape(len(images), -1)], axis=1).tobytes()


def python2(images, labels):
    """A batch as Python 2 pickled the published ones, protocol 2."""

    def word(text: bytes) -> bytes:
        return b"U" + bytes([len(text)]) + text

    listed = b"]q\x05(" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    kind = b"cnumpy\ndtype\nq\x0c" + word(b"u1") + b"K\x00K\x01\x87q\x0eRq\x0f(K\x03" + word(b"|")
    kind += b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x11b"
    pixels = images.tobytes()
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\x00\x85q\t" + word(b"b") + b"q\n"
    )
    array += b"\x87Rq\x0b(K\x01" + b"M" + struct.pack("<H", len(images)) + b"M\x00\x0c\x86" + kind
    array += b"\x89T" + struct.pack("<i", len(pixels)) + pixels + b"tq\x12b"
    names = b"]q\x15(" + b"".join(word(f"{i}.png".encode()) for i in range(len(images))) + b"e"
    return b"".join(
        [
            b"\x80\x02}q\x01(",
            word(b"batch_label") + b"q\x02" + word(b"training batch 1 of 5") + b"q\x03",
            word(b"labels") + b"q\x04" + listed,
            word(b"data") + b"q\x06" + array,
            word(b"filenames") + b"q\x14" + names,
            b"u.",
        ]
    )


def archive(path, members):
    with tarfile.open(path, "w:gz") as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture(params=["binary", "python"])
def version(request, tmp_path):
    """Six batches of one version, unpacked and packed."""
    write, suffix = (binary, ".bin") if request.param == "binary" else (python2, "")
    batches = {name: drawn(3, seed) for seed, name in enumerate(BATCHES["train"] + BATCHES["test"])}
    files = {f"{name}{suffix}": write(*batch) for name, batch in batches.items()}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    shuffled = dict(sorted(files.items(), reverse=True))  # an archive may hold them in any order
    packed = archive(
        tmp_path / "cifar-10.tar.gz",
        {"cifar-10-batches/readme.html": b"x"} | {f"cifar-10-batches/{k}": v for k, v in shuffled.items()},
    )
    return tmp_path, packed, suffix, batches


@pytest.mark.parametrize("split", ["train", "test"])
def test_unpacked_and_packed_give_the_published_order(version, split):
    folder, packed, suffix, batches = version
    read = read_binary if suffix else read_python
    paths = [folder / f"{name}{suffix}" for name in BATCHES[split]]
    for images, labels in (read(paths), read_archive(packed, split)):
        assert images.shape == (3 * len(paths), 3, 32, 32)
        assert images.dtype == labels.dtype == np.uint8
        assert np.array_equal(images, np.concatenate([batches[name][0] for name in BATCHES[split]]))
        assert np.array_equal(labels, np.concatenate([batches[name][1] for name in BATCHES[split]]))


def test_our_imitation_of_a_published_batch_is_a_true_pickle():
    images, labels = drawn(4)
    loaded = pickle.loads(python2(images, labels), encoding="bytes")  # a second way, on bytes of our own
    assert np.array_equal(loaded[b"data"].reshape(-1, 3, 32, 32), images)
    assert loaded[b"labels"] == labels.tolist()
    assert np.array_equal(read_batch(python2(images, labels), "x")[0], images)


class Trap:
    def __reduce__(self):
        return os.mkdir, (Trap.where,)


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_would_act_does_not(tmp_path, protocol):
    Trap.where = str(tmp_path / "sprung")
    images, labels = drawn(2)
    for content in (
        pickle.dumps(Trap(), protocol),
        pickle.dumps({b"data": Trap(), b"labels": [1, 2]}, protocol),
        python2(images, labels).replace(b"u.", b"u0" + pickle.dumps(Trap(), 2)[2:]),
    ):
        with pytest.raises(
            ValueError, match="x: want a batch of CIFAR-10's Python version, got another file"
        ):
            read_batch(content, "x")
    assert not os.path.exists(Trap.where)
    pickle.loads(pickle.dumps(Trap(), protocol))
    assert os.path.exists(Trap.where)  # the trap works, so the test means something


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "pickle exhausted before seeing STOP"),
        (b"\x80\x02.", "pop from empty list"),
        (pickle.dumps({"data": 1}, 2), "it asks for BINUNICODE"),
        (pickle.dumps([], 2), "it is not a mapping"),
        (b"\x80\x02cos\nsystem\n.", "it asks for GLOBAL os system"),
        (b"\x80\x02}.", "data"),
        (b"\x80\x02}(U\x04dataK\x01u.", "'int' object has no attribute 'state'"),
        (b"\x80\x02}(]K\x01u.", "unhashable"),
        (b"\x80\x02h\x07.", "7"),
    ],
)
def test_what_is_no_batch_says_why(content, message):
    with pytest.raises(
        ValueError, match=re.escape("use the binary version, cifar-10-binary.tar.gz")
    ) as caught:
        read_batch(content, "data_batch_1")
    assert message in str(caught.value)


def test_labels_and_pixels_must_fit():
    images, labels = drawn(3)
    with pytest.raises(ValueError, match=r"a label in 0\.\.9 for each image is missing"):
        read_batch(python2(images, labels[:2]), "x")
    with pytest.raises(ValueError, match=r"a label in 0\.\.9 for each image is missing"):
        read_batch(python2(images, labels + 10), "x")
    with pytest.raises(ValueError, match="cannot reshape"):
        read_batch(python2(images, labels).replace(b"M\x00\x0c", b"M\x00\x0d"), "x")
    with pytest.raises(ValueError, match="rows of unsigned bytes"):
        read_batch(python2(images, labels).replace(b"U\x02u1", b"U\x02f4"), "x")
    with pytest.raises(ValueError, match="rows of unsigned bytes"):  # stored column by column
        read_batch(python2(images, labels).replace(b"\x89T", b"\x88T"), "x")


def test_two_thousand_damaged_batches_raise_one_kind_of_error():
    chance, whole = random.Random(0), python2(*drawn(1))
    framing = [i for i in range(len(whole)) if not 300 < i < len(whole) - 40]  # where the steps are
    refused = []
    for _ in range(2000):
        content = bytearray(whole)
        for _ in range(chance.randint(1, 3)):
            content[chance.choice(framing)] = chance.randrange(256)
        try:
            read_batch(bytes(content), "x")
        except ValueError as error:
            refused.append(str(error))
    assert all(message.startswith("x: want a batch") for message in refused)
    assert len(refused) > 1000


@pytest.mark.parametrize("damage", ["cut", "flipped", "other", "empty"])
def test_damaged_archives_are_named(version, damage):
    _, packed, *_ = version
    whole = packed.read_bytes()
    flipped = whole[: len(whole) // 2] + bytes([whole[len(whole) // 2] ^ 255]) + whole[len(whole) // 2 + 1 :]
    packed.write_bytes(
        {"cut": whole[:-3000], "flipped": flipped, "other": b"no archive", "empty": b""}[damage]
    )
    with pytest.raises(ValueError, match=re.escape(f"{packed}: want")):
        read_archive(packed, "train")


def test_an_archive_without_a_batch_and_records_that_do_not_end(tmp_path):
    images, labels = drawn(2)
    path = archive(tmp_path / "x.tar.gz", {"data_batch_1.bin": binary(images, labels)})
    with pytest.raises(
        ValueError, match="the batches of the train split, got none called data_batch_2, data_batch_3"
    ):
        read_archive(path, "train")
    path = archive(tmp_path / "y.tar.gz", {"test_batch.bin": binary(images, labels)[:-1]})
    with pytest.raises(
        ValueError, match=r"y\.tar\.gz: test_batch\.bin: want records of 3073 bytes, got 6145 bytes"
    ):
        read_archive(path, "test")
