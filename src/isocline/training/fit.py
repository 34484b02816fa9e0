"""Train a classifier from one call, and take it up again where it stopped."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from isocline._core.checks import check_choice, check_number, wrong
from isocline._core.files import MANIFEST
from isocline._core.seeds import derive_seed, seeded
from isocline.training.loader import Data, Loader
from isocline.training.recipe import Recipe

DEVICES = ("auto", "cpu", "cuda", "mps")


@dataclass(frozen=True, slots=True)
class Fitted:
    """A trained model and how it got there."""

    model: nn.Module
    history: tuple[
        dict[str, float], ...
    ]  # a row an epoch: epoch, step, lr, loss, accuracy, penalty, val_loss, val_accuracy
    resumed_at: int  # steps that an earlier call had done

    @property
    def metrics(self) -> dict[str, float]:
        """The last epoch's row."""
        return self.history[-1]

    def to_dict(self) -> dict[str, Any]:
        return {"history": list(self.history), "resumed_at": self.resumed_at}


def fit(
    model: nn.Module,
    train: Data,
    validation: Data | None = None,
    *,
    recipe: Recipe,
    folder: str | os.PathLike[str] | None = None,
    save_every: int | None = None,
    penalty: Callable[[], Tensor] | None = None,
    callbacks: Sequence[Any] = (),
    workers: int = 0,
    device: str = "auto",
) -> Fitted:
    """Train `model` in place by the recipe, on one device, in Lightning's loop.

    train, validation: torch data sets of ``(image, label)``, or pairs of tensors ``(n, C, H, W)`` (bytes, or numbers in
    [0, 1]) and ``(n,)``. folder: a checkpoint is kept there after every epoch and every `save_every` steps, and a call
    that finds one goes on from it: weights and metrics are bit for bit those of a run that was never interrupted (same
    machine, versions and threads; random numbers drawn in `workers` only where the epoch was complete). penalty: see
    `Classifier`. callbacks: Lightning's. The global random states are afterwards as they were before.

    Raises ValueError or TypeError for wrong arguments, and for a folder that holds a run of another recipe; Diverged;
    ImportError where Lightning is not installed.
    """
    _check_lightning()
    from lightning.pytorch import Trainer

    from isocline.training.checkpoint import KeepState, PlainCheckpoints
    from isocline.training.classifier import Classifier

    check_choice("device", device, DEVICES)
    if save_every is not None:
        check_number("save_every", save_every, least=1, integer=True)
    loader = Loader(train, recipe.batch_size, shuffle=True, seed=recipe.seed, workers=workers)
    held_out = None if validation is None else Loader(validation, recipe.batch_size, workers=workers)
    checkpoint = None if folder is None else Path(folder) / "checkpoint"
    found = checkpoint is not None and (checkpoint / MANIFEST).exists()
    done = _check_same_run(PlainCheckpoints().load_checkpoint(checkpoint), recipe) if found else 0
    keeping = [] if checkpoint is None else [KeepState(checkpoint, loader, save_every)]
    classifier = Classifier(model, recipe, steps_per_epoch=len(loader), penalty=penalty)
    with seeded(derive_seed("training", recipe.seed)), _quiet():
        trainer = Trainer(
            accelerator=device,
            devices=1,
            max_epochs=recipe.epochs,
            gradient_clip_val=recipe.clip_norm,
            callbacks=[*callbacks, *keeping],
            plugins=[PlainCheckpoints()],
            logger=False,
            enable_checkpointing=bool(keeping),
            enable_model_summary=False,
            enable_progress_bar=sys.stderr.isatty(),
            num_sanity_val_steps=0,
        )
        trainer.fit(classifier, loader, held_out, ckpt_path=str(checkpoint) if found else None)
    return Fitted(model, tuple(classifier.history), done)


def _check_same_run(state: dict[str, Any], recipe: Recipe) -> int:
    """The steps that a checkpoint has done; raises ValueError where it was made by another recipe."""
    theirs, ours = state["isocline"]["recipe"], asdict(recipe)
    other = [name for name in ours if theirs.get(name) != ours[name]]
    if other:
        got = ", ".join(f"{name} = {theirs.get(name)!r}" for name in other)
        raise wrong("folder", "a run of this recipe", f"one with {got}", "use another folder")
    return int(state["global_step"])


def _check_lightning() -> None:
    try:
        import lightning.pytorch  # noqa: F401
    except ImportError as error:
        raise ImportError("lightning: want it installed, got none; pip install 'isocline[vision]'") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Lightning's advice on workers and loggers, which is not meant for a call as small as this."""
    from lightning.fabric.utilities.warnings import PossibleUserWarning

    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    before = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PossibleUserWarning)
        warnings.filterwarnings(
            "ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning
        )  # its own call
        try:
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
        finally:
            for logger, level in zip(loggers, before, strict=True):
                logger.setLevel(level)
