"""Recordings to learn from: the benchmark series of the room ``dynamics``, and a reader for a person's own
files.

The benchmark files are not part of the package. They are looked for in a folder given by argument or by the
environment variable ISOCLINE_DATA, and can be fetched from a mirror; either way their sha256 must be the one
known here.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from isocline._core.checks import check_finite, nearest, wrong

from .locate import VARIABLE
from .tables import read_table

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """A multivariate series, with what must be known about it."""

    name: str
    series: Array  # (T, N), to train on; NaN where a person's own file has nothing
    test: Array | None  # (T', N) another stretch; None if there is none
    sampling_rate: float | None  # samples per second, or per unit of time of a simulation; None: not known
    channels: tuple[str, ...]
    origin: str
    caveat: str  # what has to stand beside every score on it; empty if nothing

    def to_dict(self) -> dict[str, object]:
        """Everything but the values, in plain JSON types."""
        return {
            "name": self.name,
            "shape": list(self.series.shape),
            "test_shape": None if self.test is None else list(self.test.shape),
            "sampling_rate": self.sampling_rate,
            "channels": list(self.channels),
            "origin": self.origin,
            "caveat": self.caveat,
        }


class _Known(NamedTuple):
    """What is known of a benchmark: its files with their sha256, shape of each, and what `Recording` says of
    it.
    """

    files: dict[str, str]
    shape: tuple[int, int]
    sampling_rate: float | None
    origin: str
    caveat: str = ""


_NO_TEST = (
    "EEG has no test set: in every public copy the train and test files are identical, so its scores are "
    "computed on the recording it was trained on"
)

RECORDINGS = {
    "lorenz63": _Known(
        {
            "lorenz63_noise005_train.npy": "a8b67b79f0bb112fcfc0fe871837903681c4d8169acb3cdbda8c8f9881de136d",
            "lorenz63_test.npy": "4fdcf12d6aa21d6804c4347ab96f693d7864ce22ab086b78f2e12a2e4f5f89aa",
        },
        (100_000, 3),
        100.0,
        "Lorenz-63 (10, 28, 8/3), standardised; 5 % noise on the training orbit, none on the test orbit",
    ),
    "ecg": _Known(
        {
            "ecg_5d_train.npy": "83c18c80177a0464123e1ed264a44683a07d647567992af2d78503dcbd5efcc7",
            "ecg_5d_test.npy": "aed4841e97ab4665299c5a0bf3dbc5c9053c55841a6f1a5da014cea0aff5ddf2",
        },
        (100_000, 5),
        700.0,
        "one ECG lead (PPG-DaLiA study), delay-embedded at 0, 20, 68, 55 and 10 samples",
    ),
    "eeg": _Known(
        {"eeg_64d.npy": "7cc56e3b648ce492e1ac3d4284c46ccd1092e4abbc4c45f020b8c4a0b2a994bf"},
        (9640, 64),
        160.0,
        "scalp EEG, 64 electrodes (PhysioNet Motor Movement/Imagery), smoothed, standardised",
        _NO_TEST,
    ),
    "bursting_neuron": _Known(
        {
            "bursting_neuron_train.npy": "7643f704e8828e225b7c2d57e6847b321942b631260c0fa4422217f97184d1ba",
            "bursting_neuron_test.npy": "0630743ff6e64c9e9c4d5e525c1eb5b456300a9bbf2a953b99cde7e226dcaf55",
        },
        (100_000, 3),
        None,
        "a bursting neuron model; about 10 % noise on the training orbit, none on the test orbit",
    ),
    "rossler": _Known(
        {"rossler.npy": "2e585590020e79a80864b3cdead3654d37c2b760c1246e8501737b598f08aee1"},
        (100_000, 3),
        12.5,
        "Roessler orbit, standardised",
        "Roessler has no test set",
    ),
    "fmri": _Known(
        {"fmri_20d.npy": "bec8e135ff20da1734166ee45bc3381d536f127cc7a3ae14c2444abfc90c2b7e"},
        (360, 20),
        None,
        "BOLD series of one person, 20 channels",
        "fMRI has no test set, and 360 samples decide little",
    ),
}


def recording(
    name: str, folder: str | os.PathLike[str] | None = None, *, url: str | None = None
) -> Recording:
    """A benchmark recording: "lorenz63", "ecg", "eeg", "bursting_neuron", "rossler" or "fmri".

    Its files are looked for in ``folder``, or in $ISOCLINE_DATA, or in ``dynamics`` inside that; with
    ``url``, the address of a folder that serves them, what is missing is fetched into ``folder`` (else
    pooch's cache) and checked. Returns float64. Raises ValueError for a name it does not know and for a
    damaged file, FileNotFoundError with the places it looked at, ImportError if pooch is needed and missing
    (``pip install 'isocline[data]'``).
    """
    if name not in RECORDINGS:
        close = " or ".join(map(repr, nearest(str(name), RECORDINGS)))
        choices = ", ".join(map(repr, RECORDINGS))
        raise wrong("name", f"one of {choices}", repr(name), close and f"did you mean {close}?")
    known = RECORDINGS[name]
    series = [
        _load(_find(file, digest, folder, url), digest, known.shape) for file, digest in known.files.items()
    ]
    channels = tuple(f"channel {i}" for i in range(known.shape[1]))
    test = series[1] if len(series) > 1 else None
    return Recording(name, series[0], test, known.sampling_rate, channels, known.origin, known.caveat)


def _find(file: str, digest: str, folder: str | os.PathLike[str] | None, url: str | None) -> Path:
    given = folder if folder is not None else os.environ.get(VARIABLE) or None
    places = [] if given is None else [Path(given) / file, Path(given) / "dynamics" / file]
    for place in places:
        if place.is_file():
            return place
    if url is None:
        looked = " nor ".join(map(str, places)) or f"no folder: neither the argument nor {VARIABLE} is set"
        do = f"give the folder of the recordings as argument or in {VARIABLE}, or url= to fetch them"
        raise wrong("folder", f"a folder with {file}", looked, do, error=FileNotFoundError)
    try:
        import pooch
    except ImportError as error:
        raise ImportError("fetching recordings needs pooch: pip install 'isocline[data]'") from error
    address, where = f"{url.rstrip('/')}/{file}", given or pooch.os_cache("isocline")
    try:  # written beside the target and moved there only when the digest is right
        return Path(pooch.retrieve(address, f"sha256:{digest}", fname=file, path=where))
    except Exception as error:  # whatever a downloader raises
        got = f"{type(error).__name__}: {error}"
        raise wrong("url", f"the address of a folder with {file}", got, error=FileNotFoundError) from error


def _load(path: Path, digest: str, shape: tuple[int, int]) -> Array:
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != digest:
        do = "fetch the file again; read_series reads files of your own"
        raise wrong(
            str(path), f"sha256 {digest[:12]}...", f"{found[:12]}..., so it is damaged or another file", do
        )
    array = _npy(path)
    if array.shape != shape:
        raise wrong(str(path), f"shape {shape}", f"{array.shape}")
    return array


def read_series(
    path: str | os.PathLike[str], *, columns: Sequence[str | int] | None = None, delimiter: str | None = None
) -> Recording:
    """A person's own series ``(T, N)``, time down the rows, from .npy or from text (.csv, .tsv, .txt, .dat).

    Text may have one line of names, comments after ``#``, and cells that say nothing (empty, NA, NaN, null,
    ?), which become NaN: missing. The delimiter is comma, semicolon, tab or blanks, whichever the first rows
    have. ``columns`` picks channels by name or number, for a file that also holds times or labels. Nothing in
    the file is ever executed. Raises FileNotFoundError and ValueError, the latter with line and column of
    what it cannot read.
    """
    path = Path(path)
    if not path.is_file():
        raise wrong("path", "a file", str(path), "check the name", error=FileNotFoundError)
    if path.suffix.lower() == ".npy":
        values = _npy(path)
        names: list[str] = []
        if columns is not None:
            numbers = [
                one for one in columns if isinstance(one, (int, np.integer)) and 0 <= one < values.shape[1]
            ]
            if len(numbers) != len(columns) or not numbers:
                raise wrong("columns", f"numbers from 0 to {values.shape[1] - 1}", list(columns))
            values = values[:, numbers]
    elif path.suffix.lower() in (".csv", ".tsv", ".txt", ".dat"):
        values, names = read_table(path, columns, delimiter)
    else:
        raise wrong("path", "a .npy, .csv, .tsv, .txt or .dat file", path.name, "np.save writes .npy")
    if np.isinf(values).any():
        check_finite(path.name, np.where(np.isnan(values), 0.0, values))
    channels = tuple(names) or tuple(f"channel {i}" for i in range(values.shape[1]))
    return Recording(path.stem, values, None, None, channels, str(path), "")


def _npy(path: Path) -> Array:
    """``(T, N)`` of a .npy file; what would have to be unpickled is refused."""
    try:
        with path.open("rb") as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
    except Exception as error:  # a damaged header fails in NumPy's tokenizer, parser or allocator
        raise wrong(path.name, "a .npy file with numbers", f"one that cannot be read: {error}") from error
    if array.dtype.kind not in "fiub" or array.ndim != 2 or array.size == 0:
        do = "one channel is series[:, None]" if array.ndim == 1 else ""
        raise wrong(path.name, "numbers of shape (time, channels)", array, do)
    return array.astype(np.float64)
