"""What the theory can see of a module: the nonlinearity before each layer of weights, and where residual branches
join.

The module is traced symbolically by `torch.fx`. Every value is then one *root* (the input, the output of a
weight layer, a sum of branches, a normalisation, or something else) seen through a pointwise function,
whatever operations that is written in.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import fx, nn

from isocline.theory.activation import Activation
from isocline.theory.critical import criticality
from isocline.theory.pointwise import evaluate, expression, is_pointwise, is_transparent

Kind = Literal["input", "weights", "sum", "norm", "attention", "other"]

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
WEIGHTS = (nn.Linear, *CONVOLUTIONS, *TRANSPOSED)
_BATCH_NORMS = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)
NORMS = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, *_BATCH_NORMS)
_SUMS = {operator.add, operator.iadd, torch.add, "add", "add_", operator.sub, torch.sub, "sub"}


@dataclass(frozen=True, slots=True)
class Seen:
    """A value: a root through a pointwise function (None: as it is)."""

    root: fx.Node
    activation: Activation | None


@dataclass(slots=True)
class Structure:
    """A traced module, its values in the order of execution."""

    module: nn.Module
    roots: dict[fx.Node, Kind] = field(default_factory=dict)
    feeds: dict[fx.Node, tuple[Seen, ...]] = field(default_factory=dict)  # what a root is computed from
    after: dict[fx.Node, list[Activation]] = field(default_factory=dict)  # the nonlinearities behind a root
    shares: dict[fx.Node, float] = field(default_factory=dict)  # of C, for weights that end a residual branch
    known: dict[str, Activation] = field(default_factory=dict)  # pointwise expressions met before
    unscaled: list[str] = field(default_factory=list)  # branches that end in a normalisation

    def named(self, node: fx.Node) -> nn.Module:
        """The module that a root calls."""
        return self.module.get_submodule(str(node.target))

    def follows(self, root: fx.Node) -> Activation | None:
        """The nonlinearity that meets this root first, through the sums it enters."""
        if self.after.get(root):
            return self.after[root][0]
        for other, feeds in self.feeds.items():
            if self.roots[other] == "sum" and any(seen.root is root for seen in feeds):
                return self.follows(other)
        return None


def trace(module: nn.Module) -> Structure | str:
    """The structure of `module`, or in words why it cannot be traced."""
    try:
        graph = _Tracer().trace(module, _defaults(module))
    except Exception as error:  # a tracer meets whatever a forward does
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no words'}"
    structure = Structure(module)
    seen: dict[fx.Node, Seen] = {}
    for node in graph.nodes:
        if node.op not in ("output", "get_attr"):
            seen[node] = _see(structure, node, seen)
    _find_branches(structure)
    return structure


class _Tracer(fx.Tracer):
    """Traces into PyTorch's transformer layers too, which are made of what is known."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return not isinstance(m, nn.TransformerEncoderLayer) and super().is_leaf_module(
            m, module_qualified_name
        )

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if not isinstance(m, nn.TransformerEncoder):
            return super().call_module(m, forward, args, kwargs)
        value = args[0]
        for layer in m.layers:
            value = layer(value)
        return value if m.norm is None else m.norm(value)

    def trace(self, root: Any, concrete_args: dict[str, Any] | None = None) -> fx.Graph:
        fast = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)  # its checks ask for values
        try:
            return super().trace(root, concrete_args)
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)


def _defaults(module: nn.Module) -> dict[str, Any]:
    parameters = inspect.signature(module.forward).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}


def _see(structure: Structure, node: fx.Node, seen: dict[fx.Node, Seen]) -> Seen:
    """What `node` is, from what its arguments are."""
    inputs = [seen[argument] for argument in node.all_input_nodes if argument in seen]
    module = structure.module.get_submodule(str(node.target)) if node.op == "call_module" else None
    if inputs and is_transparent(node, module):
        return inputs[0]
    if inputs and structure.roots.get(inputs[0].root) == "attention" and node.target is operator.getitem:
        return inputs[0]
    roots = {value.root for value in inputs}
    if len(roots) == 1 and is_pointwise(node, module):
        root = inputs[0].root
        activation = _between(structure, root, node)
        if activation is not None:
            return Seen(root, activation)
    structure.roots[node] = _kind(node, module, len(roots))
    structure.feeds[node] = tuple(inputs)
    for value in inputs:
        if value.activation is not None:
            structure.after.setdefault(value.root, []).append(value.activation)
    return Seen(node, None)


def _kind(node: fx.Node, module: nn.Module | None, roots: int) -> Kind:
    if node.op == "placeholder":
        return "input"
    if isinstance(module, WEIGHTS):
        return "weights"
    if isinstance(module, NORMS) or node.target in (F.layer_norm, F.rms_norm, F.group_norm, F.batch_norm):
        return "norm"
    if isinstance(module, nn.MultiheadAttention):
        return "attention"
    return "sum" if roots == 2 and node.target in _SUMS else "other"


def _between(structure: Structure, root: fx.Node, node: fx.Node) -> Activation | None:
    """The pointwise function from `root` to `node`, evaluated node by node; None where it is none."""
    words = expression(structure.module, root, node)
    if words not in structure.known:
        try:
            structure.known[words] = Activation(words)
        except ValueError:
            try:
                function = partial(evaluate, structure.module, root, node)
                structure.known[words] = Activation(function, name=words)
            except (ValueError, TypeError, RuntimeError, AttributeError):
                return None
    return structure.known[words]


def ancestors(structure: Structure, root: fx.Node) -> set[fx.Node]:
    """Every root that `root` is computed from."""
    found: set[fx.Node] = set()
    waiting = [seen.root for seen in structure.feeds.get(root, ())]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += [seen.root for seen in structure.feeds.get(node, ())]
    return found


def _find_branches(structure: Structure) -> None:
    """In every sum, tell the branch (it comes from the stream, or holds more weights) and the share of the weights at
    its end.

    A stream that is multiplied by gamma < 1 leaves the branch ``1 - gamma^2``; the N others leave theirs 1 /
    N.
    """
    plain: list[fx.Node] = []
    for node, kind in structure.roots.items():
        if kind != "sum" or len(structure.feeds[node]) != 2:
            continue
        above = [ancestors(structure, seen.root) | {seen.root} for seen in structure.feeds[node]]
        own = [
            {n for n in above[i] - above[1 - i] if structure.roots[n] in ("weights", "attention")}
            for i in (0, 1)
        ]
        branch = 0 if len(own[0]) > len(own[1]) else 1
        if not own[branch]:
            continue
        end, stream = structure.feeds[node][branch].root, structure.feeds[node][1 - branch]
        while structure.roots[end] == "other" and len({seen.root for seen in structure.feeds[end]}) == 1:
            end = structure.feeds[end][0].root
        if structure.roots[end] not in ("weights", "attention"):
            structure.unscaled.append(str(node.name))
            continue
        inner = structure.feeds[node][branch].activation  # a branch that ends in a nonlinearity keeps less
        gamma = _factor(stream.activation)
        plain += [end] if gamma is None else []
        kept = 1.0 if gamma is None else 1 - gamma**2
        structure.shares[end] = kept * (criticality(inner).weight_variance if inner is not None else 1.0)
    for end in plain:
        structure.shares[end] /= len(plain) + len(structure.unscaled)


def _factor(activation: Activation | None) -> float | None:
    """gamma, where the function is ``gamma z`` with ``|gamma| < 1``."""
    slopes = activation.slopes if activation is not None else None
    return slopes[0] if slopes is not None and slopes[0] == slopes[1] and abs(slopes[0]) < 1 else None
