"""Checkpoints of the published torch code, read by their tensors' names and shapes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from isocline._core.checks import wrong
from isocline._core.files import CheckpointError
from isocline.plstm.models.vision import PLSTMVision

WRAPPERS = ("state_dict", "model", "model_state_dict")  # where trainers keep the tensors
PREFIXES = ("module.", "_orig_mod.", "model.")  # what they put before a name
HEAD = {"head.weight": "head.weight", "head.bias": "head.bias", "norm.weight": "norm.scale"}
OUTER = HEAD | {"embed.weight": "patch_embed.proj.weight", "embed.bias": "patch_embed.proj.bias"}
AROUND = {"norm.weight": "norm.scale", "wide_norm.weight": "norm2.scale"}
MIX = {
    "mix.norm.scale": "mhnorm.scale",
    "mix.direct": "direct.bias",
    "mix.out.weight": "outprojection.weight",
}
POSITIONS = "pos_embed.embed"


def convert_reference_checkpoint(
    checkpoint: str | os.PathLike[str] | Mapping[str, Tensor], *, pooling: str | None = None
) -> PLSTMVision:
    """The published image model as a `PLSTMVision` with ``variant="reference"``, which computes the same numbers.

    `checkpoint`: a file that ``torch.save`` wrote, of which only tensors are read (``weights_only=True``: nothing in it is
    executed), or its state by name. Sizes are found in the tensors' shapes. `pooling` cannot be: a head of ``4 dim`` inputs is
    "corners", otherwise "mean" is taken unless said. The tensors' precision is kept.
    Raises: CheckpointError for what is not such a file, with the names that are missing or unknown.
    """
    given = _state(checkpoint)
    try:
        model = PLSTMVision(**_settings(given, pooling))
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"checkpoint: want a published pLSTM-Vis state, got none ({error})") from error
    names = dict(_names(model))
    missing, unknown = sorted(set(names.values()) - set(given)), sorted(set(given) - set(names.values()))
    if missing or unknown:
        raise CheckpointError(
            f"checkpoint: want the tensors of pLSTM-Vis, got {len(missing)} fewer {missing[:3]} and "
            f"{len(unknown)} others {unknown[:3]}"
        )
    own = model.state_dict()
    found = {}
    for ours, theirs in names.items():
        if given[theirs].numel() != own[ours].numel():
            shapes = tuple(own[ours].shape), tuple(given[theirs].shape)
            raise CheckpointError(f"checkpoint: want {shapes[0]} for {theirs}, got {shapes[1]}")
        found[ours] = given[theirs].detach().clone().reshape(own[ours].shape)
    model.load_state_dict(found, assign=True)
    return model.requires_grad_()


def _state(checkpoint: str | os.PathLike[str] | Mapping[str, Tensor]) -> dict[str, Tensor]:
    found: Any = checkpoint
    if not isinstance(checkpoint, Mapping):
        try:
            found = torch.load(checkpoint, map_location="cpu", weights_only=True)
        except Exception as error:  # a foreign file may fail in any way, its reader's own errors among them
            raise CheckpointError(f"{checkpoint}: is no file of tensors ({error})") from error
    for name in WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
    if not isinstance(found, Mapping) or not found or not all(isinstance(t, Tensor) for t in found.values()):
        raise wrong(
            "checkpoint",
            "tensors by name",
            type(found).__name__,
            "pass its state_dict",
            error=CheckpointError,
        )
    return {_bare(str(name)): tensor for name, tensor in found.items()}


def _bare(name: str) -> str:
    while prefix := next((p for p in PREFIXES if name.startswith(p)), None):
        name = name.removeprefix(prefix)
    return name


def _settings(given: Mapping[str, Tensor], pooling: str | None) -> dict[str, Any]:
    dim, channels, patch, _ = given["patch_embed.proj.weight"].shape
    stem = "block_stack.blocks.0.block{}.interaction_module.{}"
    count = len({name.split(".")[2] for name in given if name.startswith("block_stack.blocks.")})
    inner = len({name.split(".")[3] for name in given if name.startswith("block_stack.blocks.0.")})
    modes = ["P" if stem.format(i, "orientation_bias") in given else "D" for i in range(inner)]
    classes, width = given["head.weight"].shape
    positions = given.get(POSITIONS)
    return {
        "classes": classes,
        "dim": dim,
        "heads": given[stem.format(0, "mhnorm.scale")].shape[0],
        "depth": count,
        "modes": "".join(modes),
        "patch": patch,
        "size": patch if positions is None else tuple(patch * side for side in positions.shape[1:3]),
        "channels": channels,
        "pooling": pooling or ("corners" if width == 4 * dim else "mean"),
        "position": positions is not None,
        "variant": "reference",
    }


def _names(model: PLSTMVision) -> Iterator[tuple[str, str]]:
    """Our name and the published one, of every tensor."""
    yield from OUTER.items()
    if model.position:
        yield "positions", POSITIONS
    inner = len(model.modes)
    for i, layer in enumerate(model.layers):
        ours, theirs = f"layers.{i}.", f"block_stack.blocks.{i // inner}.block{i % inner}."
        for name, published in AROUND.items():
            yield ours + name, theirs + published
        for name, published in {"up": "upproj", "down": "downproj"}.items():
            for part in ("weight", "bias"):
                yield f"{ours}{name}.{part}", f"{theirs}{published}.{part}"
        theirs += "interaction_module."
        for name, published in MIX.items():
            yield ours + name, theirs + published
        for name in ("query", "key", "value"):
            for part in ("weight", "bias"):
                yield f"{ours}mix.{name}.{part}", f"{theirs}{name.replace('value', 'value_')}.{part}"
        for name in layer.mix.gate:  # type: ignore[union-attr]
            for part in ("weight", "bias"):
                yield f"{ours}mix.gate.{name}.{part}", theirs + _gate(name).format(part)


def _gate(name: str) -> str:
    if name == "angle":
        return "orientation_{}"
    return name.replace("_turn", "_rd") + (".eigenvalues_{}" if name.startswith("transition") else ".{}")
