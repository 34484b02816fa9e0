"""The published image sets: their classes, their files, and the digests of what is fetched.

The digests are sha256 of the files as published; their md5 are those the authors and torchvision print.
"""

from __future__ import annotations

from collections.abc import Callable

from isocline.datasets import cifar10
from isocline.datasets.idx import read_idx_pair
from isocline.datasets.jpeg import read_jpeg_npz
from isocline.datasets.locate import Download, Form, ImageSet


def _idx(split: str) -> tuple[Form, ...]:
    stem = "train" if split == "train" else "t10k"
    kinds = [f"{stem}-{kind}" for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")]
    files = tuple((kind, f"{kind}.gz", kind.replace("-idx", ".idx")) for kind in kinds)
    return (Form(files, lambda paths, count: read_idx_pair(paths)),)


def _cifar10(split: str) -> tuple[Form, ...]:
    batches = cifar10.BATCHES[split]
    archives = ("cifar-10-binary.tar.gz", "cifar-10-python.tar.gz")
    return (
        Form(tuple((f"{batch}.bin",) for batch in batches), lambda paths, count: cifar10.read_binary(paths)),
        Form(tuple((batch,) for batch in batches), lambda paths, count: cifar10.read_python(paths)),
        Form((archives,), lambda paths, count: cifar10.read_archive(paths[0], split)),
    )


def _cifar10_jpeg(split: str) -> tuple[Form, ...]:
    files = ((f"cifar10_jpeg_{split}.npz",),)
    return (Form(files, lambda paths, count: read_jpeg_npz(paths[0], count)),)


def _by_split(forms: Callable[[str], tuple[Form, ...]]) -> dict[str, tuple[Form, ...]]:
    return {split: forms(split) for split in ("train", "test")}


def _idx_downloads(digests: tuple[str, ...], addresses: tuple[str, ...]) -> dict[str, tuple[Download, ...]]:
    """The four files of an MNIST-like set; ``digests`` go with the names below."""
    stems = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    names = [f"{stem}-ubyte.gz" for stem in stems]
    files = [
        Download(name, digest, tuple(address + name for address in addresses))
        for name, digest in zip(names, digests, strict=True)
    ]
    return {"train": tuple(files[:2]), "test": tuple(files[2:])}


_CIFAR10_ARCHIVE = Download(
    "cifar-10-binary.tar.gz",
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
)

SETS = {
    "mnist": ImageSet(
        "MNIST",
        tuple("0123456789"),
        ("mnist", "MNIST", "MNIST/raw"),
        _by_split(_idx),
        _idx_downloads(
            (
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            ),
            (
                "https://ossci-datasets.s3.amazonaws.com/mnist/",
                "https://storage.googleapis.com/cvdf-datasets/mnist/",
            ),
        ),
    ),
    "fashion-mnist": ImageSet(
        "Fashion-MNIST",
        (
            "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
            "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
        ),
        ("fashion-mnist", "fashion_mnist", "FashionMNIST", "FashionMNIST/raw"),
        _by_split(_idx),
        _idx_downloads(
            (
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            ),
            (
                "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            ),
        ),
    ),
    "cifar-10": ImageSet(
        "CIFAR-10",
        cifar10.CLASSES,
        ("cifar-10", "cifar10", "CIFAR10", "cifar-10-batches-bin", "cifar-10-batches-py",
         "cifar-10/cifar-10-batches-bin", "cifar-10/cifar-10-batches-py"),
        _by_split(_cifar10),
        {"train": (_CIFAR10_ARCHIVE,), "test": (_CIFAR10_ARCHIVE,)},
    ),
    "cifar-10-jpeg": ImageSet(
        "CIFAR-10 (JPEG)",
        cifar10.CLASSES,
        ("cifar-10-jpeg", "cifar-10", "images"),
        _by_split(_cifar10_jpeg),
    ),
}  # fmt: skip
