"""The ONNX file computes what the packed model computes: by ONNX's own reference evaluator, and by onnxruntime if it is there."""

import sys

import numpy as np
import pytest
import torch
from torch import nn

from isocline.binary.layers import BinaryConv2d, BinaryLinear
from isocline.binary.packed import export_onnx

from .nets import NETWORKS, PARTS, batch, quietly, settled


def run(path, x):
    reference = pytest.importorskip("onnx.reference")
    evaluator = reference.ReferenceEvaluator(str(path))
    return evaluator.run(None, {evaluator.input_names[0]: x.numpy()})[0]


def exported(model, shape, folder):
    packed = quietly(model)
    export_onnx(packed, folder / "model.onnx", shape=shape)
    return packed


def test_sums_limits_and_skips_are_exact(tmp_path):
    """No float layer before a sign: then every sign, and so every whole sum, is the same."""
    pytest.importorskip("onnx")
    torch.manual_seed(0)
    first = [
        BinaryConv2d(3, 9, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.BatchNorm2d(9),
        BinaryConv2d(9, 4, 2, pad_value=1),
    ]
    model = settled(
        nn.Sequential(*first, nn.MaxPool2d(2), BinaryConv2d(4, 5, 1, padding=1, pad_value=-1)), (3, 9, 9)
    )
    packed = exported(model, (3, 9, 9), tmp_path)
    x = batch((3, 9, 9), 2)
    np.testing.assert_array_equal(run(tmp_path / "model.onnx", x), packed(x).numpy())


CASES = {name: PARTS[name] for name in PARTS} | {
    name: NETWORKS[name] for name in ("resnet20_bireal", "vgg_small")
}


@pytest.mark.parametrize("name", CASES)
def test_the_result_is_the_packed_models(name, tmp_path):
    pytest.importorskip("onnx")
    make, shape = CASES[name]
    packed = exported(settled(make(), shape), shape, tmp_path)
    x = batch(shape, 2)
    got, want = run(tmp_path / "model.onnx", x), packed(x).numpy()
    np.testing.assert_allclose(
        got, want, rtol=1e-4, atol=1e-4 * np.abs(want).max()
    )  # float32 layers, summed in another order


def test_onnxruntime_agrees(tmp_path):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    make, shape = NETWORKS["resnet18_cifar"]
    packed = exported(settled(make(), shape), shape, tmp_path)
    session = runtime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    x = batch(shape, 3)
    (got,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    np.testing.assert_allclose(
        got, packed(x).numpy(), rtol=1e-4, atol=1e-4
    )  # float32 layers, summed in another order


def test_a_step_without_operators_is_named(tmp_path):
    pytest.importorskip("onnx")
    packed = quietly(settled(nn.Sequential(BinaryLinear(3, 2), nn.Softplus()), (3,)))
    with pytest.raises(
        ValueError, match=r"packed: want steps that have ONNX operators, got 1 \(1 \(Softplus\)\)"
    ):
        export_onnx(packed, tmp_path / "model.onnx", shape=(3,))


def test_without_onnx_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    packed = quietly(settled(nn.Sequential(BinaryLinear(3, 2)), (3,)))
    with pytest.raises(
        ImportError, match=r"onnx: want the package onnx, got none; pip install 'isocline\[onnx\]'"
    ):
        export_onnx(packed, tmp_path / "model.onnx", shape=(3,))
