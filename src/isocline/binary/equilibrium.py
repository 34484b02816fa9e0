"""The equilibrium along training: one row a measured step, in numbers and as a picture. Importing this file imports Lightning."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from isocline._core.checks import check_number, wrong
from isocline._core.files import plain
from isocline.binary.diagnosis import binary_layers
from isocline.binary.indicators import (
    estimating_error,
    flip_ratio,
    gradient_stability,
    gradient_stability_scale_free,
)

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ImportError as error:
    raise ImportError("lightning: want it installed, got none; pip install 'isocline[vision]'") from error


@dataclass(frozen=True, slots=True)
class Balance:
    """Where training stood at one step. Errors are measured with the sharpness of that step, shares over all binary weights."""

    step: int
    sharpness: float  # o of ReSTE; NaN for other estimators
    error: float  # published e: sum over layers of ||f(w) - sign(w)||
    error_rms: float  # of a typical weight
    stability: float  # published s: sum over layers of var |g|
    stability_scale_free: float  # var |g| / (mean |g|)^2
    flips: float  # share of weights whose sign changed at this step
    dead: float  # share of weights without a gradient


@dataclass(frozen=True, slots=True)
class Equilibrium:
    """Error against stability, step by step."""

    rows: tuple[Balance, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {"rows": [plain(asdict(row)) for row in self.rows]}

    def plot(self, ax: Any = None) -> Any:
        """On `ax` the path in the plane of error and stability; without it the path, both over the steps, and the flips."""
        from isocline.binary.pictures import draw_equilibrium

        return draw_equilibrium(self, ax)


class EquilibriumCallback(Callback):
    """Measures the equilibrium every so many steps of the optimiser, and draws it at the end of every epoch.

    The gradients are those the optimiser gets (behind the unscaling of mixed precision, before clipping). every: steps; one
    measurement costs about two passes over the weights. path: where the picture is kept (PNG, SVG or PDF); None draws none.
    model: the part to watch; None takes the whole LightningModule. Logs ``estimating_error_rms`` and
    ``gradient_stability_scale_free``; `equilibrium` is the result, which survives a checkpoint.
    """

    def __init__(
        self,
        every: int = 50,
        *,
        path: str | os.PathLike[str] | None = None,
        model: nn.Module | None = None,
    ) -> None:
        self.every = check_number("every", every, least=1, integer=True)
        self.path, self.model = None if path is None else Path(path), model
        self._layers: Mapping[str, Any] = {}
        self._before: list[Tensor] | None = None
        self._measured: dict[str, Tensor | float] = {}
        self._rows: list[dict[str, float]] = []

    @property
    def equilibrium(self) -> Equilibrium:
        """All that was measured so far."""
        return Equilibrium(tuple(Balance(**row) for row in self._rows))  # type: ignore[arg-type]

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._layers = binary_layers(self.model or pl_module)
        if not self._layers:
            kind = type(self.model or pl_module).__name__
            raise wrong("model", "binary layers in it", kind, "binarize_model makes them")

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        weights = [layer.weight for layer in self._layers.values()]
        gradients = [w.grad for w in weights if w.grad is not None]
        if trainer.global_step % self.every or not gradients:
            return
        self._before = [w.detach().clone() for w in weights]
        self._measured = _balance(self._layers) | {
            "stability": gradient_stability(gradients),
            "stability_scale_free": gradient_stability_scale_free(gradients),
        }

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._before is None:
            return
        after = [layer.weight.detach() for layer in self._layers.values()]
        self._measured["flips"] = flip_ratio(self._before, after)
        row = {name: float(value) for name, value in self._measured.items()}
        self._rows.append({"step": trainer.global_step, **row})
        self._before = None
        for name in ("error_rms", "stability_scale_free"):
            said = {"error_rms": "estimating_error_rms"}.get(name, f"gradient_{name}")
            pl_module.log(said, row[name])

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.path is not None and self._rows and trainer.is_global_zero:
            from isocline.binary.pictures import equilibrium_figure

            self.path.parent.mkdir(parents=True, exist_ok=True)
            equilibrium_figure(self.equilibrium).savefig(self.path, dpi=160)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self._rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._rows = [dict(row) for row in state_dict["rows"]]


@torch.no_grad()
def _balance(layers: Mapping[str, Any]) -> dict[str, Tensor | float]:
    """The error now, each layer with its own estimator, and the share of weights it gives no gradient."""
    estimators = [layer.weight_estimator for layer in layers.values()]
    weights = [layer.weight.detach() for layer in layers.values()]
    pairs = list(zip(estimators, weights, strict=True))
    errors = torch.stack([estimating_error(w, estimator.primitive) for estimator, w in pairs])
    dead = torch.stack([(estimator.surrogate(w) == 0).sum() for estimator, w in pairs]).sum()
    count = sum(w.numel() for w in weights)
    return {
        "sharpness": float(getattr(estimators[0], "o", float("nan"))),
        "error": errors.sum(),
        "error_rms": torch.linalg.vector_norm(errors) / count**0.5,
        "dead": dead / count,
    }
