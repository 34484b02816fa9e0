"""The schedules of forcing: what they say, what they refuse, and that they survive being written down."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isocline.dynamics.schedules import (
    AdaptiveForcing,
    ConstantForcing,
    NoForcing,
    SparseForcing,
    forcing_from_dict,
    forcing_to_dict,
)

ALL = [
    AdaptiveForcing("arithmetic_mean", start=0.5, gamma=0.9, every=3),
    ConstantForcing(0.3),
    SparseForcing(7),
    NoForcing(),
]


@pytest.mark.parametrize("forcing", ALL, ids=repr)
def test_written_as_json_and_read_it_is_the_same(forcing):
    assert forcing_from_dict(json.loads(json.dumps(forcing_to_dict(forcing)))) == forcing


def test_what_each_says_about_the_first_update():
    assert [forcing.first for forcing in ALL] == [0.5, 0.3, 1.0, 0.0]
    assert [forcing.interval for forcing in ALL] == [None, None, 7, None]


unit = st.floats(0, 1)


@given(unit, unit, unit)
def test_the_adaptive_rule_goes_up_at_once_and_down_slowly(alpha, estimate, gamma):
    after = AdaptiveForcing(gamma=gamma).after(alpha, estimate)
    if estimate >= alpha:
        assert after == pytest.approx(estimate)
    else:
        assert estimate <= after + 1e-15
        assert after <= alpha + 1e-15
        assert after == pytest.approx(gamma * alpha + (1 - gamma) * estimate)


WRONG = [
    (lambda: ConstantForcing(1.5), ValueError, "alpha: want a number >= 0 and <= 1, got 1.5"),
    (lambda: ConstantForcing("0.1"), TypeError, "alpha: want a number >= 0 and <= 1, got '0.1'"),
    (lambda: AdaptiveForcing("exact"), ValueError, "did you mean 'exact_product'?"),
    (lambda: AdaptiveForcing(start=-1), ValueError, "start: want a number >= 0 and <= 1, got -1"),
    (lambda: AdaptiveForcing(gamma=2), ValueError, "gamma: want a number >= 0 and <= 1, got 2"),
    (lambda: AdaptiveForcing(every=0), ValueError, "every: want a whole number >= 1, got 0"),
    (lambda: SparseForcing(0), ValueError, "interval: want a whole number >= 1, got 0"),
    (lambda: forcing_to_dict(0.3), TypeError, "forcing: want one of AdaptiveForcing(...), Constant"),
]


@pytest.mark.parametrize(("call", "kind", "message"), WRONG, ids=[message[:40] for *_, message in WRONG])
def test_the_message_names_what_was_wrong(call, kind, message):
    with pytest.raises(kind) as caught:
        call()
    assert message in str(caught.value)
