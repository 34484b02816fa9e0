"""Through graphs: linear recurrences without a fixed scan order, on sequences, grids and directed acyclic graphs.

>>> import torch
>>> from isocline.plstm import DagBatch, plstm_graph
>>> path = DagBatch.from_edges([(0, 1), (1, 2)])
>>> one, gates = torch.ones(3, 1), torch.ones(2)
>>> plstm_graph(one, one, one, gates, torch.ones(1), gates, torch.zeros(3), path).squeeze()
tensor([0., 1., 2.])

Source: pLSTM, *parallelizable Linear Source Transition Mark networks*, arXiv 2506.11997.
"""

from typing import TYPE_CHECKING

from isocline._core.lazy import lazy_names

if TYPE_CHECKING:
    from . import functional, kernels
    from .diagnostics import DagDiagnostics, PropagationWarning
    from .functional import plstm_1d, plstm_2d, plstm_2d_d, plstm_2d_p
    from .graph import DagBatch
    from .graph_classifier import BothWays, PLSTMGraphClassifier
    from .layers import PLSTM1d, PLSTM2d, PLSTMGraph
    from .models import PLSTMLanguageModel, PLSTMVision, convert_reference_checkpoint
    from .propagation import plstm_graph
    from .report import GradientReport, gradient_report

_WHERE = {
    "BothWays": "graph_classifier",
    "DagBatch": "graph",
    "DagDiagnostics": "diagnostics",
    "GradientReport": "report",
    "PLSTM1d": "layers",
    "PLSTM2d": "layers",
    "PLSTMGraph": "layers",
    "PLSTMGraphClassifier": "graph_classifier",
    "PLSTMLanguageModel": "models",
    "PLSTMVision": "models",
    "PropagationWarning": "diagnostics",
    "convert_reference_checkpoint": "models",
    "gradient_report": "report",
    "plstm_1d": "functional",
    "plstm_2d": "functional",
    "plstm_2d_d": "functional",
    "plstm_2d_p": "functional",
    "plstm_graph": "propagation",
}
_SUBMODULES = ("functional", "kernels")

__all__ = [
    "BothWays",
    "DagBatch",
    "DagDiagnostics",
    "GradientReport",
    "PLSTM1d",
    "PLSTM2d",
    "PLSTMGraph",
    "PLSTMGraphClassifier",
    "PLSTMLanguageModel",
    "PLSTMVision",
    "PropagationWarning",
    "convert_reference_checkpoint",
    "functional",
    "gradient_report",
    "kernels",
    "plstm_1d",
    "plstm_2d",
    "plstm_2d_d",
    "plstm_2d_p",
    "plstm_graph",
]

__getattr__, __dir__ = lazy_names(__name__, __all__, _WHERE, _SUBMODULES)
