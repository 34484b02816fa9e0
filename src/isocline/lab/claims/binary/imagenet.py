"""The paper's recipe on ImageNet, on all devices of a machine: a program of its own, which Lightning starts once for each."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from isocline._core.files import plain, read_json, write_json
from isocline._core.seeds import derive_seed, torch_generator
from isocline.datasets.picture_folder import PictureFolder, imagenet_folders
from isocline.training import Augment, CentreCrop, RandomCrop, Recipe, fit

from ...claim import Measurement, Missing, data_folder
from .runs import network

JOB, RESULT = "job.json", "result.json"
THREADS = ("OMP", "MKL", "OPENBLAS", "NUMBA")  # a task has one of each; this program is no such task


def run(setting: dict[str, Any], seed: int, device: str) -> Measurement:
    """Train on the pictures found, one network at a time, and read the accuracy on the validation pictures.

    Checkpoints lie in the user's cache until the run has ended, so that one that was stopped goes on.
    """
    try:
        import lightning.pytorch  # noqa: F401

        folders = [str(folder) for folder in imagenet_folders(data_folder())]
    except (ImportError, FileNotFoundError) as error:
        raise Missing(str(error)) from error
    job = {"setting": setting, "seed": seed, "device": device, "folders": folders}
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "isocline" / "training"
    place = cache / f"imagenet-{derive_seed(plain(job)):016x}"
    write_json(place / JOB, job)
    environment = {k: v for k, v in os.environ.items() if k.removesuffix("_NUM_THREADS") not in THREADS}
    with _taking_turns(cache / "imagenet.lock"):
        command = [sys.executable, "-m", __name__, str(place)]
        done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"training stopped; its checkpoints are in {place}\n{done.stderr[-4000:]}")
    found = read_json(place / RESULT)
    _forget(place)
    return Measurement(found["values"], {"path": np.array(found["path"], dtype=float).reshape(-1, 2)})


def train(job: dict[str, Any], place: Path) -> dict[str, Any]:
    """What each of the processes does; all of them come back with the same numbers."""
    from isocline.binary.lightning import PowerCallback
    from isocline.training import Diverged

    setting, seed = job["setting"], job["seed"]
    crop, centre = RandomCrop(**setting["crop"]), CentreCrop(**setting["centre"])
    pictures = PictureFolder(job["folders"][0], crop, seed=seed)
    held_out = PictureFolder(job["folders"][1], centre, classes=pictures.classes)
    recipe = Recipe(**setting["recipe"] | {"augment": Augment(**setting["augment"]), "seed": seed})
    model = network(setting | {"classes": len(pictures.classes)}, torch_generator(seed))
    how: dict[str, Any] = {
        "device": job["device"],
        "devices": setting["devices"],
        "workers": setting["workers"],
    }
    power = PowerCallback(setting["o_end"], every="step")
    try:
        found = fit(model, pictures, held_out, recipe=recipe, folder=place, callbacks=[power], **how)
    except Diverged:
        return {"values": {"accuracy": 1 / len(pictures.classes), "diverged": True}, "path": []}
    last = found.metrics
    values = {
        "accuracy": last["val_accuracy"],
        "loss": last["loss"],
        "diverged": False,
        "steps": last["step"],
    }
    return {"values": values, "path": [[row["epoch"], row["val_accuracy"]] for row in found.history]}


@contextmanager
def _taking_turns(lock: Path) -> Iterator[None]:
    """Each run has all devices, so only one runs at a time, whatever the laboratory starts beside it."""
    try:
        import fcntl
    except ImportError:  # Windows: start with --jobs 1
        yield
        return
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _forget(place: Path) -> None:
    from isocline.training.checkpoint import PlainCheckpoints

    PlainCheckpoints().remove_checkpoint(place)


def main(place: Path) -> None:
    torch.set_default_dtype(torch.float32)
    found = train(read_json(place / JOB), place)
    if int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))) == 0:
        write_json(place / RESULT, found)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
