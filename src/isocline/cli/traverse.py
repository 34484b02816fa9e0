"""`isocline traverse`: blind spots of a model between pictures of yours, and one page about them."""

from __future__ import annotations

import json as _json
import shlex
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

if TYPE_CHECKING:
    from torch import Tensor, nn

# What a command needs is imported when it runs: `isocline --help` waits for neither torch nor matplotlib.


@dataclass(frozen=True, kw_only=True)
class Traverse:
    """Walk from a picture to others along directions that the model does not see, and write a page about the blind spots.

    OUT gets index.html, report.json, pictures/ and blind_spots/.
    """

    model: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="MODEL")]]
    """package.module:factory, which is called without arguments and gives a torch module for images in [0, 1], or an example:
    efficientnet-lite0."""
    pictures: tyro.conf.Positional[Annotated[tuple[str, ...], tyro.conf.arg(metavar="SOURCE TARGET...")]]
    """Image files, or example photographs: coffee, cat, astronaut, rocket, motorcycle, galaxies."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder for the results."""
    label: int = -1
    """The source's class, by number; -1 means whatever the model answers."""
    size: int = 224
    """Side in pixels to which pictures are scaled and cut; what the model takes."""
    steps: int = 80
    """Steps at most."""
    eta: float = 0.05
    """Share of the way of the first step."""
    delta: float = 0.2
    """Drop of the confidence that is allowed."""
    json: bool = False
    """Print the findings as JSON on stdout, and nothing else."""

    def run(self) -> int:
        import torch

        from isocline._core.checks import check_number, wrong
        from isocline.level_sets.examples import EXAMPLE_MODELS
        from isocline.level_sets.report import report_pairs

        if len(self.pictures) < 2:
            raise wrong("pictures", "a SOURCE and at least one TARGET", f"{len(self.pictures)}")
        if self.out.exists() and not self.out.is_dir():
            raise wrong("out", "a folder", f"the file {self.out}", "name another folder")
        check_number("label", self.label, least=-1, integer=True)
        images = torch.stack([_picture(name, self.size) for name in self.pictures])
        model, example = _model(self.model), EXAMPLE_MODELS.get(self.model)
        weights = next((p for p in model.parameters() if p.is_floating_point()), images)
        images = images.to(weights)
        target = images[1:]
        source = images[:1].expand_as(target).contiguous()
        label = None if self.label < 0 else torch.full((len(target),), self.label)
        names = [Path(name).stem for name in self.pictures]
        found = report_pairs(
            model,
            source,
            target,
            label,
            sources=names[:1] * len(target),
            targets=names[1:],
            classes=dict(example.classes) if example else None,
            steps=self.steps,
            eta=self.eta,
            delta=self.delta,
        )
        page = found.write(self.out, model=example.title if example else self.model, command=self._command())
        if self.json:
            print(_json.dumps({"page": str(page), **found.to_dict()}, indent=2, ensure_ascii=False))
        else:
            _show(*found.table_a())
            print(f"page: {page}")
        for i, why in enumerate(found.walk.stopped):
            if not bool(found.walk.kept[i]):
                print(f"isocline: {names[0]} to {names[1 + i]} was not walked: {why}", file=sys.stderr)
        return 0 if bool(found.walk.kept.any()) else 1

    def _command(self) -> str:
        """The command line that does the same again."""
        words = ["isocline", "traverse", self.model, *self.pictures]
        for name, spec in type(self).__dataclass_fields__.items():
            value = getattr(self, name)
            if name not in ("model", "pictures", "json") and value != spec.default:
                words += [f"--{name}", str(value)]
        return shlex.join(words)


def _picture(name: str, size: int) -> Tensor:
    from isocline.datasets.photographs import PHOTOGRAPHS, photograph, read_picture

    if name in PHOTOGRAPHS and not Path(name).exists():
        try:
            return photograph(name, size)
        except ImportError as error:
            raise ValueError(str(error)) from error
    return read_picture(name, size)


def _model(name: str) -> nn.Module:
    """A registered example, or what ``package.module:factory`` gives; the folder of the call is searched too."""
    from torch import nn

    from isocline._core.checks import nearest, wrong
    from isocline.level_sets.examples import EXAMPLE_MODELS, example_model

    want = f"package.module:factory, or one of {', '.join(EXAMPLE_MODELS)}"
    if name in EXAMPLE_MODELS:
        try:
            return example_model(name)
        except ImportError as error:
            raise ValueError(str(error)) from error
    module, colon, factory = name.partition(":")
    if not colon or not module or not factory:
        close = nearest(name, EXAMPLE_MODELS, 1)
        raise wrong("model", want, repr(name), f"did you mean {close[0]}?" if close else "")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        made: Any = getattr(import_module(module), factory)
    except (ImportError, AttributeError) as error:
        raise wrong("model", want, f"{name!r} ({error})") from error
    made = made if isinstance(made, nn.Module) else made()
    if not isinstance(made, nn.Module):
        raise wrong(
            "model", "a factory that gives a torch module", f"{name!r}, which gave {type(made).__name__}"
        )
    return made.eval()


def _show(columns: list[str], rows: list[list[object]]) -> None:
    """Plain columns, so that a terminal of any width and a pipe get the same."""
    cells = [columns, *[[str(cell) for cell in row] for row in rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        first, *rest = row
        print(
            "  ".join([first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(rest, widths[1:], strict=True))])
        )
