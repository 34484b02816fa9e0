"""Run the Python blocks of a Markdown page, as a reader would who pastes them one after the other.

A fence that opens with ``python`` is a block; all blocks of a page share one namespace. A ``text`` fence
right behind a block is what the block prints: the same words, and the same numbers (``text about``: numbers
within a tenth, where another machine's rounding may change them). The site is built through this file, so a
figure on a page was drawn by the code above it; the tests run the same pages and fail where one is not true.
"""

import contextlib
import io
import re
from dataclasses import dataclass
from itertools import pairwise
from math import isclose
from pathlib import Path

FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TOLERANCE = {"text": 0.0, "text about": 0.1}


@dataclass(frozen=True, slots=True)
class Block:
    """One runnable block: its code, the line it starts on, and what it should print (None: not said)."""

    code: str
    line: int
    prints: str | None = None
    tolerance: float = 0.0


def blocks_of(page: Path) -> list[Block]:
    """The Python blocks of a Markdown file, in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for fence, after in pairwise([*FENCE.finditer(text), None]):
        if fence is None or fence[1] != "python":
            continue
        line = text.count("\n", 0, fence.start()) + 2
        if after is not None and after[1] in TOLERANCE and not text[fence.end() : after.start()].strip():
            found.append(Block(fence[2], line, after[2], TOLERANCE[after[1]]))
        else:
            found.append(Block(fence[2], line))
    return found


def run(page: Path, folder: Path) -> dict[str, object]:
    """Run a page's blocks with ``folder`` as working directory (figures land there).

    Returns the names that the blocks defined. Raises AssertionError when a block prints something else than
    the page says; other errors pass through, with the page's own line numbers in the traceback.
    """
    page = page.resolve()
    names: dict[str, object] = {"__name__": "__main__"}
    folder.mkdir(parents=True, exist_ok=True)
    for block in blocks_of(page):
        code = compile("\n" * (block.line - 1) + block.code, str(page), "exec")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.chdir(folder):
            exec(code, names)
        if block.prints is not None and not same(block.prints, printed.getvalue(), block.tolerance):
            said, done = block.prints, printed.getvalue()
            where = f"{page.name}, block at line {block.line}"
            raise AssertionError(f"{where}: the page says\n{said}\nand the code prints\n{done}")
    return names


def same(want: str, got: str, tolerance: float) -> bool:
    """Equal word by word; two words that are numbers may differ by the relative tolerance."""
    pairs = list(zip(want.split(), got.split(), strict=False))
    equal = [a == b or (tolerance > 0 and _close(a, b, tolerance)) for a, b in pairs]
    return len(want.split()) == len(got.split()) and all(equal)


def _close(a: str, b: str, tolerance: float) -> bool:
    try:
        return isclose(float(a.rstrip(",:;%")), float(b.rstrip(",:;%")), rel_tol=tolerance)
    except ValueError:
        return False
