"""The forced rollout of the shallow PLRNN: one differentiable operation, by the fastest kernel at hand."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import linear

from .._core.checks import check_number, wrong
from .kernels import kernel_for
from .recursion import check_rollout, check_weights, forcing_weights


def forced_rollout(
    A: Tensor,
    W1: Tensor,
    W2: Tensor,
    h1: Tensor,
    h2: Tensor,
    z0: Tensor,
    forcing: Tensor,
    alpha: Tensor | float,
    *,
    clipped: bool = True,
    C: Tensor | None = None,
    inputs: Tensor | None = None,
    interval: int | None = None,
    backend: str = "auto",
) -> Tensor:
    """Predictions z_1 .. z_T of the (clipped) shallow PLRNN under generalized teacher forcing, before
    forcing.

    Shapes: A, h1 ``(M,)``; W1 ``(M, L)``; W2 ``(L, M)``; h2 ``(L,)``; z0 ``(B, M)``; forcing ``(T, B, D)``
    with D <= M (the first D states are forced; NaN = missing, the state runs on freely); alpha in [0, 1], any
    shape that broadcasts to forcing; C ``(M, K)`` with inputs ``(T, B, K)``, the input of the arrival time;
    returns ``(T, B, M)``. ``interval=k`` applies alpha at every k-th step only: with alpha = 1 that is sparse
    teacher forcing. An ensemble of R runs puts an axis R before all tensors. Differentiable in everything but
    ``forcing``, which is detached. ``backend``: one of ``isocline.dynamics.kernels.BACKENDS``. Raises
    ValueError for shapes that do not fit. Source: Hess et al. 2023, equations 4 to 6.
    """
    check_rollout(z0, forcing)
    _check_parameters(A, W1, W2, h1, h2, z0)
    if (C is None) != (inputs is None):
        raise wrong("inputs", "C and inputs together", f"{'inputs' if C is None else 'C'} alone")
    weight = forcing_weights(alpha, forcing.shape[-3], z0, interval=interval)
    if weight.dim():
        check_weights(weight, forcing)
    drive = None if C is None or inputs is None else _drive(C, inputs, forcing)
    kernel = kernel_for(backend, z0)
    signal = forcing.detach() if forcing.requires_grad else forcing
    return kernel(A, W1, W2, h1, h2, z0, signal, weight, drive, clipped)


def chunked_rollout(
    A: Tensor,
    W1: Tensor,
    W2: Tensor,
    h1: Tensor,
    h2: Tensor,
    z0: Tensor,
    forcing: Tensor,
    alpha: float,
    *,
    chunk: int,
    overlap: int,
    clipped: bool = True,
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """Predictions from chunks of time run side by side as further sequences, and how well they meet.

    Every chunk but the first starts ``overlap`` steps early, at the forcing signal; the error it then begins
    with falls as ``exp(overlap (lambda + ln(1 - alpha)))``. The second result is the largest distance between
    a chunk's last state and the same state in the next chunk: a bound only on a map that contracts. Gradients
    do not pass from chunk to chunk. Shapes: z0 ``(B, M)``; forcing ``(T, B, M)``: all states forced, none
    missing; T - overlap a multiple of chunk; returns ``(T, B, M)`` and a scalar.
    """
    check_rollout(z0, forcing)
    T, B, M = forcing.shape
    check_number("chunk", chunk, least=1, integer=True)
    check_number("overlap", overlap, least=1, below=T, integer=True)
    _check_parameters(A, W1, W2, h1, h2, z0)
    if z0.shape[-1] != M:
        raise wrong("forcing", f"all {z0.shape[-1]} states forced", M, "a chunk starts at the signal")
    if (T - overlap) % chunk:
        raise wrong("chunk", f"a divisor of T - overlap = {T - overlap}", chunk)
    length, count = chunk + overlap, (T - overlap) // chunk
    signals = torch.stack([forcing[k * chunk : k * chunk + length] for k in range(count)], 1)
    starts = torch.cat([z0.unsqueeze(0), *(forcing[k * chunk - 1].unsqueeze(0) for k in range(1, count))])
    lanes = forced_rollout(
        A, W1, W2, h1, h2, starts.reshape(count * B, M), signals.reshape(length, count * B, M), alpha,
        clipped=clipped, backend=backend,
    ).reshape(length, count, B, M)  # fmt: skip
    rest = lanes[overlap:].transpose(0, 1).reshape(count * chunk, B, M)
    gap = (lanes[-1, :-1] - lanes[overlap - 1, 1:]).abs().amax() if count > 1 else lanes.new_zeros(())
    return torch.cat([lanes[:overlap, 0], rest]), gap.detach()


def _drive(C: Tensor, inputs: Tensor, forcing: Tensor) -> Tensor:
    if inputs.shape[:-1] != forcing.shape[:-1] or C.shape[-1] != inputs.shape[-1]:
        want = (*forcing.shape[:-1], C.shape[-1])
        raise wrong("inputs", f"{tuple(want)}, as forcing and C have it", tuple(inputs.shape))
    return linear(inputs, C) if C.dim() == 2 else inputs @ C.mT.unsqueeze(1)


def _check_parameters(A: Tensor, W1: Tensor, W2: Tensor, h1: Tensor, h2: Tensor, z0: Tensor) -> None:
    runs, M, dtype = z0.shape[:-2], z0.shape[-1], z0.dtype
    if W2.dim() < 2 or W2.shape[-1] != M:
        raise wrong("W2", f"({', '.join(map(str, (*runs, 'L', M)))})", tuple(W2.shape), "M is that of z0")
    L = W2.shape[-2]
    state, hidden = (*runs, M), (*runs, L)
    wide, tall = (*state, L), (*hidden, M)
    if (
        A.shape == state == h1.shape and h2.shape == hidden and W1.shape == wide and W2.shape == tall
        and A.dtype == W1.dtype == W2.dtype == h1.dtype == h2.dtype == dtype
    ):  # fmt: skip
        return
    wanted = {"A": (A, state), "W1": (W1, wide), "W2": (W2, tall), "h1": (h1, state), "h2": (h2, hidden)}
    for name, (tensor, shape) in wanted.items():
        if tensor.shape != shape:
            do = f"as z0 {tuple(z0.shape)} and W2 {tuple(W2.shape)} have it"
            raise wrong(name, f"{shape}, {do}", tuple(tensor.shape))
        if tensor.dtype != dtype:
            raise wrong(name, f"{dtype}, as z0", str(tensor.dtype), "convert the model or the data")
