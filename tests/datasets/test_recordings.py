"""Recordings are found, checked and told about; a person's own files are read, or refused with the place of
the fault.
"""

import functools
import hashlib
import http.server
import pickle
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from isocline.datasets import recordings
from isocline.datasets.recordings import RECORDINGS, read_series, recording

GENERATOR = np.random.default_rng(0)


@pytest.fixture
def eeg(monkeypatch, tmp_path):
    """A folder with a small stand-in for the EEG file, whose digest and shape the table now knows."""
    monkeypatch.delenv("ISOCLINE_DATA", raising=False)
    values = GENERATOR.normal(size=(30, 4)).astype(np.float32)
    np.save(tmp_path / "eeg_64d.npy", values)
    digest = hashlib.sha256((tmp_path / "eeg_64d.npy").read_bytes()).hexdigest()
    known = RECORDINGS["eeg"]._replace(files={"eeg_64d.npy": digest}, shape=(30, 4))
    monkeypatch.setitem(recordings.RECORDINGS, "eeg", known)
    return tmp_path, values


def test_the_table_is_whole():
    assert set(RECORDINGS) == {"lorenz63", "ecg", "eeg", "bursting_neuron", "rossler", "fmri"}
    digests = [digest for known in RECORDINGS.values() for digest in known.files.values()]
    assert len(set(digests)) == 9
    assert all(len(digest) == 64 for digest in digests)
    assert all(len(known.files) == 2 or known.caveat for known in RECORDINGS.values())  # no test set: say so


def test_found_by_argument_by_variable_and_one_folder_down(eeg, monkeypatch, tmp_path):
    folder, values = eeg
    found = recording("eeg", folder)
    np.testing.assert_array_equal(found.series, values)
    assert found.series.dtype == np.float64
    monkeypatch.setenv("ISOCLINE_DATA", str(folder))
    np.testing.assert_array_equal(recording("eeg").series, values)
    (folder / "dynamics").mkdir()
    (folder / "eeg_64d.npy").rename(folder / "dynamics/eeg_64d.npy")
    np.testing.assert_array_equal(recording("eeg").series, values)


def test_the_caveat_of_the_eeg_travels_with_it(eeg):
    found = recording("eeg", eeg[0])
    assert found.test is None
    assert "no test set" in found.caveat
    facts = found.to_dict()
    assert facts["caveat"] == found.caveat
    assert (facts["test_shape"], facts["sampling_rate"]) == (None, 160.0)


def test_a_damaged_file_is_refused(eeg):
    folder, _ = eeg
    good = (folder / "eeg_64d.npy").read_bytes()
    for place in range(0, len(good), 7):
        bad = bytearray(good)
        bad[place] ^= 1
        (folder / "eeg_64d.npy").write_bytes(bad)
        with pytest.raises(ValueError, match=r"eeg_64d\.npy: want sha256 .*damaged or another file"):
            recording("eeg", folder)
    (folder / "eeg_64d.npy").write_bytes(good)
    assert recording("eeg", folder).name == "eeg"


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def address(eeg):
    handler = functools.partial(_Quiet, directory=str(eeg[0]))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_fetched_once_and_checked(eeg, address, tmp_path_factory):
    folder, values = eeg
    target = tmp_path_factory.mktemp("fetched")
    np.testing.assert_array_equal(recording("eeg", target, url=address).series, values)
    assert (target / "eeg_64d.npy").is_file()
    np.testing.assert_array_equal(recording("eeg", target).series, values)  # now without the network
    (folder / "eeg_64d.npy").write_bytes(b"something else")
    other = tmp_path_factory.mktemp("other")
    with pytest.raises(FileNotFoundError, match=r"url: want the address of a folder with eeg_64d\.npy"):
        recording("eeg", other, url=address)
    assert not list(other.iterdir())


def test_without_pooch_the_extra_is_named(eeg, monkeypatch, tmp_path_factory):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match=r"pip install 'isocline\[data\]'"):
        recording("eeg", tmp_path_factory.mktemp("empty"), url="http://127.0.0.1:9")


@given(
    values=arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(1, 4)), elements=st.floats(-1e9, 1e9))
)
@settings(max_examples=25)
def test_what_was_written_is_read_again(tmp_path_factory, values):
    folder = tmp_path_factory.mktemp("series")
    np.save(folder / "a.npy", values)
    np.testing.assert_array_equal(read_series(folder / "a.npy").series, values)
    for delimiter, name in ((",", "a.csv"), (";", "a.csv"), ("\t", "a.tsv"), (" ", "a.txt")):
        np.savetxt(folder / name, values, delimiter=delimiter, fmt="%.17g")
        np.testing.assert_array_equal(read_series(folder / name).series, values)


def _read(folder, text, name="a.csv", **arguments):
    (folder / name).write_text(text, encoding="utf-8")
    return read_series(folder / name, **arguments)


def test_names_comments_gaps_quotes_and_byte_order_marks(tmp_path):
    text = '\ufeff# made by hand\r\n"x, left", y\r\n1.5, NA\r\n\r\n,2e3  # late\r\n3,nan\r\n'
    found = _read(tmp_path, text)
    assert found.channels == ("x, left", "y")
    np.testing.assert_array_equal(found.series, [[1.5, np.nan], [np.nan, 2000], [3, np.nan]])
    assert found.name == "a"


def test_a_first_row_of_numbers_is_data(tmp_path):
    found = _read(tmp_path, "1,2\n3,4\n")
    assert found.series.tolist() == [[1, 2], [3, 4]]
    assert found.channels == ("channel 0", "channel 1")
    assert _read(tmp_path, "x\n1\n2\n").series.tolist() == [[1], [2]]


def test_columns_by_name_and_number_leave_text_out(tmp_path):
    text = "when,a,b\n2020-01-01,1,2\n2020-01-02,3,4\n"
    assert _read(tmp_path, text, columns=["b", 1]).series.tolist() == [[2, 1], [4, 3]]
    assert _read(tmp_path, text, columns=["b"]).channels == ("b",)
    with pytest.raises(
        ValueError, match=r"line 2, column 0 \(when\): want a number, got '2020-01-01'; choose"
    ):
        _read(tmp_path, text)
    np.save(tmp_path / "a.npy", np.arange(6.0).reshape(2, 3))
    assert read_series(tmp_path / "a.npy", columns=[2, 0]).series.tolist() == [[2, 0], [5, 3]]


def test_a_column_of_times_is_not_learned_as_a_channel(tmp_path):
    text = "t,x\n0.0,1\n0.1,5\n0.2,2\n"
    with pytest.raises(ValueError, match="'t', which only rises, as times do; choose columns="):
        _read(tmp_path, text)
    assert _read(tmp_path, text, columns=["x"]).series.tolist() == [[1], [5], [2]]
    assert _read(tmp_path, text, columns=["t", "x"]).series.shape == (3, 2)  # asked for by name: taken
    indexed = ",0,1\n0,7,8\n1,6,5\n2,7,7\n"  # row numbers under an empty corner, as data frames are written
    with pytest.raises(ValueError, match="only rises"):
        _read(tmp_path, indexed)
    assert _read(tmp_path, indexed, columns=["0", "1"]).series.tolist() == [[7, 8], [6, 5], [7, 7]]


WRONG = [
    ("a.csv", "", "a.csv: want rows of numbers, got an empty file"),
    ("a.csv", "x,y\n", "a.csv: want rows of numbers, got names only"),
    ("a.csv", "x,y\n1,2\n3\n", "a.csv, line 3: want 2 cells, as in the first line, got 1"),
    ("a.csv", "x,y\n1,2\n3,abc\n", "a.csv, line 3, column 1 (y): want a number, got 'abc'"),
    (
        "a.csv",
        "1;2\n1,5;2\n",
        "a.csv, line 2, column 0: want a number, got '1,5'; write decimals with a point",
    ),
    ("a.csv", "1,2\n3,inf\n", "a.csv: want finite values, got 1 infinite of 4, the first at (1, 1)"),
    ("a.xlsx", "1,2\n", "path: want a .npy, .csv, .tsv, .txt or .dat file, got a.xlsx"),
    ("a.npy", "1,2\n", "a.npy: want a .npy file with numbers, got one that cannot be read"),
]


@pytest.mark.parametrize(("name", "text", "message"), WRONG, ids=[one[2][:40] for one in WRONG])
def test_a_wrong_file_is_answered_with_the_place(tmp_path, name, text, message):
    with pytest.raises(ValueError, match="want") as caught:
        _read(tmp_path, text, name)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda p: recording("ekg", p), ValueError, "got 'ekg'; did you mean 'eeg' or 'ecg'?"),
        (lambda p: recording("ecg", p), FileNotFoundError, "folder: want a folder with ecg_5d_train.npy"),
        (lambda p: read_series(p / "no.csv"), FileNotFoundError, "path: want a file, got "),
        (lambda p: _read(p, "x,y\n1,2\n", columns=["z"]), ValueError, "want numbers from 0 to 1 or names, x"),
        (lambda p: _read(p, "x,y\n1,2\n", columns=[]), ValueError, "want a list of names or numbers, got []"),
        (lambda p: _read(p, "x,y\n1,2\n", columns="x"), ValueError, "want a list of names or numbers"),
        (lambda p: _read(p, "x,y\n1,2\n", columns=[2]), ValueError, "columns: want numbers from 0 to 1"),
    ],
)  # fmt: skip
def test_a_wrong_call_is_answered_with_the_argument(tmp_path, monkeypatch, call, error, message):
    monkeypatch.delenv("ISOCLINE_DATA", raising=False)
    with pytest.raises(error) as caught:
        call(tmp_path)
    assert message in str(caught.value)


def test_no_folder_at_all_names_the_variable(monkeypatch):
    monkeypatch.delenv("ISOCLINE_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="neither the argument nor ISOCLINE_DATA is set"):
        recording("ecg")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (
            np.ones(5),
            "want numbers of shape (time, channels), got an array of shape (5,), float64; one channel is",
        ),
        (np.ones((2, 2, 2)), "want numbers of shape (time, channels)"),
        (np.ones((0, 2)), "want numbers of shape (time, channels)"),
        (np.array([["a", "b"]]), "want numbers of shape (time, channels)"),
        (np.array([[1.0, np.inf]]), "want finite values, got 1 infinite"),
    ],
)
def test_arrays_that_are_no_series(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(ValueError, match="want") as caught:
        read_series(tmp_path / "a.npy")
    assert message in str(caught.value)


class _Trap:
    def __reduce__(self):
        return print, ("executed",)


def test_nothing_in_a_file_is_executed(tmp_path, capsys):
    np.save(tmp_path / "a.npy", np.array([[_Trap(), _Trap()]], object), allow_pickle=True)
    (tmp_path / "b.npy").write_bytes(pickle.dumps(_Trap()))
    for name in ("a.npy", "b.npy"):
        with pytest.raises(ValueError, match="cannot be read"):
            read_series(tmp_path / name)
    assert "executed" not in capsys.readouterr().out


def test_any_damage_to_a_file_is_a_value_error_or_numbers(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, GENERATOR.normal(size=(6, 3)))
    good, refused = path.read_bytes(), 0
    for _ in range(1000):
        bad = bytearray(good)
        for place in GENERATOR.integers(len(bad), size=3):
            bad[place] = GENERATOR.integers(256)
        path.write_bytes(bad[: GENERATOR.integers(1, len(bad) + 1)] if GENERATOR.random() < 0.5 else bad)
        try:
            found = read_series(path).series
        except ValueError:
            refused += 1
        else:
            assert found.ndim == 2
    assert 300 < refused < 1000
