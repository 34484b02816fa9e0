"""Loss and accuracies of a classifier as plain dicts, and the sums they come from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from isocline._core.seeds import derive_seed, torch_generator
from isocline.training.attack import PGD, pgd
from isocline.training.loader import Data, Loader, as_images


@dataclass(slots=True)
class Tally:
    """Running sums over examples; `means` are the metrics. Sums are float64, so that their order hardly matters."""

    examples: int = 0
    loss: float = 0.0
    right: int = 0

    def add(self, loss: Tensor, right: Tensor, own: int | None = None) -> None:
        """One batch: the mean loss, a scalar, and whether each example was right, ``(B,)``; own: 0 where none of it counts."""
        if own == 0:
            return
        self.examples += len(right)
        self.loss += float(loss.detach()) * len(right)
        self.right += int(right.sum())

    def means(self, prefix: str = "") -> dict[str, float]:
        """``{"loss": mean, "accuracy": share in [0, 1]}``; NaN without examples."""
        n = self.examples or float("nan")
        return {f"{prefix}loss": self.loss / n, f"{prefix}accuracy": self.right / n}

    def to_dict(self) -> dict[str, float]:
        return asdict(self)


def right(logits: Tensor, labels: Tensor) -> Tensor:
    """Whether the largest logit is the label's; of equal ones the first counts. ``(B, classes)``, ``(B,)`` -> ``(B,)``."""
    return logits.argmax(1) == labels


def evaluate(
    model: nn.Module, data: Data, *, attack: PGD | None = None, batch_size: int = 256, seed: int = 0
) -> dict[str, float]:
    """``loss`` (mean cross entropy) and ``accuracy`` on all of `data`; with an attack ``robust_accuracy`` too.

    data: as for `Loader`. An example counts as robust when no point that the attack has visited is misclassified, and
    the image itself is one of them, so ``robust_accuracy <= accuracy``. The same seed gives the same numbers; the model
    (mode, gradients, random state) is left as it was found.
    """
    tally, robust = Tally(), 0
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    generator = torch_generator(derive_seed("attack", seed), device)
    with evaluating(model):
        for images, labels in Loader(data, batch_size):
            images, labels = as_images(images).to(device), labels.to(device)
            with torch.no_grad():
                logits = model(images)
                tally.add(cross_entropy(logits, labels), right(logits, labels))
            if attack is not None:
                robust += int((~pgd(model, images, labels, attack, generator).fooled).sum())
    found = tally.means()
    return found if attack is None else found | {"robust_accuracy": robust / tally.examples}


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Every module in evaluation mode inside, and in its own afterwards."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
