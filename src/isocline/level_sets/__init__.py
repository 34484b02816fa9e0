r"""Through inputs: level set traversal, the images that look like something else while the model's answer stays.

>>> import torch
>>> from isocline.level_sets import traverse
>>> model = torch.nn.Linear(2, 2)
>>> _ = model.weight.data.copy_(torch.tensor([[4.0, 0.0], [-4.0, 0.0]])), model.bias.data.zero_()
>>> found = traverse(model, torch.tensor([[0.5, 0.1]]), torch.tensor([[0.5, 0.9]]), eps=0)
>>> bool(found.end_score > found.source_score - 1e-3), bool(found.ratio < 0.02)
(True, True)

Source: Balasubramanian, Sriramanan, Sadasivan, Feizi, *Exploring Geometry of Blind Spots in Vision Models*, NeurIPS 2023.
"""

from typing import TYPE_CHECKING

from isocline._core.lazy import lazy_names

if TYPE_CHECKING:
    from . import functional
    from .adapters import Normalized, Probabilities
    from .baselines import baseline
    from .distances import image_distance
    from .examples import EXAMPLE_MODELS, example_model
    from .report import BlindSpotReport, Hull, report_pairs
    from .scans import HullScan, hull_scan, path_width, segment_scan, star_report
    from .scores import Score
    from .traversal import Traversal
    from .walk import traverse

_WHERE = {
    "BlindSpotReport": "report",
    "EXAMPLE_MODELS": "examples",
    "Hull": "report",
    "HullScan": "scans",
    "Normalized": "adapters",
    "Probabilities": "adapters",
    "Score": "scores",
    "Traversal": "traversal",
    "baseline": "baselines",
    "example_model": "examples",
    "hull_scan": "scans",
    "image_distance": "distances",
    "path_width": "scans",
    "report_pairs": "report",
    "segment_scan": "scans",
    "star_report": "scans",
    "traverse": "walk",
}
_SUBMODULES = ("functional",)

__all__ = [
    "EXAMPLE_MODELS",
    "BlindSpotReport",
    "Hull",
    "HullScan",
    "Normalized",
    "Probabilities",
    "Score",
    "Traversal",
    "baseline",
    "example_model",
    "functional",
    "hull_scan",
    "image_distance",
    "path_width",
    "report_pairs",
    "segment_scan",
    "star_report",
    "traverse",
]

__getattr__, __dir__ = lazy_names(__name__, __all__, _WHERE, _SUBMODULES)
