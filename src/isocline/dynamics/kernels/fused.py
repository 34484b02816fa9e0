"""The forced recursion as one operation: what autograd, ``torch.compile`` and ``torch.func`` see of the
kernels.

``isocline::forced_rollout`` is the forward run, ``isocline::forced_rollout_backward`` its hand-written
adjoint; the adjoint's own derivative, which only second-order methods need, is that of the reference. Eager
code takes the same two steps through a ``torch.autograd.Function``: calling a registered operation costs 70
microseconds, which is as much as the work itself at three states. ``vmap`` becomes the run axis of the
kernels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from . import cpu, reference

Gradients = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


def forced_rollout(*arguments: Any) -> Tensor:
    """Predictions; arguments as in ``reference.forced_rollout``, all of one dtype."""
    if torch.compiler.is_compiling():
        return registered(*arguments)
    if torch._C._are_functorch_transforms_active():
        return _Mapped.apply(*arguments)
    return _apply(*arguments)


@torch.library.custom_op("isocline::forced_rollout", mutates_args=(), device_types="cpu")
def registered(
    A: Tensor, W1: Tensor, W2: Tensor, h1: Tensor, h2: Tensor, z0: Tensor, forcing: Tensor, weight: Tensor,
    drive: Tensor | None, clipped: bool,
) -> Tensor:  # fmt: skip
    return cpu.forward(A, W1, W2, h1, h2, z0, forcing, weight, drive, clipped)


@torch.library.custom_op("isocline::forced_rollout_backward", mutates_args=(), device_types="cpu")
def registered_backward(
    A: Tensor, W1: Tensor, W2: Tensor, h1: Tensor, h2: Tensor, z0: Tensor, forcing: Tensor, weight: Tensor,
    drive: Tensor | None, clipped: bool, predicted: Tensor, slope: Tensor, wants_weight: bool,
) -> Gradients:  # fmt: skip
    found = cpu.backward(
        A, W1, W2, h1, h2, z0, forcing, weight, drive, clipped, predicted, slope, wants_weight
    )
    return _without_none(found, slope)


@registered.register_fake
def _(A, W1, W2, h1, h2, z0, forcing, weight, drive, clipped):
    return forcing.new_empty(*forcing.shape[:-1], z0.shape[-1])


@registered_backward.register_fake
def _(A, W1, W2, h1, h2, z0, forcing, weight, drive, clipped, predicted, slope, wants_weight):
    found = [torch.empty_like(parameter) for parameter in (A, W1, W2, h1, h2, z0)]
    to_weight = weight.new_empty(weight.shape if wants_weight else (0,))
    return *found, to_weight, slope.new_empty((0,) if drive is None else slope.shape)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.clipped = inputs
    ctx.save_for_backward(*tensors, output)


def _pull_by(adjoint: Any, ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
    *tensors, predicted = ctx.saved_tensors
    wants = ctx.needs_input_grad
    *found, to_weight, to_drive = adjoint(*tensors, ctx.clipped, predicted, slope, wants[7])
    return *found, None, to_weight if wants[7] else None, to_drive if wants[8] else None, None


def _keep_adjoint(ctx: Any, inputs: tuple[Any, ...], output: Gradients) -> None:
    *tensors, ctx.clipped, _, slope, _ = inputs
    ctx.save_for_backward(*tensors, slope)


def _pull_adjoint(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
    """The derivative of the adjoint: both of the reference's, one after the other."""
    kept: Any = [None if t is None else t.detach() for t in ctx.saved_tensors]
    A, W1, W2, h1, h2, z0, _, weight, drive, slope = kept
    with torch.enable_grad():
        open_ones = [t.requires_grad_() for t in (A, W1, W2, h1, h2, z0, weight, drive) if t is not None]
        predicted = reference.forced_rollout(*kept[:9], clipped=ctx.clipped)
        slope.requires_grad_()
        first = torch.autograd.grad(predicted, open_ones, slope, create_graph=True, materialize_grads=True)
        used = [(f, s) for f, s in zip(first, slopes, strict=False) if s.shape == f.shape and f.requires_grad]
        second: Any = torch.autograd.grad(
            [f for f, _ in used], [*open_ones, slope], [s for _, s in used], materialize_grads=True
        )
    *found, to_slope = second
    to_drive = None if drive is None else found.pop()
    *found, to_weight = found
    return *found, None, to_weight, to_drive, None, None, to_slope, None


registered.register_autograd(
    lambda ctx, slope: _pull_by(registered_backward, ctx, slope), setup_context=_keep
)
registered_backward.register_autograd(_pull_adjoint, setup_context=_keep_adjoint)


class _Rollout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        predicted = cpu.forward(*arguments)
        _keep(ctx, arguments, predicted)
        return predicted

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        return _pull_by(registered_backward if torch.is_grad_enabled() else cpu.backward, ctx, slope)


# ``Function.apply`` first looks for tensors that outlived a transform of ``torch.func``, and binds defaults: a fiftieth
# of a training step at three states.
_apply: Any = getattr(super(torch.autograd.Function, _Rollout), "apply")  # noqa: B009


class _Mapped(torch.autograd.Function):
    """As ``_Rollout``, in the form that ``torch.func`` asks for."""

    @staticmethod
    def forward(*arguments: Any) -> Tensor:
        return cpu.forward(*arguments)

    setup_context = staticmethod(_keep)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        return _pull_by(_MappedBackward.apply, ctx, slope)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> tuple[Tensor, int]:
        *tensors, clipped = arguments
        return _Mapped.apply(*_as_runs(info.batch_size, in_dims, tensors), clipped), 0


class _MappedBackward(torch.autograd.Function):
    @staticmethod
    def forward(*arguments: Any) -> Gradients:
        return _without_none(cpu.backward(*arguments), arguments[-2])

    setup_context = staticmethod(_keep_adjoint)
    backward = staticmethod(_pull_adjoint)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> tuple[Gradients, Any]:
        *tensors, clipped, predicted, slope, wants_weight = arguments
        runs = _as_runs(info.batch_size, in_dims, [*tensors, None, predicted, slope])
        found = list(_MappedBackward.apply(*runs[:9], clipped, *runs[10:], wants_weight))
        if wants_weight:
            shape = list(tensors[7].shape)
            if in_dims[7] is not None:
                shape.pop(in_dims[7])
            found[6] = found[6].reshape(info.batch_size, *shape)
        absent = [gradient.numel() == 0 for gradient in found]
        return tuple(found), tuple(None if empty else 0 for empty in absent)


def _as_runs(
    count: int, in_dims: tuple[int | None, ...], tensors: list[Tensor | None]
) -> list[Tensor | None]:
    """The rule of vmap: the mapped axis becomes the run axis, which every tensor then gets."""
    runs = [
        t if t is None else t.expand(count, *t.shape) if at is None else t.movedim(at, 0)
        for t, at in zip(tensors, in_dims, strict=False)
    ]
    A, weight = runs[0], runs[7]
    if A is None or weight is None or A.dim() != 2:
        raise RuntimeError("vmap: want a rollout without a run axis, got one with; flatten the two into one")
    runs[7] = weight.reshape(count, *(1,) * (4 - weight.dim()), *weight.shape[1:])
    return runs


def _without_none(found: tuple[Tensor | None, ...], like: Tensor) -> Gradients:
    full = [like.new_empty(0) if gradient is None else gradient for gradient in found]
    A, W1, W2, h1, h2, z0, weight, drive = full
    return A, W1, W2, h1, h2, z0, weight, drive
