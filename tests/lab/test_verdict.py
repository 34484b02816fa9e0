"""Measured against expected: every relation, its edges, and what is said when not everything is known."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isocline.lab import Expected, Record, judge
from isocline.lab.verdict import Row, number

INF, NAN = math.inf, math.nan
FINITE = st.floats(-1e6, 1e6)


@pytest.fixture
def verdict(toys, log):
    """judge a claim whose figures are given"""

    def of(expected, figures, scale="tour", **how):
        claim = replace(toys.claim(log), expected=expected, measure=lambda records: figures)
        return judge(claim, scale, [Record({}, 0, {}, {}, 0.0)], **how)

    return of


@pytest.mark.parametrize(
    ("relation", "value", "tolerance", "measured", "holds"),
    [
        ("==", 16, 0, [16], True),
        ("==", 16, 0, [16, 16, 17], False),  # every run, not the median
        ("==", 16, 0, [NAN], False),
        ("==", INF, 0, [INF], True),
        ("~", 1.0, 0.1, [0.5, 1.05, 9.0], True),  # the median
        ("~", 1.0, 0.1, [1.2], False),
        ("~", 1.0, 0.1, [1.0, NAN, NAN], False),
        ("<=", 5, 0, [5, 4, 99], True),
        ("<=", 5, 0, [5.1], False),
        ("<=", 5, 0.2, [5.1], True),
        ("<=", 5, 0, [1, NAN, NAN], False),
        (">=", 1, 0, [1, 2, 0.1], True),
        (">=", 1, 0, [0.9], False),
        (">=", 1, 0, [2, NAN, NAN], False),
        (">=", 1, 0, [INF], True),
    ],
)
def test_the_relations(verdict, relation, value, tolerance, measured, holds):
    found = verdict([Expected("x", value, relation, tolerance)], {"x": measured})
    assert found.rows[0].holds is holds
    assert found.answer == ("holds" if holds else "does not hold")


@given(st.lists(FINITE, min_size=1, max_size=9), FINITE, st.floats(0, 10))
def test_exactly_one_side_of_a_bound_fails_beyond_the_tolerance(values, target, slack):
    row = Row("x", None, tuple(values), None)
    middle = sorted(values)[len(values) // 2] if len(values) % 2 else None
    least = _holds(Expected("x", target, ">=", slack), row.values)
    most = _holds(Expected("x", target, "<=", slack), row.values)
    near = _holds(Expected("x", target, "~", slack), row.values)
    assert least or most
    assert near <= (least and most)
    if middle is not None and abs(middle - target) > slack * 1.001 + 1e-6:
        assert least != most
        assert not near


@given(st.lists(FINITE, min_size=1), FINITE, st.floats(0, 10))
def test_equality_is_about_the_run_that_is_furthest_off(values, target, slack):
    worst = max(values, key=lambda value: abs(value - target))
    assert _holds(Expected("x", target, "==", slack), tuple(values)) == (abs(worst - target) <= slack)


def _holds(expected, values):
    from isocline.lab.verdict import _holds

    return _holds(expected, values)


def test_a_figure_that_fails_decides_even_when_others_are_missing(verdict):
    promised = [Expected("x", 1), Expected("y", 1)]
    found = verdict(promised, {"x": [2.0]}, unfinished=3)
    assert found.answer == "does not hold"
    assert found.kept == (0, 1)


@pytest.mark.parametrize(
    ("figures", "how", "why"),
    [
        ({"x": [1.0]}, {}, "not measured: y"),
        ({"x": [1.0], "y": [1.0]}, {"unfinished": 2}, "2 tasks failed"),
        ({"x": [1.0], "y": [1.0]}, {"unfinished": 1}, "1 task failed"),
    ],
)
def test_what_is_not_decided_says_why(verdict, figures, how, why):
    found = verdict([Expected("x", 1), Expected("y", 1)], figures, **how)
    assert (found.answer, found.why) == ("not decided", why)


def test_a_figure_of_another_scale_is_shown_but_not_judged(verdict):
    promised = [Expected("x", 1), Expected("y", 1, scales=("small", "paper"))]
    at_tour = verdict(promised, {"x": [1.0]})
    assert at_tour.answer == "holds"
    assert at_tour.rows[1].why == "judged at small and paper scale"
    assert verdict(promised, {"x": [1.0]}, scale="paper").answer == "not decided"
    alone = verdict(promised[1:], {"x": [1.0]})
    assert (alone.answer, alone.why) == ("not decided", "the claim promises nothing that tour scale measures")


def test_an_optional_figure_may_be_missing_but_not_wrong(verdict):
    promised = [Expected("x", 1), Expected("y", 1, optional=True)]
    assert verdict(promised, {"x": [1.0]}).answer == "holds"
    assert verdict(promised, {"x": [1.0], "y": [0.0]}).answer == "does not hold"


def test_a_figure_nobody_promised_is_kept_for_information(verdict):
    found = verdict([Expected("x", 1)], {"x": [1.0], "z": [3.0, 4.0]})
    assert [(row.figure, row.why) for row in found.rows] == [("x", ""), ("z", "for information")]
    assert found.kept == (1, 1)


def test_a_measure_that_breaks_on_what_is_left_decides_nothing(toys, log):
    claim = replace(toys.claim(log), measure=lambda records: {"x": [records[5].values["y"]]})
    found = judge(claim, "tour", [Record({}, 0, {}, {}, 0.0)], unfinished=1)
    assert found.answer == "not decided"
    assert "IndexError" in found.why


def test_nothing_measured_at_all(toys, log):
    assert judge(toys.claim(log), "tour", [], unfinished=2).answer == "not decided"


@pytest.mark.parametrize(
    ("values", "middle", "spread"),
    [
        ((), "–", ""),
        ((16.0,), "16", ""),
        ((1.0, 3.0, 2.0), "2", "1 … 3 in 3 runs"),
        ((0.12345678, 0.5), "0.3117", "0.1235 … 0.5 in 2 runs"),
        ((1.0, NAN), "nan", "nan … nan in 2 runs, 1 not finite"),
        ((1.0, INF, INF), "inf", "1 … inf in 3 runs, 2 not finite"),
    ],
)
def test_a_row_in_words(values, middle, spread):
    row = Row("x", None, values, None)
    assert (row.middle(), row.spread()) == (middle, spread)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (2.0, "2"),
        (30_001.0, "30001"),
        (0.03125, "0.03125"),
        (1.25e-9, "1.25e-09"),
        (1e12, "1e+12"),
        (INF, "inf"),
    ],
)
def test_numbers_in_words(value, words):
    assert number(value) == words
