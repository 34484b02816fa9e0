"""A model's convolutions and linear layers made binary, in one call."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from torch import nn

from isocline._core.checks import check_choice

from .estimators import Estimator
from .planning import BINARY, PLACES, BinarizationPlan, plan_binarization


class ConstantInput(UserWarning):
    """A binary layer would see one sign only: behind a ReLU all activations are +1."""


def binarize_model(
    model: nn.Module,
    keep: Sequence[str] = PLACES,
    *,
    estimator: str | Estimator = "reste",
    input_estimator: str | Estimator | None = "same",
    scale: str = "tensor",
    scale_grad: bool = True,
    pad_value: int = 0,
    relu: str = "keep",
    sample: Any = None,
) -> nn.Module:
    """Put binary layers in place of a model's convolutions and linear layers; returns the model, which is changed.

    The latent weights are the model's own parameters, so an optimiser that holds them goes on. keep and sample: as
    `plan_binarization`, which says what stays and why. relu: "keep", or "prelu" to put a PReLU in place of every ReLU module,
    whose output would have one sign. The other arguments: as `isocline.binary.BinaryConv2d`.

    Raises: ValueError as those two, with the model unchanged. Warns: `ConstantInput`, if the sample shows such a layer.

    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(128, 10))
    >>> binarize_model(model)[2]
    BinaryConv2d(
      8, 8, kernel_size=(3, 3), stride=(1, 1), scale='tensor'
      (weight_estimator): ReSTE(o=1, t=1.5, m=0.1)
      (input_estimator): ReSTE(o=1, t=1.5, m=0.1)
    )
    """
    check_choice("relu", relu, ("keep", "prelu"))
    plan = plan_binarization(model, keep, sample=sample)
    how = {
        "estimator": estimator,
        "input_estimator": input_estimator,
        "scale": scale,
        "scale_grad": scale_grad,
    }
    modules = dict(model.named_modules(remove_duplicate=False))
    new = {id(modules[name]): _binary(modules[name], how, pad_value) for name in plan.binary}
    if relu == "prelu":
        new |= {id(module): _leaky(module, model) for module in modules.values() if type(module) is nn.ReLU}
    elif input_estimator is not None:
        _warn(plan)
    for name, module in modules.items():
        if name and id(module) in new:
            parent, _, own = name.rpartition(".")
            setattr(modules[parent], own, new[id(module)])
    return new.get(id(model), model)


def _binary(module: Any, how: dict[str, Any], pad_value: int) -> nn.Module:
    """The binary layer with this one's weight, bias and mode."""
    kind, bias = BINARY[type(module)], module.bias is not None
    where = {"device": module.weight.device, "dtype": module.weight.dtype}
    if isinstance(module, nn.Linear):
        layer = kind(module.in_features, module.out_features, bias, **how, **where)
    else:
        shape = (module.stride, module.padding, module.dilation, module.groups)
        sizes = (module.in_channels, module.out_channels, module.kernel_size)
        layer = kind(*sizes, *shape, bias, **how, **where, pad_value=pad_value)
    layer.weight, layer.bias = module.weight, module.bias
    if layer.scale_mode == "learnable":
        layer.alpha.data = layer._channel_means()
    return layer.to(module.weight.device).train(module.training)


def _leaky(module: nn.Module, model: nn.Module) -> nn.Module:
    like = next(model.parameters())
    return nn.PReLU(device=like.device, dtype=like.dtype).train(module.training)


def _warn(plan: BinarizationPlan) -> None:
    if plan.constant:
        names = ", ".join(plan.constant[:3]) + (", ..." if len(plan.constant) > 3 else "")
        remedy = "relu='prelu' lets it change sign; so does a batch norm behind the ReLU"
        said = f"model: want inputs of both signs, got one sign only at {len(plan.constant)} layers ({names}); {remedy}"
        warnings.warn(said, ConstantInput, stacklevel=3)
