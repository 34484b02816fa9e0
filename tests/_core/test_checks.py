"""The messages at the door are part of the promise: argument, what was wanted, what came, what to do."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isocline._core.checks import check_choice, check_finite, check_number, check_shape, nearest, wrong

WRONG_CALLS = [
    (lambda: check_number("step", -1, above=0), ValueError, "step: want a finite number > 0, got -1.0"),
    (
        lambda: check_number("step", math.nan, above=0, finite=False),
        ValueError,
        "step: want a number > 0 or inf, got nan",
    ),
    (
        lambda: check_number("share", 1.5, least=0, most=1),
        ValueError,
        "share: want a number >= 0 and <= 1, got 1.5",
    ),
    (lambda: check_number("share", math.inf), ValueError, "share: want a finite number, got inf"),
    (
        lambda: check_number("n", 2.0, least=1, integer=True),
        TypeError,
        "n: want a whole number >= 1, got 2.0",
    ),
    (
        lambda: check_number("n", True, least=1, integer=True),
        TypeError,
        "n: want a whole number >= 1, got True",
    ),
    (lambda: check_number("tol", "small"), TypeError, "tol: want a finite number, got 'small'"),
    (
        lambda: check_number("tol", np.zeros(2)),
        TypeError,
        "tol: want a finite number, got an array of shape (2,), float64",
    ),
    (
        lambda: check_choice("method", "newten", ["newton", "perceptron"]),
        ValueError,
        "method: want one of 'newton', 'perceptron', got 'newten'; did you mean 'newton'?",
    ),
    (
        lambda: check_choice("scale", 3, ["tour", "small"]),
        ValueError,
        "scale: want one of 'tour', 'small', got 3",
    ),
    (
        lambda: check_shape("images", np.zeros((4, 4)), "n 3 h w", "stack the images"),
        ValueError,
        "images: want shape (n, 3, h, w), got (4, 4); stack the images",
    ),
    (lambda: check_shape("X", torch.zeros(0, 3), "n d"), ValueError, "X: want shape (n, d), got (0, 3)"),
    (
        lambda: check_finite("X", np.array([[0, 1], [np.inf, np.nan]])),
        ValueError,
        "X: want finite values, got 1 NaN and 1 infinite of 4, the first at (1, 0)",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG_CALLS, ids=[case[2] for case in WRONG_CALLS])
def test_wrong_calls_are_told_so(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message
    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("got", "shown"),
    [
        (torch.zeros(2, 3, dtype=torch.float32), "a tensor of shape (2, 3), float32"),
        (np.float64(0.5), "0.5"),
        ("two rows", "two rows"),
        ((3, 4), "(3, 4)"),
        (None, "None"),
    ],
)
def test_what_came_is_shown_briefly(got, shown):
    assert str(wrong("x", "more", got)) == f"x: want more, got {shown}"


def test_a_huge_value_does_not_flood_the_message():
    assert len(str(wrong("x", "less", list(range(10**5))))) < 200


@pytest.mark.parametrize(
    "value", [3, 3.0, np.float32(3), np.int64(3), np.array(3.0), torch.tensor(3), torch.tensor(3.0)]
)
def test_numbers_of_every_library_become_plain(value):
    number = check_number("x", value, least=3, most=3)
    assert type(number) is float
    assert number == 3


def test_whole_numbers_become_int_and_stay_exact():
    assert check_number("seed", np.int64(2**62 + 1), integer=True) == 2**62 + 1
    assert type(check_number("seed", np.uint8(3), integer=True)) is int


def test_limits_that_exclude_and_include():
    assert check_number("x", math.inf, above=0, finite=False) == math.inf
    assert check_number("x", 0, least=0) == 0
    for limits in ({"above": 0}, {"below": 0}, {"least": 1}, {"most": -1}):
        with pytest.raises(ValueError, match="x: want"):
            check_number("x", 0, **limits)


def test_choices_are_told_apart_by_type():
    assert check_choice("backend", "auto", ("auto", "cpu")) == "auto"
    with pytest.raises(ValueError, match="flag"):
        check_choice("flag", 1, [True, False])


@pytest.mark.parametrize("kind", ["numpy", "torch", "bfloat16"])
@given(
    size=st.integers(1, 300),
    bad=st.dictionaries(st.integers(0, 299), st.sampled_from([np.nan, np.inf, -np.inf]), max_size=5),
)
def test_finite_counts_exactly_what_is_not(kind, size, bad):
    values = np.ones((2, size))
    bad = {place % values.size: value for place, value in bad.items()}
    values.reshape(-1)[list(bad)] = list(bad.values())
    array = torch.from_numpy(values) if kind != "numpy" else values
    array = array.bfloat16() if kind == "bfloat16" else array
    if not bad:
        assert check_finite("X", array) is None
        return
    with pytest.raises(ValueError, match="X: want finite values") as caught:
        check_finite("X", array)
    nans = sum(math.isnan(value) for value in bad.values())
    assert (f"{nans} NaN" in str(caught.value)) == (nans > 0)
    assert (f"{len(bad) - nans} infinite" in str(caught.value)) == (nans < len(bad))
    first = tuple(int(i) for i in np.unravel_index(min(bad), values.shape))
    assert str(caught.value).endswith(f"the first at {first}")


def test_finite_values_whose_sum_overflows_are_finite():
    big = np.full(4, np.finfo(np.float64).max)
    assert torch.isinf(torch.from_numpy(big).sum())  # the short cut through the sum cannot decide here
    check_finite("X", big)
    check_finite("X", torch.from_numpy(big))
    check_finite("X", np.full(100, 60000, np.float16))


def test_whole_numbers_and_text_are_not_searched():
    check_finite("y", np.array([1, 2]))
    check_finite("y", torch.tensor([True]))
    check_finite("y", np.array(["a", "b"]))


def test_shapes_are_named():
    assert check_shape("X", np.zeros((5, 3)), "n d") == {"n": 5, "d": 3}
    assert check_shape("x", torch.zeros(2, 7, 3, 8, 8), "... 3 s s") == {"s": 8}
    assert check_shape("x", np.zeros(()), "") == {}
    for array, pattern in ((np.zeros((2, 3)), "n n"), (np.zeros(3), "n d"), (np.zeros(3), "... n d")):
        with pytest.raises(ValueError, match="want shape"):
            check_shape("x", array, pattern)


def test_nearest_prefers_what_contains_the_word_and_ignores_case():
    names = ["linear_model/worst-case", "linear_model/overlay", "orthogonal/norm"]
    assert nearest("Worst", names) == ["linear_model/worst-case"]
    assert nearest("linear_model/worstcase", names)[0] == "linear_model/worst-case"
    assert nearest("zzz", names) == []
    assert nearest("", names) == []
