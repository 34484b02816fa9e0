"""Training of image classifiers on Lightning: recipes, exact resume, attacks, metrics.

Only `fit` and `Classifier` need Lightning, which is imported when they are first used; ``pip install 'isocline[vision]'``.
"""

from typing import TYPE_CHECKING

from isocline.training.attack import PGD, Attacked, pgd
from isocline.training.augment import Augment, CentreCrop, RandomCrop, augmented
from isocline.training.fit import Fitted, fit
from isocline.training.loader import Loader
from isocline.training.metrics import evaluate
from isocline.training.mixing import Mix, mixed
from isocline.training.recipe import Recipe

if TYPE_CHECKING:
    from isocline.training.classifier import Classifier, Diverged

__all__ = [
    "PGD",
    "Attacked",
    "Augment",
    "CentreCrop",
    "Classifier",
    "Diverged",
    "Fitted",
    "Loader",
    "Mix",
    "RandomCrop",
    "Recipe",
    "augmented",
    "evaluate",
    "fit",
    "mixed",
    "pgd",
]


def __getattr__(name: str) -> object:
    if name in ("Classifier", "Diverged"):
        from isocline.training import classifier

        return getattr(classifier, name)
    raise AttributeError(f"module 'isocline.training' has no attribute {name!r}")
