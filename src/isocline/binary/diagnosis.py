"""Every binary layer of a model on one page: its error, its gradients, and where its weights and activations lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from math import nan
from typing import Any

import torch
from torch import Tensor, nn

from isocline._core.checks import wrong
from isocline._core.files import plain
from isocline._core.seeds import seeded
from isocline.binary.estimators import Estimator, ReSTE
from isocline.binary.functional import reste_primitive
from isocline.binary.indicators import (
    Primitive,
    estimating_error,
    estimating_error_rms,
    gradient_stability,
    gradient_stability_scale_free,
    plateau_share,
)

Loss = Callable[[Any], Tensor]


@dataclass(frozen=True, slots=True)
class SideDiagnosis:
    """The weights of one layer, or its inputs. NaN: not asked for, or (plateau) not a matter of this estimator."""

    estimator: str  # "" for inputs with real numbers
    count: int  # values
    error: float  # published: L2 norm of f(z) - sign(z)
    error_rms: float  # of a typical value: error / sqrt(count)
    stability: float  # published: unbiased variance of |g|
    stability_scale_free: float  # var |g| / (mean |g|)^2
    plateau: float  # share with |z| <= m, the steepest slope
    dead: float  # share with slope 0: what lies there gets no gradient


@dataclass(frozen=True, slots=True)
class LayerDiagnosis:
    """One binary layer."""

    name: str
    weight: SideDiagnosis
    input: SideDiagnosis | None  # None without a sample, or where inputs are real numbers


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The binary layers of a model in the order they are listed; totals over all weights."""

    layers: tuple[LayerDiagnosis, ...]
    error: float  # published e: sum over layers
    error_rms: float
    stability: float  # published s: sum over layers
    stability_global: float  # one unbiased variance over all
    stability_scale_free: float
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        width = max([5, *(len(layer.name) for layer in self.layers)])
        words = ("error", "rms", "var |g|", "relative", "plateau", "dead", "in: rms", "plateau", "dead")
        lines = [f"{'layer':{width}} " + " ".join(f"{word:>9}" for word in words)]
        for row in self.layers:
            w, x = row.weight, row.input
            found = [w.error, w.error_rms, w.stability, w.stability_scale_free, w.plateau, w.dead]
            found += [nan, nan, nan] if x is None else [x.error_rms, x.plateau, x.dead]
            lines.append(f"{row.name:{width}} " + " ".join(f"{value:9.3g}" for value in found))
        totals = [self.error, self.error_rms, self.stability, self.stability_scale_free]
        lines.append(f"{'all':{width}} " + " ".join(f"{value:9.3g}" for value in totals))
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {f.name: plain(getattr(self, f.name)) for f in fields(self)}

    def plot(self, ax: Any = None) -> Any:
        """For every layer its error and the relative spread of its gradients; returns the axes."""
        from isocline.binary.pictures import draw_diagnosis

        return draw_diagnosis(self, ax)


def diagnose(
    model: nn.Module, sample: Tensor | None = None, loss: Loss | None = None, *, o_end: float | None = None
) -> Diagnosis:
    """What every binary layer's estimator costs, and where its weights and inputs lie.

    sample: a batch as the model takes it; one pass tells of activations. loss: from the model's output to a scalar, for
    gradients of weights and activations; without it those that the weights hold in ``grad`` are looked at, if any.
    o_end: measure the error with ReSTE's power there, as the paper does, instead of each estimator's own sharpness now.
    The model is left as it was found: mode, buffers, gradients, hooks, random states. The pass runs in its present mode.

    Returns a `Diagnosis`, which prints itself as a table and has `plot`. Raises TypeError for what is no module, ValueError
    for one without binary layers or for a loss without a sample.
    """
    if not isinstance(model, nn.Module):
        raise wrong("model", "a torch module", type(model).__name__, error=TypeError)
    layers = binary_layers(model)
    if not layers:
        raise wrong("model", "binary layers in it", type(model).__name__, "binarize_model makes them")
    if loss is not None and sample is None:
        raise wrong("loss", "a sample beside it", "none", "pass a batch")
    inputs, weight_grads, input_grads = _passed(model, layers, sample, loss)
    rows, gradients = [], []
    for name, layer in layers.items():
        gradient = weight_grads.get(name, layer.weight.grad if loss is None else None)
        gradients += [] if gradient is None else [gradient]
        weight = _side(layer.weight_estimator, layer.weight, gradient, o_end)
        estimator, side = layer.input_estimator, None
        if estimator is not None and name in inputs:
            side = _side(estimator, inputs[name], input_grads.get(name), o_end)
        rows.append(LayerDiagnosis(name, weight, side))
    unmet = [name for name in layers if sample is not None and name not in inputs]
    notes = [f"not called on this sample: {', '.join(unmet)}"] if unmet else []
    return _totalled(rows, [layer.weight for layer in layers.values()], gradients, tuple(notes))


def binary_layers(model: nn.Module) -> dict[str, Any]:
    """The layers with a latent weight and an estimator for it, by name; "itself" for the model."""
    parts = model.named_modules()
    return {
        name or "itself": part
        for name, part in parts
        if isinstance(getattr(part, "weight_estimator", None), nn.Module)
    }


def _totalled(
    rows: list[LayerDiagnosis], weights: list[Tensor], gradients: list[Tensor], notes: tuple[str, ...]
) -> Diagnosis:
    count = sum(w.numel() for w in weights)
    together = torch.cat([g.detach().flatten().double() for g in gradients]) if gradients else None
    return Diagnosis(
        tuple(rows),
        error=sum(row.weight.error for row in rows),
        error_rms=(sum(row.weight.error**2 for row in rows) / count) ** 0.5,
        stability=sum(row.weight.stability for row in rows),
        stability_global=nan if together is None else float(gradient_stability(together)),
        stability_scale_free=nan if together is None else float(gradient_stability_scale_free(together)),
        notes=notes,
    )


def _side(estimator: Estimator, z: Tensor, gradient: Tensor | None, o_end: float | None) -> SideDiagnosis:
    z = z.detach()
    primitive: Primitive = estimator.primitive
    if o_end is not None and isinstance(estimator, ReSTE):
        primitive = lambda x: reste_primitive(x, o_end)  # noqa: E731
    found = gradient is not None and gradient.numel() > 1
    m = getattr(estimator, "m", None)
    return SideDiagnosis(
        estimator=str(estimator),
        count=z.numel(),
        error=float(estimating_error(z, primitive)),
        error_rms=float(estimating_error_rms(z, primitive)),
        stability=float(gradient_stability(gradient)) if found else nan,  # type: ignore[arg-type]
        stability_scale_free=float(gradient_stability_scale_free(gradient)) if found else nan,  # type: ignore[arg-type]
        plateau=nan if m is None else float(plateau_share(z, float(m))),
        dead=float((estimator.surrogate(z) == 0).double().mean()),
    )


Found = tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]


def _passed(model: nn.Module, layers: Mapping[str, Any], sample: Tensor | None, loss: Loss | None) -> Found:
    """One pass: the inputs of every layer at its first call, and the gradients of weights and inputs."""
    inputs: dict[str, Tensor] = {}
    if sample is None:
        return inputs, {}, {}
    with _left_as_found(model), _watched(layers, inputs), torch.set_grad_enabled(loss is not None):
        output = model(sample)
        if loss is None:
            return inputs, {}, {}
        names = list(layers)
        weights = [layers[name].weight for name in names]
        seen = [name for name in names if name in inputs and inputs[name].requires_grad]
        found = torch.autograd.grad(
            loss(output), weights + [inputs[name] for name in seen], allow_unused=True
        )
    gradients = [(name, g) for name, g in zip([*names, *seen], found, strict=True)]
    of_weights = {name: g for name, g in gradients[: len(names)] if g is not None}
    return inputs, of_weights, {name: g for name, g in gradients[len(names) :] if g is not None}


@contextmanager
def _watched(layers: Mapping[str, Any], inputs: dict[str, Tensor]) -> Iterator[None]:
    names = {part: name for name, part in layers.items()}

    def look(part: nn.Module, args: tuple[Any, ...]) -> None:
        inputs.setdefault(names[part], args[0])

    hooks = [part.register_forward_pre_hook(look) for part in layers.values()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _left_as_found(model: nn.Module) -> Iterator[None]:
    """Buffers (the running means of batch norms) and global random states are afterwards as before."""
    kept = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    with seeded(0):
        try:
            yield
        finally:
            with torch.no_grad():
                for buffer, before in kept:
                    buffer.copy_(before)
