"""The one HTML page: every report of the house is written here, self-contained, readable without a server."""

from __future__ import annotations

import base64
import io
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import jinja2
import numpy as np
from markupsafe import Markup

from isocline._core.checks import check_choice, wrong
from isocline._core.files import write_atomic
from isocline._core.motif import motif
from isocline._version import __version__

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PNG = b"\x89PNG\r\n\x1a\n"
_DPI = 160
_UNPRINTABLE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|[^\t\n\x20-\ud7ff\ue000-\U0010ffff]|[\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Badge:
    """A short word on a coloured ground: a verdict or a state."""

    text: str
    tone: Literal["good", "bad", "open", "info"] = "info"

    def __post_init__(self) -> None:
        check_choice("tone", self.tone, ("good", "bad", "open", "info"))


@dataclass(frozen=True, slots=True)
class Link:
    """A link in a cell: to a place on the page (``"#" + anchor(title)``), a file beside it, or the web."""

    text: str
    to: str

    def __post_init__(self) -> None:
        if not re.match(r"#|https?://|[^:]*$", self.to):
            raise wrong("to", "'#place', a relative path, or http(s)://...", repr(self.to))


@dataclass(frozen=True, slots=True)
class Picture:
    """The bytes of a PNG, its dots per inch of the page, and whether it is a drawing of lines.

    A page shows a drawing of lines light on dark where its reader prefers that.
    """

    png: bytes
    dots_per_inch: int = 96
    lines: bool = False

    def __post_init__(self) -> None:
        if not self.png.startswith(_PNG) or len(self.png) < 24:
            raise wrong(
                "picture", "a matplotlib Figure or the bytes of a PNG", f"{len(self.png)} other bytes"
            )

    @property
    def size(self) -> tuple[int, int]:
        """Width and height on the page, in its pixels of 1/96 inch."""
        width, height = (int.from_bytes(self.png[i : i + 4], "big") for i in (16, 20))
        return round(width * 96 / self.dots_per_inch), round(height * 96 / self.dots_per_inch)


def drawn(figure: Figure) -> Picture:
    """A matplotlib figure as a Picture: the same bytes for the same figure, which is left as it is."""
    if not hasattr(figure, "savefig"):
        want = "a matplotlib Figure or the bytes of a PNG"
        raise wrong("picture", want, type(figure).__name__, error=TypeError)
    buffer = io.BytesIO()
    look = {"dpi": _DPI, "bbox_inches": "tight", "facecolor": "white"}
    figure.savefig(buffer, format="png", metadata={"Software": None}, **look)
    coloured = figure.findobj(lambda artist: getattr(artist, "get_array", lambda: None)() is not None)
    return Picture(
        buffer.getvalue(), _DPI, lines=not coloured
    )  # what maps values to colours keeps its ground


def anchor(title: str) -> str:
    """The place on the page of the heading ``title`` (further ones of the same title get -2, -3, ...)."""
    return re.sub(r"[^\w]+", "-", title.casefold()).strip("-") or "section"


@dataclass(frozen=True, slots=True)
class _Block:
    kind: str
    content: Any
    caption: str = ""
    badge: Badge | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


class Blocks:
    """Blocks one under another. Every method adds one at the end; all but ``details`` return itself."""

    def __init__(self, places: Counter[str] | None = None) -> None:
        self.blocks: list[_Block] = []
        self._places = Counter() if places is None else places

    def text(self, text: str) -> Self:
        """Plain text; an empty line begins a new paragraph."""
        return self._add("text", [part for part in re.split(r"\n\s*\n", text.strip()) if part])

    def heading(self, title: str, badge: Badge | None = None) -> Self:
        """A heading inside a section, with an optional badge beside it."""
        return self._add("heading", title, badge=badge, place=self._place(title))

    def table(
        self, columns: Sequence[str], rows: Iterable[Sequence[object]], caption: str = "", align: str = ""
    ) -> Self:
        """A table of texts, numbers, Badges and Links.

        ``align`` has one letter a column out of ``l``, ``r``, ``c``; without it, columns of numbers stand
        at the right. Raises ValueError when a row is not as long as ``columns``.
        """
        body = [list(row) for row in rows]
        for i, row in enumerate(body):
            if len(row) != len(columns):
                raise wrong(f"rows[{i}]", f"{len(columns)} cells, one a column", f"{len(row)}")
        if not align:
            align = "".join("r" if _all_numbers(row[j] for row in body) else "l" for j in range(len(columns)))
        if len(align) != len(columns) or set(align) - set("lrc"):
            raise wrong("align", f"{len(columns)} letters out of l, r, c", repr(align))
        return self._add("table", body, caption, columns=list(columns), align=align)

    def figure(self, picture: Figure | Picture | bytes, caption: str = "", alt: str = "") -> Self:
        """A matplotlib figure (drawn now, left as it is), a Picture, or a PNG; ``alt`` says it in words."""
        if isinstance(picture, (bytes, bytearray)):
            picture = Picture(bytes(picture))
        elif not isinstance(picture, Picture):
            picture = drawn(picture)
        width, height = picture.size
        data = base64.b64encode(picture.png).decode("ascii")
        return self._add(
            "figure", data, caption, alt=alt or caption, width=width, height=height, lines=picture.lines
        )

    def code(self, text: str, caption: str = "") -> Self:
        """Text as it stands, in a typewriter face: a command, settings, a traceback."""
        return self._add("code", text.strip("\n"), caption)

    def facts(self, facts: Mapping[str, object]) -> Self:
        """Names and their values, side by side."""
        return self._add("facts", list(facts.items()))

    def details(self, title: str, text: str = "") -> Blocks:
        """A part that opens on a click (and in print). Returns its inside, to which blocks are added."""
        inside = Blocks(self._places)
        if text:
            inside.text(text)
        self._add("details", inside, title)
        return inside

    def _place(self, title: str) -> str:
        place = anchor(title)
        self._places[place] += 1
        return place if self._places[place] == 1 else f"{place}-{self._places[place]}"

    def _add(
        self, kind: str, content: Any, caption: str = "", badge: Badge | None = None, **extra: Any
    ) -> Self:
        self.blocks.append(_Block(kind, content, caption, badge, extra))
        return self


class Page(Blocks):
    """A report: a title, a sentence or two under it, a few facts, then sections.

    >>> page = Page("A short report", lead="What was asked.", facts={"seeds": 3}).section("Result")
    >>> page.table(["steps", "verdict"], [[157, Badge("holds", "good")]]).html().count("<tr>")
    2
    """

    def __init__(
        self,
        title: str,
        lead: str = "",
        facts: Mapping[str, object] | None = None,
        badge: Badge | None = None,
    ) -> None:
        super().__init__()
        self.title, self.lead, self.badge = title, lead, badge
        self.header_facts = dict(facts or {})

    def section(self, title: str, badge: Badge | None = None) -> Self:
        """Begin a section; what is added next belongs to it."""
        return self._add("section", title, badge=badge, place=self._place(title))

    def html(self) -> str:
        """The whole page as text: no scripts, nothing fetched from anywhere."""
        contents = [block for block in self.blocks if block.kind in ("section", "heading")]
        return _template().render(page=self, contents=contents, motif=motif(), version=__version__)

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write the page atomically and return where it is."""
        write_atomic(path, self.html())
        return Path(path)


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cell"], environment.filters["room"] = _cell, _room
    environment.tests["badge"] = lambda value: isinstance(value, Badge)
    environment.tests["link"] = lambda value: isinstance(value, Link)
    return environment.get_template("page.html")


def _printable(value: object) -> object:
    """Drop terminal colours and what no page can show; what is already markup is ours."""
    return _UNPRINTABLE.sub("", value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _cell(value: object) -> str:
    """A value for a reader: four digits, thousands apart, infinity as a sign, None as a dash."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "∞" if value > 0 else "−∞"
    if isinstance(value, float) and (value.is_integer() or abs(value) >= 1e4) and abs(value) < 1e6:
        value = round(value)
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\u202f" if abs(value) >= 1e4 else "").replace("-", "−")
    if isinstance(value, float):
        return re.sub(r"e\+?(-?)0*", r"e\1", f"{value:.4g}").replace("-", "−")
    return str(value)


def _room(value: object) -> str:
    """The class of a cell by what stands in it: a word or two is not broken, a sentence gets room."""
    length = len(value.text if isinstance(value, (Badge, Link)) else _cell(value))
    return " short" if length <= 24 else " long" if length > 40 else ""


def _all_numbers(cells: Iterable[object]) -> bool:
    kinds = [
        isinstance(cell, (int, float, np.number)) and not isinstance(cell, bool)
        for cell in cells
        if cell is not None
    ]
    return bool(kinds) and all(kinds)
