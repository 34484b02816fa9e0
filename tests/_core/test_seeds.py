"""Seeds depend on what a task is and on nothing else; global generators are left as they were found."""

import os
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isocline._core.seeds import derive_seed, seeded, torch_generator


def draws():
    return random.random(), np.random.rand(), torch.rand(()).item()  # noqa: NPY002


def test_a_derived_seed_is_the_same_in_every_process():
    code = "from isocline._core.seeds import derive_seed; print(derive_seed('room', {'b': 1, 'a': [0.1]}, 7))"
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": hashing},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hashing in ("1", "2")
    }
    assert printed == {f"{derive_seed('room', {'a': [0.1], 'b': 1}, 7)}\n"}


@given(st.lists(st.one_of(st.integers(), st.text(), st.floats(allow_nan=False)), max_size=4))
def test_seeds_are_in_range_and_differ_with_their_parts(parts):
    seed = derive_seed(*parts)
    assert 0 <= seed < 2**63
    assert derive_seed(*parts, 0) != seed  # equal with a chance of 1e-19


def test_kinds_of_parts_are_told_apart():
    assert len({derive_seed(1), derive_seed("1"), derive_seed(1.0), derive_seed([1]), derive_seed(1, 1)}) == 5
    assert derive_seed(np.int64(1)) == derive_seed(1)


def test_inside_the_numbers_follow_from_the_seed():
    with seeded(3):
        first = draws()
    with seeded(3):
        assert draws() == first
    with seeded(4):
        assert all(a != b for a, b in zip(draws(), first, strict=True))
    with seeded(2**63 - 1):
        draws()


@pytest.mark.parametrize("fails", [False, True])
def test_outside_nothing_has_happened(fails):
    random.seed(0), np.random.seed(0), torch.manual_seed(0)  # noqa: NPY002
    expected = [draws(), draws()]
    random.seed(0), np.random.seed(0), torch.manual_seed(0)  # noqa: NPY002
    found = [draws()]
    try:
        with seeded(9):
            draws()
            if fails:
                raise KeyError("inside")
    except KeyError:
        assert fails
    assert [*found, draws()] == expected


def test_nested_contexts_return_one_by_one():
    with seeded(1):
        whole = [draws(), draws()]
    with seeded(1):
        parts = [draws()]
        with seeded(2):
            draws()
        parts.append(draws())
    assert parts == whole


@pytest.mark.parametrize("seed", [-1, 2**63, 1.5, True, "3"])
def test_seeds_that_are_none(seed):
    with pytest.raises(
        (ValueError, TypeError), match="seed: want a whole number >= 0 and < 9223372036854775808"
    ):
        torch_generator(seed)
    with pytest.raises((ValueError, TypeError), match="seed: want"), seeded(seed):
        raise AssertionError("never entered")


def test_a_generator_is_its_own():
    before = torch.get_rng_state()
    a, b = (torch.rand(4, generator=torch_generator(5)) for _ in range(2))
    assert torch.equal(a, b)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.gpu
@pytest.mark.parametrize("started", [True, False])
def test_cuda_is_left_as_it_was(started):
    code = f"""
import torch
from isocline._core.seeds import seeded
torch.manual_seed(11)
if {started}: torch.rand(1, device="cuda")
with seeded(5): inside = torch.rand(3, device="cuda").tolist()
after = torch.rand(3, device="cuda").tolist()
torch.manual_seed(11)
if {started}: torch.rand(1, device="cuda")
assert torch.rand(3, device="cuda").tolist() == after
torch.cuda.manual_seed_all(5)
assert torch.rand(3, device="cuda").tolist() == inside
"""
    subprocess.run([sys.executable, "-c", code], check=True)
