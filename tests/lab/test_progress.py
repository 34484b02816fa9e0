"""The bars count on a terminal and are silent elsewhere."""

import io

from rich.console import Console

from isocline.lab.progress import progress


def _said(terminal, counts, *ended):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=120, color_system=None)
    with progress(counts, console) as advance:
        for name, status in ended:
            advance(name, status)
    return console.file.getvalue()


def test_the_bars_count_what_is_done_and_what_failed():
    said = _said(True, {"a/b": (1, 3), "a/done": (2, 2)}, ("a/b", "done"), ("a/b", "failed"))
    assert "3/3" in said
    assert "1 failed" in said
    assert "a/done" not in said


def test_nothing_is_said_where_nobody_watches_or_nothing_is_to_do():
    assert _said(False, {"a/b": (0, 1)}, ("a/b", "done")) == ""
    assert _said(True, {"a/b": (1, 1)}).strip() == ""
