"""Series at the door, standardised, split and cut into windows."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from isocline.dynamics.windows import Recorded, Standard, Windows, as_recorded, split

RANDOM = np.random.default_rng(0)


def _series(length, channels=2):
    return RANDOM.normal(size=(length, channels))


def _gap(series, *places):
    series = series.copy()
    for place in places:
        series[place] = math.nan
    return series


def test_one_array_and_a_list_of_one_are_the_same():
    x = _series(10)
    (one,), (same,) = as_recorded(x), as_recorded([x])
    np.testing.assert_array_equal(one.series, same.series)
    (nested,) = as_recorded(x.tolist())
    np.testing.assert_array_equal(nested.series, x)
    (tensor,) = as_recorded(torch.from_numpy(x))
    np.testing.assert_array_equal(tensor.series, x)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(1, 12))
def test_every_window_lies_within_one_series_and_begins_complete(lengths, length):
    """Drawn series with gaps: the rows of a window are consecutive samples of one series, and all such are there."""
    random = np.random.default_rng(sum(lengths))
    recorded = []
    for number, size in enumerate(lengths):
        series = np.stack([np.full(size, number), np.arange(size)], 1).astype(float)
        series[random.random(size) < 0.2, 1] = math.nan
        recorded.append(Recorded(series))
    want = sum(int((~np.isnan(one.series[: max(0, len(one) - length), 1])).sum()) for one in recorded)
    if want == 0:
        with pytest.raises(ValueError, match="series: want"):
            Windows.of(recorded, length)
        return
    windows = Windows.of(recorded, length, torch.float64)
    assert len(windows.starts) == want
    for start in windows.starts.tolist():
        rows = windows.rows[start : start + length + 1]
        assert len(rows) == length + 1
        assert len(rows[:, 0].unique()) == 1  # one series
        known = ~rows[:, 1].isnan()
        assert known[0]
        steps = rows[known, 1] - torch.arange(length + 1)[known]
        assert (steps == steps[0]).all()  # consecutive


@given(st.integers(20, 200), st.floats(0.05, 0.5))
def test_one_series_is_cut_once_and_nothing_is_lost(length, share):
    assume(round((1 - share) * length) <= length - 2)
    x = _series(length)
    trained_on, held_out = split([Recorded(x)], share, 5)
    assert len(trained_on) == len(held_out) == 1
    np.testing.assert_array_equal(np.concatenate([trained_on[0].series, held_out[0].series]), x)
    assert abs(len(held_out[0]) - share * length) <= 1


def test_of_many_series_the_last_are_held_out_whole():
    many = [Recorded(_series(30)) for _ in range(20)]
    trained_on, held_out = split(many, 0.1, 5)
    assert len(trained_on) == 18
    assert held_out == many[18:]


def test_a_series_too_short_to_be_cut_is_trained_on_whole():
    short, long = Recorded(_series(12)), Recorded(_series(100))
    trained_on, held_out = split([short, long], 0.2, 11)
    assert trained_on[0] is short
    assert [len(one) for one in held_out] == [20]
    assert split([short, long], 0, 11) == ([short, long], [])


def test_the_longest_complete_stretch():
    x = _gap(_series(20), (3, 0), (9, 1), (10, 0))
    known = Recorded(x, np.arange(20.0)[:, None]).complete()
    assert known.inputs is not None
    assert known.inputs[:, 0].tolist() == list(range(11, 20))
    assert len(Recorded(np.full((4, 1), math.nan)).complete()) == 0


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3))
def test_standardising_gives_mean_0_and_deviation_1_and_can_be_undone(mean, scale):
    x = _gap(_series(50) * scale + mean, (4, 1))
    standard = Standard.of([x[:20], x[20:]])
    z = standard.apply(x)
    np.testing.assert_allclose(np.nanmean(z, 0), 0, atol=1e-7)  # 1e3 / 1e-3 of cancellation
    np.testing.assert_allclose(np.nanstd(z, 0), 1, rtol=1e-7)
    np.testing.assert_allclose(standard.invert(z), x, rtol=1e-12, atol=1e-12 * abs(mean))


STILL = np.stack([np.arange(9.0), np.full(9, 2.0)], 1)
WRONG = [
    (lambda: as_recorded(np.arange(9.0)), "series: want shape (time, channels), got an array of shape (9,)"),
    (lambda: as_recorded([np.arange(9.0)] * 2), "series[0]: want shape (time, channels)"),
    (lambda: as_recorded(np.zeros((4, 2, 2))), "series: want shape (time, channels)"),
    (lambda: as_recorded([]), "series: want at least one array (time, channels), got an empty list"),
    (lambda: as_recorded(np.array([["a", "b"]])), "series: want numbers in an array (time, channels)"),
    (lambda: as_recorded(np.full((5, 2), math.inf)), "series: want finite values, got 10 infinite of 10"),
    (lambda: as_recorded([_series(5), _series(5, 3)]), "series[1]: want 2 channels, got 3"),
    (lambda: as_recorded(_series(5), channels=3), "series: want 3 channels, got 2"),
    (lambda: as_recorded(_series(5), _series(4)), "inputs: want shape (5, 2), got an array of shape (4, 2)"),
    (lambda: as_recorded([_series(5)] * 2, [_series(5)]), "inputs: want a list of 2 arrays, one for each"),
    (lambda: as_recorded(_series(5), _series(5), drives=0), "inputs: want None: the model was fitted without"),
    (lambda: as_recorded(_series(5), drives=2), "inputs: want shape (5, 2), got None"),
    (lambda: as_recorded(_series(5), _gap(_series(5), 2)), "inputs: want finite values, got 2 NaN"),
    (lambda: Standard.of([STILL]), "series: want channels that change, got constant channel 1"),
    (lambda: Standard.of([_gap(STILL, (slice(None), 0))]), "got channel 0 all missing; drop the channel"),
    (lambda: Windows.of([Recorded(_series(9))], 9), "series: want more than sequence_length = 9 samples to"),
    (
        lambda: Windows.of([Recorded(_gap(_series(9), (slice(None, None, 2), 0), (slice(1, None, 2), 1)))], 3),
        "series: want complete samples to begin a window at, got none",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), WRONG, ids=[message[:50] for _, message in WRONG])
def test_the_message_names_what_was_wrong(call, message):
    with pytest.raises(ValueError, match="want") as caught:
        call()
    assert message in str(caught.value)
