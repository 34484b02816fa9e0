"""The pages of the lab: what was claimed, what was found, and everything needed to find it again."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from isocline._core.files import plain, write_atomic, write_json
from isocline._core.page import Badge, Blocks, Link, Page, anchor

from .runner import Report
from .style import house_style
from .verdict import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TONES: dict[str, Literal["good", "bad", "open"]] = {
    "holds": "good",
    "does not hold": "bad",
    "not decided": "open",
}
DOTS_PER_INCH = 160


def write_pages(reports: Sequence[Report], folder: Path, *, title: str, lead: str, command: str) -> Path:
    """Write every claim in full into ``folder/index.html``, and ``results.json`` beside it; returns the
    page's path.

    The figures are also left as PNG files beside each claim's results.
    """
    alone = verdict_badge(reports[0]) if len(reports) == 1 else None
    page = Page(title, lead=lead, facts=_head_facts(reports), badge=alone)
    if not alone:
        places = ["#" + anchor(report.claim.name) for report in reports]
        _overview(page, reports, places)
    for report in reports:
        if not alone:
            page.section(report.claim.name, verdict_badge(report))
        if report.claim.sentence != lead:
            page.text(report.claim.sentence)
        page.text(report.claim.paper)
        claim_section(page, report)
    _made_with(page, reports, command)
    write_json(folder / "results.json", [report.to_dict() for report in reports])
    return page.write(folder / "index.html")


def write_index(reports: Sequence[Report], folder: Path, command: str) -> Path:
    """Write the verdicts into ``folder/index.html``, each with a link to the claim's own page; returns its
    path."""
    page = Page("Claims, reproduced", lead="Each claim has a page of its own.", facts=_head_facts(reports))
    places = [(report.folder / "index.html").relative_to(folder).as_posix() for report in reports]
    _overview(page, reports, places)
    _made_with(page, reports, command)
    return page.write(folder / "index.html")


def verdict_badge(report: Report) -> Badge:
    return Badge(report.verdict.answer, TONES[report.verdict.answer])


def claim_section(page: Blocks, report: Report) -> None:
    """One claim: the figures, expected against measured, and what lies behind them."""
    if report.verdict.why:
        page.text(f"{report.verdict.answer.capitalize()}: {report.verdict.why}.")
    for name, (png, caption) in draw(page, report).items():
        write_atomic(report.folder / f"{name}.png", png)
        page.figure(png, caption)
    judged = [row for row in report.verdict.rows if row.expected and report.scale in row.expected.scales]
    _table(page, judged)
    missing = sorted({trouble.error for trouble in report.troubles if trouble.skipped})
    if missing:
        page.text("Not measured here: " + "; ".join(missing))
    _failures(page, report)
    others = [row for row in report.verdict.rows if row not in judged and row.values]
    if others:
        _table(page.details("Also measured"), others)
    _behind(page.details("Settings, seeds, time, and how to run this claim alone"), report)


def _table(page: Blocks, rows: Sequence[Row]) -> None:
    """Expected against measured; columns that would be empty are left out."""
    if not rows:
        return
    columns = {
        "quantity": [row.figure for row in rows],
        "expected": [row.expected.words() if row.expected else "" for row in rows],
        "measured": [row.middle() for row in rows],
        "spread": [row.spread() for row in rows],
        "verdict": [_row_badge(row) if row.expected else "" for row in rows],
        "source": [row.expected.source if row.expected else "" for row in rows],
    }
    shown = {name: cells for name, cells in columns.items() if any(cell != "" for cell in cells)}
    align = "".join("r" if name in ("expected", "measured") else "l" for name in shown)
    page.table(list(shown), list(zip(*shown.values(), strict=True)), align=align)


def _row_badge(row: Row) -> Badge | str:
    if row.holds is None:
        return row.why  # a sentence, which must be free to break
    return Badge("holds", "good") if row.holds else Badge("fails", "bad")


def draw(page: Blocks, report: Report) -> dict[str, tuple[bytes, str]]:
    """The claim's figures by name, as PNG and caption; what keeps them from being drawn is said on the
    page."""
    if report.claim.plot is None or not report.records:
        return {}
    try:
        with house_style():
            figures = report.claim.plot(list(report.records))
            return {name: (_png(figure), str(figure.get_label() or name)) for name, figure in figures.items()}
    except Exception as error:  # the claim's own code, on records that may be incomplete
        page.text(f"The figures could not be drawn: {type(error).__name__}: {error}")
        return {}


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def _head_facts(reports: Sequence[Report]) -> dict[str, object]:
    answers = [report.verdict.answer for report in reports]
    facts: dict[str, object] = {}
    if len(reports) > 1:
        facts["claims"] = len(reports)
        facts |= {answer: answers.count(answer) for answer in TONES if answer in answers}
    facts["tasks"] = sum(len(report.records) for report in reports)
    failed = sum(report.failed for report in reports)
    if failed:
        facts["tasks failed"] = failed
    facts["compute time"] = duration(sum(report.seconds for report in reports))
    facts["finished"] = max(report.finished for report in reports).replace("T", " ").replace("+00:00", " UTC")
    return facts


def _overview(page: Page, reports: Sequence[Report], places: Sequence[str]) -> None:
    page.section("At a glance")
    rows = [
        [
            Link(report.claim.name, place),
            report.claim.sentence,
            verdict_badge(report),
            "{} of {}".format(*report.verdict.kept),
        ]
        for report, place in zip(reports, places, strict=True)
    ]
    page.table(["claim", "in one sentence", "verdict", "quantities"], rows, align="lllr")


def _failures(page: Blocks, report: Report) -> None:
    failed = [trouble for trouble in report.troubles if not trouble.skipped]
    if not failed:
        return
    inside = page.details(f"{len(failed)} task{'s' if len(failed) > 1 else ''} failed")
    for trouble in failed:
        inside.code(
            trouble.traceback or trouble.error,
            f"{_setting_words(trouble.setting)}, seed {trouble.seed}: {trouble.error}",
        )


def _behind(inside: Blocks, report: Report) -> None:
    times: dict[str, list[float]] = {}
    for record in report.records:
        times.setdefault(_setting_words(record.setting), []).append(record.seconds)
    inside.facts(
        {
            "scale": report.scale,
            "needs": report.claim.scales[report.scale].needs,
            "tasks": len(report.records),
            "taken from earlier runs": report.resumed,
            "compute time": duration(report.seconds),
            "revision": report.claim.revision,
        }
    )
    inside.table(
        ["setting", "seeds", "time"],
        [[words, len(seconds), duration(sum(seconds))] for words, seconds in times.items()],
        align="lrr",
    )
    inside.code(f"isocline reproduce {report.claim.name} --scale {report.scale}", "To run this claim alone:")


def _made_with(page: Page, reports: Sequence[Report], command: str) -> None:
    page.section("Made with")
    page.code(command, "The command that wrote this page. Run again, it computes only what is missing.")
    machines = {json.dumps(machine): machine for report in reports for machine in report.machines}
    for machine in machines.values():
        page.facts({**machine, "threads": "1 per task"})
    page.text(
        "Every task runs with one thread and its own seeds, so all numbers but times are the same on one "
        "core, on many and on a Ray cluster. Across machines and library versions the last digits may differ."
    )


def _setting_words(setting: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in plain(setting).items()) or "the only one"


def duration(seconds: float) -> str:
    """``0.3 s``, ``42 s``, ``3 min 05 s``, ``2 h 10 min``"""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
