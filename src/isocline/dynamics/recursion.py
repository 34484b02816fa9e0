"""The recursion of generalized teacher forcing (GTF), for any map.

::

    z_t  = F(z~_{t-1})                         the prediction: what the loss sees
    z~_t = (1 - alpha_t) z_t + alpha_t z^_t    the state fed to the next step

``z^`` is the forcing signal, a constant: no gradient flows through it. ``alpha_t`` may differ from entry to
entry, and this one array says it all: 0 runs freely, 1 is classical teacher forcing, a signal with fewer
channels than states forces the first ones only, 1 at every tau-th step and 0 between is sparse teacher
forcing, and a missing sample (NaN in the signal) has weight 0. Source: Hess et al. 2023, equations 5 and 6;
sparse: Mikhaeil et al. 2022.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .._core.checks import check_number, wrong


def toward_teacher(z: Tensor, target: Tensor, weight: Tensor | float) -> Tensor:
    """Pull the first states toward the teacher: ``(1 - weight) z + weight target``; the others stay.

    Shapes: z ``(..., M)``; target ``(..., D)`` with D <= M, finite; weight broadcasts to target; returns
    ``(..., M)``. Source: Hess et al. 2023, equation 5.
    """
    forced = target.shape[-1]
    weight = torch.as_tensor(weight, dtype=z.dtype, device=z.device)
    if forced == z.shape[-1]:
        return torch.lerp(z, target, weight)
    return torch.cat([torch.lerp(z[..., :forced], target, weight), z[..., forced:]], dim=-1)


def forcing_weights(
    alpha: Tensor | float, steps: int, like: Tensor, *, interval: int | None = None
) -> Tensor:
    """The weights ``alpha_t``: alpha itself, or alpha at every ``interval``-th step (t = 1, 2, ...) and 0
    between.

    Shapes: alpha broadcasts to ``(T, B, D)``; returns alpha's shape, with an interval ``(T, 1, 1)`` broadcast
    into it. Raises ValueError for alpha outside [0, 1] (checked for plain numbers) or interval < 1.
    """
    if isinstance(alpha, Tensor):
        weight = alpha.to(like)
    else:
        if type(alpha) is not float or not 0 <= alpha <= 1:
            alpha = check_number("alpha", alpha, least=0, most=1)
        weight = like.new_full((), alpha)
    if interval is None:
        return weight
    check_number("interval", interval, least=1, integer=True)
    forced_now = torch.arange(1, steps + 1, device=like.device) % interval == 0
    return torch.where(forced_now.view(steps, 1, 1), weight, 0)


def teacher_forced(
    step: Callable[[Tensor, int], Tensor], z0: Tensor, forcing: Tensor, weight: Tensor
) -> Tensor:
    """Run the recursion step by step; the predictions before forcing.

    ``step(z, t)`` maps the state fed in to the prediction of step t = 0 .. T-1. Shapes: z0 ``(B, M)``;
    forcing ``(T, B, D)``, NaN = missing; weight broadcasts to forcing; returns ``(T, B, M)``.
    """
    missing = forcing.isnan()
    target = torch.where(missing, 0, forcing).detach()
    weight = torch.where(missing, 0, weight)
    fed, predicted = z0, []
    for t in range(forcing.shape[0]):
        z = step(fed, t)
        predicted.append(z)
        fed = toward_teacher(z, target[t], weight[t])
    return torch.stack(predicted)


def forced_rollout_of(
    model: Callable[..., Tensor],
    z0: Tensor,
    forcing: Tensor,
    alpha: Tensor | float,
    *,
    inputs: Tensor | None = None,
    interval: int | None = None,
) -> Tensor:
    """Predictions of any model under forcing; ``model(z, s)`` is one step, s the input at arrival or None.

    Shapes: z0 ``(B, M)``; forcing ``(T, B, D)``, D <= M, NaN = missing; alpha broadcasts to forcing; inputs
    ``(T, B, K)``; returns ``(T, B, M)``. For the shallow PLRNN ``forced_rollout`` is the fast way.
    """
    check_rollout(z0, forcing)
    weight = forcing_weights(alpha, forcing.shape[0], z0, interval=interval)
    check_weights(weight, forcing)
    return teacher_forced(lambda z, t: model(z, None if inputs is None else inputs[t]), z0, forcing, weight)


def check_rollout(z0: Tensor, forcing: Tensor) -> None:
    """Raise ValueError unless z0 ``([R,] B, M)`` fits forcing ``([R,] T, B, D)``, D <= M, none empty."""
    states, signal = z0.shape, forcing.shape
    if len(states) not in (2, 3) or 0 in states:
        raise wrong("z0", "(B, M), or (R, B, M) for R runs", tuple(states), "one row per sequence")
    if len(signal) != len(states) + 1 or signal[:-3] != states[:-2] or 0 in signal:
        raise wrong(
            "forcing", f"{'(R, ' if len(states) == 3 else '('}T, B, D)", tuple(signal), "time comes first"
        )
    if signal[-2] != states[-2]:
        raise wrong("forcing", f"B = {states[-2]} sequences, as in z0", signal[-2])
    if signal[-1] > states[-1]:
        raise wrong(
            "forcing", f"D <= {states[-1]} channels, the states of z0", signal[-1], "take more states"
        )
    if forcing.dtype != z0.dtype:
        raise wrong("forcing", f"{z0.dtype}, as z0", str(forcing.dtype), "convert the model or the data")


def check_weights(weight: Tensor, forcing: Tensor) -> None:
    """Raise ValueError unless the weight broadcasts to the forcing signal without making it larger."""
    fits = zip(reversed(weight.shape), reversed(forcing.shape), strict=False)
    if weight.dim() > forcing.dim() or any(size not in (1, full) for size, full in fits):
        want = f"a shape that broadcasts to {tuple(forcing.shape)}"
        raise wrong("alpha", want, tuple(weight.shape), "e.g. (B, 1), one number per sequence")
