"""Edits of a generator's images, shown and measured, as one page for a person who steers."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from isocline._core.checks import check_number, wrong
from isocline._core.files import write_json
from isocline.latents.attributes import AttributeModel
from isocline.latents.comparison import Leakage, leakage, measure_path
from isocline.latents.editing import LENGTH, STEPS, edit, trade_off
from isocline.latents.exclusion import TradeOff
from isocline.latents.fitting import Scores
from isocline.latents.generators import Generator
from isocline.latents.path import EditPath

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METHODS = ("project", "exclude", "none")
SHOWN = 5  # frames of a strip
LEAD = "Images of a generator, each changed in one attribute, and what changed besides."
WHAT = (
    "Each row is one image on its way: the leftmost is the generator's own, and every step changes its code so that one "
    "attribute grows or shrinks. The attribute's gradient says which way; what it would have done to the attributes that are "
    "to stay is taken out of it."
)
LEAKS = (
    "Every method is looked at where the target has changed by one standard deviation, on the images that all methods can "
    "change that far. Leakage is the mean change of the other attributes, in their standard deviations; less is better. "
    "The measure is {}."
)
CURVES = (
    "How much of each kept attribute leaks, by a first-order estimate, when the channels that matter most to it do not move. "
    "Dashed: how much of the target's gradient is left. Dots: the numbers that are taken when channels are excluded."
)


@dataclass(frozen=True, slots=True, eq=False)
class Control:
    """One attribute in one direction: paths by method, what leaked, and the trade-off of exclusion."""

    target: str
    to: int
    paths: dict[str, EditPath]
    leaked: Leakage | None  # None for a class, or where the judge knows no such attribute
    curve: TradeOff | None


@dataclass(frozen=True, slots=True, eq=False)
class ControlReport:
    """What `report_controls` has made of every target; frames are rendered when it is written."""

    model: AttributeModel
    generator: Generator
    controls: tuple[Control, ...]
    judge: str

    def strip(self, control: Control, method: str = "project", *, rows: int = 4) -> Figure:
        """A row an image, from its start to the end of its path; above each frame how far it has come."""
        from matplotlib.figure import Figure

        path = control.paths[method]
        steps = np.linspace(0, len(path.codes) - 1, SHOWN).round().astype(int).tolist()
        some = list(range(min(rows, len(path))))
        frames = path.frames(self.generator, steps, rows=some)
        figure = Figure(figsize=(1.5 * SHOWN, 1.6 * len(some)), layout="constrained")
        axes = figure.subplots(len(some), SHOWN, squeeze=False)
        for s, step in enumerate(steps):
            for i in some:
                axes[i][s].imshow(_pixels(frames[s, i]), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
                axes[i][s].set(xticks=[], yticks=[])
            axes[0][s].set_title("start" if step == 0 else f"step {step}", fontsize=9)
        return figure

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, without images and codes."""
        return {
            "judge": self.judge,
            "attributes": {n: {"classes": list(c)} for n, c in self.model.classes.items()},
            "controls": [
                {
                    "target": c.target,
                    "to": c.to,
                    "stopped": {method: list(path.stopped) for method, path in c.paths.items()},
                    "leakage": None if c.leaked is None else c.leaked.to_dict(),
                    "trade_off": None if c.curve is None else c.curve.to_dict(),
                }
                for c in self.controls
            ],
        }

    def write(self, folder: str | os.PathLike[str], *, title: str = "a generator", command: str = "") -> Path:
        """Write ``index.html`` and ``report.json`` into `folder`; returns the page's path."""
        write_json(Path(folder) / "report.json", self.to_dict())
        return _page(self, title, command).write(Path(folder) / "index.html")


def report_controls(
    model: AttributeModel,
    generator: Generator,
    codes: Tensor,
    targets: Sequence[str] = (),
    *,
    keep: Sequence[str] | None = None,
    methods: Sequence[str] = METHODS,
    judge: Callable[[Tensor], Scores] | None = None,
    population: Tensor | None = None,
    steps: int = STEPS,
    length: float = LENGTH,
) -> ControlReport:
    """Edit ``codes (B, D)`` along every target, two-way ones up and down and others towards each class, by every method.

    keep: what must stay; all other attributes unless given. judge: ``images -> {name: scores}``, which measures what leaked;
    without one the attribute nets themselves do, and the page says that they judge their own work. population ``(N, D)``: codes
    for the judge's standard deviations, 1000 of the generator's own unless given. Raises: ValueError as `edit`.
    """
    import torch

    check_number("steps", steps, least=1, integer=True)
    if not methods:
        raise wrong("methods", f"some of {', '.join(METHODS)}", "none")
    if population is None:
        population = generator.sample(1000, generator=torch.Generator().manual_seed(0)).to(codes)
    with torch.no_grad():
        seen = model(population) if judge is None else judge(generator.render(population))
    deviations = {name: float(values.double().std()) for name, values in seen.items() if values.ndim == 1}
    controls: list[Control] = []
    for target in targets or model.names:
        K = len(model.classes[model.names[model.index(target)]])
        stays = [n for n in model.names if n != target] if keep is None else [n for n in keep if n != target]
        for to in range(K) if K else (1, -1):
            paths = {
                m: edit(model, codes, target, to, stays, method=m, steps=steps, length=length)
                for m in methods
            }
            measured = {
                m: p.scores if judge is None else measure_path(p, generator, judge) for m, p in paths.items()
            }
            known = all(target in found for found in measured.values()) and not K
            leaked = leakage(measured, paths, deviations, population=population) if known else None
            curve = trade_off(model, codes, target, to, stays) if stays and "exclude" in methods else None
            controls.append(Control(target, to, paths, leaked, curve))
    words = (
        "a judge of your own"
        if judge is not None
        else "the attribute nets that made the edits, which flatters them all"
    )
    return ControlReport(model, generator, tuple(controls), words)


def _page(report: ControlReport, title: str, command: str):
    from matplotlib.figure import Figure

    from isocline._core.page import Page, drawn

    first = next(iter(report.controls[0].paths.values()))
    page = Page(
        f"Controls of {title}",
        LEAD,
        {"attributes": len(report.model.names), "images": len(first), "steps": len(first.moved)},
    )
    page.section("What this shows").text(WHAT)
    columns = ["attribute", "held-out accuracy", "± SE", "calibration error", "r with the score"]
    rows = [
        [n, *(round(x, 3) for x in (one.accuracy, one.error, one.calibration, one.correlation))]
        for n, one in report.model.learned.items()
    ]
    if rows:
        page.section("How well the attributes were learned").table(columns, rows)
    for control in report.controls:
        classes = report.model.classes[control.target]
        page.section(f"{control.target} → {classes[control.to] if classes else f'{control.to:+d}'}")
        page.figure(
            drawn(report.strip(control, next(iter(control.paths)))), f"Method: {next(iter(control.paths))}."
        )
        if control.leaked is not None:
            page.table(*control.leaked.table(), caption=LEAKS.format(report.judge))
            if control.leaked.others and int(control.leaked.common.sum()):
                figure = Figure(figsize=(6, 2.4), layout="constrained")
                control.leaked.plot(figure.subplots())
                page.figure(drawn(figure), "")
        if control.curve is not None and control.to in (1, 0):
            figure = Figure(figsize=(6, 3), layout="constrained")
            control.curve.plot(figure.subplots())
            page.figure(drawn(figure), CURVES)
    notes = [
        *report.model.notes,
        *{note for c in report.controls for p in c.paths.values() for note in p.notes},
    ]
    if notes:
        page.section("Mind").text("\n\n".join(notes))
    if command:
        page.section("Made with").code(command)
    return page


def _pixels(image: Tensor) -> np.ndarray:
    """``(C, H, W)`` in [0, 1] as ``(H, W, 3)`` or, of one channel, ``(H, W)``."""
    pixels = image.detach().cpu().float().clamp(0, 1).numpy()
    return pixels.transpose(1, 2, 0) if len(pixels) == 3 else pixels[0]
