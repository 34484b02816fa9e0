"""The commands, each a frozen dataclass: its fields are the options, their docstrings the help."""

from __future__ import annotations

import json as _json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

import tyro

from .reconstruct import Generate, Reconstruct
from .theory import Theory
from .traverse import Traverse

if TYPE_CHECKING:
    from isocline.lab import Claim, Report

TOUR = "Every claim of the papers behind isocline, run in seconds each and compared with what was published."

# What a command needs is imported when it runs: `isocline --help` waits for neither torch nor matplotlib.


class Command(Protocol):
    """What the parser returns."""

    def run(self) -> int:
        """Do it; the return value is the exit code."""
        ...


@dataclass(frozen=True, kw_only=True)
class _Run:
    out: Path = Path("runs")
    """Folder for results: OUT/<claim>/<scale>/<one folder per task>."""
    engine: Literal["local", "ray"] = "local"
    """Where tasks run: worker processes of this machine, or a Ray cluster."""
    ray_address: Annotated[str | None, tyro.conf.arg(metavar="HOST:PORT")] = None
    """Ray cluster for --engine ray ('auto': the one of this machine); without it one is started and
    stopped."""
    jobs: int = 0
    """Tasks at a time, one thread each; 0 means one per core."""
    device: str = "auto"
    """torch device of the tasks: auto (CUDA when there is one), cpu, cuda, cuda:1, mps."""
    data: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder where data sets are looked for first."""
    fresh: bool = False
    """Compute everything again, also what an earlier run has done."""
    json: bool = False
    """Print the results as JSON on stdout, and nothing else."""

    def _reports(self, claims: list[Claim], scale: str, seeds: int = 0) -> list[Report]:
        from isocline._core.checks import check_number, wrong
        from isocline.lab import Options, run_claims
        from isocline.lab.machine import choose_device

        if self.ray_address is not None and self.engine != "ray":
            raise wrong("ray-address", "--engine ray beside it", "--engine local", "add --engine ray")
        if self.out.exists() and not self.out.is_dir():
            raise wrong("out", "a folder", f"the file {self.out}", "name another folder")
        if self.data is not None and not self.data.is_dir():
            raise wrong("data", "a folder that exists", str(self.data))
        options = Options(
            out=self.out,
            seeds=int(check_number("seeds", seeds, least=0, integer=True)) or None,
            engine=self.engine,
            ray_address=self.ray_address,
            jobs=int(check_number("jobs", self.jobs, least=0, integer=True)),
            device=choose_device(self.device),
            data=self.data,
            fresh=self.fresh,
        )
        return run_claims(claims, scale, options)


@dataclass(frozen=True)
class Tour(_Run):
    """Reproduce every claim in a few minutes; the page with all figures is OUT/tour/index.html. Run again,
    it computes only what is missing."""

    def run(self) -> int:
        from isocline.lab import all_claims, write_pages

        reports = self._reports(all_claims(), "tour")
        page = write_pages(
            reports,
            self.out / "tour",
            title="A tour of the claims",
            lead=TOUR,
            command=command_line("tour", self),
        )
        return _finish(reports, page, self.json, figures=False)


@dataclass(frozen=True, kw_only=True)
class Reproduce(_Run):
    """Reproduce some claims at a scale of your choice. Every claim has its page at
    OUT/<claim>/<scale>/index.html; OUT/index.html leads to those of the last call. Run again, it computes
    only what is missing."""

    names: tyro.conf.Positional[Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME...")]]
    """Claims (linear_model/worst-case), rooms (linear_model), patterns ('*/worst-*'); see `isocline
    claims`."""
    scale: Literal["tour", "small", "paper"] = "tour"
    """tour: seconds to a minute; small: minutes to an hour; paper: the paper's own size."""
    seeds: int = 0
    """Seeds per setting; 0 means the scale's own number."""

    def run(self) -> int:
        from isocline._core.checks import wrong
        from isocline.lab import find
        from isocline.lab.page import write_index, write_pages

        if not self.names:
            raise wrong("names", "at least one claim", "none", "`isocline claims` lists them")
        reports = self._reports(find(self.names), self.scale, self.seeds)
        command = command_line("reproduce", self)
        for report in reports:
            page = write_pages(
                [report], report.folder, title=report.claim.name, lead=report.claim.sentence, command=command
            )
        if len(reports) > 1:
            page = write_index(reports, self.out, command)
        return _finish(reports, page, self.json, figures=True)


@dataclass(frozen=True)
class Claims:
    """List the claims that can be reproduced, each in one sentence, with what every scale costs."""

    json: bool = False
    """Print the list as JSON on stdout."""

    def run(self) -> int:
        from isocline.lab import all_claims

        from .tables import show_claims

        claims = all_claims()
        if self.json:
            print(_json.dumps([_about(claim) for claim in claims], indent=2, ensure_ascii=False))
        else:
            show_claims(claims)
        return 0


@dataclass(frozen=True)
class Doctor:
    """Say what is installed and what this machine can do: versions, devices, threads, kernels, data sets."""

    json: bool = False
    """Print the findings as JSON on stdout."""
    data: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder where data sets are looked for first."""

    def run(self) -> int:
        from .doctor import examine
        from .tables import show_findings

        findings = examine(self.data)
        if self.json:
            print(_json.dumps(findings, indent=2, ensure_ascii=False))
        else:
            show_findings(findings)
        return 1 if findings["missing"] else 0


COMMANDS: dict[str, type[Command]] = {
    "tour": Tour,
    "claims": Claims,
    "reproduce": Reproduce,
    "reconstruct": Reconstruct,
    "generate": Generate,
    "theory": Theory,
    "traverse": Traverse,
    "doctor": Doctor,
}


def _finish(reports: list[Report], page: Path, json: bool, *, figures: bool) -> int:
    from isocline._core.files import plain

    from .tables import show_reports

    if json:
        data = {"page": str(page), "claims": [report.to_dict() for report in reports]}
        print(_json.dumps(plain(data), indent=2, ensure_ascii=False))
    else:
        show_reports(reports, figures=figures)
        print(f"page: {page}")
    failed = sum(report.failed for report in reports)
    if failed:
        words = "task" if failed == 1 else "tasks"
        print(f"isocline: {failed} {words} failed; the page has the tracebacks", file=sys.stderr)
    return 1 if failed else 0


def command_line(verb: str, given: Any) -> str:
    """The command line that does the same again: whatever differs from the defaults."""
    words = ["isocline", verb, *getattr(given, "names", ())]
    for name, spec in type(given).__dataclass_fields__.items():
        value = getattr(given, name)
        if name in ("names", "json", "fresh") or value == spec.default:
            continue
        words += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join(words)


def _about(claim: Claim) -> dict[str, object]:
    scales = {
        name: {"tasks": len(claim.tasks(name)), "needs": scale.needs} for name, scale in claim.scales.items()
    }
    return {"name": claim.name, "sentence": claim.sentence, "paper": claim.paper, "scales": scales}
