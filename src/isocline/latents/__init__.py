"""Through latents: change one attribute of a generator's image and nothing else, along a curved path.

>>> import torch
>>> from isocline.latents import AttributeModel, edit
>>> smile, age = torch.nn.Linear(4, 1), torch.nn.Linear(4, 1)
>>> model = AttributeModel.from_classifiers({"smile": smile, "age": age}, width=4)
>>> path = edit(model, torch.zeros(1, 4), "smile", to=+1, keep=["age"])
>>> change = {name: (values[-1] - values[0]).abs().item() for name, values in path.scores.items()}
>>> change["smile"] > 0.1, change["age"] < 1e-5
(True, True)

Source: Chen, Jiang, Duke, Zhao, Aarabi, *Exploring Gradient-based Multi-directional Controls in GANs*, ECCV 2022.
"""

from typing import TYPE_CHECKING

from isocline._core.lazy import lazy_names

if TYPE_CHECKING:
    from . import functional
    from .attributes import AttributeModel, Learned
    from .baselines import GANSpace, InterFaceGAN, SeFa, straight
    from .comparison import Leakage, leakage, measure_path
    from .editing import edit, trade_off
    from .exclusion import TradeOff
    from .fitting import AttributeWarning, fit_attributes, score_codes
    from .generators import Generator, MappingSynthesis, ModuleGenerator, StyleGAN
    from .path import EditPath
    from .report import ControlReport, report_controls

_WHERE = {
    "AttributeModel": "attributes",
    "AttributeWarning": "fitting",
    "ControlReport": "report",
    "EditPath": "path",
    "GANSpace": "baselines",
    "Generator": "generators",
    "InterFaceGAN": "baselines",
    "Leakage": "comparison",
    "Learned": "attributes",
    "MappingSynthesis": "generators",
    "ModuleGenerator": "generators",
    "SeFa": "baselines",
    "StyleGAN": "generators",
    "TradeOff": "exclusion",
    "edit": "editing",
    "fit_attributes": "fitting",
    "leakage": "comparison",
    "measure_path": "comparison",
    "report_controls": "report",
    "score_codes": "fitting",
    "straight": "baselines",
    "trade_off": "editing",
}
_SUBMODULES = ("functional",)

__all__ = [
    "AttributeModel",
    "AttributeWarning",
    "ControlReport",
    "EditPath",
    "GANSpace",
    "Generator",
    "InterFaceGAN",
    "Leakage",
    "Learned",
    "MappingSynthesis",
    "ModuleGenerator",
    "SeFa",
    "StyleGAN",
    "TradeOff",
    "edit",
    "fit_attributes",
    "functional",
    "leakage",
    "measure_path",
    "report_controls",
    "score_codes",
    "straight",
    "trade_off",
]

__getattr__, __dir__ = lazy_names(__name__, __all__, _WHERE, _SUBMODULES)
