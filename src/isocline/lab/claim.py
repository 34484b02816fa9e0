"""What a claim is: a sentence from a paper, the figures it promises, and the tasks that measure them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isocline._core.checks import check_choice, check_number, wrong

from .sources import source_digest

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

SCALES = ("tour", "small", "paper")
RELATIONS = ("==", "<=", ">=", "~")


class Missing(Exception):
    """A task cannot run here because something it needs is not on this machine; the page says what.

    Not a failure: the task is recorded as skipped and tried again at the next run.
    """


_DATA: ContextVar[str | None] = ContextVar("data", default=None)


def data_folder() -> str | None:
    """Inside a task: the folder in which the person wants data sets to be looked for first, if there is
    one."""
    return _DATA.get()


@contextmanager
def looking_in(folder: str | None) -> Iterator[None]:
    """Inside, :func:`data_folder` is `folder`."""
    token = _DATA.set(folder)
    try:
        yield
    finally:
        _DATA.reset(token)


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one task found: named plain values (JSON types, dimension in the name), and arrays for the
    figures."""

    values: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Record:
    """One task's measurement as read back from its folder: the same after a resume as after a fresh run."""

    setting: dict[str, Any]
    seed: int
    values: dict[str, Any]
    arrays: dict[str, np.ndarray]
    seconds: float


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of a claim to run: every setting with every seed ``0 .. seeds - 1``; `needs` says what that
    costs."""

    settings: Sequence[Mapping[str, Any]]
    seeds: int
    needs: str

    def __post_init__(self) -> None:
        check_number("seeds", self.seeds, least=1, integer=True)
        if not self.settings:
            raise wrong("settings", "at least one setting", "none", "list the settings a task can have")


@dataclass(frozen=True, slots=True)
class Expected:
    """One figure the paper promises.

    relation: ``==`` every run equals `value`; ``~``, ``<=``, ``>=`` speak of the median over runs.
    tolerance: absolute slack, in the figure's own unit, for every relation.
    source: where the paper says so. scales: where it is judged. optional: judged only where it could be
    measured (data that not every machine has).
    """

    figure: str
    value: float
    relation: str = "=="
    tolerance: float = 0.0
    source: str = ""
    scales: tuple[str, ...] = SCALES
    optional: bool = False

    def __post_init__(self) -> None:
        check_choice("relation", self.relation, RELATIONS)
        check_number("tolerance", self.tolerance, least=0)
        for scale in self.scales:
            check_choice("scales", scale, SCALES)

    def words(self) -> str:
        """``"= 16"``, ``"≥ 1 − 0.05"``, ``"≈ 1 ± 0.05"``: the promise as a reader sees it."""
        sign, slack = {"==": ("=", "±"), "<=": ("≤", "+"), ">=": ("≥", "−"), "~": ("≈", "±")}[self.relation]
        return f"{sign} {self.value:.6g}" + (f" {slack} {self.tolerance:.4g}" if self.tolerance else "")


@dataclass(frozen=True, slots=True)
class Claim:
    """A paper's claim, and how to find out.

    run: ``(setting, seed, device) -> Measurement``, a function of a module (it travels to other processes).
    measure: records -> the values of each figure, one per run. plot: records -> named matplotlib figures.
    alone: the tasks measure time, so they run one at a time, after all others.
    revision: raise it when old results no longer count although the code that made them did not change.
    """

    name: str
    paper: str
    sentence: str
    expected: Sequence[Expected]
    scales: Mapping[str, Scale]
    run: Callable[[dict[str, Any], int, str], Measurement]
    measure: Callable[[list[Record]], dict[str, list[float]]]
    plot: Callable[[list[Record]], dict[str, Figure]] | None = None
    revision: int = 1
    alone: bool = False

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9_]+/[a-z0-9-]+", self.name):
            raise wrong("name", "room/words-with-dashes", self.name, "name the room first")
        if set(self.scales) != set(SCALES):
            raise wrong(
                "scales", f"exactly {', '.join(SCALES)}", sorted(self.scales), "every claim has all three"
            )

    @property
    def room(self) -> str:
        """The package that the claim is about: ``"linear_model"``."""
        return self.name.partition("/")[0]

    def tasks(self, scale: str, *, seeds: int | None = None, device: str = "cpu") -> list[Task]:
        """All tasks of a scale, setting by setting; `seeds` overrides the scale's own number."""
        count = self.scales[scale].seeds if seeds is None else seeds
        return [
            Task(self, scale, dict(setting), seed, device)
            for setting in self.scales[scale].settings
            for seed in range(count)
        ]


@dataclass(frozen=True, slots=True)
class Task:
    """One independent piece of work: a claim's `run` at one setting with one seed."""

    claim: Claim
    scale: str
    setting: dict[str, Any]
    seed: int
    device: str = "cpu"

    @property
    def key(self) -> str:
        """16 hexadecimal digits that change with anything that could change the result."""
        parts = (self.claim.name, self.claim.revision, self.setting, self.seed, self.device)
        text = json.dumps([*parts, source_digest(self.claim.run.__module__, self.claim.room)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def folder(self, out: Path) -> Path:
        """``out/<room>/<claim>/<scale>/<key>``"""
        return out / self.claim.name / self.scale / self.key
