"""Every convolution of a model on one page: what it could be, what it is, and at the size and padding it really has."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from math import isnan, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from isocline._core.checks import check_number, wrong
from isocline._core.files import plain
from isocline._core.page import Badge, Page
from isocline.orthogonal.bounds import certified_bounds
from isocline.orthogonal.existence import exists
from isocline.orthogonal.extremes import extreme_singular_values
from isocline.orthogonal.shapes import CONVOLUTIONS, shape_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class LayerDiagnosis:
    """One convolution. sigma_max, err_s and l_orth hold for every size (`Bounds`); smallest and largest for its own.

    isometry: the direction that keeps norms if the layer is orthogonal. NaN where there was no sample, or a padding
    mode that is no convolution with zeros or a circle (`note` says which).
    """

    name: str
    layer: str
    case: str
    feasible: bool
    reason: str
    isometry: str
    l_orth: float
    err_s: float
    sigma_max: float
    input_size: tuple[int, ...]
    padding: str
    smallest: float
    largest: float
    exact: bool
    note: str = ""

    @property
    def verdict(self) -> str:
        """ "orthogonal": every singular value, at its own size and padding, within 1 % of 1; else what is wrong first."""
        low, high = self.smallest, self.largest
        if isnan(low):
            low, high = max(0.0, 1 - self.err_s) ** 0.5, self.sigma_max
        if low >= 0.99 and high <= 1.01:
            return "orthogonal"
        if not self.feasible:
            return "cannot be orthogonal"
        return "enlarges" if high > 1.01 else "loses"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The convolutions of a model, in the order they are called (without a sample: as they are listed)."""

    layers: tuple[LayerDiagnosis, ...]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        width = max([5, *(len(layer.name) for layer in self.layers)])
        numbers = " ".join(f"{word:>9}" for word in ("L_orth", "err_s <=", "smallest", "largest", "ever <="))
        lines = [f"{'layer':{width}}  case   {numbers}  what"]
        for row in self.layers:
            found = (row.l_orth, row.err_s, row.smallest, row.largest, row.sigma_max)
            words = row.verdict if row.feasible else f"{row.verdict}: {row.reason}"
            numbers = " ".join(f"{value:9.3g}" for value in found)
            lines.append(f"{row.name:{width}}  {row.case:6} {numbers}  {words}")
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        rows = [{f.name: plain(getattr(row, f.name)) for f in fields(row)} for row in self.layers]
        return {"layers": rows, "notes": list(self.notes)}

    def plot(self, ax: Any = None) -> Any:
        """For every layer the range of its singular values, and the bound for every size; returns the axes."""
        from isocline.orthogonal.pictures import draw_diagnosis

        return draw_diagnosis(self, ax)

    def page(self, path: str | os.PathLike[str]) -> Path:
        """Write it as one self-contained HTML page."""
        from isocline.orthogonal.pictures import diagnosis_figure

        figure: Figure = diagnosis_figure(self)
        page = Page(
            "Singular values of every convolution",
            lead="A layer whose singular values are all 1 keeps norms: of images forward, or of gradients backward.",
            facts={
                "layers": len(self.layers),
                "orthogonal": sum(r.verdict == "orthogonal" for r in self.layers),
            },
        )
        page.figure(
            figure,
            "Bars: from the smallest to the largest singular value. Ticks: no size or padding goes above.",
        )
        columns = [
            "layer",
            "kind",
            "case",
            "L_orth",
            "err_s ≤",
            "smallest",
            "largest",
            "ever ≤",
            "keeps norms",
            "verdict",
        ]
        tones: dict[str, Any] = {"orthogonal": "good", "enlarges": "bad", "loses": "open"}
        page.table(columns, [_cells(row, tones) for row in self.layers])
        for note in self.notes:
            page.text(note)
        return page.write(path)


def _cells(row: LayerDiagnosis, tones: dict[str, Any]) -> list[object]:
    numbers = [None if isnan(x) else x for x in (row.smallest, row.largest)]
    badge = Badge(row.verdict, tones.get(row.verdict, "info"))
    return [
        row.name,
        row.layer,
        row.case,
        row.l_orth,
        row.err_s,
        *numbers,
        row.sigma_max,
        row.isometry,
        badge,
    ]


def diagnose(model: nn.Module, sample: Tensor | None = None, *, steps: int = 60) -> Diagnosis:
    """What every convolution of a model does to norms, at its own image size and padding.

    sample: a batch as the model takes it; one pass in evaluation mode, without gradients, tells the sizes. Without it,
    only what holds for every size. steps: of Lanczos, for layers too large to be decomposed
    (`extreme_singular_values`). The model's mode, hooks and random state are as they were found. Weights used by
    several layers are listed with each.

    Returns a `Diagnosis`, which prints itself as a table, and has `plot` and `page`. Raises TypeError for what is no
    module, ValueError for one without convolutions.
    """
    if not isinstance(model, nn.Module):
        raise wrong("model", "a torch module", type(model).__name__, error=TypeError)
    check_number("steps", steps, least=1, integer=True)
    convs = {name or "itself": part for name, part in model.named_modules() if isinstance(part, CONVOLUTIONS)}
    if not convs:
        raise wrong("model", "convolutions in it", type(model).__name__)
    sizes = {} if sample is None else _sizes(model, convs, sample)
    rows = [_row(name, convs[name], sizes.get(name), steps) for name in (sizes or convs)]
    unmet = [name for name in convs if sizes and name not in sizes]
    notes = [f"not called on this sample: {', '.join(unmet)}"] if unmet else []
    notes += [f"{row.name}: {row.note}" for row in rows if row.note]
    return Diagnosis(tuple(rows), tuple(notes))


def _row(name: str, conv: nn.Module, size: tuple[int, ...] | None, steps: int) -> LayerDiagnosis:
    shape = shape_of(conv)
    mode: Any = conv.padding_mode
    answer = exists(shape)
    bounds = certified_bounds(conv)
    low = high = nan
    exact, note, padding = False, "", str(mode)
    if size is not None:
        try:
            ends = extreme_singular_values(conv, size, None, steps=steps)
            low, high, exact = ends.smallest, ends.largest, ends.exact
            if not exact:
                note = ends.how
        except ValueError as error:
            note = str(error)
    return LayerDiagnosis(
        name,
        str(shape),
        answer.case,
        answer.feasible,
        answer.reason,
        answer.isometry,
        bounds.l_orth,
        bounds.err_s,
        bounds.sigma_max,
        size or (),
        padding,
        low,
        high,
        exact,
        note,
    )


def _sizes(model: nn.Module, convs: Mapping[str, nn.Module], sample: Tensor) -> dict[str, tuple[int, ...]]:
    """The input size of every convolution at its first call, in the order of the calls."""
    found: dict[str, tuple[int, ...]] = {}
    with _watched(model, convs, found), torch.no_grad():
        model(sample)
    return found


@contextmanager
def _watched(
    model: nn.Module, convs: Mapping[str, nn.Module], found: dict[str, tuple[int, ...]]
) -> Iterator[None]:
    names = {part: name for name, part in convs.items()}

    def look(part: nn.Module, args: tuple[Any, ...]) -> None:
        axes = len(part.kernel_size)  # type: ignore[arg-type]
        found.setdefault(names[part], tuple(args[0].shape[-axes:]))

    modes = {part: part.training for part in model.modules()}
    hooks = [part.register_forward_pre_hook(look) for part in convs.values()]
    try:
        model.eval()
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for part, training in modes.items():
            part.training = training
