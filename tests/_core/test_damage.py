"""Damaged and forged folders: nothing of them is used, and only CheckpointError says so."""

import hashlib
import json
import os
import random
from pathlib import Path

import numpy as np
import pytest

from isocline._core.files import CheckpointError, load_folder, save_folder


def framed(header: bytes) -> bytes:
    """A safetensors file begins with the length of its header."""
    return len(header).to_bytes(8, "little") + header


class TestDamage:
    @pytest.fixture
    def state(self, tmp_path):
        generator = np.random.default_rng(0)
        config = {"step": 7, "name": "lorenz"}
        arrays = {"w": generator.normal(size=(8, 5)), "k": generator.integers(0, 9, 6)}
        save_folder(tmp_path, config, arrays)
        return tmp_path, config, arrays

    def test_three_thousand_mutations_are_refused_or_change_nothing(self, state):
        folder, config, arrays = state
        chance = random.Random(1)
        refused = harmless = 0
        files = {path: path.read_bytes() for path in folder.iterdir()}
        for _ in range(3000):
            path = chance.choice(list(files))
            path.write_bytes(mutated(files[path], chance))
            try:
                config_back, arrays_back = load_folder(folder)
            except CheckpointError:
                refused += 1
            else:
                harmless += 1
                assert config_back == config
                assert all(np.array_equal(arrays_back[name], arrays[name]) for name in arrays)
            path.write_bytes(files[path])
        assert refused > 2800
        assert harmless < 200  # blanks of the manifest that became other blanks, bytes replaced by themselves
        load_folder(folder)

    @pytest.mark.parametrize("role", ["config", "arrays", "manifest"])
    def test_a_missing_file_is_named(self, state, role):
        folder, *_ = state
        path = next(folder.glob(f"{role}*"))
        path.unlink()
        with pytest.raises(CheckpointError, match=path.name):
            load_folder(folder)
        path.mkdir()
        with pytest.raises(CheckpointError, match=path.name):
            load_folder(folder)

    @pytest.mark.parametrize(
        "forge",
        [
            lambda m: m["files"]["config"].update(name="../secret.json"),
            lambda m: m["files"]["config"].update(name="/etc/passwd"),
            lambda m: m["files"]["config"].update(name="config-zzzzzzzzzzzz.json"),
            lambda m: m["files"]["config"].update(sha256="0" * 63),
            lambda m: m["files"]["config"].update(sha256=m["files"]["config"]["sha256"].upper()),
            lambda m: m["files"]["config"].update(sha256=None),
            lambda m: m["files"]["config"].update(bytes=10**30),
            lambda m: m["files"]["config"].update(bytes=-1),
            lambda m: m["files"]["config"].update(bytes=True),
            lambda m: m["files"]["config"].update(bytes="7"),
            lambda m: m["files"]["config"].update(more=1),
            lambda m: m["files"].update(config=[1, 2]),
            lambda m: m["files"].update(code=m["files"]["config"]),
            lambda m: m["files"].update(arrays=m["files"]["config"]),
            lambda m: m["files"].pop("config"),
            lambda m: m.update(files=None),
            lambda m: m.update(files=["config"]),
            lambda m: m.update(format=99),
            lambda m: m.update(format=True),
            lambda m: m.update(format=None),
            lambda m: m.update(extra={}),
            lambda m: m.update(padding="x" * 70_000),
        ],
    )
    def test_a_forged_manifest_is_refused(self, state, forge):
        folder, *_ = state
        manifest = json.loads((folder / "manifest.json").read_text())
        forge(manifest)
        (folder / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(CheckpointError, match=r"manifest\.json|bytes, the manifest says"):
            load_folder(folder)

    @pytest.mark.parametrize(
        "content", [b"null", b"[]", b"3", b'"x"', b"{}", b"[" * 50_000, b'{"format": 1e999}']
    )
    def test_a_manifest_that_is_something_else(self, state, content):
        folder, *_ = state
        (folder / "manifest.json").write_bytes(content)
        with pytest.raises(CheckpointError):
            load_folder(folder)

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"cos\nsystem\n(S'echo hacked'\ntR.",
            (2**63).to_bytes(8, "little") + b"{}",
            (100_000_000).to_bytes(8, "little") + b"{}",
            framed(b"[]"),
            framed(b'{"w":{"dtype":"F64","shape":[1000000000000],"data_offsets":[0,8000000000000]}}'),
            framed(b'{"w":{"dtype":"F64","shape":[-1],"data_offsets":[0,8]}}') + bytes(8),
            framed(b'{"w":{"dtype":"O","shape":[1],"data_offsets":[0,8]}}') + bytes(8),
        ],
        ids=["empty", "pickle", "endless header", "long header", "list", "huge array", "negative", "objects"],
    )
    def test_arrays_with_the_right_digest_and_hostile_content(self, state, content):
        folder, *_ = state
        forge_file(folder, "arrays", content)
        with pytest.raises(CheckpointError, match="its arrays are not safetensors"):
            load_folder(folder)

    @pytest.mark.parametrize("content", [b"[]", b"3", b"\xff", b"[" * 100_000])
    def test_a_config_with_the_right_digest_that_is_none(self, state, content):
        folder, *_ = state
        forge_file(folder, "config", content)
        with pytest.raises(CheckpointError, match="config"):
            load_folder(folder)

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
    def test_a_pipe_in_place_of_a_file_does_not_hang(self, state):
        folder, *_ = state
        path = next(folder.glob("arrays-*"))
        path.unlink()
        os.mkfifo(path)
        with pytest.raises(CheckpointError, match="is not there"):
            load_folder(folder)


def mutated(content: bytes, chance: random.Random) -> bytes:
    """One accident of a disk: a flipped bit, a new byte, a cut, something more, a stretch of zeros."""
    data, place = bytearray(content), chance.randrange(len(content))
    kind = chance.randrange(5)
    if kind == 0:
        data[place] ^= 1 << chance.randrange(8)
    elif kind == 1:
        data[place] = chance.randrange(256)
    elif kind == 2:
        del data[place:]
    elif kind == 3:
        data[place:place] = chance.randbytes(chance.randint(1, 9))
    else:
        data[place : place + 8] = bytes(len(data[place : place + 8]))
    return bytes(data)


def forge_file(folder: Path, role: str, content: bytes) -> None:
    digest = hashlib.sha256(content).hexdigest()
    manifest = json.loads((folder / "manifest.json").read_text())
    suffix = Path(manifest["files"][role]["name"]).suffix
    entry = {"name": f"{role}-{digest[:12]}{suffix}", "sha256": digest, "bytes": len(content)}
    manifest["files"][role] = entry
    (folder / entry["name"]).write_bytes(content)
    (folder / "manifest.json").write_text(json.dumps(manifest))
