"""All claims of the house, room by room; a room's module is imported when one of its claims is asked for."""

from __future__ import annotations

from fnmatch import fnmatchcase
from importlib import import_module

from isocline._core.checks import nearest, wrong

from ..claim import Claim

# The order of the tour. Each module holds a list CLAIMS.
ROOMS = (
    "isocline.lab.claims.linear_model",
    "isocline.lab.claims.dynamics",
    "isocline.lab.claims.theory",
    "isocline.lab.claims.plstm",
    "isocline.lab.claims.orthogonal",
    "isocline.lab.claims.binary",
    "isocline.lab.claims.level_sets",
    "isocline.lab.claims.latents",
)


def all_claims() -> list[Claim]:
    """Every claim, in the order of the tour."""
    return [claim for room in ROOMS for claim in import_module(room).CLAIMS]


def find(names: list[str] | tuple[str, ...]) -> list[Claim]:
    """The claims that the names mean, each once, in the order of the tour.

    A name is a claim (``linear_model/worst-case``), a room (``linear_model``), or a pattern (``*/worst-*``).
    Raises ValueError with the nearest names when one means nothing.
    """
    claims = all_claims()
    wanted: set[str] = set()
    for name in names:
        hits = {claim.name for claim in claims if claim.room == name or fnmatchcase(claim.name, name)}
        if not hits:
            raise _unknown(name, claims)
        wanted |= hits
    return [claim for claim in claims if claim.name in wanted]


def _unknown(name: str, claims: list[Claim]) -> Exception:
    known = [claim.name for claim in claims]
    short = {claim.name.partition("/")[2]: claim.name for claim in claims}
    rooms = {claim.room: claim.room for claim in claims}
    table = {full: full for full in known} | short | rooms
    close = list(dict.fromkeys(table[word] for word in nearest(name, list(table), 2)))
    advice = f"did you mean {' or '.join(close)}" if close else "`isocline claims` lists them"
    return wrong("claim", "a claim, a room or a pattern", repr(name), advice)
