"""`pack`: a trained binary model as a program on bits."""

from __future__ import annotations

import copy
import warnings

import torch
from torch import nn

from isocline._core.checks import wrong

from ..estimators import Estimator
from .graph import Plan, traced
from .model import PackedModel


class PackingWarning(UserWarning):
    """A part of a model stays float; the message names the module and says why."""


def pack(model: nn.Module, *, backend: str = "auto") -> PackedModel:
    """The model in evaluation mode, with binary layers as exclusive or and count on bits; the model stays as it is.

    Between binary layers, activations stay bits: scale, ReLU, batch norm and sign become one limit per channel, taken from the
    model's own results on every sum that can occur. Where a skip needs real numbers, the batch norm is an affine map that is
    checked the same way and taken, with the sum, into the same kernel. Layers with 1-bit weights and real inputs keep their
    weights in bits. The rest is PyTorch's own operations, so results equal the model's on the CPU, bit for bit, on contiguous
    float32 input of the same batch; a NaN that reaches a sign is an error.

    backend: "auto", "numba" or "reference" (NumPy). Warns (`PackingWarning`) about every binary layer that stays float.
    Raises: ValueError for a model that is not float32, that torch.fx cannot trace, or that has more than one input or output.
    """
    if not isinstance(model, nn.Module):
        raise wrong("model", "a torch.nn.Module", type(model).__name__, error=TypeError)
    _check_float32(model)
    model = copy.deepcopy(model).cpu().eval()
    with torch.no_grad():
        plan = Plan(model, traced(model))
    for note in plan.notes:
        warnings.warn(note, PackingWarning, stacklevel=2)
    return PackedModel(plan.steps, plan.input, plan.output, notes=plan.notes, backend=backend)


def _check_float32(model: nn.Module) -> None:
    for path, part in model.named_modules():
        if isinstance(part, Estimator):  # its sharpness is float64 whatever the model is
            continue
        for name, tensor in [
            *part.named_parameters(path, recurse=False),
            *part.named_buffers(path, recurse=False),
        ]:
            if tensor.is_floating_point() and tensor.dtype != torch.float32:
                got = f"{name} in {str(tensor.dtype).removeprefix('torch.')}"
                raise wrong("model", "float32 parameters", got, "call model.float()")
