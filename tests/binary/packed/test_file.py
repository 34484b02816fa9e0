"""Packed models on disk: the same to the bit, without training code, and never wrong in silence."""

import json
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy
import torch
from torch import nn

from isocline._core.files import CheckpointError, load_folder, save_folder
from isocline.binary.layers import BinaryConv2d
from isocline.binary.packed import load, pack, save
from isocline.binary.packed.bits import from_rows

from .nets import NETWORKS, PARTS, batch, quietly, settled

CASES = PARTS | NETWORKS


@pytest.mark.parametrize("name", CASES)
def test_what_is_loaded_is_the_same_to_the_bit(name, tmp_path):
    make, shape = CASES[name]
    packed = quietly(settled(make(), shape))
    packed.save(tmp_path)
    again = load(tmp_path)
    x = batch(shape, 2)
    assert torch.equal(again(x), packed(x))
    assert again.notes == packed.notes
    assert repr(again) == repr(packed)
    save(again, tmp_path / "again")
    assert load_folder(tmp_path / "again")[0] == load_folder(tmp_path)[0]


def test_loading_needs_no_training_code(tmp_path):
    make, shape = NETWORKS["resnet18_cifar"]
    model = settled(make(), shape)
    pack(model).save(tmp_path / "packed")
    x = batch(shape, 2)
    safetensors.numpy.save_file({"x": x.numpy()}, tmp_path / "x.safetensors")
    code = f"""
import sys, torch, safetensors.torch
from isocline.binary.packed import load
x = safetensors.torch.load_file({str(tmp_path / "x.safetensors")!r})["x"]
torch.set_num_threads(1)
y = load({str(tmp_path / "packed")!r})(x)
safetensors.torch.save_file({{"y": y}}, {str(tmp_path / "y.safetensors")!r})
names = ("layers", "estimators", "functional", "models", "packed.graph", "packed.packing")
print([name for name in names if f"isocline.binary.{{name}}" in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    with torch.no_grad():
        expected = model(x)
    assert np.array_equal(safetensors.numpy.load_file(tmp_path / "y.safetensors")["y"], expected.numpy())


def test_the_layout_is_the_one_that_is_written_down(tmp_path):
    """A reader of its own, from the description alone: signs, weights in bits, sums, limits."""
    layer, norm = (
        BinaryConv2d(5, 9, (3, 2), stride=2, padding=1, pad_value=-1, scale="channel"),
        nn.BatchNorm2d(9),
    )
    model = settled(nn.Sequential(layer, nn.ReLU(), norm, BinaryConv2d(9, 4, 1, scale="none")), (5, 7, 8))
    pack(model).save(tmp_path)
    config, arrays = load_folder(tmp_path)
    first, second = config["steps"]
    rows = from_rows(arrays["0/weight"], 5 * 6).reshape(9, 3, 2, 5)
    weight = torch.from_numpy(rows * 2.0 - 1).permute(0, 3, 1, 2)
    assert torch.equal(weight, layer.binary_weight().double())
    x = torch.where(batch((5, 7, 8), 2) >= 0, 1.0, -1.0).double()
    around = (
        [size for i in (2, 1) for size in (first["window"]["before"][i], first["window"]["after"][i])]
        if "window" in first
        else None
    )
    assert around is None
    window = first["settings"]["window"]
    around = [size for i in (2, 1) for size in (window["before"][i], window["after"][i])]
    y = torch.conv2d(
        nn.functional.pad(x, around, value=window["pad_value"]), weight, stride=window["stride"][1:]
    )
    flip = np.unpackbits(arrays["0/flip"], bitorder="little", count=9).astype(bool)
    limit = arrays["0/limit"]
    bits = (y.numpy() >= limit[:, None, None]) ^ flip[:, None, None]
    last = from_rows(arrays["3/weight"], 9).astype(float) * 2 - 1
    found = np.einsum("mc,bchw->bmhw", last, bits * 2.0 - 1)
    assert second["settings"]["gives"] == "numbers"
    assert second["inputs"] == [first["name"]]
    with torch.no_grad():
        np.testing.assert_array_equal(found, model(batch((5, 7, 8), 2)).numpy())


def test_a_part_that_is_only_python_cannot_be_saved(tmp_path):
    model = settled(nn.Sequential(BinaryConv2d(3, 4, 1), nn.Softplus()), (3, 4, 4))
    with pytest.raises(
        ValueError, match=r"packed: want operations that can be written down, got 1 \(Softplus\)"
    ):
        quietly(model).save(tmp_path)


@pytest.fixture
def saved(tmp_path):
    make, shape = PARTS["flattened"]
    pack(settled(make(), shape)).save(tmp_path)
    return tmp_path


def rewritten(folder, change):
    """The folder with another content and a manifest that fits it: forged, not damaged."""
    config, arrays = load_folder(folder)
    arrays = {name: array.copy() for name, array in arrays.items()}
    change(config, arrays)
    save_folder(folder, config, arrays)


def without(key):
    return lambda config, arrays: config.pop(key)


def replaced(name, make):
    return lambda config, arrays: arrays.update({name: make(arrays[name])})


def setting(step, **values):
    return lambda config, arrays: config["steps"][step]["settings"].update(values)


def window(step, **values):
    return lambda config, arrays: config["steps"][step]["settings"]["window"].update(values)


FORGED = {
    "another kind": (lambda config, arrays: config.update(kind="a cake"), "is not a packed model"),
    "a later version": (
        lambda config, arrays: config.update(version=2),
        "version 2, this reads 1; update isocline",
    ),
    "no steps": (without("steps"), "'steps'"),
    "no output": (without("output"), "'output'"),
    "steps of another kind": (lambda config, arrays: config.update(steps=[1]), "does not hold"),
    "an unknown operation": (lambda config, arrays: config["steps"][0].update(op="exec"), "op: want one of"),
    "an input that nobody makes": (
        lambda config, arrays: config["steps"][0].update(inputs=["y"]),
        "not made",
    ),
    "a name twice": (lambda config, arrays: config["steps"][1].update(name="0"), "0"),
    "an output that nobody makes": (
        lambda config, arrays: config.update(output="y"),
        "no step makes the output y",
    ),
    "no weights": (lambda config, arrays: arrays.pop("0/weight"), "0/weight"),
    "weights too short": (replaced("0/weight", lambda a: a[:, 1:]), "weight is not (10, 4) bytes"),
    "weights of another type": (replaced("0/weight", lambda a: a.astype(np.float32)), "weight is not"),
    "limits too short": (replaced("0/limit", lambda a: a[1:]), "(10,) int32"),
    "limits of another type": (replaced("0/limit", lambda a: a.astype(np.int64)), "int32 belongs"),
    "a map that is not finite": (replaced("5/scale", lambda a: a * np.inf), "not finite"),
    "a map of another size": (replaced("5/a", lambda a: np.ones(5, np.float32)), "does not hold"),
    "gives something else": (setting(0, gives="cake"), "gives 'cake'"),
    "axes of another number": (setting(0, axes=7), "7 axes"),
    "a stride of 0": (window(0, stride=[1, 0, 1]), "above 0"),
    "a stride of one axis": (window(0, stride=[1]), "three axes"),
    "no channels": (window(0, inputs=0), "above 0"),
    "negative padding": (window(0, before=[0, -1, 0]), "whole number"),
    "groups that do not divide": (window(0, groups=2), "do not fit"),
    "another window": (window(0, kernel=[1, 30000, 30000]), "more products"),
}


@pytest.mark.parametrize("what", FORGED)
def test_what_is_not_ours_is_refused(saved, what):
    change, message = FORGED[what]
    rewritten(saved, change)
    with pytest.raises(CheckpointError) as caught:
        load(saved)
    assert str(saved) in str(caught.value)
    assert message in str(caught.value)


def test_damage_is_noticed(saved):
    rng = np.random.default_rng(0)
    files = sorted(saved.iterdir())
    contents = {path: path.read_bytes() for path in files}
    for _ in range(60):
        path = files[rng.integers(len(files))]
        broken = bytearray(contents[path])
        broken[rng.integers(len(broken))] ^= 1 << rng.integers(8)
        path.write_bytes(broken)
        try:
            again = load(saved)
        except CheckpointError:
            pass
        else:  # a byte of white space in the manifest, which means the same
            assert json.loads(broken) == json.loads(contents[path])
            assert again
        path.write_bytes(contents[path])


def test_an_empty_folder_is_no_packed_model(tmp_path):
    with pytest.raises(CheckpointError, match="holds no manifest"):
        load(tmp_path)
