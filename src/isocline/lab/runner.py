"""Run claims: compute what is missing, write every result the moment it is there, judge at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from isocline._core.files import CheckpointError, load_folder, save_folder

from .claim import Claim, Record, Task
from .engine import Outcome, results
from .machine import cores
from .progress import progress
from .verdict import Verdict, judge


@dataclass(frozen=True, slots=True)
class Options:
    """How to run. jobs: worker processes at a time, 0 for one per core (or per core of the Ray cluster)."""

    out: Path = Path("runs")
    seeds: int | None = None
    engine: Literal["local", "ray"] = "local"
    ray_address: str | None = None
    jobs: int = 0
    device: str = "cpu"
    data: Path | None = None
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Trouble:
    """A task without a measurement: it failed, or something it needs is not here (`skipped`)."""

    setting: dict[str, Any]
    seed: int
    skipped: bool
    error: str
    traceback: str


@dataclass(frozen=True, slots=True)
class Report:
    """All that is known about a claim at a scale after a run.

    seconds: compute time of all its tasks together; resumed: how many of them an earlier run had done.
    """

    claim: Claim
    scale: str
    folder: Path
    records: tuple[Record, ...]
    troubles: tuple[Trouble, ...]
    resumed: int
    seconds: float
    machines: tuple[dict[str, str], ...]
    finished: str
    verdict: Verdict

    @property
    def failed(self) -> int:
        return sum(not trouble.skipped for trouble in self.troubles)

    @property
    def skipped(self) -> int:
        return sum(trouble.skipped for trouble in self.troubles)

    def to_dict(self) -> dict[str, Any]:
        done = {
            "done": len(self.records),
            "failed": self.failed,
            "skipped": self.skipped,
            "resumed": self.resumed,
        }
        return {
            "claim": self.claim.name,
            "scale": self.scale,
            "sentence": self.claim.sentence,
            "paper": self.claim.paper,
            "verdict": self.verdict.answer,
            "why": self.verdict.why,
            "figures": [row.to_dict() for row in self.verdict.rows],
            "tasks": done,
            "seconds": round(self.seconds, 3),
            "made_with": list(self.machines),
            "finished": self.finished,
            "folder": str(self.folder),
        }


@dataclass(slots=True)
class _Desk:
    """Where a claim's tasks are collected while they run."""

    claim: Claim
    tasks: list[Task]
    done: dict[str, tuple[Task, dict[str, Any], dict[str, Any]]] = field(default_factory=dict)
    resumed: int = 0


def run_claims(claims: Sequence[Claim], scale: str, options: Options | None = None) -> list[Report]:
    """Run every task of the claims at a scale that has no intact result yet, and judge.

    A task's folder is written when its result arrives, so a run that is killed loses only what was being
    computed; damaged folders, and tasks that failed or were skipped before, are computed again. Tasks that
    raise are recorded and the others go on.
    """
    options = options or Options()
    options.out.mkdir(parents=True, exist_ok=True)  # what cannot be written is known before anything runs
    desks = [_Desk(claim, claim.tasks(scale, seeds=options.seeds, device=options.device)) for claim in claims]
    missing = [task for desk in desks for task in desk.tasks if not _resume(desk, task, options)]
    desk_of = {desk.claim.name: desk for desk in desks}
    stream = results(
        missing,
        jobs=options.jobs or (-1 if options.ray_address else cores()),
        ray=options.engine == "ray",
        address=options.ray_address,
        data=str(options.data.resolve()) if options.data else None,
    )
    counts = {desk.claim.name: (desk.resumed, len(desk.tasks)) for desk in desks}
    with progress(counts) as advance:
        for task, outcome in stream:
            folder = task.folder(options.out)
            save_folder(folder, _config(task, outcome), outcome.arrays)
            desk_of[task.claim.name].done[task.key] = (task, *load_folder(folder))
            advance(task.claim.name, outcome.status)
    return [_report(desk, scale, options) for desk in desks]


def _resume(desk: _Desk, task: Task, options: Options) -> bool:
    """Take an earlier run's result if it is there, whole and good."""
    if options.fresh:
        return False
    try:
        config, arrays = load_folder(task.folder(options.out))
    except CheckpointError:
        return False
    if config.get("status") != "done":
        return False
    desk.done[task.key] = (task, config, arrays)
    desk.resumed += 1
    return True


def _config(task: Task, outcome: Outcome) -> dict[str, Any]:
    return {
        "status": outcome.status,
        "claim": task.claim.name,
        "revision": task.claim.revision,
        "scale": task.scale,
        "setting": task.setting,
        "seed": task.seed,
        "device": task.device,
        "values": outcome.values,
        "error": outcome.error,
        "traceback": outcome.traceback,
        "seconds": outcome.seconds,
        "threads": 1,
        "machine": outcome.machine,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _report(desk: _Desk, scale: str, options: Options) -> Report:
    """Judge what was read back from disk, in the order of the tasks: a resumed run sees what a fresh one
    saw."""
    found = [desk.done[task.key] for task in desk.tasks]
    records = tuple(
        Record(task.setting, task.seed, _numbers(config["values"]), arrays, config["seconds"])
        for task, config, arrays in found
        if config["status"] == "done"
    )
    troubles = tuple(
        Trouble(task.setting, task.seed, config["status"] == "skipped", config["error"], config["traceback"])
        for task, config, _ in found
        if config["status"] != "done"
    )
    configs = [config for _, config, _ in found]
    made_with = [config["machine"] | {"device": config["device"]} for config in configs if config["machine"]]
    failed = sum(not trouble.skipped for trouble in troubles)
    return Report(
        claim=desk.claim,
        scale=scale,
        folder=options.out / desk.claim.name / scale,
        records=records,
        troubles=troubles,
        resumed=desk.resumed,
        seconds=sum(config["seconds"] for config in configs),
        machines=tuple({str(about): about for about in made_with}.values()),
        finished=max(config["finished"] for config in configs),
        verdict=judge(desk.claim, scale, records, unfinished=failed),
    )


def _numbers(value: Any) -> Any:
    """Undo the words that JSON needs for what it cannot write."""
    if isinstance(value, dict):
        return {name: _numbers(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    return float(value) if value in ("nan", "inf", "-inf") else value
