"""Compiled functions: their cache on disk is asked for by all sources they depend on."""

from pathlib import Path

import numpy as np

from isocline._core.compiling import ONE, compiled, inlined, merged, sources_digest


@inlined
def half(x):
    return x / 2


@merged
def twice(x):
    return x + x


@compiled
def mean_and_sum(x, y):
    total = half(twice(x)) + y * ONE
    return total / 2, total


def test_pieces_are_put_together():
    assert mean_and_sum(1.0, 2.0) == (1.5, 3.0)


def test_a_division_by_zero_is_infinite():
    inverse = compiled(lambda x: 1.0 / x)
    assert inverse(0.0) == np.inf


def test_the_cache_knows_the_folder():
    key = mean_and_sum._cache._index_key("signature", mean_and_sum.targetctx.codegen())
    assert key[-1] == sources_digest(Path(__file__).parent)


def test_any_source_of_the_folder_changes_the_digest(tmp_path):
    def digest():
        sources_digest.cache_clear()
        return sources_digest(tmp_path)

    seen = [digest()]
    for name, text in [("a.py", "1"), ("b.py", ""), ("a.py", "2")]:
        (tmp_path / name).write_text(text)
        seen.append(digest())
    (tmp_path / "notes.md").write_text("no source")
    assert digest() == seen[-1]
    assert len({seen[0], seen[1], seen[3]}) == 3
