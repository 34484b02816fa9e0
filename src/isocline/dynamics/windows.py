"""From what a person brings to what is trained on: series checked at the door, standardised, split, cut into windows.

A series is ``(T, N)``, time first, NaN where a sample is missing; several of different length come as a list. All of
them lie one after another in one array, and a window may begin at every row that is complete and has
``sequence_length`` rows of the same series after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isocline._core.checks import check_finite, wrong

from .measures.series import Array, as_series, still_channels


@dataclass(frozen=True)
class Recorded:
    """One series and, where the system is driven, its inputs."""

    series: Array  # (T, N), NaN = missing
    inputs: Array | None = None  # (T, K)

    def __len__(self) -> int:
        return len(self.series)

    def part(self, first: int, last: int) -> Recorded:
        """The samples ``first`` .. ``last``, last left out."""
        return Recorded(self.series[first:last], None if self.inputs is None else self.inputs[first:last])

    def complete(self) -> Recorded:
        """The longest stretch in which nothing is missing; empty if there is none."""
        known = np.concatenate([[False], ~np.isnan(self.series).any(1), [False]]).astype(np.int8)
        edges = np.flatnonzero(np.diff(known))
        if not len(edges):
            return self.part(0, 0)
        begins, ends = edges[::2], edges[1::2]
        longest = int(np.argmax(ends - begins))
        return self.part(int(begins[longest]), int(ends[longest]))


def as_recorded(
    series: Any, inputs: Any = None, *, channels: int | None = None, drives: int | None = None
) -> list[Recorded]:
    """What came through the door as a list of series with their inputs; raises ValueError or TypeError.

    ``channels`` and ``drives``, where given, are the numbers of channels and of inputs that a fitted model expects.
    """
    if isinstance(series, (list, tuple)) and not series:
        raise wrong("series", "at least one array (time, channels)", "an empty list")
    many = isinstance(series, (list, tuple)) and any(
        hasattr(one, "shape") or np.ndim(one) == 2 for one in series
    )
    if not many:
        series, inputs = [series], None if inputs is None else [inputs]
    if inputs is not None and (not isinstance(inputs, (list, tuple)) or len(inputs) != len(series)):
        got = f"{len(inputs)}" if isinstance(inputs, (list, tuple)) else type(inputs).__name__
        raise wrong("inputs", f"a list of {len(series)} arrays, one for each series", got)
    found = []
    for i, one in enumerate(series):
        name = f"series[{i}]" if many else "series"
        given = None if inputs is None else _inputs(f"inputs[{i}]" if many else "inputs", inputs[i])
        found.append(Recorded(_series(name, one), given))
    _agree(found, channels, drives, "series[{}]" if many else "series", "inputs[{}]" if many else "inputs")
    return found


def _series(argument: str, series: Any) -> Array:
    values = as_series(argument, series, least=1, finite=False)
    if np.isinf(values).any():
        check_finite(argument, np.where(np.isnan(values), 0.0, values))
    return values


def _inputs(argument: str, inputs: Any) -> Array:
    return as_series(argument, inputs, least=1)


def _agree(found: list[Recorded], channels: int | None, drives: int | None, name: str, given: str) -> None:
    """All series have the same channels and inputs, and inputs are as long as their series."""
    channels = found[0].series.shape[1] if channels is None else channels
    if drives is None:
        drives = 0 if found[0].inputs is None else found[0].inputs.shape[1]
    for i, one in enumerate(found):
        if one.series.shape[1] != channels:
            raise wrong(name.format(i), f"{channels} channels", one.series.shape[1])
        if (one.inputs is None) != (drives == 0):
            want = f"shape ({len(one)}, {drives})" if drives else "None: the model was fitted without inputs"
            raise wrong(given.format(i), want, one.inputs if one.inputs is not None else "None")
        if one.inputs is not None and one.inputs.shape != (len(one), drives):
            do = "give one row of inputs for each sample"
            raise wrong(given.format(i), f"shape ({len(one)}, {drives})", one.inputs, do)


@dataclass(frozen=True)
class Standard:
    """Mean and standard deviation of each channel of what was trained on: ``x = standard * scale + mean``."""

    mean: Array  # (N,)
    scale: Array  # (N,)

    @classmethod
    def of(cls, values: Sequence[Array], argument: str = "series") -> Standard:
        """Of all samples that are not missing. Raises ValueError for a channel that is empty or never changes."""
        rows = np.concatenate(values)
        empty = np.flatnonzero(np.isnan(rows).all(0))
        if len(empty):
            do = "drop the channel"
            raise wrong(argument, "channels with samples in them", f"channel {empty[0]} all missing", do)
        mean = np.nanmean(rows, axis=0)
        still = np.flatnonzero(still_channels(np.where(np.isnan(rows), mean, rows)))
        if len(still):
            shown = ", ".join(map(str, still[:5])) + (", ..." if len(still) > 5 else "")
            raise wrong(argument, "channels that change", f"constant channel {shown}", "drop these channels")
        return cls(mean, np.nanstd(rows, axis=0))

    def apply(self, values: Array) -> Array:
        """From the units of the data to mean 0 and deviation 1."""
        return (values - self.mean) / self.scale

    def invert(self, values: Array) -> Array:
        """From mean 0 and deviation 1 to the units of the data; what has diverged out of range is infinite."""
        with np.errstate(over="ignore"):
            return values * self.scale + self.mean


def split(recorded: Sequence[Recorded], share: float, least: int) -> tuple[list[Recorded], list[Recorded]]:
    """What is trained on and what is held out: the last ``share`` of every series or, of ten and more series, the
    last ``share`` of them, whole.

    A series of which fewer than ``least`` samples would be left is trained on whole.
    """
    if share == 0:
        return list(recorded), []
    if len(recorded) >= 10:
        held = max(1, round(share * len(recorded)))
        return list(recorded[:-held]), list(recorded[-held:])
    kept, held_out = [], []
    for one in recorded:
        cut = round((1 - share) * len(one))
        if cut < least or cut >= len(one) - 1:
            kept.append(one)
        else:
            kept.append(one.part(0, cut))
            held_out.append(one.part(cut, len(one)))
    return kept, held_out


@dataclass(frozen=True)
class Windows:
    """All series in one array, and the rows at which a window may begin."""

    rows: Tensor  # (rows, N), NaN = missing
    inputs: Tensor | None  # (rows, K)
    starts: Tensor  # (S,) int64

    @classmethod
    def of(cls, recorded: Sequence[Recorded], length: int, dtype: torch.dtype = torch.float32) -> Windows:
        """The windows of ``length + 1`` rows of standardised series. Raises ValueError if there is none."""
        begins = np.cumsum([0, *(len(one) for one in recorded)])
        starts = []
        for begin, one in zip(begins, recorded, strict=False):
            first = ~np.isnan(one.series[: max(0, len(one) - length)]).any(1)
            starts.append(begin + np.flatnonzero(first))
        rows = torch.from_numpy(np.concatenate([one.series for one in recorded])).to(dtype)
        given = [one.inputs for one in recorded if one.inputs is not None]
        inputs = torch.from_numpy(np.concatenate(given)).to(dtype) if given else None
        chosen = torch.from_numpy(np.concatenate(starts))
        if not len(chosen):
            raise cls._none(recorded, length)
        return cls(rows.contiguous(), inputs, chosen)

    @staticmethod
    def _none(recorded: Sequence[Recorded], length: int) -> Exception:
        longest = max(map(len, recorded))
        if longest <= length:
            do = f"give a longer series or sequence_length below {longest}"
            return wrong(
                "series", f"more than sequence_length = {length} samples to train on", f"{longest}", do
            )
        got = "none in which no channel is missing"
        return wrong("series", "complete samples to begin a window at", got, "drop channels or fill gaps")
