"""What each of two processes does in data-parallel training: its half of every batch."""

import os
import warnings
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from isocline.orthogonal import OrthogonalCallback, OrthogonalPenalty

WEIGHT, EVERY, BATCH = 0.3, 3, 6


def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        double = {"dtype": torch.float64}
        parts = [
            nn.Conv2d(2, 4, 3, **double),
            nn.ReLU(),
            nn.Conv2d(4, 4, 3, **double),
            nn.Flatten(),
            nn.Linear(16, 2, **double),
        ]
        return nn.Sequential(*parts)


def examples():
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(24, 2, 6, 6, generator=g, dtype=torch.float64), torch.randint(2, (24,), generator=g)
    return TensorDataset(x, y)


def in_the_loss(rank=0, world=1):
    """Plain torch: the penalty added to the loss. Returns each step's loss, and the weights."""
    model, losses = network(), []
    penalty = OrthogonalPenalty(model, WEIGHT, EVERY)
    wrapped = DistributedDataParallel(model) if world > 1 else model
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    for x, y in DataLoader(examples(), BATCH):
        loss = cross_entropy(wrapped(x[rank::world]), y[rank::world]) + penalty()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses), model.state_dict()


def by_callback(rank=0, world=1):
    """Lightning, with the callback; returns the weights and the penalty's turn."""
    from lightning.pytorch import LightningModule, Trainer

    class Plain(LightningModule):
        def __init__(self):
            super().__init__()
            self.model = network()

        def training_step(self, batch, index):
            return cross_entropy(self.model(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.05, momentum=0.9)

    module, callback = Plain(), OrthogonalCallback(WEIGHT, EVERY)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's, on workers and on its own calls of torch
        off = ("logger", "enable_checkpointing", "enable_model_summary", "enable_progress_bar")
        trainer = Trainer(
            max_epochs=2, accelerator="cpu", devices=world, strategy="ddp" if world > 1 else "auto",
            use_distributed_sampler=False,
            callbacks=[callback], **dict.fromkeys(off, False),
        )  # fmt: skip
        mine = DistributedSampler(examples(), world, rank, shuffle=False)  # Lightning's own would shuffle
        trainer.fit(module, DataLoader(examples(), BATCH // world, sampler=mine))
    assert trainer.world_size == world
    return module.model.state_dict(), callback.state_dict()["turn"]


def as_torchrun(rank: int) -> dict[str, str]:
    """The variables by which a process that torchrun has started knows its place."""
    return {"RANK": f"{rank}", "LOCAL_RANK": f"{rank}", "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "test"}


def half(rank: int, meeting: str) -> dict[str, Any]:
    """The part of one of two processes, which find each other by a file."""
    wait = timedelta(seconds=60)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2, timeout=wait)
    try:
        ranks = [torch.zeros((), dtype=torch.long) for _ in range(2)]
        dist.all_gather(ranks, torch.tensor(rank))
        losses, weights = in_the_loss(rank, 2)
        dist.all_reduce(losses)
        theirs, turn = by_callback(rank, 2)
        return {
            "ranks": torch.stack(ranks),
            "losses": losses / 2,
            "weights": weights,
            "theirs": theirs,
            "turn": turn,
        }
    finally:
        dist.destroy_process_group()


def second(meeting: str, found: str) -> None:
    """The process that is started."""
    os.environ |= as_torchrun(1)
    torch.set_num_threads(1)
    torch.save(half(1, meeting), found)
