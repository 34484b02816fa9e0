"""Contestants take turns in one process, on one thread; what is kept is CPU time, its median and its spread.

Import this first: it holds the thread pools to one thread before a library starts them.
"""

import os

THREAD_POOLS = ("OMP", "OPENBLAS", "MKL", "NUMBA", "VECLIB_MAXIMUM")
os.environ.update({f"{name}_NUM_THREADS": "1" for name in THREAD_POOLS})

import gc
import re
import time
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

RESULTS = Path(__file__).with_name("RESULTS.md")
PREFACE = """# Speed, side by side

Every table is written by the command above it, never by hand. Contestants take turns in one process on one thread; a ratio is the
peer's CPU time over ours, so above one we are faster. Spread is the least and the largest of the rounds.
"""


@dataclass(frozen=True, slots=True)
class Timing:
    """CPU seconds of each round, in order."""

    seconds: tuple[float, ...]

    @property
    def middle(self) -> float:
        return median(self.seconds)

    def over(self, other: "Timing") -> "Timing":
        """This one's time over another's, round by round."""
        return Timing(tuple(ours / theirs for ours, theirs in zip(self.seconds, other.seconds, strict=True)))

    def words(self, unit: str = "") -> str:
        """``"5.3 (5.1 … 5.6)"``: the median, the least and the largest."""
        return f"{self.middle:.3g}{unit} ({min(self.seconds):.3g} … {max(self.seconds):.3g})"


def take_turns(
    contestants: Mapping[str, Callable[[], object]], *, rounds: int = 7, warmup: int = 1, about: float = 0.05
) -> dict[str, Timing]:
    """Time every contestant once a round, after `warmup` rounds that do not count.

    A contestant quicker than `about` seconds runs as often as fits into that time, and counts with the mean: the clock of CPU
    time is coarse.
    """
    for _ in range(warmup):
        quick = {name: _once(call, 1) for name, call in contestants.items()}
    repeats = {name: max(1, round(about / max(seconds, 1e-6))) for name, seconds in quick.items()}
    found: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, call in contestants.items():
            found[name].append(_once(call, repeats[name]))
    return {name: Timing(tuple(seconds)) for name, seconds in found.items()}


def _once(call: Callable[[], object], repeats: int) -> float:
    gc.collect()
    gc.disable()
    try:
        start = time.process_time()
        for _ in range(repeats):
            call()
        return (time.process_time() - start) / repeats
    finally:
        gc.enable()


def peak_bytes(call: Callable[[], object]) -> int:
    """The most bytes that Python and NumPy held at once during a call, beyond what they held before it."""
    call()  # what is cached once does not count
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        call()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table, numbers and words as they are."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def write_results(room: str, title: str, parts: Sequence[str]) -> None:
    """Put a room's section into RESULTS.md, in place of the one that was there; the other rooms' sections stay."""
    text = RESULTS.read_text() if RESULTS.exists() else PREFACE
    body = "\n\n".join([f"## `{room}`: {title}", f"`make bench ROOM={room}`; {_machine()}.", *parts])
    section = f"<!-- {room} -->\n\n{body}\n\n<!-- end of {room} -->\n"
    pattern = re.compile(rf"<!-- {room} -->.*?<!-- end of {room} -->\n", re.DOTALL)
    text = pattern.sub(lambda _: section, text) if pattern.search(text) else f"{text}\n{section}"
    RESULTS.write_text(text)
    print(f"\n{body}\n\nwritten to {RESULTS}")


def _machine() -> str:
    from isocline.lab.machine import fingerprint, installed

    about = fingerprint()
    libraries = ("torch", "numpy", "scipy", "scikit-learn", "numba")
    versions = [f"{name} {installed(name)}" for name in libraries]
    return ", ".join([about["machine"], "one thread", f"Python {about['python']}", *versions])
