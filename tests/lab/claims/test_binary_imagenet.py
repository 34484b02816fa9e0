"""The recipe on pictures in folders, from files to figures: made here, with two classes that colour tells apart."""

import numpy as np
import pytest
import torch
from PIL import Image

from isocline.lab import Record, judge
from isocline.lab.claim import Missing, looking_in
from isocline.lab.claims.binary import ESTIMATORS, estimators, imagenet

TINY = estimators.IMAGENET | {
    "estimator": "reste", "o_end": 3.0, "network": "resnet18_imagenet", "widths": [8, 8, 16, 16],
    "crop": {"size": 32, "scale": [0.08, 1.25]}, "centre": {"resize": 36, "size": 32}, "workers": 1,
    "recipe": estimators.ADAM | {"epochs": 2, "batch_size": 10},
}  # fmt: skip


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """Fifty PNGs and JPEGs of several sizes to train on, twenty to judge; the cache lies here too."""
    g = np.random.default_rng(0)
    for split, count in (("train", 25), ("val", 10)):
        for channel, name in ((0, "red"), (2, "blue")):
            folder = tmp_path / "imagenet" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                H, W = g.integers(30, 60, 2)
                pixels = g.integers(0, 120, (H, W, 3), np.uint8)
                pixels[..., channel] += 120
                Image.fromarray(pixels).save(folder / f"{i}.{('png', 'JPEG')[i % 2]}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


@pytest.mark.slow  # three programs are started
def test_two_processes_train_on_a_folder_and_the_lab_reads_the_figure(pictures):
    """Lightning starts the second process itself, as it does for every GPU of a machine."""
    with looking_in(str(pictures)):
        found = estimators.run(TINY | {"devices": 2}, 0, "cpu")
    assert found.values["steps"] == 10
    assert not found.values["diverged"]
    assert found.values["accuracy"] in [n / 20 for n in range(21)]  # each of the twenty was counted once
    assert found.arrays["path"].shape == (2, 2)
    assert list((pictures / "cache" / "isocline" / "training").iterdir()) == [
        pictures / "cache" / "isocline" / "training" / "imagenet.lock"
    ]  # what it went on from is not needed any more
    record = Record(TINY, 0, dict(found.values), {}, 0.0)
    rows = [row for row in judge(ESTIMATORS, "paper", [record]).rows if row.values]
    assert [row.figure for row in rows] == ["ImageNet, ResNet-18 ReSTE, 1W/1A: accuracy"]


def test_a_run_that_was_stopped_goes_on_to_the_same_figures(pictures, monkeypatch):
    """Also the crops, which are drawn while pictures are read."""
    torch.set_default_dtype(torch.float32)
    folders = [str(pictures / "imagenet" / split) for split in ("train", "val")]
    job = {"setting": TINY | {"devices": 1, "workers": 0}, "seed": 0, "device": "cpu", "folders": folders}
    whole = imagenet.train(job, pictures / "a")
    assert whole["values"]["steps"] == 10

    class Stopped(Exception):
        pass

    def set_epoch(self, epoch):
        self.epoch = epoch
        if epoch == 1:
            raise Stopped

    with monkeypatch.context() as patched:
        patched.setattr(imagenet.PictureFolder, "set_epoch", set_epoch)
        with pytest.raises(Stopped):
            imagenet.train(job, pictures / "b")
    assert (pictures / "b" / "checkpoint").is_dir()  # of the first epoch, from which it goes on
    assert imagenet.train(job, pictures / "b") == whole


def test_where_there_are_no_pictures_one_sentence_says_so(tmp_path, monkeypatch):
    monkeypatch.delenv("ISOCLINE_DATA", raising=False)
    with (
        looking_in(str(tmp_path)),
        pytest.raises(Missing, match=r"ImageNet: want folders train and val .* --data"),
    ):
        estimators.run(TINY, 0, "cpu")


@pytest.mark.slow  # a program is started
def test_a_program_that_fails_says_why_and_where_its_checkpoints_are(pictures):
    (pictures / "imagenet" / "train" / "red" / "0.png").write_bytes(b"broken")
    with (
        looking_in(str(pictures)),
        pytest.raises(RuntimeError, match=r"(?s)checkpoints are in .*red/0\.png: want a picture"),
    ):
        estimators.run(TINY | {"devices": 1, "workers": 0}, 0, "cpu")
