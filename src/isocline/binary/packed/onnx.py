"""ONNX export: the packed program in plain operators that any runtime computes, right rather than fast.

Signs are ``Where(x >= 0, 1, -1)``, weights int8 that are cast, sums a ``Conv`` of +1 and -1, exact in float32; a limit is a
``Where`` per channel. An affine map that is rounded once is computed in float64.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np
import torch

from isocline._core.checks import wrong
from isocline._core.files import write_atomic

from .bits import from_rows
from .model import PackedModel
from .operations import weight_signs
from .program import Step
from .window import Window

OPSET = 18
FAR = np.iinfo(np.int64).max


def export_onnx(packed: PackedModel, path: str | os.PathLike[str], *, shape: Sequence[int]) -> None:
    """Write a packed model as an ONNX file for batches ``(N, *shape)`` of any N.

    What signs are made of is exact, so the whole sums of binary layers are the packed model's wherever their inputs' signs are.
    Raises ImportError without the extra `onnx`, ValueError for a step without ONNX operators.
    """
    try:
        onnx: Any = import_module("onnx")
    except ImportError as error:
        raise wrong(
            "onnx", "the package onnx", "none", "pip install 'isocline[onnx]'", error=ImportError
        ) from error
    graph = _Graph(onnx, packed)
    sizes = ["N", *(int(size) for size in shape)]
    out = [
        "N",
        *packed(torch.zeros(1, *sizes[1:], dtype=torch.float32)).shape[1:],
    ]  # a wrong shape is told here
    kind = onnx.TensorProto.FLOAT
    made = onnx.helper.make_graph(
        graph.nodes,
        "isocline.binary",
        [onnx.helper.make_tensor_value_info(packed.input_name, kind, sizes)],
        [onnx.helper.make_tensor_value_info("output", kind, out)],
        graph.constants,
    )
    imports = [onnx.helper.make_opsetid("", OPSET)]
    model = onnx.helper.make_model(made, opset_imports=imports, producer_name="isocline", ir_version=9)
    onnx.checker.check_model(model)
    write_atomic(path, model.SerializeToString())


class _Graph:
    """ONNX nodes of a program, step by step; a step's value keeps its name, signs of numbers get one of their own."""

    def __init__(self, onnx: Any, packed: PackedModel) -> None:
        self._onnx = onnx
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._kinds: dict[str, str] = {}  # of what a name is: "bits" are +1 and -1
        self._signs: dict[str, str] = {}
        for step in packed.steps:
            writer = WRITERS.get(step.op)
            found = writer(self, step) if writer else None
            if found is None:
                what = step.settings.get("kind", step.op)
                raise wrong("packed", "steps that have ONNX operators", f"{step.name} ({what})")
            self.node("Identity", [found], step.name)
            bits = step.settings.get("gives") == "bits" or step.op in ("largest", "side_by_side")
            self._kinds[step.name] = "bits" if bits else "numbers"
        self.node("Identity", [packed.output_name], "output")

    def node(self, kind: str, inputs: Sequence[str], name: str, **settings: Any) -> str:
        """Add a node; returns its output's name."""
        self.nodes.append(
            self._onnx.helper.make_node(kind, list(inputs), [name], name=f"{name}:{kind}", **settings)
        )
        return name

    def constant(self, name: str, values: Any) -> str:
        array = np.ascontiguousarray(values)
        self.constants.append(self._onnx.numpy_helper.from_array(array.reshape(np.shape(values)), name))
        return name

    def number(self, value: float) -> str:
        """A constant for all; made once."""
        name = f"number:{value:g}"
        if all(constant.name != name for constant in self.constants):
            self.constant(name, np.float32(value))
        return name

    def sign(self, name: str) -> str:
        """The signs of a value, as +1 and -1."""
        if self._kinds.get(name) == "bits":
            return name
        if name not in self._signs:
            positive = self.node("GreaterOrEqual", [name, self.number(0)], f"{name}:positive")
            self._signs[name] = self.node(
                "Where", [positive, self.number(1), self.number(-1)], f"{name}:sign"
            )
        return self._signs[name]

    def cast(self, name: str, kind: str) -> str:
        there = getattr(self._onnx.TensorProto, kind)
        return self.node("Cast", [name], f"{name}:{kind.lower()}", to=there)

    def signs_as_weights(self, step: Step, window: Window, axes: int) -> str:
        """Weights as int8, cast: ``(M, C / groups, *kernel)``, or ``(C taps, M)`` for a fully connected layer."""
        signs = np.moveaxis(weight_signs(window, step.arrays["weight"]), -1, 1)
        M = window.outputs
        signs = (
            signs.reshape(M, signs.shape[1], *window.kernel[3 - axes :]) if axes else signs.reshape(M, -1).T
        )
        return self.cast(self.constant(f"{step.name}:weight", signs), "FLOAT")


def _geometry(window: Window, axes: int) -> dict[str, Any]:
    kept = slice(3 - axes, None)
    return {
        "kernel_shape": list(window.kernel[kept]),
        "strides": list(window.stride[kept]),
        "dilations": list(window.dilation[kept]),
        "group": window.groups,
    }


def _sums(graph: _Graph, step: Step, window: Window, axes: int) -> str:
    x, weight = graph.sign(step.inputs[0]), graph.signs_as_weights(step, window, axes)
    name = f"{step.name}:sums"
    if axes == 0:
        return graph.node("MatMul", [x, weight], name)
    kept = slice(3 - axes, None)
    pads = [*window.before[kept], *window.after[kept]]
    if window.pad_value:
        edges = [0, 0, *window.before[kept], 0, 0, *window.after[kept]]
        where = graph.constant(f"{step.name}:edges", np.array(edges, np.int64))
        x = graph.node("Pad", [x, where, graph.number(window.pad_value)], f"{step.name}:padded")
        pads = [0] * len(pads)
    return graph.node("Conv", [x, weight], name, pads=pads, **_geometry(window, axes))


def _convolution(graph: _Graph, step: Step) -> str:
    window, axes = Window.from_dict(step.settings["window"]), step.settings["axes"]
    value, name, M = _sums(graph, step, window, axes), step.name, window.outputs

    def per_channel(key: str, values: np.ndarray) -> str:
        return graph.constant(f"{name}:{key}", values.reshape(-1, *(1,) * axes))

    if step.settings["gives"] == "bits":
        above = np.where(from_rows(step.arrays["flip"].reshape(1, -1), M)[0], -1, 1).astype(np.float32)
        limit = per_channel("limit", step.arrays["limit"].astype(np.float32))
        reached = graph.node("GreaterOrEqual", [value, limit], f"{name}:reached")
        return graph.node(
            "Where", [reached, per_channel("above", above), per_channel("below", -above)], f"{name}:bits"
        )
    for key, kind in (("scale", "Mul"), ("bias", "Add")):
        if key in step.arrays:
            value = graph.node(kind, [value, per_channel(key, step.arrays[key])], f"{name}:{kind}")
    if step.settings["relu"]:
        value = graph.node("Relu", [value], f"{name}:Relu")
    if "a" in step.arrays or "b" in step.arrays:
        dtype = np.float64 if step.settings["fused"] else np.float32
        value = graph.cast(value, "DOUBLE") if step.settings["fused"] else value
        for key, kind, neutral in (("a", "Mul", 1), ("b", "Add", 0)):
            numbers = step.arrays.get(key, np.full(1, neutral, np.float32)).astype(dtype)
            value = graph.node(kind, [value, per_channel(key, numbers)], f"{name}:{kind}{key}")
        value = graph.cast(value, "FLOAT") if step.settings["fused"] else value
    return graph.node("Add", [value, step.inputs[1]], f"{name}:skipped") if len(step.inputs) > 1 else value


def _bit_weights(graph: _Graph, step: Step) -> str:
    window, axes = Window.from_dict(step.settings["window"]), step.settings["axes"]
    weight = graph.signs_as_weights(step, window, axes)
    if "scale" in step.arrays:
        scale = step.arrays["scale"].reshape(-1, *(1,) * (axes + 1)) if axes else step.arrays["scale"]
        weight = graph.node(
            "Mul", [weight, graph.constant(f"{step.name}:scale", scale)], f"{step.name}:scaled"
        )
    if axes:
        return _conv(
            graph,
            step,
            weight,
            _geometry(window, axes) | {"pads": [*window.before[3 - axes :], *window.after[3 - axes :]]},
        )
    value = graph.node("MatMul", [step.inputs[0], weight], f"{step.name}:product")
    if "bias" not in step.arrays:
        return value
    return graph.node(
        "Add", [value, graph.constant(f"{step.name}:bias", step.arrays["bias"])], f"{step.name}:sum"
    )


def _conv(graph: _Graph, step: Step, weight: str = "", settings: dict[str, Any] | None = None) -> str:
    s = step.settings
    if settings is None:
        padding = s["padding"]
        how = (
            {"auto_pad": "SAME_UPPER" if padding == "same" else "VALID"}
            if isinstance(padding, str)
            else {"pads": padding * 2}
        )
        settings = {"strides": s["stride"], "dilations": s["dilation"], "group": s["groups"]} | how
        weight = graph.constant(f"{step.name}:weight", step.arrays["weight"])
    bias = [graph.constant(f"{step.name}:bias", step.arrays["bias"])] if "bias" in step.arrays else []
    return graph.node("Conv", [step.inputs[0], weight, *bias], f"{step.name}:Conv", **settings)


def _linear(graph: _Graph, step: Step) -> str:
    weight = graph.constant(f"{step.name}:weight", step.arrays["weight"].T)
    value = graph.node("MatMul", [step.inputs[0], weight], f"{step.name}:product")
    if "bias" not in step.arrays:
        return value
    return graph.node(
        "Add", [value, graph.constant(f"{step.name}:bias", step.arrays["bias"])], f"{step.name}:sum"
    )


def _batch_norm(graph: _Graph, step: Step) -> str:
    size = len(step.arrays["mean"])
    given = {"weight": np.ones(size, np.float32), "bias": np.zeros(size, np.float32)} | step.arrays
    names = [graph.constant(f"{step.name}:{key}", given[key]) for key in ("weight", "bias", "mean", "var")]
    return graph.node(
        "BatchNormalization", [*step.inputs, *names], f"{step.name}:norm", epsilon=step.settings["eps"]
    )


def _largest(graph: _Graph, step: Step) -> str:
    window = Window.from_dict(step.settings["window"])
    axes = step.settings["axes"]
    settings = _geometry(window, axes)
    del settings["group"]
    pads = [*window.before[3 - axes :], *window.after[3 - axes :]]
    return graph.node("MaxPool", [graph.sign(step.inputs[0])], f"{step.name}:pool", pads=pads, **settings)


def _pool(kind: str) -> Callable[[_Graph, Step], str]:
    def write(graph: _Graph, step: Step) -> str:
        s = step.settings
        settings = {
            "kernel_shape": s["kernel"],
            "strides": s["stride"],
            "pads": s["padding"] * 2,
            "ceil_mode": int(s["ceil_mode"]),
        }
        settings |= (
            {"dilations": s["dilation"]}
            if kind == "MaxPool"
            else {"count_include_pad": int(s["count_include_pad"])}
        )
        return graph.node(kind, step.inputs, f"{step.name}:pool", **settings)

    return write


def _adaptive(graph: _Graph, step: Step) -> str | None:
    if any(size != 1 for size in step.settings["size"]):
        return None
    return graph.node("GlobalAveragePool", step.inputs, f"{step.name}:pool")


def _slice(graph: _Graph, step: Step) -> str:
    steps = np.array(step.settings["steps"], np.int64)
    parts = {
        "starts": steps * 0,
        "ends": np.full(len(steps), FAR),
        "axes": np.arange(len(steps)),
        "steps": steps,
    }
    names = [graph.constant(f"{step.name}:{key}", values.astype(np.int64)) for key, values in parts.items()]
    return graph.node("Slice", [*step.inputs, *names], f"{step.name}:slice")


def _pad(graph: _Graph, step: Step) -> str:
    before, after = zip(*step.settings["edges"], strict=True)
    edges = graph.constant(f"{step.name}:edges", np.array([*before, *after], np.int64))
    return graph.node("Pad", [*step.inputs, edges, graph.number(0)], f"{step.name}:pad")


def _hardtanh(graph: _Graph, step: Step) -> str:
    limits = [
        graph.constant(f"{step.name}:{key}", np.float32(step.settings[key])) for key in ("least", "most")
    ]
    return graph.node("Clip", [*step.inputs, *limits], f"{step.name}:clip")


def _prelu(graph: _Graph, step: Step) -> str | None:
    if len(step.arrays["weight"]) != 1:
        return None  # its slope's shape depends on the number of axes
    slope = graph.constant(f"{step.name}:slope", step.arrays["weight"])
    return graph.node("PRelu", [*step.inputs, slope], f"{step.name}:prelu")


WRITERS: dict[str, Callable[[_Graph, Step], str | None]] = {
    "convolution": _convolution,
    "largest": _largest,
    "side_by_side": lambda graph, step: graph.node(
        "Flatten", [graph.sign(step.inputs[0])], f"{step.name}:flat"
    ),
    "bit_weights": _bit_weights,
    "conv": _conv,
    "linear": _linear,
    "batch_norm": _batch_norm,
    "relu": lambda graph, step: graph.node("Relu", step.inputs, f"{step.name}:relu"),
    "hardtanh": _hardtanh,
    "leaky_relu": lambda graph, step: graph.node(
        "LeakyRelu", step.inputs, f"{step.name}:leaky", alpha=step.settings["slope"]
    ),
    "prelu": _prelu,
    "max_pool": _pool("MaxPool"),
    "avg_pool": _pool("AveragePool"),
    "adaptive_avg_pool": _adaptive,
    "flatten": lambda graph, step: graph.node("Flatten", step.inputs, f"{step.name}:flat"),
    "add": lambda graph, step: graph.node("Add", [step.inputs[0], step.inputs[-1]], f"{step.name}:add"),
    "slice": _slice,
    "pad": _pad,
}
