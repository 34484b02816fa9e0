"""Other papers' surrogate derivatives of the sign and their primitives, as functions of z and their own sharpness.

All are elementwise: z any shape, the other arguments scalars (numbers or 0-d tensors); they return z's shape and dtype.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .functional import Number

SQRT2 = math.sqrt(2)


def ste_surrogate(z: Tensor) -> Tensor:
    """1: the plain straight-through estimator. Source: Bengio et al. 2013; its primitive is the identity."""
    return torch.ones_like(z)


def clipped_ste_surrogate(z: Tensor, c: Number = 1.0) -> Tensor:
    """1 for ``|z| <= c``, else 0. Source: Hubara et al. 2016."""
    return (z.abs() <= c).to(z.dtype)


def clipped_ste_primitive(z: Tensor, c: Number = 1.0) -> Tensor:
    """``clamp(z, -c, c)``."""
    return z.clamp(min=-c).clamp(max=c)


def polynomial_surrogate(z: Tensor) -> Tensor:
    """``2 - 2|z|`` for ``|z| <= 1``, else 0. Source: Liu et al. 2018 (Bi-Real net)."""
    return (2 - 2 * z.abs()).clamp(min=0)


def polynomial_primitive(z: Tensor) -> Tensor:
    """``sign(z) (2a - a^2)`` with ``a = min(|z|, 1)``."""
    a = z.abs().clamp(max=1)
    return torch.sign(z) * (2 * a - a * a)


def swish_surrogate(z: Tensor, b: Number = 5.0) -> Tensor:
    """``b (2 - bz tanh(bz/2)) / (1 + cosh bz)``; a little below 0 at both sides. Source: Darabi et al. 2018 (BNN+)."""
    u = (b * z).abs()
    e = torch.exp(-u)  # 1 / (1 + cosh u) = 2 e / (1 + e)^2 never overflows
    return b * (2 - u.clamp(max=1e3) * torch.tanh(u / 2)) * 2 * e / (1 + e) ** 2


def swish_primitive(z: Tensor, b: Number = 5.0) -> Tensor:
    """``2 s (1 + bz (1 - s)) - 1`` with ``s = sigmoid(bz)``."""
    u = b * z
    s = torch.sigmoid(u)
    return 2 * s * (1 + u * torch.sigmoid(-u)) - 1


def growth(progress: Number, low: float, high: float) -> Number:
    """``low^(1-p) high^p``: the sharpness of EDE and RBNN after a share p of training. Source: Qin et al. 2020."""
    return 10 ** (math.log10(low) + progress * (math.log10(high) - math.log10(low)))


def ede_surrogate(z: Tensor, t: Number, k: Number) -> Tensor:
    """``k t (1 - tanh^2(t z))``, with ``k = max(1/t, 1)`` in training. Source: Qin et al. 2020 (IR-Net)."""
    return k * t * (1 - torch.tanh(t * z) ** 2)


def ede_primitive(z: Tensor, t: Number, k: Number) -> Tensor:
    """``k tanh(t z)``."""
    return k * torch.tanh(t * z)


def rbnn_surrogate(z: Tensor, t: Number, k: Number) -> Tensor:
    """``max(k (sqrt2 t - t^2 |z|), 0)``. Source: Lin et al. 2020 (rotated binary networks)."""
    return (k * (SQRT2 * t - t * t * z.abs())).clamp(min=0)


def rbnn_primitive(z: Tensor, t: Number, k: Number) -> Tensor:
    """``k sign(z) (sqrt2 u - u^2 / 2)`` with ``u = min(t |z|, sqrt2)``."""
    u = (t * z.abs()).clamp(max=SQRT2)
    return k * torch.sign(z) * (SQRT2 * u - u * u / 2)


def _dsq(a: Number) -> tuple[Number, Number]:
    log = torch.log(2 / a - 1) if isinstance(a, Tensor) else math.log(2 / a - 1)
    return log / 2, 1 / (1 - a)


def dsq_surrogate(z: Tensor, a: Number = 0.2) -> Tensor:
    """``s k (1 - tanh^2(k z))`` on ``|z| <= 1``, else 0; ``k = ln(2/a - 1)/2, s = 1/(1 - a)``. Source: Gong et al. 2019."""
    k, s = _dsq(a)
    return torch.where(z.abs() > 1, 0.0, s * k * (1 - torch.tanh(k * z) ** 2))


def dsq_primitive(z: Tensor, a: Number = 0.2) -> Tensor:
    """``s tanh(k z)`` on ``|z| <= 1``, the sign beyond; a in (0, 1) is how far it stays from the sign."""
    k, s = _dsq(a)
    return s * torch.tanh(k * z.clamp(-1, 1))


def fda_surrogate(z: Tensor, w: Number = 0.5, n: int = 9) -> Tensor:
    """``(4w/pi) sum_{i=0..n} cos((2i+1) w z)``: a Fourier series of the square wave. Source: Xu et al. 2021 (FDA-BNN)."""
    total = torch.zeros_like(z)
    for i in range(n + 1):
        total = total + torch.cos((2 * i + 1) * w * z)
    return torch.where(z.isinf(), 0.0, 4 * w / math.pi * total)  # a cosine has no value there


def fda_primitive(z: Tensor, w: Number = 0.5, n: int = 9) -> Tensor:
    """``(4/pi) sum_{i=0..n} sin((2i+1) w z) / (2i+1)``."""
    total = torch.zeros_like(z)
    for i in range(n + 1):
        total = total + torch.sin((2 * i + 1) * w * z) / (2 * i + 1)
    return 4 / math.pi * total


def sigmoid_surrogate(z: Tensor, b: Number = 1.0) -> Tensor:
    """``2b s (1 - s)`` with ``s = sigmoid(bz)``; its primitive is ``2s - 1``."""
    return 2 * b * torch.sigmoid(b * z) * torch.sigmoid(-b * z)


def sigmoid_primitive(z: Tensor, b: Number = 1.0) -> Tensor:
    """``2 sigmoid(bz) - 1``."""
    return torch.tanh(b * z / 2)


def tanh_surrogate(z: Tensor, b: Number = 1.0) -> Tensor:
    """``b (1 - tanh^2 bz)``."""
    return b * (1 - torch.tanh(b * z) ** 2)


def tanh_primitive(z: Tensor, b: Number = 1.0) -> Tensor:
    """``tanh(bz)``."""
    return torch.tanh(b * z)


def arctan_surrogate(z: Tensor, b: Number = 1.0) -> Tensor:
    """``(2/pi) b / (1 + (bz)^2)``."""
    return 2 / math.pi * b / (1 + (b * z) ** 2)


def arctan_primitive(z: Tensor, b: Number = 1.0) -> Tensor:
    """``(2/pi) arctan(bz)``."""
    return 2 / math.pi * torch.arctan(b * z)


def progressive_forward(z: Tensor, T: Number = 0.0) -> Tensor:
    """``clamp(z / (1 - T), -1, 1)``: the identity on [-1, 1] at T = 0, the sign as T -> 1."""
    narrow = 1 - T
    width = narrow.clamp(min=1e-6) if isinstance(narrow, Tensor) else max(narrow, 1e-6)
    return (z / width).clamp(-1, 1)
