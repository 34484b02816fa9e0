"""What is saved comes back exactly, also when the saver was killed; what cannot be saved changes nothing."""

import dataclasses
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from isocline._core.files import (
    CheckpointError,
    load_folder,
    plain,
    read_json,
    save_folder,
    write_atomic,
    write_json,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
number_arrays = npst.arrays(
    st.sampled_from(["f2", "f4", "f8", ">f8", "i1", "u1", "i4", "i8", "u8", "?", "c8"]),
    npst.array_shapes(min_dims=0, min_side=0, max_side=4),
)


@dataclasses.dataclass(frozen=True)
class Setting:
    step: float
    where: Path


class TestPlain:
    @given(json_values)
    def test_json_stays_as_it_is(self, value):
        assert json.loads(json.dumps(plain(value))) == value

    def test_everything_a_setting_holds_has_a_plain_form(self):
        value = {
            1: Setting(np.float32(0.5), Path("a") / "b"),
            "t": (torch.tensor([1, 2]), np.arange(4).reshape(2, 2), np.bool_(True)),
            "half": torch.ones(1, dtype=torch.bfloat16),
            "none": None,
        }
        assert plain(value) == {
            "1": {"step": 0.5, "where": os.path.join("a", "b")},
            "t": [[1, 2], [[0, 1], [2, 3]], True],
            "half": [1.0],
            "none": None,
        }

    def test_what_is_not_finite_becomes_a_word_that_float_reads(self):
        assert plain([np.nan, np.inf, -np.inf, np.array([np.nan])]) == ["nan", "inf", "-inf", ["nan"]]
        assert [float(word) for word in plain([np.inf, -np.inf])] == [np.inf, -np.inf]

    def test_results_say_themselves_what_is_plain(self):
        class Result:
            def to_dict(self):
                return {"value": np.float64(2)}

        assert plain(Result()) == {"value": 2.0}

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            (
                {"a": [1, {1, 2}]},
                "value.a[1]: want numbers, text, None, lists, mappings or dataclasses, got set",
            ),
            ({(1, 2): 3}, "value: want keys that are text or numbers, got (1, 2)"),
            ({1: 1, "1": 2}, "value: want keys that differ as text, got '1' twice"),
            (lambda: 0, "value: want numbers, text, None, lists, mappings or dataclasses, got function"),
            (
                np.zeros(100_001),
                "got an array of shape (100001,), float64; save it among the arrays",
            ),
            (
                np.array([1j]),
                "value: want at most 100000 real numbers, got an array of shape (1,), complex128",
            ),
        ],
    )
    def test_what_is_not_plain_is_named_with_its_place(self, value, message):
        with pytest.raises(TypeError, match=re.escape(message)):
            plain(value)


class TestOneFile:
    def test_text_bytes_and_new_folders(self, tmp_path):
        write_atomic(tmp_path / "a" / "b.txt", "≥ 1\n")
        assert (tmp_path / "a" / "b.txt").read_bytes() == "≥ 1\n".encode()
        write_atomic(tmp_path / "a" / "b.txt", b"\x00")
        assert (tmp_path / "a" / "b.txt").read_bytes() == b"\x00"
        assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.txt"]

    def test_others_may_read_it_as_any_file(self, tmp_path):
        (tmp_path / "usual").touch()
        write_atomic(tmp_path / "ours", "")
        assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode

    def test_a_failure_leaves_the_old_file_and_nothing_else(self, tmp_path, monkeypatch):
        write_atomic(tmp_path / "x", "old")

        def fail(*paths):
            raise OSError("disk full")

        monkeypatch.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="disk full"):
            write_atomic(tmp_path / "x", "new")
        assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("x", "old")]

    @given(value=json_values)
    def test_json_round_trip(self, tmp_path_factory, value):
        path = tmp_path_factory.mktemp("json") / "x.json"
        write_json(path, value)
        assert read_json(path) == value

    @pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"1 2"])
    def test_what_is_not_json_is_named(self, tmp_path, content):
        path = tmp_path / "x.json"
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"x\.json: is not JSON"):
            read_json(path)
        with pytest.raises(CheckpointError, match=r"y\.json: cannot be read \(No such file"):
            read_json(tmp_path / "y.json")


class TestFolder:
    @given(
        config=st.dictionaries(st.text(), json_values, max_size=3),
        arrays=st.dictionaries(
            st.text().filter(lambda name: name != "__metadata__"), number_arrays, max_size=3
        ),
    )
    def test_everything_comes_back_bit_for_bit(self, tmp_path_factory, config, arrays):
        folder = tmp_path_factory.mktemp("state")
        save_folder(folder, config, arrays)
        config_back, arrays_back = load_folder(folder)
        assert config_back == config
        assert arrays_back.keys() == arrays.keys()
        for name, array in arrays.items():
            assert arrays_back[name].shape == array.shape
            assert arrays_back[name].dtype == array.dtype.newbyteorder("=")
            assert arrays_back[name].tobytes() == np.asarray(array, array.dtype.newbyteorder("=")).tobytes()

    def test_views_ties_and_transposes(self, tmp_path):
        base = torch.arange(12.0).reshape(3, 4)
        arrays = {
            "tied": base,
            "again": base,
            "view": base[1:],
            "turned": base.T,
            "every second": np.arange(6)[::2],
            "grad": torch.ones(2, requires_grad=True),
            "mirrored": torch.tensor([1 + 2j], dtype=torch.complex64).conj(),
            "negated": torch.tensor([1 + 2j], dtype=torch.complex64).conj().imag,
        }
        save_folder(tmp_path, {}, arrays)
        _, back = load_folder(tmp_path)
        for name, array in arrays.items():
            assert np.array_equal(
                back[name],
                array.detach().resolve_conj().resolve_neg().numpy()
                if isinstance(array, torch.Tensor)
                else array,
            )

    def test_bfloat16_needs_tensors_and_says_so(self, tmp_path):
        saved = torch.randn(5).bfloat16()
        save_folder(tmp_path, {}, {"w": saved})
        _, back = load_folder(tmp_path, tensors=True)
        assert back["w"].dtype == torch.bfloat16
        assert torch.equal(back["w"], saved)
        with pytest.raises(CheckpointError, match=r"NumPy lacks a type that is saved here.*use tensors=True"):
            load_folder(tmp_path)

    def test_a_later_save_replaces_all_of_the_earlier_and_clears_what_a_kill_left(self, tmp_path):
        save_folder(tmp_path, {"step": 1}, {"w": np.zeros(3)})
        (tmp_path / ".0123456789abcdef.tmp").write_bytes(b"left by a kill")
        (tmp_path / "notes.txt").write_text("not ours")
        save_folder(tmp_path, {"step": 2})
        assert load_folder(tmp_path) == ({"step": 2}, {})
        names = sorted(path.name for path in tmp_path.iterdir())
        assert names == [next(n for n in names if n.startswith("config-")), "manifest.json", "notes.txt"]

    @pytest.mark.parametrize(
        ("arrays", "error", "message"),
        [
            ({"a": np.array([None])}, TypeError, "arrays['a']: want numbers or booleans, got an array"),
            ({"a": np.array(["x"])}, TypeError, "arrays['a']: want numbers or booleans"),
            ({"a": np.zeros(2, np.longdouble)}, TypeError, "arrays['a']: want numbers or booleans"),
            ({"a": np.array([1j])}, TypeError, "arrays['a']: want a dense array of a type safetensors knows"),
            ({"a": torch.eye(2).to_sparse()}, TypeError, "arrays['a']: want a dense array"),
            ({"__metadata__": np.zeros(2)}, ValueError, "arrays: want names that are text"),
            ({3: np.zeros(2)}, ValueError, "arrays: want names that are text"),
        ],
    )
    def test_what_cannot_be_saved_leaves_the_old_state(self, tmp_path, arrays, error, message):
        save_folder(tmp_path, {"step": 1})
        with pytest.raises(error, match=re.escape(message)):
            save_folder(tmp_path, {"step": 2}, arrays)
        assert load_folder(tmp_path) == ({"step": 1}, {})

    def test_a_folder_that_is_none(self, tmp_path):
        with pytest.raises(CheckpointError, match="cannot be read"):
            load_folder(tmp_path / "nowhere")
        with pytest.raises(CheckpointError, match=r"holds no manifest\.json"):
            load_folder(tmp_path)

    def test_two_savers_and_a_reader_do_not_disturb_one_another(self, tmp_path):
        save_folder(tmp_path, {"who": -1}, {"who": np.full(50, -1)})
        errors, seen = [], set()

        def save(who):
            for _ in range(30):
                save_folder(tmp_path, {"who": who}, {"who": np.full(50, who)})

        def read():
            try:
                while any(thread.is_alive() for thread in savers):
                    config, arrays = load_folder(tmp_path)
                    assert (arrays["who"] == config["who"]).all()
                    seen.add(config["who"])
            except Exception as error:
                errors.append(error)

        savers = [threading.Thread(target=save, args=(who,)) for who in (0, 1)]
        reader = threading.Thread(target=read)
        for thread in (*savers, reader):
            thread.start()
        for thread in (*savers, reader):
            thread.join()
        assert not errors
        assert seen & {0, 1}


KILLER = """
import json, os, random, signal, sys, time
from pathlib import Path
import numpy as np
from isocline._core.files import load_folder, save_folder

folder, chance = Path(sys.argv[1]), random.Random(0)
for _ in range(60):
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        for step in range(1, 10**9):
            arrays = {"step": np.full(20_000, step), "noise": np.random.rand(step % 7, 3)}
            save_folder(folder, {"step": step}, arrays)
            os.write(theirs, f"{step}\\n".encode())
    os.close(theirs)
    told = os.read(ours, 4096)  # the kill lands after at least one whole save
    time.sleep(chance.uniform(0, 0.02))
    os.kill(child, signal.SIGKILL)
    while more := os.read(ours, 4096):
        told += more
    os.close(ours)
    killed = os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    left = len(list(folder.iterdir()))
    config, arrays = load_folder(folder)
    steps = sorted(set(arrays["step"].tolist()))
    print(json.dumps([killed, left, told.split()[-1].decode(), config["step"], steps, len(arrays["noise"])]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_a_kill_at_any_moment_leaves_a_whole_state(tmp_path):
    command = [sys.executable, "-c", KILLER, str(tmp_path)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rounds = [json.loads(line) for line in printed.splitlines()]
    assert len(rounds) == 60
    for killed, _, told, step, steps, noise in rounds:
        assert killed
        assert step in (int(told), int(told) + 1)  # nothing that was said to be saved is lost
        assert steps == [step]
        assert noise == step % 7
    inside = sum(left != 3 for _, left, *_ in rounds)  # kills that left something half done behind
    assert inside > 5, "the kills landed between the saves: nothing was tested"
