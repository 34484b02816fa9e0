"""Many inputs through an infinitely wide network: the kernel K and the neural tangent kernel Theta, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from isocline._core.checks import check_finite, check_number, check_shape, wrong
from isocline._core.files import plain
from isocline.theory.activation import Activation, as_activation
from isocline.theory.pairs import Pairs
from isocline.theory.single import checked_setting, per_layer

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, repr=False)
class ManyInput:
    """Kernel and NTK of N inputs at the layers asked for."""

    K: Array  # (len(layers), N, N)
    Theta: Array  # (len(layers), N, N)
    layers: tuple[int, ...]  # 1 is the first

    def __repr__(self) -> str:
        return f"ManyInput({self.K.shape[-1]} inputs at layers {list(self.layers)})"

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        return {"layers": list(self.layers), "K": plain(self.K), "Theta": plain(self.Theta)}


def first_kernel(x: npt.ArrayLike | Tensor, C_b: float, C_W: float) -> Array:
    """``K^(1) = C_b + C_W x x^T / n_0`` for inputs ``(N, n_0)``: ``(N, N)``.

    Source: PDLT chapter 4. Raises ValueError for inputs that are not finite, of norm zero, or not ``(N, n_0)``.
    """
    rows = np.asarray(x.detach().cpu() if isinstance(x, Tensor) else x, np.float64)
    check_shape("x", rows, "N n_0", "flatten each input to one row")
    check_finite("x", rows)
    norms = (rows * rows).sum(1)
    if not norms.all():
        raise wrong(
            "x",
            "inputs that are not zero",
            f"a row of zeros at {int(np.flatnonzero(norms == 0)[0])}",
            "leave it out",
        )
    return C_b + C_W * (rows @ rows.T) / rows.shape[1]


def many_input(
    activation: str | Callable[[Tensor], Tensor] | Activation,
    depth: int,
    K1: npt.ArrayLike,
    C_b: float,
    C_W: float,
    lambda_b: float | npt.ArrayLike = 1.0,
    lambda_w: float | npt.ArrayLike = 1.0,
    *,
    skip: float = 0.0,
    layers: Sequence[int] | None = None,
) -> ManyInput:
    """Kernel and NTK of N inputs: ``K' = C_b + C_W <s s> + gamma^2 K``,
    ``Theta' = lb' + lW' <s s> + (C_W <s' s'> + gamma^2) Theta``.

    `K1 (N, N)` is the kernel of layer 1 (see `first_kernel`); the rest as in `single_input`. `layers` (from
    1) are those kept, all of them when not given. Source: PDLT chapters 4 and 9. Raises
    ValueError where K1 is no covariance, or where K leaves float64.

    >>> import numpy as np
    >>> many_input("relu", 3, np.array([[1.0, 0.0], [0.0, 1.0]]), 0.0, 2.0, layers=[3]).K[0].round(4)
    array([[1.    , 0.4937],
           [0.4937, 1.    ]])
    """
    activation = as_activation(activation)
    K1 = checked_kernel(K1)
    depth, _, C_b, C_W, skip = checked_setting(depth, float(K1.diagonal().min()), C_b, C_W, skip)
    rate_b, rate_w = per_layer("lambda_b", lambda_b, depth), per_layer("lambda_w", lambda_w, depth)
    kept = _checked_layers(layers, depth)
    pairs = Pairs(activation, len(K1))
    K = K1[pairs.i, pairs.j]
    Theta = rate_b[0] + rate_w[0] * (K - C_b) / C_W
    out: dict[int, tuple[Array, Array]] = {1: (K, Theta)}
    for layer in range(2, max(kept) + 1):
        with np.errstate(over="ignore", invalid="ignore"):
            ss, pp = pairs.averages(K)
            Theta = rate_b[layer - 1] + rate_w[layer - 1] * ss + (C_W * pp + skip**2) * Theta
            K = C_b + C_W * ss + skip**2 * K
        variance = K[pairs.diagonal]
        if not (variance.min() > 1e-290 and variance.max() < 1e290):
            worst = float(variance.max() if not variance.max() < 1e290 else variance.min())
            raise wrong(
                "C_W",
                "a value that keeps the kernel within float64",
                f"K = {worst:.3g} at layer {layer}",
                "take fewer layers",
            )
        if layer in kept:
            out[layer] = (K, Theta)
    return ManyInput(
        K=np.stack([pairs.matrix(out[layer][0]) for layer in kept]),
        Theta=np.stack([pairs.matrix(out[layer][1]) for layer in kept]),
        layers=kept,
    )


def checked_kernel(K1: npt.ArrayLike) -> Array:
    """`K1` as float64 ``(N, N)``, symmetric, with a diagonal > 0 and ``K_ij^2 <= K_ii K_jj``; else a ValueError."""
    K = np.asarray(K1, np.float64)
    check_shape("K1", K, "N N")
    check_finite("K1", K)
    variance = K.diagonal()
    if not variance.min() > 0:
        raise wrong(
            "K1",
            "a diagonal > 0",
            float(variance.min()),
            "leave out inputs of norm zero, or give the biases a variance",
        )
    if not np.allclose(K, K.T, rtol=1e-10, atol=0):
        raise wrong("K1", "a symmetric matrix", "one that is not")
    if ((1 + 1e-9) * np.outer(variance, variance) < K * K).any():
        raise wrong("K1", "a covariance", "entries with K_ij^2 > K_ii K_jj", "use first_kernel(x, C_b, C_W)")
    return (K + K.T) / 2


def _checked_layers(layers: Sequence[int] | None, depth: int) -> tuple[int, ...]:
    if layers is None:
        return tuple(range(1, depth + 1))
    if not len(layers):
        raise wrong("layers", "at least one layer", "none")
    return tuple(int(check_number("layers", layer, least=1, most=depth, integer=True)) for layer in layers)
