"""All singular values of a layer at an image size, stride and padding: exact, and kept until the weight changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, prod
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from isocline._core.checks import check_finite, wrong
from isocline._core.files import plain
from isocline.orthogonal.frequencies import block_values, half_grid
from isocline.orthogonal.operators import Place, dense, place_of
from isocline.orthogonal.shapes import ConvShape, weight_of

_MOST = 1 << 25  # entries of a matrix that is decomposed whole


@dataclass(frozen=True, slots=True)
class Spectrum:
    """All singular values of a layer at one input size.

    frequencies: with circular padding, the values of each frequency, from the half grid; elsewhere None.
    """

    values: Tensor  # (R,) descending, R = min(rows, columns)
    layer: str
    input_size: tuple[int, ...]
    padding: str
    how: str
    exact: bool = True
    frequencies: Tensor | None = None  # (N^d, R / N^d) descending, in the order of the grid

    @property
    def largest(self) -> float:
        return float(self.values[0])

    @property
    def smallest(self) -> float:
        return float(self.values[-1])

    @property
    def condition(self) -> float:
        """Largest over smallest; infinite for a layer that loses something."""
        return self.largest / self.smallest if self.smallest > 0 else inf

    def __str__(self) -> str:
        size = "x".join(map(str, self.input_size))
        return (
            f"{self.layer} on {size}, {self.padding}: {len(self.values)} singular values from {self.smallest:.6g} to "
            f"{self.largest:.6g} ({self.how})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "layer": self.layer,
            "input_size": list(self.input_size),
            "padding": self.padding,
            "how": self.how,
            "exact": self.exact,
            "values": plain(self.values.double().cpu().numpy()),
        }

    def plot(self, ax: Any = None) -> Any:
        """The values, sorted; with two frequency axes also a map of the largest and the smallest at each. Returns the axes.

        With `ax` given, only the sorted values are drawn, on it.
        """
        from isocline.orthogonal.pictures import draw_spectrum

        return draw_spectrum(self, ax)


def singular_values(
    conv: nn.Module, input_size: int | Sequence[int], padding: str | None = "circular"
) -> Tensor:
    """All ``min(M N^d, C S^d N^d)`` singular values of a convolution at an input size, descending.

    Exact to rounding, at any stride, dilation and number of groups, also where the kernel is larger than the input.
    circular: one small SVD for every second frequency of the polyphase kernel. "zeros", "valid" and None (as the module
    pads): an SVD of the whole matrix, up to 2^25 entries; beyond, `extreme_singular_values`. Computed in the weight's
    precision, half precision in float32; without a gradient (`lorth` has one). A second call is free as long as the
    weight is the same.

    ``input_size``: of the module's input, one number or one an axis; with circular padding a multiple of the stride.
    Returns ``(R,)``. Raises TypeError for what is no torch convolution, ValueError for a size or padding that does not
    fit.
    Source: S = 1, Sedghi, Gupta, Long 2019; any stride [ours].

    >>> conv = nn.Conv2d(2, 2, 3, padding_mode="circular", padding=1)
    >>> _ = nn.init.dirac_(conv.weight)
    >>> singular_values(conv, 4).unique()
    tensor([1.])
    """
    return spectrum_of(conv, input_size, padding).values


def spectrum_of(
    conv: nn.Module, input_size: int | Sequence[int], padding: str | None = "circular"
) -> Spectrum:
    """`singular_values` with what they are: prints itself, and has a picture. Same arguments and errors."""
    weight, shape = weight_of(conv)
    place = place_of(conv, shape, input_size, padding)
    key = (shape, place)
    kept = _KEPT.get(conv, {})
    if key in kept and torch.equal(kept[key][0], weight):
        return kept[key][1]
    check_finite("weight", weight)
    found = _circular(weight, shape, place) if place.circular else _whole(weight, shape, place)
    _KEPT.setdefault(conv, {})[key] = (weight.clone(), found)
    return found


# What was computed last, layer by layer: the weight is compared, since a version counter does not see ``.data``.
_KEPT: WeakKeyDictionary[nn.Module, dict[Any, tuple[Tensor, Spectrum]]] = WeakKeyDictionary()


@torch.no_grad()
def _circular(weight: Tensor, shape: ConvShape, place: Place) -> Spectrum:
    values, counts = block_values(weight, shape, place.outputs)
    each = values.flatten(1).sort(descending=True).values
    every = each.repeat_interleave(counts, 0).flatten().sort(descending=True).values
    how = (
        f"exact: {len(each)} frequencies, polyphase"
        if max(shape.S) > 1
        else f"exact: {len(each)} frequencies"
    )
    return _named(every, shape, place, how, each[_whole_grid(place.outputs).to(each.device)])


def _whole_grid(N: tuple[int, ...]) -> Tensor:
    """For every frequency of the grid, its row in the half grid."""
    at, _ = half_grid(N)
    sizes = torch.tensor(N)
    strides = torch.tensor([prod(N[axis + 1 :]) for axis in range(len(N))])
    rows = torch.empty(prod(N), dtype=torch.long)
    for here in (at, -at % sizes):
        rows[(here * strides).sum(1)] = torch.arange(len(at))
    return rows


@torch.no_grad()
def _whole(weight: Tensor, shape: ConvShape, place: Place) -> Spectrum:
    rows, columns = shape.M * prod(place.outputs), shape.C * prod(place.size)
    if rows * columns > _MOST:
        do = "ask extreme_singular_values for the two ends"
        raise wrong("input_size", f"a matrix of at most {_MOST} entries a group", f"{rows} x {columns}", do)
    values = torch.linalg.svdvals(dense(weight, shape, place)).flatten().sort(descending=True).values
    return _named(values, shape, place, f"exact: SVD of {rows} x {columns}", None)


def _named(values: Tensor, shape: ConvShape, place: Place, how: str, frequencies: Tensor | None) -> Spectrum:
    size = place.outputs if shape.transposed else place.size
    return Spectrum(values, str(shape), size, str(place), how, True, frequencies)
