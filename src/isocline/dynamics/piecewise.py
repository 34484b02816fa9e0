"""Every map of the room in one plain form, ``F(z) = A z + W1 relu(W2 z + h2) + h1``, and its affine pieces.

Notation: M states, L hidden units, A ``(M, M)`` in full; in the region with gates D = diag[W2 z + h2 > 0] the
map is ``F(z) = P z + c`` with ``P = A + W1 D W2`` and ``c = W1 D h2 + h1``. Source: Hess, Monfared, Brenner
and Durstewitz 2023, appendix on fixed points and cycles; Eisenmann et al. 2023.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from isocline._core.checks import check_finite, wrong

from .maps import unclipped
from .orbit import Array, as_array

Gates = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class PiecewiseLinear:
    """The map ``z -> A z + W1 relu(W2 z + h2) + h1``, states as the last axis."""

    A: Array  # (M, M)
    W1: Array  # (M, L)
    W2: Array  # (L, M)
    h1: Array  # (M,)
    h2: Array  # (L,)

    def __post_init__(self) -> None:
        M, L = np.shape(self.A)[0], np.shape(self.h2)[0]
        wanted = {"A": (M, M), "W1": (M, L), "W2": (L, M), "h1": (M,), "h2": (L,)}
        for name, shape in wanted.items():
            array = getattr(self, name)
            if array.shape != shape:
                raise wrong(name, f"shape {shape}", f"{array.shape}")
            check_finite(name, array)

    def gates(self, z: Array) -> Gates:
        """Which units are open: z ``(..., M)`` to ``(..., L)``."""
        return z @ self.W2.T + self.h2 > 0

    def step(self, z: Array) -> Array:
        """One step: z ``(..., M)`` to ``(..., M)``."""
        return z @ self.A.T + np.maximum(z @ self.W2.T + self.h2, 0.0) @ self.W1.T + self.h1

    def jacobian(self, z: Array) -> Array:
        """``P`` of the region of z: ``(..., M)`` to ``(..., M, M)``, row = output."""
        return self.pieces(self.gates(z))[0]

    def pieces(self, gates: Gates) -> tuple[Array, Array]:
        """``P`` and ``c`` of regions: gates ``(..., L)`` to ``(..., M, M)`` and ``(..., M)``."""
        M, L = self.W1.shape
        share = np.einsum("ml,lk->lmk", self.W1, self.W2).reshape(L, M * M)  # what each open unit adds
        open_ = gates.astype(np.float64)
        P = self.A + (open_ @ share).reshape(*gates.shape[:-1], M, M)
        return P, open_ @ (self.W1 * self.h2).T + self.h1


def shallow_form(
    A: npt.ArrayLike,
    W1: npt.ArrayLike,
    W2: npt.ArrayLike,
    h1: npt.ArrayLike,
    h2: npt.ArrayLike,
    *,
    clipped: bool,
) -> PiecewiseLinear:
    """The plain form of a shallow PLRNN; the clipped one has 2L units.

    Shapes: A ``(M,)`` or ``(M, M)``; W1 ``(M, L)``; W2 ``(L, M)``; h1 ``(M,)``; h2 ``(L,)``. Raises
    ValueError.
    """
    arrays = [np.atleast_1d(as_array(one)) for one in (A, W1, W2, h1, h2)]
    full = np.diag(arrays[0]) if arrays[0].ndim == 1 else arrays[0]
    plain = PiecewiseLinear(full, *arrays[1:])
    if not clipped:
        return plain
    tensors = (torch.from_numpy(np.array(one)) for one in (full, *arrays[1:]))
    return PiecewiseLinear(*(one.numpy() for one in unclipped(*tensors)))


def plrnn_form(
    A: npt.ArrayLike, W: npt.ArrayLike, h: npt.ArrayLike, *, centred: bool = False
) -> PiecewiseLinear:
    """The plain form of ``A z + W relu(z) + h``, or of ``A z + W relu(z - mean(z)) + h``. A, h ``(M,)``; W
    ``(M, M)``.
    """
    A, W, h = (as_array(one) for one in (A, W, h))
    M = len(h)
    return PiecewiseLinear(np.diag(A), W, np.eye(M) - (1.0 / M if centred else 0.0), h, np.zeros(M))


def dendritic_form(
    A: npt.ArrayLike,
    W: npt.ArrayLike,
    h: npt.ArrayLike,
    slopes: npt.ArrayLike,
    thresholds: npt.ArrayLike,
    *,
    clipped: bool = False,
) -> PiecewiseLinear:
    """The plain form of ``A z + W sum_b a_b relu(z - H_b) + h``: M units per basis, M more if clipped.

    Shapes: A, h ``(M,)``; W ``(M, M)``; slopes a ``(P,)``; thresholds H ``(M, P)``.
    """
    A, W, h, slopes, thresholds = (as_array(one) for one in (A, W, h, slopes, thresholds))
    if clipped:
        slopes = np.append(slopes, -slopes.sum())
        thresholds = np.column_stack([thresholds, np.zeros(len(h))])
    W1 = np.concatenate([slope * W for slope in slopes], axis=1)
    return PiecewiseLinear(
        np.diag(A), W1, np.tile(np.eye(len(h)), (len(slopes), 1)), h, -thresholds.T.reshape(-1)
    )


def almost_linear_form(
    A: npt.ArrayLike, W: npt.ArrayLike, h: npt.ArrayLike, *, relu_units: int
) -> PiecewiseLinear:
    """The plain form of the almost-linear RNN: its linear units join A. A, h ``(M,)``; W ``(M, M)``."""
    A, W, h = (as_array(one) for one in (A, W, h))
    straight = len(h) - relu_units
    full = np.diag(A).copy()
    full[:, :straight] += W[:, :straight]
    return PiecewiseLinear(full, W[:, straight:], np.eye(len(h))[straight:], h, np.zeros(relu_units))
