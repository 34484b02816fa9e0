"""What a packed model is made of: every operation by its name, as a function of its settings and arrays.

A step of the program is ``{"op", "name", "inputs", "settings"}`` with arrays of its own, and `make` turns it into a function of
values. What works on bits comes first; the rest is PyTorch's own operations, with the same arguments as in the model that was
packed, so that the same numbers come out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from isocline._core.checks import wrong

from .bits import Bits, empty_bits, from_rows
from .epilogue import Affine, Limits
from .kernels import SignConvolution
from .values import Value
from .window import Window

Arrays = Mapping[str, np.ndarray]
Run = Callable[..., Value]


def make(op: str, settings: dict[str, Any], arrays: Arrays, backend: str) -> Run:
    """The function that runs a step. Raises ValueError for an unknown operation, or arrays that do not fit the settings."""
    if op in BITWISE:
        return BITWISE[op](settings, arrays, backend)
    if op in EITHER:
        return _either(EITHER[op], settings)
    if op not in NUMERIC:
        raise wrong("op", f"one of {', '.join([*BITWISE, *EITHER, *NUMERIC])}", repr(op), "update isocline")
    tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
    return _numeric(NUMERIC[op](settings, tensors))


def weight_signs(window: Window, rows: np.ndarray) -> np.ndarray:
    """Weights of a file as signs ``(M, *kernel, C / groups)`` int8."""
    if rows.shape != (window.outputs, -(-window.size // 8)) or rows.dtype != np.uint8:
        raise ValueError(f"weight is not ({window.outputs}, {-(-window.size // 8)}) bytes")
    truths = from_rows(rows, window.size)
    return np.where(truths, 1, -1).astype(np.int8).reshape(window.outputs, *window.kernel, -1)


def convolution(settings: dict[str, Any], arrays: Arrays, backend: str) -> Run:
    """Bits with bits: a convolution or fully connected layer, and what becomes of its sums (`epilogue`)."""
    window, gives, axes = Window.from_dict(settings["window"]), settings["gives"], settings["axes"]
    if gives not in ("bits", "numbers", "both") or axes not in (0, 1, 2, 3):
        raise ValueError(f"a convolution that gives {gives!r} along {axes!r} axes")
    kernel = SignConvolution(
        window, weight_signs(window, arrays["weight"]), _ending(window, settings, arrays), backend
    )

    def run(x: Value, skip: Value | None = None) -> Value:
        bits = _seen(x.bits(), window, axes)
        if gives == "bits":
            return Value(axes, bits=kernel.to_bits(bits), backend=backend)
        numbers, made = kernel.to_numbers(bits, None if skip is None else skip.last(), gives == "both")
        return Value(axes, last=numbers, bits=made, backend=backend)

    return run


def _seen(bits: Bits, window: Window, axes: int) -> Bits:
    """A fully connected layer sees all places of its input at once."""
    if axes == 0 and bits.shape[1:] != window.kernel:
        got = f"{int(np.prod(bits.shape[1:])) * bits.channels} numbers"
        raise wrong("x", f"{window.taps * window.inputs} numbers an image", got)
    return bits


def _ending(window: Window, settings: dict[str, Any], arrays: Arrays) -> Limits | Affine:
    M = window.outputs
    if settings["gives"] == "bits":
        return Limits(_of(arrays["limit"], M, np.int32), from_rows(arrays["flip"].reshape(1, -1), M)[0])
    one, zero = np.ones(1, np.float32), np.zeros(1, np.float32)
    numbers = [
        np.broadcast_to(_of(arrays.get(name, default), None, np.float32), M)
        for name, default in (("scale", one), ("bias", zero), ("a", one), ("b", zero))
    ]
    if not all(np.isfinite(array).all() for array in numbers):
        raise ValueError("an affine map that is not finite")
    return Affine(*numbers, floor=0.0 if settings["relu"] else -np.inf, fused=bool(settings["fused"]))


def _of(array: np.ndarray, size: int | None, dtype: Any) -> np.ndarray:
    if array.dtype != dtype or array.ndim != 1 or (size is not None and len(array) != size):
        raise ValueError(f"an array of {array.shape} {array.dtype} where ({size},) {np.dtype(dtype)} belongs")
    return array


def largest(settings: dict[str, Any], arrays: Arrays, backend: str) -> Run:
    """Max pooling: the largest of some signs is +1 if one of them is, so bits are joined by or."""
    window = Window.from_dict(settings["window"])

    def run(x: Value) -> Value:
        bits = x.bits()
        words, image = bits.words, bits.shape[1:]
        counts = window.outside((image[0], image[1], image[2]))
        edges = [(0, 0), *zip(window.before, window.after, strict=True), (0, 0)]
        padded = np.pad(words, edges) if any(window.before + window.after) else words
        made = empty_bits((bits.shape[0], *counts), bits.channels)
        out = made.words
        for tap in np.ndindex(window.kernel):
            places = tuple(
                slice(k * d, k * d + s * (n - 1) + 1, s)
                for k, d, s, n in zip(tap, window.dilation, window.stride, counts, strict=True)
            )
            out |= padded[:, places[0], places[1], places[2]]
        return x.like(bits=made)

    return run


def side_by_side(settings: dict[str, Any], arrays: Arrays, backend: str) -> Run:
    """Flattening bits moves nothing: the layer behind has its weights in this order."""

    def run(x: Value) -> Value:
        bits = x.bits()
        B, D, H, W = bits.shape
        return Value(0, bits=bits.reshaped((B, 1, 1, D * H * W)), backend=x.backend)

    return run


BITWISE: dict[str, Callable[[dict[str, Any], Arrays, str], Run]] = {
    "convolution": convolution,
    "largest": largest,
    "side_by_side": side_by_side,
}


def _slice(x: Any, *, steps: list[int]) -> Any:
    """Every `steps[i]`-th place of each axis."""
    return x[tuple(slice(None, None, step) for step in steps)]


def _pad(x: Any, *, edges: list[list[int]]) -> Any:
    """Zeros around; edges: (before, after) of each axis."""
    if isinstance(x, np.ndarray):
        return np.pad(x, [tuple(edge) for edge in edges])
    return F.pad(x, [size for edge in reversed(edges) for size in edge])


EITHER: dict[str, Callable[..., Any]] = {
    "slice": _slice,
    "pad": _pad,
}  # no arithmetic: in whichever layout is there


def _either(function: Callable[..., Any], settings: dict[str, Any]) -> Run:
    ((name, axes),) = settings.items()
    neutral: Any = 1 if name == "steps" else [0, 0]

    def run(x: Value) -> Value:
        if len(axes) != x.axes + 2:
            raise wrong("x", f"{len(axes)} axes", str(x.axes + 2))
        if not x.is_last:
            return x.like(first=function(x.first(), **{name: axes}).contiguous())
        batch, channel, *space = axes
        moved = [batch, *[neutral] * (3 - x.axes), *space, channel]
        return x.like(last=np.ascontiguousarray(function(x.last(), **{name: moved})))

    return run


def _numeric(function: Callable[..., Tensor]) -> Run:
    def run(*values: Value) -> Value:
        with torch.inference_mode():
            made = function(*(value.first() for value in values))
        return Value(max(0, made.ndim - 2), first=made, backend=values[0].backend)

    return run


def _conv(s: dict[str, Any], arrays: Mapping[str, Tensor]) -> Callable[[Tensor], Tensor]:
    function: Any = (F.conv1d, F.conv2d, F.conv3d)[arrays["weight"].ndim - 3]
    padding = s["padding"] if isinstance(s["padding"], str) else tuple(s["padding"])
    rest = (tuple(s["stride"]), padding, tuple(s["dilation"]), s["groups"])
    return lambda x: function(x, arrays["weight"], arrays.get("bias"), *rest)


def _bit_weights(s: dict[str, Any], arrays: Mapping[str, Tensor]) -> Callable[[Tensor], Tensor]:
    """Numbers with weights of one bit, which are numbers again for PyTorch's own convolution."""
    window, axes = Window.from_dict(s["window"]), s["axes"]
    signs = torch.from_numpy(weight_signs(window, arrays["weight"].numpy())).float()
    weight = signs.permute(0, 4, 1, 2, 3).contiguous().reshape(window.outputs, -1, *window.kernel[3 - axes :])
    if axes == 0:
        weight = weight.flatten(1)
    if "scale" in arrays:
        weight = weight * arrays["scale"].reshape(-1, *(1,) * (weight.ndim - 1))
    given = dict(arrays) | {"weight": weight}
    return _linear(s, given) if axes == 0 else _conv(s, given)


def _linear(s: dict[str, Any], arrays: Mapping[str, Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda x: F.linear(x, arrays["weight"], arrays.get("bias"))


def _batch_norm(s: dict[str, Any], arrays: Mapping[str, Tensor]) -> Callable[[Tensor], Tensor]:
    mean, var, weight, bias = (arrays.get(name) for name in ("mean", "var", "weight", "bias"))
    return lambda x: F.batch_norm(x, mean, var, weight, bias, False, 0.0, s["eps"])


def _max_pool(s: dict[str, Any], arrays: Mapping[str, Tensor]) -> Callable[[Tensor], Tensor]:
    function = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[len(s["kernel"]) - 1]
    rest = (s["kernel"], s["stride"], s["padding"], s["dilation"], s["ceil_mode"])
    return lambda x: function(x, *rest)


def _avg_pool(s: dict[str, Any], arrays: Mapping[str, Tensor]) -> Callable[[Tensor], Tensor]:
    function: Any = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[len(s["kernel"]) - 1]
    rest = (s["kernel"], s["stride"], s["padding"], s["ceil_mode"], s["count_include_pad"])
    return lambda x: function(x, *rest)


def _adaptive(s: dict[str, Any], arrays: Mapping[str, Tensor]) -> Callable[[Tensor], Tensor]:
    function: Any = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)[len(s["size"]) - 1]
    return lambda x: function(x, s["size"])


def _add(s: dict[str, Any], arrays: Mapping[str, Tensor]) -> Callable[..., Tensor]:
    return lambda x, y=None: x + (x if y is None else y)


NUMERIC: dict[str, Callable[[dict[str, Any], Mapping[str, Tensor]], Callable[..., Tensor]]] = {
    "conv": _conv,
    "bit_weights": _bit_weights,
    "linear": _linear,
    "batch_norm": _batch_norm,
    "relu": lambda s, arrays: F.relu,
    "hardtanh": lambda s, arrays: lambda x: F.hardtanh(x, s["least"], s["most"]),
    "leaky_relu": lambda s, arrays: lambda x: F.leaky_relu(x, s["slope"]),
    "prelu": lambda s, arrays: lambda x: F.prelu(x, arrays["weight"]),
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "adaptive_avg_pool": _adaptive,
    "flatten": lambda s, arrays: lambda x: x.flatten(1),
    "add": _add,
}
