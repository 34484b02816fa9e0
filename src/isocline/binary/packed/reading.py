"""How the modules and functions of a PyTorch model are written as steps: operation, settings, arrays.

What is not in these tables is still run, by itself, but cannot be saved or exported.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from ..layers import BinaryLinear
from .bits import to_rows
from .window import Three, Window

Written = tuple[str, dict[str, Any], dict[str, Tensor | None]]  # operation, settings, arrays

NOTHING = (
    nn.Identity,
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
)  # in evaluation


def written(node: fx.Node, module: nn.Module | None) -> Written | None:
    """A node as a step, or None where there is no operation for it."""
    if module is not None:
        found = MODULES.get(type(module))
        return None if found is None else found(module)
    found = FUNCTIONS.get(node.target)
    return None if found is None else found(node)


def binary_window(layer: Any, *, channels: int = 0) -> Window:
    """The geometry of a binary layer. channels: of the map that a fully connected layer sees flattened, 0 if it is none."""
    if isinstance(layer, BinaryLinear):
        channels = channels or layer.in_features
        return Window(channels, layer.out_features, kernel=(1, 1, layer.in_features // channels))
    pairs = layer._reversed_padding_repeated_twice
    before, after = pairs[::2][::-1], pairs[1::2][::-1]
    return Window(
        layer.in_channels,
        layer.out_channels,
        layer.groups,
        _three(layer.kernel_size, 1),
        _three(layer.stride, 1),
        _three(layer.dilation, 1),
        _three(before, 0),
        _three(after, 0),
        layer.pad_value,
    )


def binary_rows(layer: Any, window: Window) -> Tensor:
    """Weights in bits, ``(M, ceil(n / 8))`` uint8: tap by tap, the channels of a tap side by side."""
    signs = layer.binary_weight()
    signs = signs.reshape(
        window.outputs, -1, window.taps
    )  # a fully connected layer's are flattened with channels first
    return torch.from_numpy(to_rows((signs.mT > 0).flatten(1).numpy()))


def axes_of(layer: Any) -> int:
    """Spatial axes of a layer."""
    return layer.weight.ndim - 2


def bit_weights(layer: Any) -> Written:
    """A binary layer whose input stays in numbers (1W/32A)."""
    window, scale = binary_window(layer), layer.scale()
    settings = {"window": window.to_dict(), "axes": axes_of(layer)}
    if settings["axes"]:
        settings |= _conv_settings(layer)
    arrays = {"weight": binary_rows(layer, window), "bias": layer.bias}
    return "bit_weights", settings, arrays | {"scale": None if scale is None else scale.reshape(-1)}


def _three(values: Any, missing: int) -> Three:
    sizes = [missing] * (3 - len(values)) + [int(value) for value in values]
    return sizes[0], sizes[1], sizes[2]


def _conv_settings(m: Any) -> dict[str, Any]:
    padding = m.padding if isinstance(m.padding, str) else list(m.padding)
    return {"stride": list(m.stride), "padding": padding, "dilation": list(m.dilation), "groups": m.groups}


def _conv(m: Any) -> Written | None:
    if m.padding_mode != "zeros":
        return None
    return "conv", _conv_settings(m), {"weight": m.weight, "bias": m.bias}


def _batch_norm(m: Any) -> Written | None:
    if m.running_mean is None:
        return None
    arrays = {"mean": m.running_mean, "var": m.running_var, "weight": m.weight, "bias": m.bias}
    return "batch_norm", {"eps": m.eps}, arrays


def _tuple(value: Any, axes: int) -> list[int]:
    return list(value) if isinstance(value, (tuple, list)) else [value] * axes


def _max_pool(axes: int) -> Callable[[Any], Written | None]:
    def write(m: Any) -> Written | None:
        if m.return_indices:
            return None
        names = {"kernel": m.kernel_size, "stride": m.stride, "padding": m.padding, "dilation": m.dilation}
        settings: dict[str, Any] = {name: _tuple(value, axes) for name, value in names.items()}
        return "max_pool", settings | {"ceil_mode": m.ceil_mode}, {}

    return write


def _avg_pool(axes: int) -> Callable[[Any], Written | None]:
    def write(m: Any) -> Written | None:
        if getattr(m, "divisor_override", None) is not None:
            return None
        names = {"kernel": m.kernel_size, "stride": m.stride, "padding": m.padding}
        settings: dict[str, Any] = {name: _tuple(value, axes) for name, value in names.items()}
        return "avg_pool", settings | {"ceil_mode": m.ceil_mode, "count_include_pad": m.count_include_pad}, {}

    return write


def _adaptive(axes: int) -> Callable[[Any], Written]:
    return lambda m: ("adaptive_avg_pool", {"size": _tuple(m.output_size, axes)}, {})


def _flatten(m: Any) -> Written | None:
    return ("flatten", {}, {}) if (m.start_dim, m.end_dim) == (1, -1) else None


MODULES: dict[type[nn.Module], Callable[[Any], Written | None]] = {
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), _conv),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), _batch_norm),
    nn.Linear: lambda m: ("linear", {}, {"weight": m.weight, "bias": m.bias}),
    nn.ReLU: lambda m: ("relu", {}, {}),
    nn.ReLU6: lambda m: ("hardtanh", {"least": 0.0, "most": 6.0}, {}),
    nn.Hardtanh: lambda m: ("hardtanh", {"least": m.min_val, "most": m.max_val}, {}),
    nn.LeakyReLU: lambda m: ("leaky_relu", {"slope": m.negative_slope}, {}),
    nn.PReLU: lambda m: ("prelu", {}, {"weight": m.weight}),
    nn.Flatten: _flatten,
    **{kind: _max_pool(i + 1) for i, kind in enumerate((nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d))},
    **{kind: _avg_pool(i + 1) for i, kind in enumerate((nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d))},
    nn.AdaptiveAvgPool1d: _adaptive(1),
    nn.AdaptiveAvgPool2d: _adaptive(2),
    nn.AdaptiveAvgPool3d: _adaptive(3),
}


def _added(node: fx.Node) -> Written | None:
    plain = len(node.args) == 2 and not node.kwargs
    return ("add", {}, {}) if plain and all(isinstance(arg, fx.Node) for arg in node.args) else None


def _strided(node: fx.Node) -> Written | None:
    """``x[:, :, ::2, ::2]``."""
    index: Any = node.args[1]
    if not isinstance(index, tuple) or not all(isinstance(part, slice) for part in index):
        return None
    steps = [(part.start, part.stop, part.step or 1) for part in index]
    if any(start or stop is not None or not isinstance(step, int) or step < 1 for start, stop, step in steps):
        return None
    return "slice", {"steps": [step for _, _, step in steps]}, {}


def _padded(node: fx.Node) -> Written | None:
    """Zeros around up to the channels of ``(B, C, H, W)``; as many axes as there are sizes, and the batch."""
    names = ("input", "pad", "mode", "value")
    given = dict(zip(names, node.args, strict=False)) | node.kwargs
    sizes: Any = given.get("pad")
    whole = isinstance(sizes, (tuple, list)) and all(type(size) is int and size >= 0 for size in sizes)
    if not whole or given.get("mode", "constant") != "constant" or given.get("value") not in (None, 0):
        return None
    edges = [[0, 0], *([sizes[i], sizes[i + 1]] for i in reversed(range(0, len(sizes), 2)))]
    return "pad", {"edges": edges}, {}


def _flat(node: fx.Node) -> Written | None:
    """``torch.flatten(x, 1)`` and ``x.flatten(1)``."""
    given = dict(zip(("input", "start_dim", "end_dim"), node.args, strict=False)) | node.kwargs
    return ("flatten", {}, {}) if (given.get("start_dim", 0), given.get("end_dim", -1)) == (1, -1) else None


def _rectified(node: fx.Node) -> Written:
    return "relu", {}, {}


FUNCTIONS: dict[Any, Callable[[fx.Node], Written | None]] = {
    **dict.fromkeys((operator.add, operator.iadd, torch.add, "add", "add_"), _added),
    operator.getitem: _strided,
    F.pad: _padded,
    **dict.fromkeys((torch.flatten, "flatten"), _flat),
    **dict.fromkeys((torch.relu, F.relu, "relu", "relu_"), _rectified),
}
