"""Checkpoints give back what they were given, and hold nothing that could run."""

import json
import math
import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isocline._core.files import CheckpointError
from isocline.training.checkpoint import (
    PlainCheckpoints,
    _packed,
    _unpacked,
    random_states,
    set_random_states,
)

leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
keys = st.integers() | st.text() | st.booleans()
trees = st.recursive(
    leaves,
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(keys, inner),
    max_leaves=12,
)


def _same(a, b):
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return (a == b and math.copysign(1, a) == math.copysign(1, b)) or (math.isnan(a) and math.isnan(b))
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(_same(a[key], b[key]) for key in a)
    return a == b


@given(trees)
def test_any_plain_state_comes_back_through_json(tree):
    arrays = {}
    state = {"tree": tree, "tensors": [torch.tensor(3), torch.ones(2, 3, dtype=torch.float16)]}
    assert _same(
        _unpacked(json.loads(json.dumps(_packed(state, arrays, ""), allow_nan=False)), arrays), state
    )
    assert len(arrays) == 2


def test_an_optimizers_state_comes_back(tmp_path):
    weight = torch.ones(3, requires_grad=True)
    optimizer = torch.optim.AdamW([weight])
    weight.square().sum().backward()
    optimizer.step()
    PlainCheckpoints().save_checkpoint({"optimizer": optimizer.state_dict()}, tmp_path)
    assert _same(PlainCheckpoints().load_checkpoint(tmp_path)["optimizer"], optimizer.state_dict())
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}


def test_what_is_not_plain_is_refused_with_its_place(tmp_path):
    with pytest.raises(
        TypeError, match=r"checkpoint\.callbacks\.mine: want tensors, numbers, .* got function"
    ):
        PlainCheckpoints().save_checkpoint({"callbacks": {"mine": lambda: 0}}, tmp_path)


def test_a_damaged_checkpoint_is_refused(tmp_path):
    PlainCheckpoints().save_checkpoint({"weights": torch.ones(4)}, tmp_path)
    [arrays] = tmp_path.glob("*.safetensors")
    content = bytearray(arrays.read_bytes())
    content[-1] ^= 1
    arrays.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        PlainCheckpoints().load_checkpoint(tmp_path)
    PlainCheckpoints().remove_checkpoint(tmp_path)
    assert not tmp_path.exists()


def test_random_states_come_back_from_a_file(tmp_path):
    def draw():
        return random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn(), float(torch.rand(()))  # noqa: NPY002

    draw()  # Gaussians are drawn in pairs, of which one is kept
    PlainCheckpoints().save_checkpoint({"random": random_states()}, tmp_path)
    first = draw()
    assert draw() != first
    set_random_states(PlainCheckpoints().load_checkpoint(tmp_path)["random"])
    assert draw() == first
