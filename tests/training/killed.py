"""A program that trains a small image model, and may be killed in the middle of an epoch: by itself, to the step."""

import os
import signal
import sys

import torch
from lightning.pytorch import Callback

from isocline._core.files import write_json
from isocline._core.seeds import torch_generator
from isocline.plstm import PLSTMVision
from isocline.training import Augment, Recipe, fit

STEPS, SAVED_EVERY = 6, 4  # of an epoch; a checkpoint every so many


class KillMyself(Callback):
    """SIGKILL: no handler runs, nothing is flushed."""

    def __init__(self, step):
        self.step = step

    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


def main(folder, killed_at, result):
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    torch.use_deterministic_algorithms(True)
    g = torch_generator(0)
    data = torch.rand(8 * STEPS, 1, 16, 16, generator=g), torch.randint(3, (8 * STEPS,), generator=g)
    model = PLSTMVision(3, dim=16, heads=2, depth=1, patch=4, size=16, channels=1, drop_path=0.2)
    model.reset_parameters(torch_generator(1))
    augment = Augment(flip=True, shift=0.1)  # random numbers in every step
    recipe = Recipe(epochs=3, batch_size=8, lr=1e-2, warmup=0.5, clip_norm=1.0, augment=augment)
    callbacks = [KillMyself(killed_at)] if killed_at else []
    how = {"save_every": SAVED_EVERY, "device": "cpu", "callbacks": callbacks}
    found = fit(model, data, recipe=recipe, folder=folder, **how)
    model.save_pretrained(f"{result}-model")
    write_json(f"{result}.json", {"history": found.history, "resumed_at": found.resumed_at})


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
