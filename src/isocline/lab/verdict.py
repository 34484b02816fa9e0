"""Measured against expected: what may be said after a run, and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from .claim import Claim, Expected, Record

Answer = Literal["holds", "does not hold", "not decided"]


@dataclass(frozen=True, slots=True)
class Row:
    """One figure: what was promised (None: nothing, it is shown for information) and what came out, run by
    run.

    holds: True or False where it was judged, None where it was not; `why` then says the reason.
    """

    figure: str
    expected: Expected | None
    values: tuple[float, ...]
    holds: bool | None
    why: str = ""

    @property
    def diverged(self) -> int:
        """How many runs gave NaN or an infinity."""
        return sum(not math.isfinite(value) for value in self.values)

    def middle(self) -> str:
        """The median over runs in words, ``"16"``; a dash when there is none."""
        return number(_median(self.values)) if self.values else "–"

    def spread(self) -> str:
        """``"1.1 … 1.9 in 5 runs"``: the smallest and the largest of several runs; empty for a single one."""
        if len(self.values) < 2:
            return ""
        words = f"{number(_least(self.values))} … {number(_most(self.values))} in {len(self.values)} runs"
        return words + (f", {self.diverged} not finite" if self.diverged else "")

    def to_dict(self) -> dict[str, Any]:
        promise = self.expected
        return {
            "figure": self.figure,
            "relation": promise.relation if promise else None,
            "expected": promise.value if promise else None,
            "tolerance": promise.tolerance if promise else None,
            "source": promise.source if promise else None,
            "values": list(self.values),
            "median": _median(self.values) if self.values else None,
            "min": _least(self.values) if self.values else None,
            "max": _most(self.values) if self.values else None,
            "not_finite": self.diverged,
            "holds": self.holds,
            "why": self.why,
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """``holds`` when every promised figure was measured and holds, ``does not hold`` when one does not."""

    answer: Answer
    rows: tuple[Row, ...]
    why: str = ""

    @property
    def kept(self) -> tuple[int, int]:
        """(figures that hold, figures that were judged)"""
        judged = [row.holds for row in self.rows if row.holds is not None]
        return sum(judged), len(judged)


def judge(claim: Claim, scale: str, records: Sequence[Record], *, unfinished: int = 0) -> Verdict:
    """Compare what the records say with what the claim promises at this scale.

    unfinished: tasks without a result (failed). With any of them, or with a promised figure missing, nothing
    that looks good is believed: the answer is ``not decided``, unless a figure already fails.
    """
    try:
        measured = claim.measure(list(records)) if records else {}
    except Exception as error:  # a claim's own code, on records that may be incomplete
        return Verdict(
            "not decided", (), f"the figures could not be computed: {type(error).__name__}: {error}"
        )
    figures = {name: tuple(float(value) for value in values) for name, values in measured.items()}
    rows = [_row(expected, scale, figures.get(expected.figure, ())) for expected in claim.expected]
    promised = {expected.figure for expected in claim.expected}
    rows += [
        Row(name, None, values, None, "for information")
        for name, values in figures.items()
        if name not in promised
    ]
    if any(row.holds is False for row in rows):
        return Verdict("does not hold", tuple(rows))
    why = _undecided(rows, scale, unfinished)
    return Verdict("not decided" if why else "holds", tuple(rows), why)


def _row(expected: Expected, scale: str, values: tuple[float, ...]) -> Row:
    if scale not in expected.scales:
        return Row(
            expected.figure, expected, values, None, f"judged at {' and '.join(expected.scales)} scale"
        )
    if not values:
        return Row(
            expected.figure, expected, values, None, "not measured here" if expected.optional else "missing"
        )
    return Row(expected.figure, expected, values, _holds(expected, values))


def _holds(expected: Expected, values: tuple[float, ...]) -> bool:
    """NaN is on the bad side of every relation."""
    target, slack = expected.value, expected.tolerance
    if expected.relation == "==":
        return all(value == target or abs(value - target) <= slack for value in values)
    bad_end = -math.inf if expected.relation == ">=" else math.inf
    middle = median(bad_end if math.isnan(value) else value for value in values)
    if expected.relation == ">=":
        return middle >= target - slack
    if expected.relation == "<=":
        return middle <= target + slack
    return middle == target or abs(middle - target) <= slack


def _undecided(rows: list[Row], scale: str, unfinished: int) -> str:
    missing = [row.figure for row in rows if row.why == "missing"]
    if unfinished:
        return f"{unfinished} task{'s' if unfinished > 1 else ''} failed"
    if missing:
        return f"not measured: {', '.join(missing)}"
    if not any(row.holds for row in rows):
        return f"the claim promises nothing that {scale} scale measures"
    return ""


def number(value: float) -> str:
    """Four figures where four are meant, all of a whole number: ``2``, ``3001``, ``0.0312``, ``1.25e-09``."""
    if not math.isfinite(value):
        return str(value)
    if value == int(value) and abs(value) < 1e7:
        return str(int(value))
    return f"{value:.4g}"


def _median(values: tuple[float, ...]) -> float:
    return math.nan if any(map(math.isnan, values)) else float(median(values))


def _least(values: tuple[float, ...]) -> float:
    return math.nan if any(map(math.isnan, values)) else min(values)


def _most(values: tuple[float, ...]) -> float:
    return math.nan if any(map(math.isnan, values)) else max(values)
