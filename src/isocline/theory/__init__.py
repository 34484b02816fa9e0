"""The effective theory of deep networks: at which initialisation, width, depth and learning rate signals and
gradients keep their size.

>>> from isocline.theory import EffectiveTheory
>>> print(EffectiveTheory("gelu", depth=48, width=4096).report().regime)
below the best depth for this width

Source: Roberts, Yaida, Hanin, *The Principles of Deep Learning Theory*, arXiv 2106.10165.
"""

from typing import TYPE_CHECKING

from isocline._core.lazy import lazy_names

if TYPE_CHECKING:
    from . import functional
    from .activation import Activation
    from .advice import Recommendation, least_skip, recommend
    from .critical import Criticality, criticality
    from .depth import AspectRatio, largest_depth, optimal_aspect_ratio
    from .effective import EffectiveTheory
    from .feature import KernelChange
    from .init import InitReport, critical_init_
    from .layerwise import layerwise_lr
    from .monte_carlo import Ensemble, ensemble
    from .report import Report
    from .single import SingleInput
    from .training import Prediction

_WHERE = {
    "Activation": "activation",
    "AspectRatio": "depth",
    "Criticality": "critical",
    "EffectiveTheory": "effective",
    "Ensemble": "monte_carlo",
    "InitReport": "init",
    "KernelChange": "feature",
    "Prediction": "training",
    "Recommendation": "advice",
    "Report": "report",
    "SingleInput": "single",
    "critical_init_": "init",
    "criticality": "critical",
    "ensemble": "monte_carlo",
    "largest_depth": "depth",
    "layerwise_lr": "layerwise",
    "least_skip": "advice",
    "optimal_aspect_ratio": "depth",
    "recommend": "advice",
}

__all__ = [
    "Activation",
    "AspectRatio",
    "Criticality",
    "EffectiveTheory",
    "Ensemble",
    "InitReport",
    "KernelChange",
    "Prediction",
    "Recommendation",
    "Report",
    "SingleInput",
    "critical_init_",
    "criticality",
    "ensemble",
    "functional",
    "largest_depth",
    "layerwise_lr",
    "least_skip",
    "optimal_aspect_ratio",
    "recommend",
]

__getattr__, __dir__ = lazy_names(__name__, __all__, _WHERE, ("functional",))
