"""The regulariser of a whole model: ``weight * sum over layers of L_orth``, to be added to its loss."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from isocline._core.checks import check_number, wrong
from isocline._core.seeds import derive_seed, torch_generator
from isocline.orthogonal.existence import exists
from isocline.orthogonal.functional import lorth_each
from isocline.orthogonal.sampling import lorth_sampled
from isocline.orthogonal.shapes import CONVOLUTIONS, ConvShape, shape_of


class OrthogonalPenalty:
    """``loss + penalty()`` pulls every convolution that can be orthogonal towards it; differentiable.

    model: any module with torch's convolutions (1d, 2d, 3d, transposed, grouped, parametrised). A convolution that no kernel
    makes orthogonal is left out, and `skipped` says why: ``{"layer4.0.downsample.0": reason}``; `layers` names the others.
    Weights that several layers share count once. Padding does not enter: a kernel that is orthogonal with circular padding
    never enlarges a norm with any other. Layers of one shape are computed together.

    weight: lambda of the paper, which tries 1e-5 to 10; there 1e-3 to 0.1 robust, larger costs accuracy, and 1 and more
    leaves all singular values near 1. L_orth is of fourth order: where ``lr * weight`` is large, or the weights start far from
    orthogonal, training diverges; start from `orthogonal_`.
    every: only each `every`-th call computes, and counts `every` times; the others give 0. The mean gradient is the same.
    rows: None computes L_orth itself, whose cost grows as the cube of the channels: next to nothing up to 200, more than a
    training step at 512. A number estimates it from so many rows of each layer, another draw at every call: the mean is the
    same, the cost grows as the square.

    Raises TypeError or ValueError for wrong arguments, and for a model in which nothing can be orthogonal.
    Source: Achour, Malgouyres, Mamalet 2022, section 4 (``L_task + lambda sum L_orth``); `every` and `rows` [ours].

    >>> model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 8, 1, stride=2))
    >>> penalty = OrthogonalPenalty(model, weight=0.01)
    >>> penalty.layers, list(penalty.skipped)
    (('0',), ['2'])
    >>> penalty().backward()
    """

    def __init__(self, model: nn.Module, weight: float, every: int = 1, *, rows: int | None = None) -> None:
        if not isinstance(model, nn.Module):
            raise wrong("model", "a torch module", type(model).__name__, error=TypeError)
        self.weight = check_number("weight", weight, least=0)
        self.every = check_number("every", every, least=1, integer=True)
        self.rows = None if rows is None else check_number("rows", rows, least=1, integer=True)
        self.skipped: dict[str, str] = {}
        self._batches: dict[ConvShape, dict[str, nn.Module]] = {}
        self._calls = 0
        for name, layer in _own_convolutions(model):
            answer = exists(layer)
            if answer:
                self._batches.setdefault(shape_of(layer), {})[name] = layer
            else:
                self.skipped[name] = (
                    f"{answer.reason}; feasible with {answer.remedy}" if answer.remedy else answer.reason
                )
        if not self._batches:
            got = "; ".join(f"{name}: {why}" for name, why in self.skipped.items()) or "no convolution"
            raise wrong("model", "at least one convolution that can be orthogonal", got)

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the layers that are regularised, those of one shape together."""
        return tuple(name for batch in self._batches.values() for name in batch)

    def __call__(self) -> Tensor:
        """The penalty of the weights as they are now, a scalar; 0 where `every` says so."""
        due = self._calls % self.every == 0
        self._calls += 1
        if not due:
            (first, *_), *_ = (batch.values() for batch in self._batches.values())
            return torch.zeros((), device=_weight(first).device)
        parts = [each.sum() for _, each in self._each(self.rows)]
        return self.weight * self.every * torch.stack(parts).sum()

    @torch.no_grad()
    def values(self) -> dict[str, float]:
        """``L_orth`` of each layer, unweighted and exact; does not count as a call."""
        return {
            name: float(value)
            for names, each in self._each(None)
            for name, value in zip(names, each, strict=True)
        }

    def state_dict(self) -> dict[str, int]:
        """How often it was called; with `every` or `rows` a resumed run needs it."""
        return {"calls": self._calls}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self._calls = state["calls"]

    def __repr__(self) -> str:
        words = f"{len(self.layers)} layers in {len(self._batches)} shapes, {len(self.skipped)} skipped"
        return f"OrthogonalPenalty({words}, weight={self.weight:g}, every={self.every})"

    def _each(self, rows: int | None) -> Iterator[tuple[list[str], Tensor]]:
        """Batch by batch the names and their ``L_orth``, or its estimate, ``(B,)``."""
        generator = None if rows is None else torch_generator(derive_seed("rows", self._calls))
        for shape, batch in self._batches.items():
            weights = [_weight(layer) for layer in batch.values()]
            how = (shape.S, shape.D, shape.groups, shape.transposed)
            if rows is None or generator is None:
                yield list(batch), lorth_each(torch.stack(weights), *how)
            else:  # one by one: copies of wide weights cost more than they save
                each = [lorth_sampled(weight[None], rows, generator, *how) for weight in weights]
                yield list(batch), torch.cat(each)


def _own_convolutions(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Every convolution by name; layers that share a weight once, under all their names."""
    found: dict[int, tuple[list[str], nn.Module]] = {}
    for name, layer in model.named_modules(remove_duplicate=False):
        if isinstance(layer, CONVOLUTIONS):
            owner = layer if nn.utils.parametrize.is_parametrized(layer, "weight") else layer.weight
            found.setdefault(id(owner), ([], layer))[0].append(name)
    for names, layer in found.values():
        yield " = ".join(names), layer


def _weight(layer: nn.Module) -> Tensor:
    return layer.weight  # type: ignore[return-value]
