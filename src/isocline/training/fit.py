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
STRATEGIES = ("auto", "ddp")
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")


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
    devices: int | str = 1,
    strategy: str = "auto",
    precision: str = "32-true",
    accumulate: int = 1,
    sync_batchnorm: bool = False,
) -> Fitted:
    """Train `model` in place by the recipe, in Lightning's loop.

    train, validation: torch data sets of ``(image, label)``, or pairs of tensors ``(n, C, H, W)`` (bytes, or numbers in
    [0, 1]) and ``(n,)``. folder: a checkpoint is kept there after every epoch and every `save_every` steps, and a call
    that finds one goes on from it: weights and metrics are bit for bit those of a run that was never interrupted (same
    machine, versions and threads; random numbers drawn in `workers` only where the epoch was complete). penalty: see
    `Classifier`. callbacks: Lightning's. The global random states are afterwards as they were before.

    devices: how many processes train together, each on a device of its own (their number, or "auto": all there are);
    strategy: Lightning's, "auto" is "ddp" where there are several. accumulate: parts that each of them works through before a
    step. The recipe's batch is cut into ``devices * accumulate`` parts, so neither changes what is computed, but by rounding,
    with two exceptions: a batch norm sees its own part alone (``sync_batchnorm=True``, on CUDA, makes that the batch of all
    processes; the running means kept are those of the first), and random numbers (`Augment`, dropout) are drawn by each
    process for its own part. A run resumes with the devices and parts it began with; the first process writes, and keeps the
    random states of all. precision: of Lightning, "32-true", "bf16-mixed" or "16-mixed".

    Raises ValueError or TypeError for wrong arguments, and for a folder that holds a run of another recipe or of another
    number of devices or parts; Diverged; ImportError where Lightning is not installed.
    """
    _check_lightning()
    from lightning.pytorch import Trainer

    from isocline.training.checkpoint import KeepState, PlainCheckpoints
    from isocline.training.classifier import Classifier
    from isocline.training.parted import Parted

    check_choice("device", device, DEVICES)
    how = _checked_parallel(devices, strategy, precision, accumulate, sync_batchnorm)
    if save_every is not None:
        check_number("save_every", save_every, least=1, integer=True)
    order: dict[str, Any] = {"shuffle": True, "seed": recipe.seed, "workers": workers}
    loader = Loader(train, recipe.batch_size, rounds=accumulate, repeats=recipe.repeats, **order)
    held_out = None if validation is None else Loader(validation, recipe.batch_size, workers=workers)
    checkpoint = None if folder is None else Path(folder) / "checkpoint"
    found = checkpoint is not None and (checkpoint / MANIFEST).exists()
    keeping = [] if checkpoint is None else [KeepState(checkpoint, loader, save_every)]
    classifier = Classifier(model, recipe, steps_per_epoch=len(loader) // accumulate, penalty=penalty)
    with seeded(derive_seed("training", recipe.seed)), _quiet():
        trainer = Trainer(
            accelerator=device,
            **how,
            use_distributed_sampler=False,
            max_epochs=recipe.epochs,
            gradient_clip_val=recipe.clip_norm,
            callbacks=[Parted([loader] if held_out is None else [loader, held_out]), *callbacks, *keeping],
            plugins=[PlainCheckpoints()],
            logger=False,
            enable_checkpointing=bool(keeping),
            enable_model_summary=False,
            enable_progress_bar=sys.stderr.isatty(),
            num_sanity_val_steps=0,
        )
        if sync_batchnorm and trainer.strategy.root_device.type != "cuda":
            kind = trainer.strategy.root_device.type
            raise wrong(
                "sync_batchnorm", "False but on CUDA", f"True on {kind}", "torch has it for CUDA only"
            )
        parts = {"devices": trainer.world_size, "accumulate": accumulate}
        done = _check_same_run(PlainCheckpoints().load_checkpoint(checkpoint), recipe, parts) if found else 0
        trainer.fit(classifier, loader, held_out, ckpt_path=str(checkpoint) if found else None)
    return Fitted(model, tuple(classifier.history), done)


def _checked_parallel(
    devices: int | str, strategy: str, precision: str, accumulate: int, sync_batchnorm: bool
) -> dict[str, Any]:
    """The arguments of Lightning's trainer that say where a run runs and not what it computes."""
    if devices != "auto":
        if isinstance(devices, str):
            raise wrong("devices", 'a number, or "auto"', repr(devices))
        check_number("devices", devices, least=1, integer=True)
    check_choice("strategy", strategy, STRATEGIES)
    check_choice("precision", precision, PRECISIONS)
    check_number("accumulate", accumulate, least=1, integer=True)
    names = ("devices", "strategy", "precision", "accumulate_grad_batches", "sync_batchnorm")
    return dict(zip(names, (devices, strategy, precision, accumulate, sync_batchnorm), strict=True))


def _check_same_run(state: dict[str, Any], recipe: Recipe, parts: dict[str, int]) -> int:
    """The steps that a checkpoint has done; raises ValueError where it was made by another recipe or in other parts."""
    kept, ours = state["isocline"], asdict(recipe)
    other = [name for name in ours if kept["recipe"].get(name) != ours[name]]
    if other:
        got = ", ".join(f"{name} = {kept['recipe'].get(name)!r}" for name in other)
        raise wrong("folder", "a run of this recipe", f"one with {got}", "use another folder")
    if kept.get("parts") != parts:
        want, got = (
            ", ".join(f"{k} = {v}" for k, v in (p or {}).items()) for p in (parts, kept.get("parts"))
        )
        raise wrong(
            "folder", f"a run with {want}", f"one with {got}", "go on as it began, or use another folder"
        )
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
