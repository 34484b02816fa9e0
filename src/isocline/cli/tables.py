"""What the commands print: tables for a person at a terminal, plain enough for a log."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from isocline.lab.claim import SCALES
from isocline.lab.page import duration

if TYPE_CHECKING:
    from isocline.lab import Claim, Report

COLORS = {"holds": "green", "does not hold": "red", "not decided": "yellow"}


def show_reports(reports: Sequence[Report], *, figures: bool) -> None:
    """The verdicts, and with `figures` every figure expected and measured."""
    console = _console()
    if figures:
        for report in reports:
            console.print(_figures(report))
            if report.verdict.why:
                console.print(f"{report.verdict.answer}: {report.verdict.why}\n")
    table = _table("claim", "verdict", "quantities", "tasks", "compute time", right=(2, 3, 4))
    for report in reports:
        kept, judged = report.verdict.kept
        tasks = f"{len(report.records)}" + (f" ({report.resumed} from before)" if report.resumed else "")
        tasks += "".join(
            f", {count} {word}"
            for count, word in ((report.failed, "failed"), (report.skipped, "skipped"))
            if count
        )
        answer = report.verdict.answer
        table.add_row(
            report.claim.name,
            Text(answer, COLORS[answer]),
            f"{kept} of {judged}",
            tasks,
            duration(report.seconds),
        )
    console.print(table)


def show_claims(claims: Sequence[Claim]) -> None:
    """Every claim with its sentence and what each scale needs."""
    table = _table("claim", "in one sentence", "scale: what it needs", lines=True)
    for claim in claims:
        scales = [f"{name}: {claim.scales[name].needs} ({len(claim.tasks(name))} tasks)" for name in SCALES]
        table.add_row(Text(claim.name, "bold"), claim.sentence, "\n".join(scales))
    _console().print(table)


def show_findings(findings: dict[str, Any]) -> None:
    """The doctor's findings, group by group."""
    console = _console()
    for group, facts in findings.items():
        if not isinstance(facts, dict):
            continue
        table = _table(group.replace("_", " "), "")
        for name, value in facts.items():
            table.add_row(name, Text(str(value), "dim" if str(value).startswith("not ") else ""))
        console.print(table)
    missing = findings["missing"]
    console.print(f"missing: {', '.join(missing)}" if missing else "Everything that isocline needs is here.")


def _figures(report: Report) -> Table:
    table = _table("quantity", "expected", "measured", "spread", "", right=(2,))
    table.title, table.title_justify, table.title_style = report.claim.name, "left", "bold"
    table.caption, table.caption_justify = report.claim.sentence, "left"
    for row in report.verdict.rows:
        why = Text(row.why if row.expected else "", "dim")
        answer = {True: Text("holds", "green"), False: Text("fails", "red"), None: why}
        expected = row.expected.words() if row.expected else ""
        table.add_row(row.figure, expected, row.middle(), row.spread(), answer[row.holds])
    return table


def _table(*columns: str, right: tuple[int, ...] = (), lines: bool = False) -> Table:
    table = Table(box=SIMPLE_HEAD, show_lines=lines, pad_edge=False)
    for i, name in enumerate(columns):
        table.add_column(name, justify="right" if i in right else "left", overflow="fold")
    return table


def _console() -> Console:
    """As wide as the terminal; 120 columns in a log, where a table must not be squeezed into 80."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=max(120, shutil.get_terminal_size((120, 24)).columns))
    return console
