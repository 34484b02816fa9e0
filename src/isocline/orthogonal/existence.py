"""Whether a layer can be orthogonal at all, decided by its sizes, and what would make it so when it cannot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from torch import nn

from isocline._core.checks import check_choice
from isocline.orthogonal.shapes import PADDINGS, ConvShape, shape_of, tap_stride


@dataclass(frozen=True, slots=True)
class Existence:
    """The answer of `exists`; true or false as itself.

    case: ``"RO"``, the layer has fewer outputs than inputs and orthogonal means orthonormal rows: backward keeps norms,
    forward never enlarges one. ``"CO"``, fewer inputs: orthonormal columns, the other way round. ``"square"``: both.
    """

    feasible: bool
    case: str
    reason: str
    remedy: str  # what would make it feasible; empty when it is
    padding: str
    shape: ConvShape

    def __bool__(self) -> bool:
        return self.feasible

    @property
    def isometry(self) -> str:
        """Which direction keeps all norms when the layer is orthogonal: forward, backward, or both."""
        return {"RO": "backward", "CO": "forward", "square": "both"}[self.case]

    def __str__(self) -> str:
        answer = "can be orthogonal" if self.feasible else "can NOT be orthogonal"
        remedy = f"; feasible with {self.remedy}" if self.remedy else ""
        return f"{self.shape}, padding {self.padding}: {answer} ({self.case}): {self.reason}{remedy}"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "layer": str(self.shape),
            "padding": self.padding,
            "feasible": self.feasible,
            "case": self.case,
            "isometry": self.isometry,
            "reason": self.reason,
            "remedy": self.remedy,
        }


def exists(conv_or_shape: nn.Module | ConvShape | tuple[Any, ...], padding: str = "circular") -> Existence:
    """Whether an orthogonal kernel exists, for input sides of at least the kernel's (at least 2 k - 1 for other paddings).

    Of the ``S`` phases of an axis a layer uses ``b`` (`usable_phases`: with circular padding ``min(k, S)``). In the row
    case ``M <= C S^d`` an orthogonal kernel exists if and only if ``M <= C prod(b)``; in the column case if and only if
    ``b = S`` on every axis. Groups: with ``M / g`` and ``C / g``. For one k and one S on all axes this is the paper's
    theorem; unequal axes, dilation and the other paddings are ours, by its argument.

    ``conv_or_shape``: a torch convolution of 1, 2 or 3 axes, transposed or not, a `ConvShape`, or ``(M, C, k, S)``.
    padding: "circular", "zeros" (as many outputs as inputs at stride 1) or "valid" (none). Raises ValueError or
    TypeError for anything else. Source: AMM, existence theorem (necessary and sufficient).

    >>> bool(exists((2, 4, 1, 2))), bool(exists((128, 64, 1, 2)))  # the shortcut of a residual network cannot
    (True, False)
    """
    shape = shape_of(conv_or_shape)
    check_choice("padding", padding, PADDINGS)
    yes = _feasible(shape, padding)
    remedy = "" if yes else ", or ".join(_remedies(shape, padding))
    return Existence(yes, _case(shape, padding), _reason(shape, padding, yes), remedy, padding, shape)


def usable_phases(shape: ConvShape, padding: str = "circular") -> tuple[int, ...]:
    """How many of the S places between two neighbouring outputs an orthogonal kernel can use, on every axis.

    circular: tap i falls on phase ``D i mod S``, so ``min(k, S / gcd(S, D))``. zeros: a tap that the first or the last
    output cannot see must vanish (its row or column would be shorter than the others), which leaves those in ``[r, r +
    S)``, ``r = D (k - 1) // 2``. valid: rows are complete, hence as circular; of the columns a first pixel sees one tap
    where an inner one sees the sum, hence none unless the kernels tile the input.
    """
    if padding == "zeros":
        windows = [
            (D * (k - 1) // 2, S, range(0, D * k, D))
            for k, S, D in zip(shape.k, shape.S, shape.D, strict=True)
        ]
        return tuple(sum(r <= place < r + S for place in places) for r, S, places in windows)
    if padding == "valid" and not shape.rows_fewer:
        spans = [D * (k - 1) + 1 for k, D in zip(shape.k, shape.D, strict=True)]
        return tuple(S if span == S else 0 for span, S in zip(spans, shape.S, strict=True))
    return tuple(min(k, s) for k, s in zip(shape.k, tap_stride(shape), strict=True))


def _feasible(shape: ConvShape, padding: str) -> bool:
    phases = usable_phases(shape, padding)
    room = shape.C * prod(phases)
    return room >= shape.M if shape.rows_fewer else phases == shape.S


def _case(shape: ConvShape, padding: str) -> str:
    tiles = all(D * (k - 1) < S for k, S, D in zip(shape.k, shape.S, shape.D, strict=True))
    if shape.C * prod(shape.S) == shape.M and (padding != "valid" or tiles):
        return "square"
    return "RO" if shape.rows_fewer != shape.transposed else "CO"


def _reason(shape: ConvShape, padding: str, yes: bool) -> str:
    phases = usable_phases(shape, padding)
    room = shape.C * prod(phases)
    if not shape.rows_fewer:
        if yes:
            words = f"every input is seen: {_by(phases)} phases of stride {_by(shape.S)}"
        elif padding == "valid":
            words = "an input in a corner is seen by one tap alone, and inside by several"
        else:
            words = (
                f"only {_by(phases)} of {_by(shape.S)} phases of the input can be used, so some of it is lost"
            )
    elif yes:
        words = f"{shape.M} outputs a place fit in {room} inputs"
    else:
        words = f"{shape.M} outputs a place do not fit in the {room} inputs that the kernel can use there"
    if padding == "zeros" and yes and max(shape.k) > 1:
        words += f", but only with all but {_by(phases)} taps zero"
    return words


def _remedies(shape: ConvShape, padding: str) -> Iterator[str]:
    """The smallest changes, one at a time, that make a layer feasible."""
    for size in range(2, 2 * max(shape.S) + 2):
        kernel = tuple(max(k, size) for k in shape.k)
        if _feasible(replace(shape, kernel_size=kernel), padding):
            yield f"a kernel of {_by(kernel)}"
            break
    for size in range(max(shape.S) - 1, 0, -1):
        stride = tuple(min(S, size) for S in shape.S)
        if _feasible(replace(shape, stride=stride), padding):
            yield f"stride {_by(stride)}"
            break
    if max(shape.D) > 1 and _feasible(replace(shape, dilation=(1,) * len(shape.D)), padding):
        yield "dilation 1"
    if padding != "circular" and _feasible(shape, "circular"):
        yield "circular padding"
    room = shape.C * prod(usable_phases(shape, padding))
    if shape.rows_fewer and room:
        yield f"at most {room * shape.groups} {'input' if shape.transposed else 'output'} channels"


def _by(sizes: tuple[int, ...]) -> str:
    return "x".join(map(str, sizes))
