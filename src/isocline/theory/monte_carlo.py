"""Monte Carlo over finite networks, with estimators of low variance: the check of every prediction.

Given layer l, the preactivations of layer l + 1 are Gaussian with the metric ``G = C_b + C_W mean_j s_j s_j``
and the NTK has the mean ``S = lb + mean_j (lW s_j s_j + C_W s'_j s'_j H_jj)``. Their means and covariances
over networks are K, Theta, V, A and D of layer l + 1 without the noise of its own weights; F and B are plain
means.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from isocline._core.checks import check_number, wrong
from isocline._core.files import plain
from isocline._core.seeds import torch_generator
from isocline.theory.kernel import checked_kernel

if TYPE_CHECKING:
    from isocline.theory.effective import EffectiveTheory

Array = npt.NDArray[np.float64]

NAMES = ("K", "Theta", "V", "A", "D", "F", "B")
_AT_ONCE = 1 << 21  # values of H that are held together


@dataclass(frozen=True, slots=True, repr=False)
class Ensemble:
    """Estimates over networks of one width, by layer from the second on: ``K`` and ``Theta`` with their 1/n
    corrections in them.

    Arrays have the shape ``(depth - 1,)`` for one input and ``(depth - 1, N, N[, N, N])`` for several. Layers
    share their samples, so their errors are correlated.
    """

    value: dict[str, Array]
    error: dict[str, Array]  # standard errors
    width: int
    samples: int
    trusted: npt.NDArray[np.bool_]  # (depth - 1,) whether nu L / n < 0.3, where the expansion in 1 / n holds

    def __repr__(self) -> str:
        return f"Ensemble({self.samples} networks of width {self.width}, {len(self.trusted) + 1} layers)"

    def extrapolated(self, wider: Ensemble) -> Ensemble:
        """The estimates at infinite width from this and a `wider` ensemble, linear in 1 / n: only errors
        of order 1 / n^2 are left.
        """
        n, N = self.width, wider.width
        if n >= N:
            raise wrong("wider", f"an ensemble of width > {n}", f"{N}")
        a, b = N / (N - n), n / (N - n)
        value = {name: a * wider.value[name] - b * self.value[name] for name in NAMES}
        error = {name: np.hypot(a * wider.error[name], b * self.error[name]) for name in NAMES}
        return Ensemble(value, error, N, min(self.samples, wider.samples), self.trusted & wider.trusted)

    def scores(self, prediction: object) -> dict[str, Array]:
        """``(estimate - prediction) / standard error`` for every quantity that `prediction`, a `SingleInput` or
        `Fluctuations`, has.
        """
        out = {}
        for name in NAMES:
            expected = getattr(prediction, name)[1:]
            error = np.maximum(self.error[name], 1e-12 * np.abs(expected) + 1e-300)
            out[name] = (self.value[name] - expected) / error
        return out

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        return {
            "width": self.width,
            "samples": self.samples,
            "trusted": plain(self.trusted),
            **{name: {"value": plain(self.value[name]), "error": plain(self.error[name])} for name in NAMES},
        }


def ensemble(
    theory: EffectiveTheory, samples: int, *, K1: float | npt.ArrayLike | None = None, seed: int = 0
) -> Ensemble:
    """Draw `samples` random networks of `theory`'s architecture and measure what it predicts.

    `K1` is the kernel of layer 1 for one input, or ``(N, N)`` for a few. All hidden layers must have one
    width. With a residual connection ``V`` is ``n Cov(z_i z_i, z_j z_j)``, ``i != j``, given the layer
    before. Raises ValueError for unequal widths, or fewer than two samples.
    """
    samples = int(check_number("samples", samples, least=2, integer=True))
    if theory.depth < 2 or len(set(theory.widths)) > 1:
        raise wrong(
            "theory", "two layers at least, and one width", theory, "an ensemble has one number of neurons"
        )
    one = K1 is None or np.ndim(K1) == 0
    first = checked_kernel([[theory.nominal_kernel if K1 is None else K1]] if one else K1)  # type: ignore[arg-type]
    n, N = theory.widths[0], len(first)
    generator = torch_generator(seed)
    batch = max(1, min(samples, _AT_ONCE // (N**4 * n * n)))
    parts = [
        _run(theory, first, min(batch, samples - begin), generator) for begin in range(0, samples, batch)
    ]
    # each (samples, depth - 1, ...)
    drawn = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    value, error = _estimates(drawn, n)
    if one:
        value, error = (
            {name: array.reshape(len(array)) for name, array in kind.items()} for kind in (value, error)
        )
    if theory.skip:
        for name in "ADFB":
            value[name], error[name] = np.full_like(value[name], np.nan), np.full_like(error[name], np.nan)
    run = theory.single_input(float(first[0, 0]))
    trusted = (run.V / (n * run.K**2))[1:] < 0.3
    return Ensemble(value, error, n, samples, trusted)


def _run(theory: EffectiveTheory, first: Array, nets: int, generator: torch.Generator) -> dict[str, Array]:
    """``(nets, depth - 1, ...)`` of what every network measures at each of its layers but the last."""
    n, N, C_b, C_W = theory.widths[0], len(first), theory.bias_variance, theory.weight_variance
    normal = partial(torch.randn, generator=generator, dtype=torch.float64)
    values, vectors = np.linalg.eigh(first)
    root = torch.from_numpy(vectors * np.sqrt(values.clip(0.0)))
    z = root @ normal(nets, N, n)
    Theta = torch.from_numpy(theory.lambda_b[0] + theory.lambda_w[0] * (first - C_b) / C_W)
    H = (Theta[:, :, None, None] * torch.eye(n, dtype=torch.float64)).expand(nets, N, N, n, n)
    found: list[dict[str, Tensor]] = []
    for layer in range(1, theory.depth):
        look = partial(_measure, theory, float(theory.lambda_b[layer]), float(theory.lambda_w[layer]))
        found.append(torch.func.vmap(look)(z, H))
        if layer < theory.depth - 1:
            W = normal(nets, n, n) * (C_W / n) ** 0.5
            b = normal(nets, n) * C_b**0.5
            z, H = torch.func.vmap(
                partial(_step, theory, float(theory.lambda_b[layer]), float(theory.lambda_w[layer]))
            )(z, H, W, b)
    return {name: torch.stack([layer[name] for layer in found], dim=1).numpy() for name in found[0]}


def _with_slope(theory: EffectiveTheory, z: Tensor) -> tuple[Tensor, Tensor]:
    slope, (_, s) = torch.func.grad_and_value(lambda z: _summed(theory.activation.function(z)), has_aux=True)(
        z
    )
    return s, slope


def _summed(values: Tensor) -> tuple[Tensor, Tensor]:
    return values.sum(), values


def _step(
    theory: EffectiveTheory, lb: float, lW: float, z: Tensor, H: Tensor, W: Tensor, b: Tensor
) -> tuple[Tensor, Tensor]:
    """One layer of one network: z ``(N, n)`` and its NTK ``H (N, N, n, n)``, forward. Source: PDLT chapter 8."""
    s, p = _with_slope(theory, z)
    n = z.shape[-1]
    eye = torch.eye(n, dtype=z.dtype)
    J = W * p[:, None, :] + theory.skip * eye  # (N, n, n) dz'/dz
    own = lb + lW * (s @ s.mT) / n
    return s @ W.mT + b + theory.skip * z, own[:, :, None, None] * eye + J[:, None] @ H @ J.mT[None]


def _measure(theory: EffectiveTheory, lb: float, lW: float, z: Tensor, H: Tensor) -> dict[str, Tensor]:
    """What one network at one layer says of the next; letters a, b, c, d are inputs 1 to 4, j and k neurons."""
    s, p = _with_slope(theory, z)
    n, C_W = z.shape[-1], theory.weight_variance
    G = theory.bias_variance + C_W * (s @ s.mT) / n
    own = torch.einsum("abjj->abj", H)
    slopes = C_W * torch.einsum("aj,bj->abj", p, p) + theory.skip**2
    S = lb + lW * (s @ s.mT) / n + (slopes * own).sum(-1) / n
    pp = torch.einsum("aj,cj->acj", p, p)
    sp = torch.einsum("aj,cj->acj", s, p)
    HH = torch.einsum("abjk,cdjk->abcdjk", H, H)
    out = {
        "metric": G,
        "ntk": S,
        "F": C_W**2 / n * torch.einsum("acj,bcdj->acbd", sp, torch.einsum("bdk,cdjk->bcdj", sp, H)),
        "B": C_W**2 / n * torch.einsum("acj,abcdj->acbd", pp, torch.einsum("bdk,abcdjk->abcdj", pp, HH)),
    }
    square = G[..., None] + theory.skip**2 * torch.einsum("aj,bj->abj", z, z)
    total = square.sum(-1)
    both = total[:, :, None, None] * total - torch.einsum("abj,cdj->abcd", square, square)
    return out | {"metric": square.mean(-1), "both": both / (n * (n - 1)), "G": G}


def _estimates(drawn: dict[str, Array], n: int) -> tuple[dict[str, Array], dict[str, Array]]:
    samples = len(drawn["ntk"])
    metric, ntk = drawn["metric"], drawn["ntk"]
    K, Theta = metric.mean(0), ntk.mean(0)
    off, off_ntk = metric - K, ntk - Theta
    mixed = K[None, :, :, :, None, None] * metric[:, :, None, None]
    each: dict[str, Array] = {
        "K": metric,
        "Theta": ntk,
        "V": n
        * (
            drawn["both"]
            - mixed
            - np.moveaxis(mixed, (2, 3), (4, 5))
            + K[:, :, :, None, None] * K[:, None, None]
        ),
        "A": n * off_ntk[..., None, None] * off_ntk[:, :, None, None],
        "D": n * off[..., None, None] * off_ntk[:, :, None, None],
        "F": drawn["F"],
        "B": drawn["B"],
    }
    means = dict(_means(each, samples))
    return {name: mean for name, (mean, _) in means.items()}, {
        name: error for name, (_, error) in means.items()
    }


def _means(each: dict[str, Array], samples: int) -> Iterator[tuple[str, tuple[Array, Array]]]:
    for name, values in each.items():
        unbiased = samples / (samples - 1) if name in "VAD" else 1.0
        yield name, (unbiased * values.mean(0), values.std(0, ddof=1) / np.sqrt(samples))
