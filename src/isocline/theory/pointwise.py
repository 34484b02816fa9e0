"""Pointwise functions as they are written in a module: which operations they are made of, their words, their values."""

import operator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from isocline.theory.activation import Activation
from isocline.theory.named import name_of_module

_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
_TRANSPARENT_MODULES = (*_DROPOUTS, nn.Flatten, nn.Unflatten, nn.Identity)
_MIXING_MODULES = (nn.Softmax, nn.LogSoftmax, nn.Softmin, nn.Softmax2d, nn.GLU, nn.MultiheadAttention)
_OPERATORS = "add iadd sub isub mul imul truediv neg pow gt lt ge le"
_SHAPES = "flatten view reshape transpose permute squeeze unsqueeze contiguous clone float to dropout"
_FUNCTIONS = """
    tanh relu sigmoid sin cos erf exp log abs sqrt square pow mul add sub div true_divide clamp clip maximum minimum where neg
    sign atan arctan silu gelu elu selu celu leaky_relu softplus softsign hardtanh hardswish hardsigmoid relu6 mish logsigmoid
    tanhshrink softshrink hardshrink prelu log1p expm1 sinh cosh asinh
"""


def _targets(words: str) -> set[Any]:
    """What a traced call may have as its target: functions of these names, of torch or torch.nn.functional, and methods."""
    names = words.split()
    found = {getattr(place, name) for place in (torch, F) for name in names if hasattr(place, name)}
    return found | set(names) | {f"{name}_" for name in names}


_TRANSPARENT = _targets(_SHAPES)
_POINTWISE = _targets(_FUNCTIONS) | {getattr(operator, name) for name in _OPERATORS.split()}
_NAMES: dict[Any, str] = {
    target: name
    for name, targets in {
        "relu": (torch.relu, F.relu, "relu", "relu_"),
        "tanh": (torch.tanh, F.tanh, "tanh", "tanh_"),
        "gelu": (F.gelu,),
        "swish": (F.silu,),
        "sin": (torch.sin, "sin"),
        "erf": (torch.erf, "erf"),
        "sigmoid": (torch.sigmoid, F.sigmoid, "sigmoid"),
        "mish": (F.mish,),
    }.items()
    for target in targets
}


def is_transparent(node: fx.Node, module: nn.Module | None) -> bool:
    """Whether a call changes the shape only, or nothing in evaluation."""
    return isinstance(module, _TRANSPARENT_MODULES) if module is not None else node.target in _TRANSPARENT


def is_pointwise(node: fx.Node, module: nn.Module | None) -> bool:
    """Whether a call works on each value alone."""
    if module is None:
        return node.target in _POINTWISE
    known = type(module).__module__.endswith("modules.activation") and not isinstance(module, _MIXING_MODULES)
    return known or name_of_module(module) is not None


def expression(module: nn.Module, root: fx.Node, at: Any) -> str:
    """The function in words, ``"mul(z, sigmoid(z))"``, or its name where it has one, ``"gelu"``."""
    if not isinstance(at, fx.Node):
        return repr(at)
    if at is root:
        return "z"
    arguments = [expression(module, root, argument) for argument in (*at.args, *at.kwargs.values())]
    if at.op == "call_module":
        part = module.get_submodule(str(at.target))
        if isinstance(part, _TRANSPARENT_MODULES):
            return arguments[0]
        name = name_of_module(part) or str(at.target)
    elif at.target in _TRANSPARENT:
        return arguments[0]
    else:
        name = _NAMES.get(at.target) or (
            at.target if isinstance(at.target, str) else getattr(at.target, "__name__", "f")
        )
    return name if arguments == ["z"] else f"{name}({', '.join(arguments)})"


def evaluate(module: nn.Module, root: fx.Node, at: Any, z: Tensor) -> Any:
    """The value of the node `at` when `root` has the value z; any shape, as nothing here depends on it."""
    if not isinstance(at, fx.Node):
        return at
    if at is root:
        return z
    if at.op == "get_attr":
        found = operator.attrgetter(str(at.target))(module)
        return found.double() if isinstance(found, Tensor) and found.is_floating_point() else found
    args = [evaluate(module, root, argument, z) for argument in at.args]
    kwargs = {
        name: evaluate(module, root, value, z) for name, value in at.kwargs.items() if name != "inplace"
    }
    if at.op == "call_module":
        part = module.get_submodule(str(at.target))
        return args[0] if isinstance(part, _TRANSPARENT_MODULES) else Activation(part)(args[0])
    if at.target in _TRANSPARENT:
        return args[0]
    function = getattr(torch.Tensor, at.target.rstrip("_")) if isinstance(at.target, str) else at.target
    return function(*args, **kwargs)
