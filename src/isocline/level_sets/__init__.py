r"""Through inputs: level set traversal, the images that look like something else while the model's answer stays.

>>> import torch
>>> from isocline.level_sets import traverse
>>> model = torch.nn.Linear(2, 2)
>>> _ = model.weight.data.copy_(torch.tensor([[4.0, 0.0], [-4.0, 0.0]])), model.bias.data.zero_()
>>> found = traverse(model, torch.tensor([[0.5, 0.1]]), torch.tensor([[0.5, 0.9]]))
>>> bool(found.end_score > found.source_score), bool(found.ratio < 0.06)
(True, True)

Source: Balasubramanian, Sriramanan, Sadasivan, Feizi, *Exploring Geometry of Blind Spots in Vision Models*, NeurIPS 2023.
"""

from typing import TYPE_CHECKING

from isocline._core.lazy import lazy_names

if TYPE_CHECKING:
    from . import functional
    from .adapters import Normalized, Probabilities
    from .scores import Score
    from .traversal import Traversal
    from .walk import traverse

_WHERE = {
    "Normalized": "adapters",
    "Probabilities": "adapters",
    "Score": "scores",
    "Traversal": "traversal",
    "traverse": "walk",
}
_SUBMODULES = ("functional",)

__all__ = [
    "Normalized",
    "Probabilities",
    "Score",
    "Traversal",
    "functional",
    "traverse",
]

__getattr__, __dir__ = lazy_names(__name__, __all__, _WHERE, _SUBMODULES)
