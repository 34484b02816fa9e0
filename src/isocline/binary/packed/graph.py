"""From a traced model to steps: where bits stay bits, where a skip is taken along, and what is left to PyTorch."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.fx.node import map_arg
from torch.fx.proxy import TraceError

from isocline._core.checks import wrong

from ..estimators import Estimator
from ..layers import BinaryConv1d, BinaryConv2d, BinaryConv3d, BinaryLinear
from .program import Step
from .reading import NOTHING, axes_of, binary_rows, binary_window, bit_weights, written
from .thresholds import affine_of, limits_of, outcomes
from .window import Window

BINARY = (BinaryConv1d, BinaryConv2d, BinaryConv3d, BinaryLinear)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
POINTWISE = (
    nn.ReLU,
    nn.ReLU6,
    nn.Hardtanh,
    nn.LeakyReLU,
    nn.PReLU,
    *NORMS,
)  # each sum by itself, with the same rounding
RECTIFIERS = (torch.relu, F.relu, "relu", "relu_")
POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
PROBE = (-torch.inf, -2.0, -1e-3, -1e-38, -0.0, 0.0, 1e-38, 1e-3, 2.0, torch.inf)


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, (*BINARY, Estimator)) or super().is_leaf_module(m, module_qualified_name)


def traced(model: nn.Module) -> fx.Graph:
    """The model's graph without what does nothing in evaluation. Raises ValueError where its way depends on the data."""
    try:
        graph = _Tracer().trace(model)
    except (TraceError, TypeError, RuntimeError) as error:
        do = "move what depends on the data's values into a module of its own"
        raise wrong("model", "a forward pass that torch.fx can trace", str(error), do) from error
    inputs = [node for node in graph.nodes if node.op == "placeholder"]
    output = next(node for node in graph.nodes if node.op == "output")
    if len(inputs) != 1 or not isinstance(output.args[0], fx.Node):
        raise wrong(
            "model", "one tensor in and one out", f"{len(inputs)} in, {type(output.args[0]).__name__} out"
        )
    for node in graph.nodes:
        _check_in_place(model, node)
    for node in list(graph.nodes):
        if node.op == "call_module" and isinstance(model.get_submodule(node.target), NOTHING):
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    for node in reversed(list(graph.nodes)):
        if not node.users and node.op not in ("placeholder", "output"):
            graph.erase_node(node)
    return graph


def _check_in_place(model: nn.Module, node: fx.Node) -> None:
    """Raise ValueError for an operation in place on a tensor that something else uses too: a graph does not show that."""
    module = model.get_submodule(str(node.target)) if node.op == "call_module" else None
    marked = getattr(module, "inplace", False) or node.kwargs.get("inplace", False)
    named = node.op == "call_method" and str(node.target).endswith("_")
    if (marked or named or node.target is operator.iadd) and len(node.all_input_nodes[0].users) > 1:
        do = "compute it out of place"
        raise wrong(
            "model", "tensors that stay as they are while they are used", f"{node.target} in place", do
        )


def why_not(layer: Any) -> str:
    """Why a binary layer cannot be packed, or nothing if it can."""
    probes = {"weight": layer.weight, "input": torch.tensor(PROBE, dtype=layer.weight.dtype)}
    for (name, probe), estimator in zip(
        probes.items(), (layer.weight_estimator, layer.input_estimator), strict=True
    ):
        if probe.isnan().any():
            return f"its {name} is NaN"
        signs = torch.where(probe >= 0, 1.0, -1.0).to(probe.dtype)
        if estimator is not None and not torch.equal(estimator(probe), signs):
            third = "; its sign(0) is a third value, zero='one' has two" if estimator.zero != "one" else ""
            return f"{type(estimator).__name__} gives its {name} more than two values{third}"
    numbers = [part for part in (layer.scale(), layer.bias) if part is not None]
    return "" if all(torch.isfinite(part).all() for part in numbers) else "its scale or bias is not finite"


class Plan:
    """The steps of a model, found by one walk along its graph."""

    def __init__(self, model: nn.Module, graph: fx.Graph) -> None:
        self.model, self.graph = model, graph
        self.steps: list[Step] = []
        self.notes: list[str] = []
        self.layers: dict[fx.Node, Any] = {}  # nodes that take bits
        self._made: dict[Any, str] = {}  # the value's name
        self._waiting: dict[
            fx.Node, tuple[fx.Node, Step]
        ] = {}  # convolutions that take a skip along, by their sum
        for node in graph.nodes:
            layer = self._module(node)
            if isinstance(layer, BINARY) and layer.input_estimator is not None:
                self._look_at(node, layer)
        for node in graph.nodes:
            self._visit(node)
        output = next(node for node in graph.nodes if node.op == "output").args[0]
        self.input = next(node.name for node in graph.nodes if node.op == "placeholder")
        self.output = self._made[output]

    def _look_at(self, node: fx.Node, layer: Any) -> None:
        if reason := why_not(layer):
            self.notes.append(f"{node.target}: {reason}; it stays float")
        else:
            self.layers[node] = layer

    def _module(self, node: fx.Node) -> Any:
        return self.model.get_submodule(str(node.target)) if node.op == "call_module" else None

    def _visit(self, node: fx.Node) -> None:
        if node.op == "placeholder":
            self._made[node] = node.name
        elif node in self._made or node.op == "output":
            pass
        elif node in self._waiting:
            end, step = self._waiting[node]
            (skip,) = (arg for arg in node.args if arg is not end)
            self._emit(node, step, (*step.inputs, self._made[skip]))
        elif node in self.layers:
            self._binary(node, self.layers[node])
        elif not self._in_bits(node):
            self._float(node)

    def _emit(self, node: fx.Node, step: Step, inputs: Sequence[str]) -> None:
        self.steps.append(Step(step.op, step.name, tuple(inputs), step.settings, step.arrays, step.call))
        self._made[node] = step.name

    # Binary layers

    def _binary(self, node: fx.Node, layer: Any) -> None:
        """A binary layer with as much of what follows as can be taken into it."""
        source, name = node.args[0], self._name(node)
        window = binary_window(layer, channels=self._flattened(source) if isinstance(source, fx.Node) else 0)
        common = {"window": window.to_dict(), "axes": axes_of(layer)}
        arrays = {"weight": binary_rows(layer, window).numpy()}
        inputs = (self._made[source],)
        links = self._links(node)
        if self._only_bits([node, *links][-1]):
            limits = limits_of(
                (sums, numbers >= 0)
                for sums, numbers in outcomes(
                    layer, [self._call(link) for link in links], window.size, axes_of(layer)
                )
            )
            if limits is not None:
                flip = np.packbits(limits.flip, bitorder="little")
                arrays |= {"limit": limits.limit, "flip": flip}
                step = Step("convolution", name, inputs, common | {"gives": "bits"}, arrays)
                self._emit([node, *links][-1], step, inputs)
                self._made |= dict.fromkeys([node, *links], name)
                return
            self.notes.append(
                f"{node.target}: the sign behind {links[-1].target} is not one limit; that part stays float"
            )
        self._with_numbers(node, layer, links, Step("convolution", name, inputs, common, arrays))

    def _with_numbers(self, node: fx.Node, layer: Any, links: list[fx.Node], step: Step) -> None:
        """Numbers from the sums: ReLU and batch norm are taken in, and a sum with a skip if nothing else stands between."""
        relu = bool(links) and self._rectifies(links[0])
        norm = self._module(links[relu]) if len(links) > relu else None
        norm = norm if isinstance(norm, NORMS) else None
        taken = links[: relu + (norm is not None)]
        window = Window.from_dict(
            {k: list(v) if isinstance(v, tuple) else v for k, v in step.settings["window"].items()}
        )
        how = affine_of(layer, relu, norm, window.size, axes_of(layer))
        if how is None:
            taken, relu = [], False
            how = affine_of(layer, False, None, window.size, axes_of(layer))
        if how is None:
            raise wrong("model", f"finite numbers around {node.target}", "NaN or infinity")
        end = [node, *taken][-1]
        after = self._skipping(end)
        arrays = dict(step.arrays)
        for name, values, neutral in (
            ("scale", how.scale, 1),
            ("bias", how.bias, 0),
            ("a", how.a, 1),
            ("b", how.b, 0),
        ):
            if (values != neutral).any():
                arrays[name] = values[:1] if (values == values[0]).all() else values
        takes_bits = any(user in self.layers for user in (after or end).users)
        settings = step.settings | {
            "gives": "both" if takes_bits else "numbers",
            "relu": relu,
            "fused": how.fused,
        }
        made = Step(step.op, step.name, step.inputs, settings, arrays)
        self._made |= dict.fromkeys([node, *taken], step.name)
        if after is None:
            self._emit(end, made, step.inputs)
        else:
            self._waiting[after] = (end, made)
        self._say_what_follows(node, end)

    def _say_what_follows(self, node: fx.Node, end: fx.Node) -> None:
        """Note the operations behind a layer that are run, but that no file or kernel knows."""
        unknown = [
            self._place(user)
            for user in end.users
            if user.op != "output"
            and not isinstance(self._module(user), BINARY)
            and self._written(user) is None
        ]
        if unknown:
            what = " and ".join(dict.fromkeys(unknown))
            self.notes.append(f"{node.target}: feeds {what}, which has no packed form; that part stays float")

    def _place(self, node: fx.Node) -> str:
        """The module that a node is or stands in, with its class."""
        if node.op == "call_module":
            return f"{node.target} ({type(self._module(node)).__name__})"
        path, kind = list(node.meta.get("nn_module_stack", {"": ("", "model")}).values())[-1]
        return f"{node.name} in {path or 'the model'} ({getattr(kind, '__name__', kind)})"

    def _written(self, node: fx.Node) -> Any:
        return written(node, self._module(node)) if node.op != "get_attr" else None

    def _links(self, node: fx.Node) -> list[fx.Node]:
        """The operations behind a layer, one after another, that work on each number by itself."""
        found: list[fx.Node] = []
        while len(node.users) == 1:
            (node,) = node.users
            if not self._pointwise(node):
                break
            found.append(node)
        return found

    def _pointwise(self, node: fx.Node) -> bool:
        module = self._module(node)
        fixed = not isinstance(module, NORMS) or module.running_mean is not None
        return self._rectifies(node) or (isinstance(module, POINTWISE) and fixed)

    def _rectifies(self, node: fx.Node) -> bool:
        return (
            node.target in RECTIFIERS if node.op != "call_module" else isinstance(self._module(node), nn.ReLU)
        )

    def _call(self, node: fx.Node) -> Callable[[Tensor], Tensor]:
        return self._module(node) or torch.relu

    def _skipping(self, end: fx.Node) -> fx.Node | None:
        """The sum that is all that follows, if it can be taken along: of two different tensors, not waited for already."""
        if len(end.users) != 1:
            return None
        (node,) = end.users
        plain = (
            node.target in (operator.add, operator.iadd, torch.add)
            and len(node.args) == 2
            and not node.kwargs
        )
        others = [arg for arg in node.args if arg is not end]
        fits = plain and len(others) == 1 and isinstance(others[0], fx.Node) and node not in self._waiting
        return node if fits else None

    # Between binary layers

    def _only_bits(self, node: fx.Node) -> bool:
        """Whether all that follows takes signs only."""
        return bool(node.users) and all(self._takes_bits(user, node) for user in node.users)

    def _takes_bits(self, user: fx.Node, node: fx.Node) -> bool:
        if user in self.layers:
            return user.args[0] is node and not user.kwargs
        if isinstance(self._module(user), POOLS):
            return not (
                self._module(user).ceil_mode or self._module(user).return_indices
            ) and self._only_bits(user)
        flat = (found := self._written(user)) is not None and found[0] == "flatten"
        linear = all(isinstance(self.layers.get(after), BinaryLinear) for after in user.users)
        return flat and linear and bool(user.users) and self._channels(node) > 0

    def _in_bits(self, node: fx.Node) -> bool:
        """Write a max pool or a flattening of bits; whether it was one."""
        found = self._written(node)
        if found is None or found[0] not in ("max_pool", "flatten") or not self._only_bits(node):
            return False
        source: Any = node.args[0]
        if found[0] == "flatten":
            if not self._takes_bits(node, source):
                return False
            step = Step("side_by_side", self._name(node), ())
        else:
            sizes: dict[str, Any] = {
                name: (*[int(name != "padding")] * (3 - len(v)), *v)
                for name, v in found[1].items()
                if name != "ceil_mode"
            }
            window = Window(
                1,
                1,
                1,
                sizes["kernel"],
                sizes["stride"],
                sizes["dilation"],
                sizes["padding"],
                sizes["padding"],
            )
            settings = {"window": window.to_dict(), "axes": len(found[1]["kernel"])}
            step = Step("largest", self._name(node), (), settings)
        self._emit(node, step, [self._made[source]])
        return True

    def _flattened(self, source: fx.Node) -> int:
        """Channels of the map whose flattened bits a layer takes, 0 if it takes something else."""
        step = next((step for step in self.steps if step.name == self._made[source]), None)
        return self._channels(source.args[0]) if step is not None and step.op == "side_by_side" else 0

    def _channels(self, node: Any) -> int:
        """Channels of a node's tensor, as far as a module before it says; 0 if none does."""
        while isinstance(node, fx.Node):
            module = self._module(node)
            for name in ("out_channels", "num_features"):
                if module is not None and hasattr(module, name):
                    return int(getattr(module, name))
            if not (
                self._rectifies(node)
                or isinstance(module, (*POINTWISE, *POOLS))
                or node.target is operator.add
            ):
                return 0
            node = node.args[0]
        return 0

    # What PyTorch does

    def _float(self, node: fx.Node) -> None:
        module = self._module(node)
        if isinstance(module, BINARY) and module.input_estimator is None:
            found = None if (reason := why_not(module)) else bit_weights(module)
            if reason:
                self.notes.append(f"{node.target}: {reason}; it stays float")
        else:
            found = self._written(node)
        if found is None:
            step = self._as_it_is(node, module)
        else:
            op, settings, arrays = found
            arrays = {name: a.detach().contiguous().numpy() for name, a in arrays.items() if a is not None}
            step = Step(op, self._name(node), (), settings, arrays)
        self._emit(node, step, [self._made[parent] for parent in node.all_input_nodes])

    def _as_it_is(self, node: fx.Node, module: Any) -> Step:
        parents = list(node.all_input_nodes)

        def call(*values: Any) -> Any:
            there = dict(zip(parents, values, strict=True))
            args = map_arg(node.args, there.__getitem__)
            kwargs = map_arg(node.kwargs, there.__getitem__)
            if node.op == "get_attr":
                return operator.attrgetter(str(node.target))(self.model)
            if node.op == "call_method":
                return getattr(args[0], str(node.target))(*args[1:], **kwargs)
            function: Any = module or node.target
            return function(*args, **kwargs)

        kind = str(node.target) if module is None else f"{node.target} ({type(module).__name__})"
        return Step("python", self._name(node), (), {"kind": kind}, {}, call)

    def _name(self, node: fx.Node) -> str:
        """The module's path, with a number where it is called again; else what torch.fx calls it."""
        name = str(node.target) if node.op == "call_module" else node.name
        taken = {step.name for step in self.steps} | {step.name for _, step in self._waiting.values()}
        again = sum(other == name or other.startswith(f"{name}#") for other in taken)
        return f"{name}#{again + 1}" if again else name
