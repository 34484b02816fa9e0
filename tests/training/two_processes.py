"""What each of two processes does when they train together, and what a single one does with the same global batches."""

import os
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from lightning.pytorch import Callback
from torch import nn

from isocline.training import Augment, Recipe, fit

PLAIN = Recipe(
    epochs=2, batch_size=8, lr=1e-2, warmup=0.5, clip_norm=1.0
)  # 7 steps an epoch; the last of 1 image
DRAWN = Recipe(epochs=2, batch_size=8, lr=1e-2, augment=Augment(flip=True, contrast=(0.8, 1.2)))
KILLED_AT, SAVED_EVERY = 9, 2


class Killed(Exception):
    pass


class Kill(Callback):
    def on_train_batch_start(self, trainer, *args):
        if trainer.global_step >= KILLED_AT:
            raise Killed


class Saved(Callback):
    """How often this process has written a checkpoint."""

    def setup(self, trainer, module, stage):
        self.writes, write = 0, trainer.strategy.checkpoint_io.save_checkpoint

        def counted(*args, **how):
            self.writes += 1
            write(*args, **how)

        trainer.strategy.checkpoint_io.save_checkpoint = counted


def network(dropout=False, norm=False):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)] if norm else [nn.Conv2d(1, 4, 3)]
        layers += [nn.Tanh(), nn.Dropout(0.2) if dropout else nn.Identity(), nn.Flatten(), nn.Linear(64, 3)]
        return nn.Sequential(*layers)


def examples():
    g = torch.Generator().manual_seed(0)
    return torch.rand(49, 1, 6, 6, generator=g), torch.randint(3, (49,), generator=g)


def penalty(model):
    return lambda: 0.1 * model[0].weight.square().sum()


def plain(devices=1, accumulate=1):
    """Without random numbers and batch norms: the result must be that of one process."""
    model, data = network(), examples()
    how = {"devices": devices, "accumulate": accumulate, "device": "cpu", "penalty": penalty(model)}
    return fit(model, data, data, recipe=PLAIN, **how).history, model.state_dict()


def drawn(devices, folder=None, callbacks=()):
    """With random numbers in every step and a batch norm."""
    model, data = network(dropout=True, norm=True), examples()
    data = data[0][:48], data[1][:48]  # no batch of one, which has no variance
    how = {"devices": devices, "accumulate": 2, "device": "cpu", "folder": folder, "save_every": SAVED_EVERY}
    found = fit(model, data, data, recipe=DRAWN, callbacks=list(callbacks), **how)
    return found.history, model.state_dict(), found.resumed_at


def together(rank: int, folder: Path) -> dict:
    """The part of one of two processes, which find each other by a file."""
    place = {"RANK": f"{rank}", "LOCAL_RANK": f"{rank}", "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "test"}
    before = dict(os.environ)
    os.environ |= place  # as torchrun does it
    where, wait = f"file://{folder / 'meeting'}", timedelta(seconds=60)
    dist.init_process_group("gloo", init_method=where, rank=rank, world_size=2, timeout=wait)
    try:
        torch.set_default_dtype(torch.float64)
        found = {"plain": plain(2), "accumulated": plain(2, accumulate=3), "whole": drawn(2)}
        saved = Saved()
        try:
            drawn(2, folder / "run", [Kill(), saved])
        except Killed:
            found["writes"] = saved.writes
        dist.barrier()
        found["resumed"] = drawn(2, folder / "run")
        return found
    finally:
        dist.destroy_process_group()
        os.environ.clear()
        os.environ |= before


def second(folder: str) -> None:
    """The process that is started."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.save(together(1, Path(folder)), Path(folder) / "second.pt")
