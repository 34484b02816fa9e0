"""The regulariser of a whole model: ``weight * sum over layers of L_orth``, to be added to its loss."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, log2, prod

import torch
from torch import Tensor, nn

from isocline._core.checks import check_number, wrong
from isocline.orthogonal.existence import exists
from isocline.orthogonal.functional import lorth_each
from isocline.orthogonal.shapes import CONVOLUTIONS, ConvShape, shape_of, tap_stride

ALWAYS = 400  # rows times taps of a layer that is computed at every call
MOST = 6  # the rarest is computed at one call in 2^6


class OrthogonalPenalty:
    """``loss + penalty()`` pulls every convolution that can be orthogonal towards it; differentiable.

    model: any module with torch's convolutions (1d, 2d, 3d, transposed, grouped, parametrised). A convolution that no kernel
    makes orthogonal is left out, and `skipped` says why: ``{"layer4.0.downsample.0": reason}``; `layers` names the others.
    Weights that several layers share count once. Padding does not enter: a kernel that is orthogonal with circular padding
    never enlarges a norm with any other. Layers of one shape are computed together.

    weight: lambda of the paper, which tries 1e-5 to 10; there 1e-3 to 0.1 robust, larger costs accuracy, and 1 and more
    leaves all singular values near 1.
    every: at how many calls a layer is computed once; it then counts as many times, so that the mean over calls, and that of
    the gradient, is the whole penalty. Layers take turns, which spreads the cost. None: each layer at the `pace` of its width,
    1 up to 52 channels (3 x 3), 64 from 299 on, since L_orth costs as the cube of the channels, and more than the training step
    itself for 512 on small images. 1: the whole penalty at every call.

    L_orth is of fourth order, and its curvature at an orthogonal kernel 8: plain descent settles there while
    ``lr * weight * every < 1/4``, and diverges beyond, or from weights far away; start from `orthogonal_`. In data-parallel
    training every process computes the same from the same weights, so that averaging gradients changes nothing. Inside of
    `torch.compile` every turn is a graph of its own: take ``every=1`` there, or add the penalty outside.

    Raises TypeError or ValueError for wrong arguments, and for a model in which nothing can be orthogonal.
    Source: Achour, Malgouyres, Mamalet 2022, section 4 (``L_task + lambda sum L_orth``). A regulariser
    that is evaluated rarely and counted often: Karras et al. 2020 (StyleGAN2, lazy regularization); the paces are ours.

    >>> model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 8, 1, stride=2))
    >>> penalty = OrthogonalPenalty(model, weight=0.01)
    >>> penalty.layers, list(penalty.skipped)
    (('0',), ['2'])
    >>> penalty().backward()
    """

    def __init__(self, model: nn.Module, weight: float, every: int | None = None) -> None:
        if not isinstance(model, nn.Module):
            raise wrong("model", "a torch module", type(model).__name__, error=TypeError)
        self.weight = check_number("weight", weight, least=0)
        self.every = None if every is None else check_number("every", every, least=1, integer=True)
        self.skipped: dict[str, str] = {}
        self._batches: dict[ConvShape, dict[str, nn.Module]] = {}
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
        paces = {name: self.every or pace(shape) for shape, batch in self._batches.items() for name in batch}
        self._turns, self._turn, self._cycle = _turns(paces), 0, max(paces.values())

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the layers that are regularised, those of one shape together."""
        return tuple(name for batch in self._batches.values() for name in batch)

    def __call__(self) -> Tensor:
        """The penalty of the weights as they are now, of the layers whose turn it is; a scalar, 0 where there is none."""
        due = {name for name, (pace, first) in self._turns.items() if self._turn % pace == first}
        self._turn = (self._turn + 1) % self._cycle
        parts = [
            self._turns[name][0] * value
            for names, each in self._each(due)
            for name, value in zip(names, each.unbind(), strict=True)
        ]
        if parts:
            return self.weight * torch.stack(parts).sum()
        any_layer = next(layer for batch in self._batches.values() for layer in batch.values())
        return torch.zeros((), device=_weight(any_layer).device)

    @torch.no_grad()
    def values(self) -> dict[str, float]:
        """``L_orth`` of each layer, unweighted; does not count as a call."""
        return {
            name: float(value)
            for names, each in self._each(set(self.layers))
            for name, value in zip(names, each, strict=True)
        }

    def state_dict(self) -> dict[str, int]:
        """Whose turn it is: what a resumed run needs."""
        return {"turn": self._turn}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self._turn = state["turn"]

    def __repr__(self) -> str:
        words = f"{len(self.layers)} layers in {len(self._batches)} shapes, {len(self.skipped)} skipped"
        return f"OrthogonalPenalty({words}, weight={self.weight:g}, every={self.every})"

    def _each(self, due: set[str]) -> Iterator[tuple[list[str], Tensor]]:
        """Shape by shape the names of the layers that are due, and their ``L_orth``, ``(B,)``."""
        for shape, batch in self._batches.items():
            names = [name for name in batch if name in due]
            if names:
                weights = [_weight(batch[name]) for name in names]
                together = torch.stack(weights) if len(weights) > 1 else weights[0][None]
                yield names, lorth_each(together, shape.S, shape.D, shape.groups, shape.transposed)


def pace(shape: ConvShape) -> int:
    """At how many calls a layer is computed once, so that the penalty stays a small part of a training step: 1 to 64.

    L_orth takes some ``1.5 r taps`` multiply-adds a weight, r the smaller of M and ``C S^d`` and taps those of the polyphase
    kernel; a step takes three for each place and image, and networks halve the sides where they double the channels. So
    ``(r taps / 400)^2``, to the nearest power of two: with 3 x 3 taps 1 up to 52 channels, 2 at 64, 8 at 128, 32 at 256.
    Source: [ours].

    >>> [pace(ConvShape(n, n, 3)) for n in (32, 64, 128, 256, 512)]
    [1, 2, 8, 32, 64]
    """
    S = tap_stride(shape)
    rows = min(shape.M, shape.C * prod(S)) * prod(ceil(k / s) for k, s in zip(shape.k, S, strict=True))
    return 2 ** min(MOST, max(0, round(2 * log2(rows / ALWAYS))))


def _turns(paces: dict[str, int]) -> dict[str, tuple[int, int]]:
    """Of every layer its pace, and the first call at which it is computed: those of one pace are spread evenly."""
    alike: dict[int, list[str]] = {}
    for name, n in paces.items():
        alike.setdefault(n, []).append(name)
    return {name: (n, n * i // len(names)) for n, names in alike.items() for i, name in enumerate(names)}


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
