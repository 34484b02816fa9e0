"""The command ``isocline``: a verb, its options, and one clear line when something is wrong.

Results go to stdout, progress and advice to stderr. Exit code 0: fine; 1: something was found (a task failed,
a library is missing); 2: the command was used wrongly.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import re
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Annotated, Any, Union

import tyro

from isocline._version import __version__

from .commands import COMMANDS, Command

__all__ = ["main"]

DESCRIPTION = """\
Gradients that hold their slope. `isocline COMMAND --help` tells more about a command.
Exit code 0: fine; 1: a task failed or a library is missing; 2: the command was used wrongly."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; never a traceback for what a user can cause.

    With ISOCLINE_TRACEBACK=1 in the environment the traceback comes as well.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words == ["--version"]:
        print(f"isocline {__version__}")
        return 0
    try:
        return _parse(words).run()
    except KeyboardInterrupt:
        return _say("stopped; the same command continues from here", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads on: not an error
        return 0
    except (ValueError, OSError) as error:
        if os.environ.get("ISOCLINE_TRACEBACK"):
            raise
        return _say(str(error), 2)


def _parse(words: list[str]) -> Command:
    if not words:
        words = ["--help"]
    if not words[0].startswith("-") and words[0] not in COMMANDS:
        raise ValueError(_unknown_command(words[0]))
    kinds = [
        Annotated[kind, tyro.conf.subcommand(name, description=inspect.getdoc(kind))]
        for name, kind in COMMANDS.items()
    ]
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            kind: Any = Union[tuple(kinds)]  # noqa: UP007  built at run time
            return tyro.cli(
                kind,
                prog="isocline",
                description=DESCRIPTION,
                args=words,
                config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes),
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise ValueError(_one_line(said.getvalue(), words)) from None


def _unknown_command(word: str) -> str:
    close = get_close_matches(word, COMMANDS, n=2, cutoff=0.5)
    advice = f"did you mean {' or '.join(close)}?" if close else "`isocline --help` tells what they do"
    return f"command: want one of {', '.join(COMMANDS)}, got {word!r}; {advice}"


def _one_line(panel: str, words: list[str]) -> str:
    """The parser's framed message as one line, with the nearest option when it names one.

    The first frame line or rule, in whichever characters it is drawn, ends the title; further rules divide
    the message from the advice that follows it.
    """
    parts: list[list[str]] = [[]]
    for line in panel.translate(str.maketrans("╭╮╰╯│─", "++++|-")).splitlines():
        inner = line.strip("| ")
        if line.startswith("+") or re.fullmatch(r"-{8,}", inner):
            parts.append([])
        else:
            parts[-1].append(inner)
    told = [re.sub(r"\s+", " ", " ".join(part)).strip() for part in parts[1:] if any(part)]
    message, *advice = told or [" ".join(panel.split())]
    message = re.split(r" Got errors:| Arguments are applied", message)[0].rstrip(".")
    message = re.sub(r" or misplaced| \(applied to [^)]*\)", "", message)
    near = re.search(r"Perhaps you meant:.*?(--[a-z][a-z-]*)", " ".join(advice))
    if near and near.group(1) not in words:
        message += f"; did you mean {near.group(1)}?"
    place = " ".join(["isocline", *[word for word in words[:1] if word in COMMANDS]])
    return f"{message}; `{place} --help` lists the options"


def _say(message: str, code: int) -> int:
    print(f"isocline: {' '.join(message.split())}", file=sys.stderr)
    return code
