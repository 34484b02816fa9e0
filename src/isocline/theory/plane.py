"""Averages over two correlated Gaussian inputs by a product of panels, for what has no closed form and no short
series.

``z1 = sqrt(K11) x`` and ``z2 = sqrt(K22) (rho x + eps y)`` with ``eps^2 = 1 - rho^2``: panels in y have edges
at the kinks of ``s(z2)`` for every x, and panels in x have edges at the kinks of ``s(z1)`` and are graded
towards the kinks of ``s(z2)``, which the average over y has smoothed on the scale eps.
"""

from collections.abc import Iterator, Sequence
from math import ceil, log2

import numpy as np
import numpy.typing as npt

from isocline.theory.activation import Activation
from isocline.theory.quadrature import gaussian_density, gradings, panel_rule, symmetric_edges

Array = npt.NDArray[np.float64]

REACH = 10.0  # standard deviations
PANEL = 1.0
NODES = 14
AT_ONCE = 1 << 21  # nodes of all pairs that are evaluated together
_NARROWEST = 1e-9  # the least eps: below it the two inputs are one


def plane_rule(K11: Array, K22: Array, K12: Array, kinks: Sequence[float] = ()) -> tuple[Array, Array, Array]:
    """Nodes ``z1, z2`` and weights ``w`` with ``<f> = (w f(z1, z2)).sum((-2, -1))``.

    Shapes: covariances ``(P,)``; z1 ``(P, n, 1)``, z2 and w ``(P, n, m)``.
    """
    first, second = np.sqrt(K11)[:, None], np.sqrt(K22)[:, None]
    rho = np.clip(K12[:, None] / (first * second), -1.0, 1.0)
    eps = np.sqrt(np.maximum((1 - rho) * (1 + rho), _NARROWEST**2))
    base = symmetric_edges(gradings(float(max(K11.max(), K22.max()))), PANEL, REACH)
    places = np.array([0.0, *(kink for kink in kinks if kink)])
    tilt = np.where(np.abs(rho) < 1e-3, np.inf, rho)  # nearly independent: nothing of z2 shows in x
    x, wx = panel_rule(
        _edges(base, places / first, places / (second * tilt), eps / np.abs(tilt) if kinks else None), NODES
    )
    seen = places / second[..., None] - (rho * x)[..., None]  # (P, n, k)
    narrow = (second * eps).max() > 2
    y, wy = panel_rule(
        _edges(
            base,
            seen / eps[..., None],
            seen / eps[..., None],
            1 / (second * eps)[..., None] if narrow else None,
        ),
        NODES,
    )
    weights = (wx * gaussian_density(x))[..., None] * wy * gaussian_density(y)
    return (first * x)[..., None], second[..., None] * ((rho * x)[..., None] + eps[..., None] * y), weights


def _edges(base: Array, at: Array, near: Array, scale: Array | None) -> Array:
    """Sorted panel edges: `base (E,)`, the places `at (..., k)`, and graded ones around `near (..., k)`
    from `scale (..., 1)` up.
    """
    parts = [np.broadcast_to(base, (*at.shape[:-1], len(base))), at]
    if scale is not None:
        steps = max(0, ceil(log2(PANEL / max(float(scale.min()), _NARROWEST))))
        for reach in (scale * 2.0**step for step in range(-1, steps + 1)):
            parts += [near - reach, near + reach]
    return np.sort(np.clip(np.concatenate(parts, axis=-1), -REACH, REACH), axis=-1)


def plane_pairs(activation: Activation, K11: Array, K22: Array, K12: Array) -> tuple[Array, Array]:
    """``<s(z1) s(z2)>`` and ``<s'(z1) s'(z2)>`` for covariances ``(P,)``, some pairs at a time."""
    ss, pp = np.empty_like(K12), np.empty_like(K12)
    for part in blocks(K11, K22, K12, activation.kinks):
        z1, z2, w = plane_rule(K11[part], K22[part], K12[part], activation.kinks)
        s1, p1 = activation.derivatives(z1, 1)
        s2, p2 = activation.derivatives(z2, 1)
        ss[part], pp[part] = (w * s1 * s2).sum((1, 2)), (w * p1 * p2).sum((1, 2))
    return ss, pp


def blocks(K11: Array, K22: Array, K12: Array, kinks: Sequence[float]) -> Iterator[slice]:
    """Slices of the pairs, each of so many that their nodes fit ``AT_ONCE``."""
    if len(K12):
        z2 = plane_rule(K11[:1], K22[:1], K12[:1], kinks)[1]
        step = max(1, AT_ONCE // z2.size)
        yield from (slice(begin, begin + step) for begin in range(0, len(K12), step))
