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
    from . import functional, packed, surrogates
    from .convert import ConstantInput, binarize_model
    from .diagnosis import Diagnosis, diagnose
    from .equilibrium import Equilibrium, EquilibriumCallback
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
    from .indicators import (
        dead_zone_share,
        estimating_error,
        estimating_error_rms,
        flip_ratio,
        gradient_stability,
        gradient_stability_scale_free,
        plateau_share,
    )
    from .layers import BinaryConv1d, BinaryConv2d, BinaryConv3d, BinaryLinear
    from .lightning import PowerCallback
    from .models import (
        resnet18_cifar,
        resnet18_imagenet,
        resnet20,
        resnet20_bireal,
        resnet34_imagenet,
        vgg_small,
    )
    from .packed import PackedModel, PackingWarning, export_onnx, pack
    from .planning import BinarizationPlan, plan_binarization
    from .schedule import PowerSchedule
    from .shifts import RPReLU, RSign
    from .weights import Bop, binary_parameters, clip_weights

_WHERE = {
    "Bop": "weights",
    "RPReLU": "shifts",
    "RSign": "shifts",
    "binary_parameters": "weights",
    "clip_weights": "weights",
    "Arctan": "estimators",
    "BinarizationPlan": "planning",
    "BinaryConv1d": "layers",
    "BinaryConv2d": "layers",
    "BinaryConv3d": "layers",
    "BinaryLinear": "layers",
    "ClippedSTE": "estimators",
    "ConstantInput": "convert",
    "DSQ": "estimators",
    "Diagnosis": "diagnosis",
    "EDE": "estimators",
    "ESTIMATORS": "estimators",
    "Equilibrium": "equilibrium",
    "EquilibriumCallback": "equilibrium",
    "Estimator": "estimators",
    "FDA": "estimators",
    "PackedModel": "packed",
    "PackingWarning": "packed",
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
    "binarize_model": "convert",
    "plan_binarization": "planning",
    "dead_zone_share": "indicators",
    "diagnose": "diagnosis",
    "estimating_error": "indicators",
    "estimating_error_rms": "indicators",
    "export_onnx": "packed",
    "flip_ratio": "indicators",
    "gradient_stability": "indicators",
    "gradient_stability_scale_free": "indicators",
    "make_estimator": "estimators",
    "pack": "packed",
    "plateau_share": "indicators",
    "resnet18_cifar": "models",
    "resnet18_imagenet": "models",
    "resnet20": "models",
    "resnet20_bireal": "models",
    "resnet34_imagenet": "models",
    "vgg_small": "models",
}
_SUBMODULES = ("functional", "packed", "surrogates")

__all__ = [
    "DSQ",
    "EDE",
    "ESTIMATORS",
    "FDA",
    "RBNN",
    "STE",
    "Arctan",
    "BinarizationPlan",
    "BinaryConv1d",
    "BinaryConv2d",
    "BinaryConv3d",
    "BinaryLinear",
    "Bop",
    "ClippedSTE",
    "ConstantInput",
    "Diagnosis",
    "Equilibrium",
    "EquilibriumCallback",
    "Estimator",
    "PackedModel",
    "PackingWarning",
    "Polynomial",
    "PowerCallback",
    "PowerSchedule",
    "Progressive",
    "RPReLU",
    "RSign",
    "ReSTE",
    "Sigmoid",
    "Swish",
    "Tanh",
    "binarize",
    "binarize_model",
    "binary_parameters",
    "clip_weights",
    "dead_zone_share",
    "diagnose",
    "estimating_error",
    "estimating_error_rms",
    "export_onnx",
    "flip_ratio",
    "functional",
    "gradient_stability",
    "gradient_stability_scale_free",
    "make_estimator",
    "pack",
    "packed",
    "plan_binarization",
    "plateau_share",
    "resnet18_cifar",
    "resnet18_imagenet",
    "resnet20",
    "resnet20_bireal",
    "resnet34_imagenet",
    "surrogates",
    "vgg_small",
]

__getattr__, __dir__ = lazy_names(__name__, __all__, _WHERE, _SUBMODULES)
