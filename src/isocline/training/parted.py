"""Data-parallel training: each process takes its parts of the same global batches, and draws its own random numbers."""

from __future__ import annotations

from collections.abc import Sequence

from lightning.pytorch import Callback, LightningModule, Trainer

from isocline._core.seeds import derive_seed
from isocline.training.checkpoint import seed_all
from isocline.training.loader import Loader


class Parted(Callback):
    """Tells the loaders which of the processes this is, as soon as Lightning has started them."""

    def __init__(self, loaders: Sequence[Loader]) -> None:
        self.loaders = loaders

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        for loader in self.loaders:
            loader.share(trainer.global_rank, trainer.world_size)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The first process draws what a single one would; a run that is resumed gets its own states behind this."""
        if trainer.global_rank:
            seed = pl_module.recipe.seed  # type: ignore[union-attr]
            seed_all(derive_seed("training", seed, trainer.global_rank))  # type: ignore[arg-type]
