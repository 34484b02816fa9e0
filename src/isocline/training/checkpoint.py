"""Checkpoints that cannot run code and hold every random state: what Lightning knows, as JSON and safetensors.

Lightning restores weights, optimisers, schedules, loops and loaders; it leaves Python's, NumPy's and torch's generators to
us, and writes with pickle unless it is told otherwise.
"""

from __future__ import annotations

import math
import random
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import CheckpointIO
from torch import distributed

from isocline._core.checks import wrong
from isocline._core.files import load_folder, save_folder
from isocline.training.loader import Loader


class PlainCheckpoints(CheckpointIO):
    """Writes what Lightning gives into a folder, atomically, and reads it back: nothing is pickled."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        arrays: dict[str, torch.Tensor] = {}
        save_folder(path, {"checkpoint": _packed(checkpoint, arrays, "checkpoint")}, arrays)

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        config, arrays = load_folder(path, tensors=True)
        return _unpacked(config["checkpoint"], arrays)

    def remove_checkpoint(self, path: Any) -> None:
        shutil.rmtree(path, ignore_errors=True)


class KeepState(Checkpoint):
    """Saves into one folder at the end of every epoch, and every so many steps, with the random states of that moment.

    Lightning calls it behind all other callbacks and behind the module, so that what they know is in the file. It keeps the
    loader's place itself: Lightning does so only in the middle of an epoch. Where several processes train, the first one
    writes, and the random states are those of all.
    """

    def __init__(self, folder: Path, loader: Loader, every: int | None = None) -> None:
        self.folder, self.loader, self.every = folder, loader, every
        self._found: dict[str, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the random states back: the loaders are built by now, and nothing draws between here and the next step."""
        if self._found:
            set_random_states(self._found)
            self._found = {}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        last = (
            batch_idx + 1 >= trainer.num_training_batches
        )  # the end of the epoch saves, once it is measured
        stepped = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if self.every and stepped and not last and trainer.global_step % self.every == 0:
            pl_module.agree()  # type: ignore[operator]
            trainer.save_checkpoint(self.folder)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.save_checkpoint(self.folder)

    def state_dict(self) -> dict[str, Any]:
        ranks = distributed.get_world_size() if distributed.is_initialized() else 1
        return {"random": of_all(random_states(), ranks), "loader": self.loader.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        rank = distributed.get_rank() if distributed.is_initialized() else 0
        self._found = state_dict["random"][rank]
        self.loader.load_state_dict(state_dict["loader"])


def of_all(mine: Any, ranks: int) -> list[Any]:
    """What each of the processes has, in their order; all of them call this together."""
    found: list[Any] = [mine] * ranks
    if ranks > 1:
        distributed.all_gather_object(found, mine)
    return found


def random_states() -> dict[str, Any]:
    """The states of Python's, NumPy's, torch's and, where one is in use, CUDA's global generators."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    kind, key, *rest = np.random.get_state()  # noqa: NPY002
    numpy = [kind, np.asarray(key).tolist(), *rest]
    return {"python": random.getstate(), "numpy": numpy, "torch": torch.get_rng_state(), "cuda": cuda}


def seed_all(seed: int) -> None:
    """Python's, NumPy's and torch's global generators at `seed`."""
    random.seed(seed)
    np.random.seed([seed % 2**32, seed >> 32])  # noqa: NPY002
    torch.manual_seed(seed)


def set_random_states(states: Mapping[str, Any]) -> None:
    """Undo whatever was drawn since `random_states`."""
    random.setstate(states["python"])
    kind, key, *rest = states["numpy"]
    np.random.set_state((kind, np.array(key, np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(states["torch"])
    if states["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["cuda"])


def _packed(value: Any, arrays: dict[str, torch.Tensor], name: str) -> Any:
    """`value` in JSON's types, its tensors put into `arrays`. What JSON would change is written as ``{kind: ...}``."""
    if isinstance(value, torch.Tensor):
        arrays[name] = value
        return {"tensor": name}
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, (list, tuple)):
        items = [_packed(item, arrays, f"{name}.{i}") for i, item in enumerate(value)]
        return items if isinstance(value, list) else {"tuple": items}
    if isinstance(value, Mapping):
        pairs = [
            [_packed(key, arrays, name), _packed(item, arrays, f"{name}.{key}")]
            for key, item in value.items()
        ]
        return {"mapping": pairs}
    want = "tensors, numbers, text, None, lists, tuples or mappings"
    raise wrong(name, want, type(value).__name__, "keep in a checkpoint only what is plain", error=TypeError)


def _unpacked(value: Any, arrays: Mapping[str, torch.Tensor]) -> Any:
    if isinstance(value, list):
        return [_unpacked(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, inside),) = value.items()
    if kind == "tensor":
        return arrays[inside]
    if kind == "float":
        return float(inside)
    if kind == "tuple":
        return tuple(_unpacked(item, arrays) for item in inside)
    return {_unpacked(key, arrays): _unpacked(item, arrays) for key, item in inside}
