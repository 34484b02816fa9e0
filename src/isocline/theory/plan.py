"""Which variances a traced module's layers should have: the kernel is followed from the input to the output."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan, prod

import numpy as np
from torch import Tensor, fx, nn

from isocline.theory.activation import Activation, as_activation
from isocline.theory.averages import mean_square, single_averages
from isocline.theory.critical import criticality
from isocline.theory.named import name_of_module
from isocline.theory.structure import WEIGHTS, Seen, Structure, ancestors

_LEAST = 1e-150  # the kernel of a network that has lost its signal before it is initialised


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of weights: what it was, what it is given, and why."""

    name: str
    how: str
    fan_in: float
    weight_variance: float  # C_W; the weights are drawn with C_W / fan_in
    kernel: float  # the mean square of its output that is aimed for
    before: float  # C_W as it was
    bias_variance: float = 0.0  # C_b
    chi_perp: float = nan  # C_W <s'^2> from the nonlinearity before it; NaN where it is unknown
    chi_before: float = nan  # chi_perp as it was
    measure: str = ""  # "": as planned; "kernel": scale until the output has it; "gain": until a disturbance keeps its size
    share: float = 1.0  # of a residual branch in the sum
    above: tuple[str, ...] = ()  # the layers whose disturbance a measured one must keep
    measured: float = nan  # the mean square of its output, by the pass with a sample


def plan(module: nn.Module, traced: Structure | str, square: float) -> tuple[list[Layer], list[str]]:
    """The layers of `module` in order with their variances, for inputs of mean square `square`, and notes."""
    if isinstance(traced, str):
        return _walk(module, square), [f"not traced ({traced}): modules are taken one after the other"]
    walker = _Walker(traced, square)
    layers = [layer for node, kind in traced.roots.items() for layer in walker.visit(node, kind)]
    notes = [f"{name} ends in a normalisation, which sets its scale" for name in traced.unscaled]
    if traced.shares:
        shares = sorted({f"{share:.3g}" for share in traced.shares.values()})
        notes.append(
            f"{len(traced.shares)} residual branches, their last weights with a share of {' or '.join(shares)}"
        )
    seen = {layer.name.removesuffix(".in_proj").removesuffix(".out_proj") for layer in layers}
    missed = [
        name
        for name, m in module.named_modules()
        if isinstance(m, WEIGHTS) and name not in seen and not _inside(name, seen)
    ]
    return layers, notes + [f"{name} is never called" for name in missed]


class _Walker:
    """Follows the variance of every root, as it will be and as it was."""

    def __init__(self, structure: Structure, square: float) -> None:
        self.structure, self.square = structure, square
        self.K: dict[fx.Node, float] = {}
        self.old: dict[fx.Node, float] = {}
        heavy = [node for node, kind in structure.roots.items() if kind in ("weights", "attention")]
        self.before_weights = {node for weights in heavy for node in ancestors(structure, weights)}
        self.done: set[nn.Module] = set()

    def visit(self, node: fx.Node, kind: str) -> list[Layer]:
        """Set the variances of a root; the layers it holds."""
        feeds = self.structure.feeds[node]
        if kind == "weights" or kind == "attention":
            layers = self._weights(node) if kind == "weights" else self._attention(node)
            module = self.structure.named(node)
            first = module not in self.done
            self.done.add(module)
            return layers if first else []
        if kind == "input":
            self.K[node] = self.old[node] = self.square
        elif kind == "norm":
            self.K[node] = self.old[node] = _norm_square(self.structure, node)
        else:  # a sum, or something unknown that is taken to keep its input's size
            count = len(feeds) if kind == "sum" else min(1, len(feeds))
            self.K[node] = sum(_square(seen, self.K) for seen in feeds[:count]) or 1.0
            self.old[node] = sum(_square(seen, self.old) for seen in feeds[:count]) or 1.0
        return []

    def _weights(self, node: fx.Node) -> list[Layer]:
        module = self.structure.named(node)
        seen, unknown = _through(self.structure, self.structure.feeds[node][0])
        after = self.structure.follows(node)
        share, ends = self.structure.shares.get(node, 1.0), node in self.structure.shares
        q, kind = _square(seen, self.K), self.structure.roots[seen.root]
        last = node not in self.before_weights
        wanted = criticality(after) if after is not None and criticality(after).exists else None
        if last and not ends:
            C_b, C_W, how = 0.0, 1.0, "readout"
        elif seen.activation is None and kind in ("input", "norm"):
            C_b = wanted.bias_variance if wanted is not None else 0.0
            target = wanted.first_kernel if wanted is not None else 1.0
            C_W, how = (target - C_b) / q, "first layer" if kind == "input" else "after a normalisation"
        else:
            C_b, C_W, how = _between(seen.activation, self.K[seen.root], q, after)
        C_b, C_W = share * C_b, share * C_W
        how += f", end of a branch ({share:.3g})" if ends else ""
        old_W, old_b = variances(module)
        self.K[node] = C_b + C_W * q
        self.old[node] = min(max(old_b + old_W * _square(seen, self.old), _LEAST), 1 / _LEAST)
        measure = "gain" if unknown and not last else "kernel" if how.startswith("first layer") else ""
        slope, old_slope = (_mean_slope(seen, K) for K in (self.K, self.old))
        layer = Layer(
            name=str(node.target),
            how=f"{how}, behind something unknown" if measure == "gain" else how,
            fan_in=fan_in(module),
            weight_variance=C_W,
            bias_variance=C_b,
            kernel=self.K[node],
            chi_perp=C_W * slope,
            before=old_W,
            chi_before=old_W * old_slope,
            measure=measure,
            share=share,
            above=_layers_above(self.structure, node),
        )
        return [layer]

    def _attention(self, node: fx.Node) -> list[Layer]:
        """Queries, keys and values of mean square one; the output scaled so that the attended values have it again."""
        module = self.structure.named(node)
        assert isinstance(module, nn.MultiheadAttention)
        q = _square(self.structure.feeds[node][0], self.K)
        share = self.structure.shares.get(node, 1.0)
        self.K[node], self.old[node] = share, 1.0
        weight = module.in_proj_weight if module.in_proj_weight is not None else module.q_proj_weight
        branch = f", end of a branch ({share:.3g})" if node in self.structure.shares else ""
        E, name = module.embed_dim, str(node.target)
        out_W, in_W = float(_mean(module.out_proj.weight)) * E, float(_mean(weight)) * E
        attended = Layer(
            f"{name}.out_proj", f"attention{branch}", E, share, share, out_W, measure="kernel", share=share
        )
        return [Layer(f"{name}.in_proj", "queries, keys, values", E, 1 / q, 1.0, in_W), attended]


def _between(
    before: Activation | None, K: float, q: float, after: Activation | None
) -> tuple[float, float, str]:
    """``C_b, C_W`` of weights between two nonlinearities, the first of them at K.

    ``chi_perp = 1`` at this K, which at K* are the critical variances; between two of the class K*=0 the
    critical ones, with which K falls as it should.
    """
    activation = before or as_activation("linear")
    point, wanted = criticality(activation), criticality(after) if after is not None else None
    C_W = point.weight_variance
    falls = point.universality_class == "K*=0" and (wanted is None or wanted.universality_class == "K*=0")
    if not falls:
        C_W = 1 / float(single_averages(activation, np.array([K])).pp[0])
    C_b = 0.0
    if wanted is not None and wanted.exists and wanted.kernel > 0:
        C_b = min(max(wanted.kernel - C_W * q, 0.0), wanted.bias_variance)
    return C_b, C_W, f"after {activation.name}"


def _through(structure: Structure, seen: Seen) -> tuple[Seen, bool]:
    """`seen` as if what is unknown kept everything, and whether anything was."""
    unknown = False
    while structure.roots[seen.root] in ("other", "attention") and structure.feeds[seen.root]:
        inner = structure.feeds[seen.root][0]
        seen, unknown = Seen(inner.root, seen.activation or inner.activation), True
    return seen, unknown


def _square(seen: Seen, K: dict[fx.Node, float]) -> float:
    """The mean square of a value."""
    return K[seen.root] if seen.activation is None else mean_square(seen.activation, K[seen.root])


def _mean_slope(seen: Seen, K: dict[fx.Node, float]) -> float:
    if seen.activation is None:
        return 1.0
    return float(single_averages(seen.activation, np.array([K[seen.root]])).pp[0])


def _layers_above(structure: Structure, node: fx.Node) -> tuple[str, ...]:
    """The nearest layers of weights that a root is computed from."""
    found: list[str] = []
    waiting = [seen.root for seen in structure.feeds[node]]
    passed: set[fx.Node] = set()
    while waiting:
        root = waiting.pop()
        if root in passed:
            continue
        passed.add(root)
        if structure.roots[root] in ("weights", "attention"):
            found.append(str(root.target))
        else:
            waiting += [seen.root for seen in structure.feeds[root]]
    return tuple(found)


def _norm_square(structure: Structure, node: fx.Node) -> float:
    weight = getattr(structure.named(node), "weight", None) if node.op == "call_module" else None
    return float(_mean(weight)) if isinstance(weight, Tensor) else 1.0


def _mean(values: Tensor) -> Tensor:
    return values.detach().double().square().mean()


def variances(module: nn.Module) -> tuple[float, float]:
    """``C_W`` and ``C_b`` that a layer's weights and biases have now."""
    weight, bias = module.weight, module.bias
    assert isinstance(weight, Tensor)
    return float(_mean(weight)) * fan_in(module), float(_mean(bias)) if isinstance(bias, Tensor) else 0.0


def fan_in(module: nn.Module) -> float:
    """How many inputs a neuron adds up: in, or in channels times the kernel's size, in one group."""
    weight = module.weight
    assert isinstance(weight, Tensor)
    if isinstance(module, (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
        return weight.shape[0] // module.groups * prod(module.kernel_size) / prod(module.stride)
    return weight[0].numel()


def _inside(name: str, seen: set[str]) -> bool:
    return any(name.startswith(f"{other}.") for other in seen)


def _walk(module: nn.Module, square: float) -> list[Layer]:
    """Layers in the order they were made, each behind the activation module that was made before it, all to be
    measured.
    """
    layers: list[Layer] = []
    before: Activation | None = None
    for name, part in module.named_modules():
        label = name_of_module(part)
        before = as_activation(label) if label is not None else before
        if not isinstance(part, WEIGHTS) or isinstance(
            part, nn.modules.linear.NonDynamicallyQuantizableLinear
        ):
            continue
        C_W = 1 / square if not layers else criticality(before).weight_variance if before is not None else 1.0
        now = variances(part)[0]
        first = (
            "first layer"
            if not layers
            else f"after {before.name}, it seems"
            if before is not None
            else "unknown"
        )
        measure = "gain" if layers else "kernel"
        layers.append(Layer(name, first, fan_in(part), C_W, 1.0, now, measure=measure))
        before = None
    return layers
