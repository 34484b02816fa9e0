"""Which layers of a model become binary and which stay, and why: looked at before anything is changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from isocline._core.checks import nearest, wrong

from .layers import BinaryConv1d, BinaryConv2d, BinaryConv3d, BinaryLinear

BINARY: dict[type[nn.Module], Any] = {
    nn.Conv1d: BinaryConv1d,
    nn.Conv2d: BinaryConv2d,
    nn.Conv3d: BinaryConv3d,
    nn.Linear: BinaryLinear,
}
PLACES = ("first", "last", "shortcut")
SHORTCUTS = ("downsample", "shortcut", "skip", "identity")  # what models call the way around


@dataclass(frozen=True, slots=True)
class BinarizationPlan:
    """What `binarize_model` does with each convolution and linear layer of a model.

    binary: names that become binary. kept: why the others stay, by name. constant: those of binary whose input had one sign
    only in the sample, so that its binary form says nothing; None if there was no sample.
    """

    binary: tuple[str, ...]
    kept: dict[str, str]
    constant: tuple[str, ...] | None
    weights: dict[str, int] = field(repr=False)

    @property
    def share(self) -> float:
        """The share of these layers' weights that becomes one bit."""
        return sum(self.weights[name] for name in self.binary) / max(1, sum(self.weights.values()))

    def to_dict(self) -> dict[str, Any]:
        constant = None if self.constant is None else list(self.constant)
        return {
            "binary": list(self.binary),
            "kept": dict(self.kept),
            "constant": constant,
            "share": self.share,
        }

    def __str__(self) -> str:
        width = max(map(len, self.weights), default=0)
        lines = [
            f"{len(self.binary)} of {len(self.weights)} layers become binary, {self.share:.1%} of their weights"
        ]
        for name in self.weights:
            said = "binary" if name in self.binary else f"kept: {self.kept[name]}"
            said += ", but its input never changes sign" if name in (self.constant or ()) else ""
            lines.append(f"  {name or '(the model)':{width}}  {said}")
        if self.constant is None and self.binary:
            lines.append("  (give a sample to see whether an input never changes sign, as behind a ReLU)")
        return "\n".join(lines)


def plan_binarization(
    model: nn.Module, keep: Sequence[str] = PLACES, *, sample: Any = None
) -> BinarizationPlan:
    """Say which layers `binarize_model` would make binary and why the others stay; the model is left as it is.

    keep: "first", "last" and "shortcut" (1x1 convolutions on the way around a block), or names of layers, with ``*`` for any
    part. sample: one input, a tensor or a tuple of arguments; with it first and last are those that run first and last,
    shortcuts are found by their input, not only by the names that models give them, and inputs of one sign are noticed.

    Raises ValueError for a name that no layer has, or a model without convolution and linear layer.

    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(128, 10))
    >>> print(plan_binarization(model, sample=torch.randn(2, 3, 8, 8)))
    1 of 3 layers become binary, 27.8% of their weights
      0  kept: first layer
      2  binary
      4  kept: last layer
    """
    layers = {name: module for name, module in model.named_modules() if _weighs(module)}
    if not layers:
        raise wrong("model", "convolutions or linear layers in it", type(model).__name__)
    _check_names(keep, layers)
    seen = _Seen() if sample is None else _watched(model, layers, sample)
    order = [name for name in seen.order if name in layers] or list(layers)
    kept: dict[str, str] = {}
    for name, module in layers.items():
        reason = _no_binary_form(module) or _place(name, module, keep, order, seen) or _asked(name, keep)
        if reason:
            kept[name] = reason
    binary = tuple(name for name in layers if name not in kept)
    constant = None if sample is None else tuple(name for name in binary if name in seen.constant)
    return BinarizationPlan(binary, kept, constant, {name: m.weight.numel() for name, m in layers.items()})  # type: ignore[operator]


def _weighs(module: nn.Module) -> bool:
    return isinstance(module, (nn.Linear, nn.modules.conv._ConvNd))


def _check_names(keep: Sequence[str], layers: dict[str, nn.Module]) -> None:
    if isinstance(keep, str):
        raise wrong("keep", "a list of names", repr(keep), f"write ({keep!r},)")
    for word in keep:
        if word not in PLACES and not any(fnmatchcase(name, word) for name in layers):
            close = ", ".join(map(repr, nearest(word, layers)))
            want = f"{', '.join(map(repr, PLACES))} or names of layers"
            raise wrong("keep", want, repr(word), f"did you mean {close}?" if close else "")


def _no_binary_form(module: nn.Module) -> str:
    if isinstance(module, tuple(BINARY.values())):
        return "binary already"
    if parametrize.is_parametrized(module):
        return "its weight is parametrized"
    if type(module) not in BINARY:
        return f"no binary form of {type(module).__name__}"
    if getattr(module, "padding_mode", "zeros") != "zeros":
        return f"padding_mode {module.padding_mode!r}"
    if module._forward_hooks or module._forward_pre_hooks or module._backward_hooks:
        return "it has hooks"
    return ""


def _place(name: str, module: nn.Module, keep: Sequence[str], order: list[str], seen: _Seen) -> str:
    if "first" in keep and name == order[0]:
        return "first layer"
    if "last" in keep and name == order[-1]:
        return "last layer"
    pointwise = isinstance(module, nn.modules.conv._ConvNd) and _taps(module) == 1
    named = any(word in part.lower() for part in name.split(".") for word in SHORTCUTS)
    if "shortcut" in keep and pointwise and (named or name in seen.aside):
        return "shortcut"
    return ""


def _asked(name: str, keep: Sequence[str]) -> str:
    found = next((word for word in keep if word not in PLACES and fnmatchcase(name, word)), None)
    return "" if found is None else "asked for" if found == name else f"asked for by {found!r}"


@dataclass(slots=True)
class _Seen:
    """What a run showed: the order of the layers, those with an input of one sign, pointwise ones beside another layer."""

    order: list[str] = field(default_factory=list)
    constant: set[str] = field(default_factory=set)
    aside: set[str] = field(default_factory=set)


def _watched(model: nn.Module, layers: dict[str, nn.Module], sample: Any) -> _Seen:
    seen, inputs = _Seen(), list[tuple[str, Tensor]]()

    def note(name: str, _: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        x = arguments[0]
        seen.order.append(name)
        inputs.append((name, x.detach()))
        if bool((x >= 0).all()) or bool((x < 0).all()):
            seen.constant.add(name)

    with _evaluated(model), torch.no_grad():
        handles = [module.register_forward_pre_hook(partial(note, name)) for name, module in layers.items()]
        try:
            model(*sample) if isinstance(sample, (tuple, list)) else model(sample)
        finally:
            for handle in handles:
                handle.remove()
    for place, (name, x) in enumerate(inputs):
        beside = [
            other
            for other, y in inputs
            if other != name and y.data_ptr() == x.data_ptr() and y.shape == x.shape
        ]
        larger = any(_taps(layers[other]) > 1 for other in beside)
        earlier = any(other in beside for other, _ in inputs[:place])
        if _taps(layers[name]) == 1 and (larger or earlier):
            seen.aside.add(name)
    return seen


def _taps(module: nn.Module) -> int:
    return module.weight[0, 0].numel()  # type: ignore[index,union-attr]


@contextmanager
def _evaluated(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode, and each of its parts in its own mode afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
