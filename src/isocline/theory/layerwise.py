"""`layerwise_lr`: the equivalence principle as plain parameter groups for any optimiser of torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from isocline._core.checks import check_number, wrong
from isocline.theory.plan import fan_in
from isocline.theory.structure import WEIGHTS, trace

if TYPE_CHECKING:
    from isocline.theory.effective import EffectiveTheory


def layerwise_lr(model: nn.Module, theory: EffectiveTheory, eta: float) -> list[dict[str, Any]]:
    """Parameter groups with ``lr = eta lambda_b`` for the biases and ``eta lambda_w / fan-in`` for the weights of
    each layer.

    Layers are linear or convolutional, in the order of execution where the model can be traced, else in that
    of their making; there must be ``theory.depth`` of them. Other parameters (normalisations, embeddings) go
    into a last group with ``lr = eta``. The rates are those of gradient descent; an optimiser that rescales
    gradients, such as Adam, does not keep what they balance. Largest stable eta:
    ``theory.largest_learning_rate(x)`` for a summed quadratic loss. Source: PDLT chapter 9.4. Raises
    ValueError when the counts differ.

    >>> from isocline.theory import EffectiveTheory
    >>> model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
    >>> groups = layerwise_lr(model, EffectiveTheory("relu", 2, 32), eta=0.1)
    >>> [(group["name"], group["lr"]) for group in groups]
    [('0.weight', 0.00625), ('0.bias', 0.05), ('2.weight', 0.0015625), ('2.bias', 0.05)]
    """
    eta = float(check_number("eta", eta, above=0))
    names = _layers(model)
    if len(names) != theory.depth:
        raise wrong(
            "model",
            f"{theory.depth} layers of weights, as the theory has",
            f"{len(names)}",
            "make the theory as deep",
        )
    groups: list[dict[str, Any]] = []
    taken: set[Tensor] = set()
    for i, name in enumerate(names):
        layer = model.get_submodule(name)
        rates = {
            "weight": eta * float(theory.lambda_w[i]) / fan_in(layer),
            "bias": eta * float(theory.lambda_b[i]),
        }
        for kind, parameter in layer.named_parameters():
            if parameter.requires_grad and parameter not in taken:
                taken.add(parameter)
                rate = rates["bias" if kind == "bias" else "weight"]
                groups.append({"params": [parameter], "lr": rate, "name": f"{name}.{kind}".lstrip(".")})
    rest = [
        parameter for parameter in model.parameters() if parameter.requires_grad and parameter not in taken
    ]
    return groups + ([{"params": rest, "lr": eta, "name": "the rest"}] if rest else [])


def _layers(model: nn.Module) -> list[str]:
    traced = trace(model)
    if isinstance(traced, str):
        return [name for name, part in model.named_modules() if isinstance(part, WEIGHTS)]
    return list(dict.fromkeys(str(node.target) for node, kind in traced.roots.items() if kind == "weights"))
