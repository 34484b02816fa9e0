"""Numbers from text: one sample per line, and an error that says which line and column is wrong."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from isocline._core.checks import nearest, wrong

Array = npt.NDArray[np.float64]

_MISSING = {"", "na", "n/a", "nan", "null", "none", "?", "-"}
_TIMES = {"", "time", "t", "date", "datetime", "timestamp", "index", "sample", "seconds"}


def read_table(
    path: Path, columns: Sequence[str | int] | None = None, delimiter: str | None = None
) -> tuple[Array, list[str]]:
    """The values ``(T, N)`` of a text file, NaN where a cell is missing, and the names of its columns (may be
    none).

    Arguments as in ``recordings.read_series``. Raises ValueError with the line and the column of what is
    wrong.
    """
    lines = _lines(path)
    if delimiter is None:
        counts = {mark: lines[min(1, len(lines) - 1)][1].count(mark) for mark in (";", "\t", ",")}
        delimiter = max(counts, key=lambda mark: counts[mark]) if any(counts.values()) else None
    first = _cells(lines[0][1], delimiter)
    names = first if _are_names(first, _cells(lines[min(1, len(lines) - 1)][1], delimiter)) else []
    rows = lines[1:] if names else lines
    if not rows:
        raise wrong(path.name, "rows of numbers", "names only")
    chosen = _chosen(columns, names, len(first))
    values = _fast([text for _, text in rows], delimiter, chosen, len(first))
    if values is None:
        values = np.array(
            [_row(path, number, text, delimiter, chosen, first, names) for number, text in rows]
        )
    if columns is None:
        _refuse_times(path, names, values)
    return values, [names[i] for i in chosen] if names else []


def _lines(path: Path) -> list[tuple[int, str]]:
    """The lines that say something, with their numbers."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise wrong(path.name, "text in UTF-8", f"bytes that are not, at {error.start}") from error
    stripped = (
        (number, line.split("#", 1)[0].rstrip("\r\n ")) for number, line in enumerate(text.split("\n"), 1)
    )
    lines = [(number, line) for number, line in stripped if line.strip()]
    if not lines:
        raise wrong(path.name, "rows of numbers", "an empty file")
    return lines


def _cells(line: str, delimiter: str | None) -> list[str]:
    cells = (
        line.split()
        if delimiter is None
        else next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))
    )
    return [cell.strip().strip('"') for cell in cells]


def _are_names(first: list[str], second: list[str]) -> bool:
    """No cell of the first line is a number, or it leaves the corner above a column of row numbers empty."""
    if not first[0] and second[0] and all(first[1:]):
        return True
    return all(_number(cell) is None for cell in first)


def _number(cell: str) -> float | None:
    if cell.lower() in _MISSING:
        return np.nan
    try:
        return float(cell)
    except ValueError:
        return None


def _chosen(columns: Sequence[str | int] | None, names: list[str], count: int) -> list[int]:
    """The numbers of the columns asked for; all of them where nothing is asked."""
    if columns is None:
        return list(range(count))
    if isinstance(columns, str) or not len(columns):
        raise wrong("columns", "a list of names or numbers", repr(columns))
    chosen = []
    for one in columns:
        if isinstance(one, str) and one in names:
            chosen.append(names.index(one))
        elif isinstance(one, (int, np.integer)) and not isinstance(one, bool) and 0 <= one < count:
            chosen.append(int(one))
        else:
            close = " or ".join(map(repr, nearest(str(one), names)))
            want = f"numbers from 0 to {count - 1}" + (f" or names, {', '.join(names[:8])}" if names else "")
            raise wrong("columns", want, repr(one), close and f"did you mean {close}?")
    return chosen


def _fast(rows: list[str], delimiter: str | None, chosen: list[int], count: int) -> Array | None:
    """NumPy's own reader, for files without gaps; None where it is refused something."""
    try:
        values = np.loadtxt(rows, delimiter=delimiter, ndmin=2, comments=None)
    except ValueError:
        return None
    return values[:, chosen] if values.shape[1] == count else None


def _row(
    path: Path,
    number: int,
    text: str,
    delimiter: str | None,
    chosen: list[int],
    first: list[str],
    names: list[str],
) -> list[float]:
    cells = _cells(text, delimiter)
    if len(cells) != len(first):
        raise wrong(
            f"{path.name}, line {number}", f"{len(first)} cells, as in the first line", f"{len(cells)}"
        )
    values = []
    for i in chosen:
        value = _number(cells[i])
        if value is None:
            where = f"{path.name}, line {number}, column {i}" + (f" ({names[i]})" if names else "")
            comma = "write decimals with a point" if "," in cells[i] else "choose the others with columns="
            raise wrong(where, "a number", repr(cells[i]), comma)
        values.append(value)
    return values


def _refuse_times(path: Path, names: list[str], values: Array) -> None:
    """A column of times is not a channel: say so, instead of learning it."""
    for i, name in enumerate(names):
        if name.strip().lower() in _TIMES and len(values) > 2 and np.all(np.diff(values[:, i]) > 0):
            others = [other for other in names if other != name]
            want = "channels only"
            raise wrong(
                path.name, want, f"{name!r}, which only rises, as times do", f"choose columns={others[:8]}"
            )
