"""Bars for long work: one per claim, on stderr, and nothing at all where that is not a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


@contextmanager
def progress(
    counts: Mapping[str, tuple[int, int]], console: Console | None = None
) -> Iterator[Callable[[str, str], None]]:
    """Show what is done of every name in `counts`, ``name -> (done before, all)``; those with nothing to do
    are not shown.

    Gives a function to be called with the name and the status of each task that ends.
    """
    console = console or Console(stderr=True)
    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("[red]{task.fields[failed]}[/red]"),
    ]
    todo = {name: count for name, count in counts.items() if count[0] < count[1]}
    with Progress(*columns, console=console, disable=not console.is_terminal or not todo) as bars:
        lines = {
            name: bars.add_task(name, total=total, completed=done, failed="")
            for name, (done, total) in todo.items()
        }
        failures = dict.fromkeys(todo, 0)

        def advance(name: str, status: str) -> None:
            failures[name] += status == "failed"
            words = f"{failures[name]} failed" if failures[name] else ""
            bars.update(lines[name], advance=1, failed=words)

        yield advance
