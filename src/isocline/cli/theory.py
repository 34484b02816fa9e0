"""`isocline theory`: what to set in a deep network of some activation, depth and width, and whether they fit."""

from __future__ import annotations

import json as _json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

if TYPE_CHECKING:
    from isocline.theory import EffectiveTheory, Report

# What a command needs is imported when it runs: `isocline --help` waits for neither torch nor matplotlib.


@dataclass(frozen=True, kw_only=True)
class Theory:
    """Say how to initialise a deep network, at which learning rates to train it, and whether its depth suits its width.

    With --out, OUT gets index.html with the plots, report.json, and pictures/.
    """

    activation: str
    """The nonlinearity: relu, leaky_relu(0.1), tanh, gelu, swish, ..."""
    depth: int
    """Layers of weights."""
    width: int
    """Neurons of a hidden layer."""
    skip: float = 0.0
    """Strength gamma of residual connections, z' = b + W s(z) + gamma z, below 1."""
    outputs: int = 10
    """Output neurons, at least 2."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder for a page with the plots."""
    json: bool = False
    """Print the findings as JSON on stdout, and nothing else."""

    def run(self) -> int:
        from isocline._core.checks import check_number, wrong
        from isocline._core.files import plain, write_json
        from isocline.theory import EffectiveTheory

        check_number("outputs", self.outputs, least=2, integer=True)
        if self.out is not None and self.out.exists() and not self.out.is_dir():
            raise wrong("out", "a folder", f"the file {self.out}", "name another folder")
        theory = EffectiveTheory(self.activation, self.depth, self.width, skip=self.skip)
        report = theory.report(self.outputs)
        found = {**report.to_dict(), "fits": plain(fits(theory, self.outputs))}
        page: Path | None = None
        if self.out is not None:
            from .theory_page import write_page

            page = write_page(theory, report, self.outputs, self.out, self._command())
            write_json(self.out / "report.json", found)
        if self.json:
            print(_json.dumps(found | ({"page": str(page)} if page else {}), indent=2, ensure_ascii=False))
            return 0
        _show(theory, report, self.outputs)
        for words in report.warnings:
            print(f"isocline: {words}", file=sys.stderr)
        if page:
            print(f"page: {page}")
        return 0

    def _command(self) -> str:
        """The command line that does the same again."""
        from .commands import command_line

        return command_line("theory", self)


def fits(theory: EffectiveTheory, outputs: int) -> dict[str, float | None]:
    """The width that this depth would want, and the least skip that this depth over width would; None where nothing
    does it.
    """
    from math import ceil

    from isocline.theory import least_skip, optimal_aspect_ratio

    if not theory.criticality.exists:
        return {"width": None, "skip": None}
    best = optimal_aspect_ratio(theory.activation, outputs, theory.skip)
    return {
        "width": ceil(theory.depth / best.ratio - 1e-9),
        "skip": least_skip(theory.activation, theory.depth / theory.widths[0], outputs),
    }


def settings(theory: EffectiveTheory, report: Report, outputs: int) -> list[tuple[str, str, str]]:
    """Everything to set and to know: what, how much, in words."""
    point, K1, n = theory.criticality, theory.nominal_kernel, theory.widths[0]
    wanted = fits(theory, outputs)
    limit = f"{wanted['width']}" if wanted["width"] else "–"
    skip = wanted["skip"]
    branch = f"z' = b + W s(z) + {theory.skip:g} z" if theory.skip else ""
    return [
        ("class", point.universality_class, point.stability),
        ("biases", f"N(0, {theory.bias_variance:.6g})", "C_b"),
        ("weights", f"N(0, {theory.weight_variance:.6g} / fan-in)", f"C_W{', with ' + branch if branch else ''}"),
        ("weights of layer 1", f"N(0, {K1 - theory.bias_variance:.6g} / fan-in / mean x²)", f"so that K = {K1:.6g}"),
        ("weights of the last layer", "N(0, 1 / fan-in)", "outputs of order one"),
        ("learning rate of biases", f"eta × {_span(theory.lambda_b)}", "layer 1 to the last"),
        ("learning rate of weights", f"eta × {_span(theory.lambda_w)} / fan-in", "layer 1 to the last"),
        ("fluctuation v", f"{report.fluctuation:.3g}", f"v* = {report.best_fluctuation:.3g}: {report.regime}"),
        (f"deepest network of width {n}", f"{report.largest_depth:g}", f"L*: the last layer with v ≤ v*, {outputs} outputs"),
        (f"least width of {theory.depth} layers", limit, "depth / r*" + (f" at skip {theory.skip:g}" if theory.skip else "")),
        ("least skip for both", "–" if skip is None else f"{skip:.3g}", "none is needed" if skip == 0 else "gamma"),
    ]  # fmt: skip


def _span(values: Any) -> str:
    first, last = float(values[0]), float(values[-1])
    return f"{first:.3g}" if abs(first - last) < 1e-9 * first else f"{first:.3g} … {last:.3g}"


def _show(theory: EffectiveTheory, report: Report, outputs: int) -> None:
    from rich.text import Text

    from isocline.theory.report import COLUMNS, some_layers

    from .tables import _console, _table

    console = _console()
    table = _table(f"{theory.activation.name}, {theory.depth} × {theory.widths[0]}", "", "")
    for name, value, words in settings(theory, report, outputs):
        table.add_row(Text(name, "bold"), value, words)
    console.print(table)
    layers = _table(*COLUMNS, right=tuple(range(len(COLUMNS))))
    for row in some_layers(report.table):
        layers.add_row(*(f"{value:.4g}" for value in row))
    console.print(layers)
