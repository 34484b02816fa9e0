"""A sequence with scalar gates as gated linear attention, exactly: shift keys, values and decays by one token.

Gated linear attention reads after it has written, ``H_t = a_t H_{t-1} + k_t v_t^T`` and ``o_t = H_t^T q_t``; here a token reads
before. So token t gets the key, value and transition of token t-1, and what remains is the direct term. A negative
transition is a sign and a size: the running product of the signs goes into queries and keys. Source: the paper's
remark that the scalar sequence is simple GLA, the state-space dual of Mamba-2, and mLSTM without its normaliser.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..._core.checks import wrong

SMALLEST = (
    1e-37  # stands for a transition of zero: its logarithm is finite, and two of them are zero in float32
)


def as_linear_attention(
    q: Tensor, k: Tensor, v: Tensor, source: Tensor, transition: Tensor, mark: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """q', k', v', log a' and the sign of the last transitions' product, for any kernel of gated linear attention.

    Shapes: q, k ``(B, N, dk)``; v ``(B, N, dv)``; gates ``(B, N)``; returns the first four with the same shapes and the
    sign ``(B,)`` by which the last state of that kernel has to be multiplied.
    """
    decay = pad(transition[:, :-1], (1, 0), value=1.0)
    sign = torch.where(decay < 0, -1.0, 1.0).to(decay.dtype).cumprod(1)
    q = q * (mark * sign).unsqueeze(-1)
    k = pad((k * source.unsqueeze(-1))[:, :-1], (0, 0, 1, 0)) * sign.unsqueeze(-1)
    return q, k, pad(v[:, :-1], (0, 0, 1, 0)), decay.abs().clamp_min(SMALLEST).log(), sign[:, -1]


def plstm_1d(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    source: Tensor,
    transition: Tensor,
    mark: Tensor,
    direct: Tensor | None,
    state: Tensor,
) -> tuple[Tensor, Tensor]:
    """y and the last state by ``fla.ops.simple_gla`` of flash-linear-attention, on CUDA.

    Shapes: q, k ``(B, N, dk)``; v ``(B, N, dv)``; gates ``(B, N)``; state ``(B, dk, dv)``. A transition of exactly zero
    gets no gradient here.
    """
    if find_spec("fla") is None:
        do = "pip install flash-linear-attention"
        raise wrong("backend", "one that is installed", "'fla'", do, error=ImportError)
    kernel = import_module("fla.ops.simple_gla").chunk_simple_gla
    *shifted, decay, sign = as_linear_attention(q, k, v, source, transition, mark)
    heads = [tensor.unsqueeze(2) for tensor in (*shifted, decay)]  # (B, N, 1, ...): one head each
    start = state.unsqueeze(1)
    y, last = kernel(*heads, scale=1.0, initial_state=start, output_final_state=True)
    y = y.squeeze(2)
    if direct is not None:
        y = y + (direct * (q * k).sum(-1)).unsqueeze(-1) * v
    last = last.squeeze(1) * sign[:, None, None]
    written = (k[:, -1] * source[:, -1, None]).unsqueeze(-1) * v[:, -1].unsqueeze(-2)
    return y, transition[:, -1, None, None] * last + written
