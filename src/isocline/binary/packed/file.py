"""A packed model as a folder of plain files: read by this module, or by anyone who reads JSON and safetensors.

``manifest.json`` names the two others with their sha256 (see `isocline._core.files`). In ``config-....json``:

=============  ========================================================================================================
``kind``       ``"isocline.binary packed model"``
``version``    1
``input``      the name of the value that goes in; ``output``, of the one that comes out
``steps``      the program, in order: ``op``, ``name`` (also of the value it makes), ``inputs``, ``settings``, ``arrays``
``notes``      what stayed float, in words
=============  ========================================================================================================

An array of a step lies in ``arrays-....safetensors`` as ``<step>/<array>``. The step ``convolution`` takes signs, +1 where a
number is >= 0 and -1 elsewhere, and computes ``y``, the sums of their products with the weights:

=================  ====================================================================================================
``weight``         ``(M, ceil(n / 8))`` uint8: bit i of a row is bit ``i % 8`` of byte ``i // 8``; 1 is +1, 0 is -1. A row
                   goes tap by tap (depth, height, width), the ``C / groups`` channels of a tap side by side
``window``         settings: channels, groups, kernel, stride, dilation, padding before and after, along (depth, height,
                   width), and the value outside: 0, 1 or -1. A fully connected layer has its places along the width
``axes``           spatial axes of the tensor: 0 fully connected, 1, 2 or 3
``gives``          ``bits``: the sign is +1 where ``(y >= limit) xor flip``, with ``limit (M,)`` int32 and ``flip`` M bits.
                   ``numbers`` or ``both``: float32 ``a max(scale y + bias, floor) + b + skip``, every operation rounded
                   once, from the inside out, but ``a x + b`` once for both if ``fused``. floor is 0 if ``relu``, else -inf.
                   Missing arrays are 1, 0, 1, 0; of length 1 they hold for every channel; skip is the second input
=================  ====================================================================================================

``largest`` is max pooling of signs, ``side_by_side`` the flattening before a fully connected layer, ``bit_weights`` a
convolution of numbers with such weights times ``scale``. All other steps are PyTorch's functions of these names.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from isocline._core.checks import check_choice, wrong
from isocline._core.files import CheckpointError, load_folder, plain, save_folder

from .kernels import BACKENDS, backend_for
from .model import PackedModel
from .program import Step

KIND, VERSION = "isocline.binary packed model", 1


def save(packed: PackedModel, folder: str | os.PathLike[str]) -> None:
    """Write a packed model; a save that is interrupted leaves what was there before.

    Raises ValueError for a model with a part that is only a Python function.
    """
    kept = [step.settings["kind"] for step in packed.steps if step.call is not None]
    if kept:
        do = "pack the model without it, or replace it by an operation that packs"
        raise wrong("packed", "operations that can be written down", ", ".join(kept), do)
    steps = [
        {
            "op": step.op,
            "name": step.name,
            "inputs": step.inputs,
            "settings": step.settings,
            "arrays": sorted(step.arrays),
        }
        for step in packed.steps
    ]
    config = {"kind": KIND, "version": VERSION, "input": packed.input_name, "output": packed.output_name}
    arrays = {f"{step.name}/{name}": array for step in packed.steps for name, array in step.arrays.items()}
    save_folder(folder, plain(config | {"notes": packed.notes, "steps": steps}), arrays)


def load(folder: str | os.PathLike[str], *, backend: str = "auto") -> PackedModel:
    """Read it back; needs none of the code that trained it. Raises CheckpointError for anything that is not such a folder."""
    backend = backend_for(check_choice("backend", backend, BACKENDS))
    config, arrays = load_folder(folder)
    if config.get("kind") != KIND:
        raise CheckpointError(f"{folder}: is not a packed model")
    if config.get("version") != VERSION:
        raise CheckpointError(
            f"{folder}: version {config.get('version')}, this reads {VERSION}; update isocline"
        )
    try:
        steps = [_step(saved, arrays) for saved in config["steps"]]
        return PackedModel(steps, config["input"], config["output"], notes=config["notes"], backend=backend)
    except (
        AttributeError,
        IndexError,
        KeyError,
        TypeError,
        ValueError,
        RuntimeError,
        OverflowError,
    ) as error:
        raise CheckpointError(f"{folder}: does not hold what a packed model must ({error})") from error


def _step(saved: dict[str, Any], arrays: dict[str, np.ndarray]) -> Step:
    op, name, inputs, settings = (saved[key] for key in ("op", "name", "inputs", "settings"))
    if not isinstance(settings, dict) or not all(isinstance(text, str) for text in (op, name, *inputs)):
        raise ValueError("a step is not one of ours")
    own = {key: arrays[f"{name}/{key}"] for key in saved["arrays"]}
    return Step(op, name, tuple(inputs), settings, own)
