r"""Through bits: binary networks, trained with the rectified straight-through estimator.

>>> import torch
>>> from isocline.binary import BinaryConv2d
>>> layer = BinaryConv2d(3, 8, 3, padding=1)
>>> layer.binary_weight().unique()
tensor([-1.,  1.])

Source: Wu, Zheng, Liu, Zheng, *Estimator Meets Equilibrium Perspective: A Rectified Straight Through Estimator for Binary
Neural Networks Training*, ICCV 2023.
"""

from typing import TYPE_CHECKING

from isocline._core.lazy import lazy_names

if TYPE_CHECKING:
    from . import functional, surrogates
    from .estimators import (
        DSQ,
        EDE,
        ESTIMATORS,
        FDA,
        RBNN,
        STE,
        Arctan,
        ClippedSTE,
        Estimator,
        Polynomial,
        Progressive,
        ReSTE,
        Sigmoid,
        Swish,
        Tanh,
        make_estimator,
    )
    from .functional import binarize
    from .layers import BinaryConv1d, BinaryConv2d, BinaryConv3d, BinaryLinear
    from .lightning import PowerCallback
    from .schedule import PowerSchedule

_WHERE = {
    "Arctan": "estimators",
    "BinaryConv1d": "layers",
    "BinaryConv2d": "layers",
    "BinaryConv3d": "layers",
    "BinaryLinear": "layers",
    "ClippedSTE": "estimators",
    "DSQ": "estimators",
    "EDE": "estimators",
    "ESTIMATORS": "estimators",
    "Estimator": "estimators",
    "FDA": "estimators",
    "Polynomial": "estimators",
    "PowerCallback": "lightning",
    "PowerSchedule": "schedule",
    "Progressive": "estimators",
    "RBNN": "estimators",
    "ReSTE": "estimators",
    "STE": "estimators",
    "Sigmoid": "estimators",
    "Swish": "estimators",
    "Tanh": "estimators",
    "binarize": "functional",
    "make_estimator": "estimators",
}
_SUBMODULES = ("functional", "surrogates")

__all__ = [
    "DSQ",
    "EDE",
    "ESTIMATORS",
    "FDA",
    "RBNN",
    "STE",
    "Arctan",
    "BinaryConv1d",
    "BinaryConv2d",
    "BinaryConv3d",
    "BinaryLinear",
    "ClippedSTE",
    "Estimator",
    "Polynomial",
    "PowerCallback",
    "PowerSchedule",
    "Progressive",
    "ReSTE",
    "Sigmoid",
    "Swish",
    "Tanh",
    "binarize",
    "functional",
    "make_estimator",
    "surrogates",
]

__getattr__, __dir__ = lazy_names(__name__, __all__, _WHERE, _SUBMODULES)
