"""Image sets by name, pictures in folders, and the four places in which the files may be."""

import gzip
import hashlib
import io
import re
import sys
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from isocline.datasets import image_sets, locate
from isocline.datasets.images import ImageDataset, Images, load_image_folder, load_images
from isocline.datasets.locate import Download


def idx(array):
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def put_mnist(folder, n=4, seed=0, suffix="", stem="train"):
    generator = np.random.default_rng(seed)
    images, labels = generator.integers(0, 256, (n, 28, 28), np.uint8), np.arange(n, dtype=np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
        content = gzip.compress(idx(array)) if suffix else idx(array)
        (folder / f"{stem}-{kind}-ubyte{suffix}").write_bytes(content)
    return images


@pytest.fixture(autouse=True)
def _nothing_around(monkeypatch, tmp_path):
    """No variable, an empty system, an empty cache."""
    monkeypatch.delenv("ISOCLINE_DATA", raising=False)
    monkeypatch.setattr(locate, "SYSTEM", (tmp_path / "system",))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


class TestPlaces:
    @pytest.mark.parametrize("below", ["", "mnist", "MNIST/raw"])
    @pytest.mark.parametrize("suffix", ["", ".gz"])
    def test_the_argument_comes_first(self, tmp_path, monkeypatch, below, suffix):
        images = put_mnist(tmp_path / "mine" / below, seed=1, suffix=suffix)
        put_mnist(tmp_path / "variable", seed=2)
        monkeypatch.setenv("ISOCLINE_DATA", str(tmp_path / "variable"))
        found = load_images("mnist", data=tmp_path / "mine")
        assert np.array_equal(found.images[:, 0], images)
        assert found.source.startswith(f"MNIST train, {tmp_path / 'mine' / below}")

    def test_then_the_variable_then_the_system(self, tmp_path, monkeypatch):
        ours, theirs = (
            put_mnist(tmp_path / "v" / "mnist", seed=1),
            put_mnist(tmp_path / "system/mnist", seed=2),
        )
        assert np.array_equal(load_images("mnist", data=tmp_path / "empty").images[:, 0], theirs)
        monkeypatch.setenv("ISOCLINE_DATA", str(tmp_path / "v"))
        assert np.array_equal(load_images("mnist").images[:, 0], ours)

    def test_a_file_may_be_named_itself(self, tmp_path):
        path = tmp_path / "cifar-10-binary.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            info = tarfile.TarInfo("cifar-10-batches-bin/test_batch.bin")
            info.size = 2 * 3073
            archive.addfile(info, io.BytesIO(bytes(info.size)))
        found = load_images("cifar-10", "test", path)
        assert found.images.shape == (2, 3, 32, 32)
        assert found.source == f"CIFAR-10 test, {path}"
        other = tmp_path / "other.tar.gz"
        path.rename(other)
        with pytest.raises(
            FileNotFoundError, match=r"holds no test_batch\.bin or test_batch or cifar-10-binary"
        ):
            load_images("cifar-10", "test", other, fetch=False)

    def test_the_folder_of_another_set_is_not_mistaken(self, tmp_path):
        for name in ("fashion-mnist", "FashionMNIST/raw", "kmnist"):
            put_mnist(tmp_path / name)
            with pytest.raises(
                FileNotFoundError, match="is named after another set, which calls its files alike"
            ):
                load_images("mnist", data=tmp_path / name, fetch=False)
        assert load_images("fashion-mnist", data=tmp_path / "fashion-mnist").classes[0] == "T-shirt/top"
        assert load_images("fashion-mnist", data=tmp_path / "FashionMNIST" / "raw").classes[9] == "Ankle boot"

    def test_none_of_four_places_says_why_of_each(self, tmp_path, monkeypatch):
        monkeypatch.setenv("ISOCLINE_DATA", str(tmp_path))
        monkeypatch.setitem(sys.modules, "pooch", None)
        with pytest.raises(FileNotFoundError) as caught:
            load_images("mnist", "test", data=tmp_path / "nowhere")
        assert str(caught.value) == (
            "MNIST (test) is in none of four places\n"
            f"  data: {tmp_path / 'nowhere'} does not exist\n"
            f"  $ISOCLINE_DATA: {tmp_path} holds no t10k-images-idx3-ubyte\n"
            f"  the system: {tmp_path / 'system'} does not exist\n"
            "  the network: needs pooch; pip install 'isocline[data]'"
        )
        monkeypatch.delenv("ISOCLINE_DATA")
        with pytest.raises(
            FileNotFoundError, match=r"(?s)data: not given.*not set.*switched off, fetch=False"
        ):
            load_images("mnist", fetch=False)
        with pytest.raises(
            FileNotFoundError, match="the network: is not published for download in this form"
        ):
            load_images("cifar-10-jpeg")

    def test_a_damaged_file_stops_the_search(self, tmp_path):
        put_mnist(tmp_path / "system" / "mnist")
        put_mnist(tmp_path / "mine")
        (tmp_path / "mine" / "train-images-idx3-ubyte").write_bytes(b"\x00\x00\x08\x03")
        with pytest.raises(ValueError, match=r"mine/train-images-idx3-ubyte: want 3 sizes in its header"):
            load_images("mnist", data=tmp_path / "mine")


class TestFetching:
    """With addresses on this machine's disk: pooch's own path through digest, temporary file and move."""

    @pytest.fixture
    def published(self, tmp_path, monkeypatch):
        pooch = pytest.importorskip("pooch", reason="the extra 'data' is not installed")

        def from_disk(url, output_file, *_):
            self.asked.append(url)
            path = tmp_path / "server" / url.rpartition("/")[2]
            with open(output_file, "wb") as file:
                file.write(path.read_bytes())

        self.asked = []
        monkeypatch.setattr(pooch.core, "choose_downloader", lambda *_, **__: from_disk)
        images = put_mnist(tmp_path / "server", suffix=".gz")
        files = tuple(
            Download(
                path.name,
                hashlib.sha256(path.read_bytes()).hexdigest(),
                (f"https://a/{path.name}", f"https://b/{path.name}"),
            )
            for path in sorted((tmp_path / "server").iterdir())
        )
        monkeypatch.setitem(image_sets.SETS["mnist"].downloads, "train", files)  # type: ignore[arg-type]
        return tmp_path, images

    def test_files_are_fetched_once_into_the_cache(self, published):
        folder, images = published
        for _ in range(2):
            found = load_images("mnist")
            assert np.array_equal(found.images[:, 0], images)
        assert len(self.asked) == 2
        names = sorted(path.name for path in (folder / "cache" / "isocline" / "images" / "mnist").iterdir())
        assert names == ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"]

    def test_a_wrong_digest_leaves_nothing_and_every_address_is_tried(self, published):
        folder, _ = published
        for path in (folder / "server").iterdir():
            path.write_bytes(path.read_bytes() + b"more")
        with pytest.raises(
            FileNotFoundError, match=r"train-images-idx3-ubyte\.gz could not be fetched from"
        ) as caught:
            load_images("mnist")
        assert "https://a/" in str(caught.value)
        assert "https://b/" in str(caught.value)
        assert [url.split("/")[2] for url in self.asked] == ["a", "b"]
        assert not list((folder / "cache" / "isocline" / "images" / "mnist").iterdir())

    def test_a_damaged_cache_is_fetched_again(self, published):
        folder, images = published
        load_images("mnist")
        (folder / "cache/isocline/images/mnist/train-images-idx3-ubyte.gz").write_bytes(b"damaged")
        assert np.array_equal(load_images("mnist").images[:, 0], images)
        assert len(self.asked) == 3


def test_every_published_file_has_a_digest_and_an_address():
    downloads = [file for s in image_sets.SETS.values() for files in s.downloads.values() for file in files]
    assert len(downloads) == 10
    for file in downloads:
        assert re.fullmatch("[0-9a-f]{64}", file.sha256)
        assert all(address.startswith("http") and address.endswith(file.name) for address in file.addresses)
    assert len({file.sha256 for file in downloads}) == 9  # one CIFAR-10 archive holds both splits


class TestArrays:
    def test_what_comes_back(self, tmp_path):
        put_mnist(tmp_path, n=10, stem="t10k")
        found = load_images("mnist", "test", tmp_path)
        assert found.images.shape == (10, 1, 28, 28)
        assert found.images.dtype == np.uint8
        assert found.labels.dtype == np.int64
        assert found.labels.tolist() == list(range(10))
        assert found.classes == tuple("0123456789")
        assert len(found) == 10
        assert repr(found).startswith("Images(10 of 1x28x28, 10 classes, from MNIST test, ")
        first = load_images("mnist", "test", tmp_path, count=3)
        assert np.array_equal(first.images, found.images[:3])
        assert len(first.labels) == 3

    def test_labels_beyond_the_classes_are_refused(self, tmp_path):
        put_mnist(tmp_path, n=12)
        with pytest.raises(ValueError, match="want images of 10 classes, got 12 images, labels up to 11"):
            load_images("mnist", data=tmp_path)
        put_mnist(tmp_path, n=0)
        with pytest.raises(ValueError, match="want images of 10 classes, got 0 images"):
            load_images("mnist", data=tmp_path)

    @pytest.mark.parametrize(
        ("call", "error", "message"),
        [
            (lambda: load_images("mnits"), ValueError, "name: want one of 'mnist'.*did you mean 'mnist'"),
            (
                lambda: load_images("mnist", "valid"),
                ValueError,
                "split: want one of 'train', 'test', got 'valid'",
            ),
            (lambda: load_images("mnist", count=0), ValueError, "count: want a whole number >= 1, got 0"),
            (lambda: load_images("mnist", count=1.5), TypeError, "count: want a whole number >= 1, got 1.5"),
        ],
    )
    def test_wrong_calls(self, call, error, message):
        with pytest.raises(error, match=message):
            call()

    def test_fashion_mnist_of_the_system(self, monkeypatch):
        monkeypatch.undo()
        monkeypatch.delenv("ISOCLINE_DATA", raising=False)
        if not any((root / "fashion-mnist").is_dir() for root in locate.SYSTEM):
            pytest.skip("Debian's package dataset-fashion-mnist is not installed")
        found = load_images("fashion-mnist", "test", fetch=False)
        assert found.images.shape == (10000, 1, 28, 28)
        assert np.bincount(found.labels).tolist() == [1000] * 10
        assert found.labels[:8].tolist() == [
            9,
            2,
            1,
            1,
            6,
            1,
            4,
            6,
        ]  # as published: the first is an ankle boot


class TestDataset:
    def images(self):
        return Images(np.full((3, 1, 2, 2), 51, np.uint8), np.array([2, 0, 1]), ("a", "b", "c"), "made here")

    def test_items_are_tensors_in_the_default_type(self):
        dataset = ImageDataset(self.images())
        image, label = dataset[0]
        assert torch.equal(image, torch.full((1, 2, 2), 51) / 255)
        assert image.dtype == torch.float64
        assert (label, type(label), len(dataset)) == (2, int, 3)
        torch.set_default_dtype(torch.float32)
        assert dataset[0][0].dtype == torch.float32

    def test_a_transform_sees_the_tensor_and_items_are_copies(self):
        source = self.images()
        dataset = ImageDataset(source, transform=lambda image: image.zero_() + 1)
        assert torch.equal(dataset[1][0], torch.ones(1, 2, 2))
        assert (source.images == 51).all()

    def test_loaders_take_it(self):
        loader = torch.utils.data.DataLoader(ImageDataset(self.images()), batch_size=2)
        batches = list(loader)
        assert [tuple(images.shape) for images, _ in batches] == [(2, 1, 2, 2), (1, 1, 2, 2)]
        assert torch.cat([labels for _, labels in batches]).tolist() == [2, 0, 1]
        with pytest.raises(IndexError):
            ImageDataset(self.images())[3]


def picture(path, value, size=(6, 4), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path)


class TestFolder:
    def test_classes_and_pictures_in_alphabetical_order(self, tmp_path):
        picture(tmp_path / "dogs" / "b.png", (2, 2, 2))
        picture(tmp_path / "dogs" / "a.PNG", (1, 1, 1))
        picture(tmp_path / "cats" / "z.bmp", (3, 4, 5))
        (tmp_path / "cats" / "notes.txt").write_text("no picture")
        (tmp_path / ".hidden").mkdir()
        found = load_image_folder(tmp_path)
        assert found.classes == ("cats", "dogs")
        assert found.labels.tolist() == [0, 1, 1]
        assert found.images.shape == (3, 3, 4, 6)
        assert found.images[:, :, 0, 0].tolist() == [[3, 4, 5], [1, 1, 1], [2, 2, 2]]
        assert found.source == str(tmp_path)

    def test_grey_alone_has_one_channel_and_three_beside_colour(self, tmp_path):
        picture(tmp_path / "x" / "a.png", 7, mode="L")
        assert load_image_folder(tmp_path).images[0, :, 0, 0].tolist() == [7]
        picture(tmp_path / "x" / "b.png", (1, 2, 3))
        assert load_image_folder(tmp_path).images[:, :, 0, 0].tolist() == [[7, 7, 7], [1, 2, 3]]
        picture(tmp_path / "x" / "c.png", (1, 2, 3, 0), mode="RGBA")
        assert load_image_folder(tmp_path).images.shape == (3, 3, 4, 6)

    def test_pictures_alone_are_one_class(self, tmp_path):
        picture(tmp_path / "mine" / "a.png", (0, 0, 0))
        assert load_image_folder(tmp_path / "mine").classes == ("mine",)

    @pytest.mark.parametrize(("size", "shape"), [(8, (8, 8)), ((2, 3), (2, 3))])
    def test_a_size_scales_and_cuts_all(self, tmp_path, size, shape):
        picture(tmp_path / "x" / "a.png", (9, 9, 9), size=(20, 10))
        picture(tmp_path / "x" / "b.png", (9, 9, 9), size=(5, 7))
        found = load_image_folder(tmp_path, size=size)
        assert found.images.shape == (2, 3, *shape)
        assert (found.images == 9).all()

    def test_pictures_stand_as_their_camera_stood(self, tmp_path):
        turned = Image.new("RGB", (6, 4))
        exif = turned.getexif()
        exif[0x0112] = 6  # taken on its side
        (tmp_path / "x").mkdir()
        turned.save(tmp_path / "x" / "a.jpg", exif=exif)
        assert load_image_folder(tmp_path).images.shape == (1, 3, 6, 4)

    @pytest.mark.parametrize(
        ("make", "error", "message"),
        [
            (lambda f: None, FileNotFoundError, "want a picture in each class, got none in"),
            (lambda f: f.rmdir(), FileNotFoundError, "want a folder of pictures, got no such folder"),
            (
                lambda f: (f / "empty").mkdir(),
                FileNotFoundError,
                "want a picture in each class, got none in 'empty'",
            ),
            (
                lambda f: [picture(f / "x" / "a.png", 0), picture(f / "b.png", 0)],
                ValueError,
                r"want folders of pictures only, got b\.png beside them; move it into one",
            ),
            (
                lambda f: [picture(f / "x" / "a.png", 0), picture(f / "x" / "b.png", 0, (2, 3))],
                ValueError,
                r"b\.png: want 4x6, the size of a\.png, got 3x2; pass size=\(H, W\)",
            ),
            (
                lambda f: (f / "a.png").write_bytes(b"x"),
                ValueError,
                r"a\.png: want a picture, got a file Pillow cannot",
            ),
            (
                lambda f: picture(f / "a.png", 0, mode="I;16"),
                ValueError,
                r"a\.png: want 8 bits a channel, got mode I;16",
            ),
        ],
    )
    def test_what_is_wrong_with_a_folder_is_said(self, tmp_path, make, error, message):
        folder = tmp_path / "folder"
        folder.mkdir()
        make(folder)
        with pytest.raises(error, match=message):
            load_image_folder(folder)

    @pytest.mark.parametrize("size", [0, -1, 2.5, (3,), (3, 0), "8"])
    def test_sizes_that_are_none(self, tmp_path, size):
        with pytest.raises((ValueError, TypeError), match="size: want"):
            load_image_folder(tmp_path, size=size)

    def test_a_picture_of_too_many_pixels_is_refused(self, tmp_path, monkeypatch):
        picture(tmp_path / "x" / "a.png", 0, (40, 40))
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
        with pytest.raises(ValueError, match="a file Pillow cannot read"):
            load_image_folder(tmp_path)
