"""A model that is only looked at: in evaluation mode, its parameters asking for nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def at_rest(model: object) -> Iterator[list[str]]:
    """The model in evaluation mode inside, its parameters asking for no gradient; yields in words what was switched.

    Every module's mode and every parameter's ``requires_grad`` are as they were after, an error or not. Gradients, buffers and
    hooks are not touched.
    """
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    training = [module for module in modules if module.training]
    asking = [p for module in modules[:1] for p in module.parameters() if p.requires_grad]
    said = ["the model was in training mode: evaluated in eval mode, and put back"] if training else []
    try:
        for module in training:
            module.training = False
        for parameter in asking:
            parameter.requires_grad_(False)
        yield said
    finally:
        for module in training:
            module.training = True
        for parameter in asking:
            parameter.requires_grad_(True)
