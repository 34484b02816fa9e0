"""Through steps: linear classifiers trained with large steps, finished at the first perfect separator.

>>> from isocline.linear_model import functional
>>> functional.iterate([[1.0, -1.0], [1.0, 4.0]], "normalized_batch_perceptron", max_iter=2).separated_at
2
"""

from typing import TYPE_CHECKING

from isocline._core.lazy import lazy_names

if TYPE_CHECKING:
    from . import functional
    from .estimator import LargeStepClassifier
    from .losses import logistic_report, normalized_logistic_loss
    from .optimizer import PerceptronGD
    from .stopping import stop_at_separation

__all__ = [
    "LargeStepClassifier",
    "PerceptronGD",
    "functional",
    "logistic_report",
    "normalized_logistic_loss",
    "stop_at_separation",
]

# Where a name lives. It is imported when first used: scikit-learn, numba and SciPy's solvers take their time.
_HOMES = {
    "LargeStepClassifier": "estimator",
    "PerceptronGD": "optimizer",
    "logistic_report": "losses",
    "normalized_logistic_loss": "losses",
    "stop_at_separation": "stopping",
}

__getattr__, __dir__ = lazy_names(__name__, __all__, _HOMES, ("functional",))
