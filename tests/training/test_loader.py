"""Batches: every example once an epoch, and the rest of an epoch is the rest of the same epoch."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import Dataset

from isocline.training import Loader


class Numbers(Dataset):
    """Item i is ``(i, i)``, as a data set of somebody else."""

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return torch.tensor(float(index)), index


def _pair(count):
    return torch.arange(float(count)).view(-1, 1, 1, 1), torch.arange(count)


sizes = given(st.integers(1, 30), st.integers(1, 8), st.booleans(), st.integers(0, 99), st.data())


@sizes
def test_an_epoch_is_a_permutation_and_can_be_taken_up_anywhere(count, size, shuffle, seed, draw):
    loader = Loader(_pair(count), size, shuffle=shuffle, seed=seed)
    epochs = [[labels.tolist() for _, labels in loader] for _ in range(3)]
    for batches in epochs:
        assert sorted(number for batch in batches for number in batch) == list(range(count))
        assert len(batches) == len(loader)
    # another loader, stopped after some batches of the second epoch
    stop = draw.draw(st.integers(1, len(loader)))
    first, second = (Loader(_pair(count), size, shuffle=shuffle, seed=seed) for _ in range(2))
    list(first)
    running = iter(first)
    for _ in range(stop):
        next(running)
    second.load_state_dict(first.state_dict())
    rest = [labels.tolist() for _, labels in second]
    assert rest == (epochs[1][stop:] or epochs[2])


def test_an_iterator_that_nobody_used_is_no_epoch():
    loader = Loader(_pair(9), 4, shuffle=True)
    once = [labels.tolist() for _, labels in Loader(_pair(9), 4, shuffle=True)]
    iter(loader)
    assert [labels.tolist() for _, labels in loader] == once
    assert [labels.tolist() for _, labels in loader] != once  # chance 1 in 9!


@pytest.mark.parametrize("workers", [0, 2])
def test_data_sets_of_others_give_the_same_batches(workers):
    theirs = Loader(Numbers(11), 4, shuffle=True, seed=5, workers=workers)
    ours = Loader(_pair(11), 4, shuffle=True, seed=5)
    for (image, label), (tensor, number) in zip(theirs, ours, strict=True):
        assert torch.equal(label, number)
        assert torch.equal(image, tensor.flatten())


def test_the_global_generator_is_not_touched():
    state, numpy = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    list(Loader(_pair(9), 4, shuffle=True))
    assert torch.equal(state, torch.get_rng_state())
    assert (numpy == np.random.get_state()[1]).all()  # noqa: NPY002


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((torch.zeros(3, 4), torch.zeros(3)), r"data: want images \(n, C, H, W\) and whole-number labels"),
        ((torch.zeros(3, 1, 2, 2), torch.zeros(3)), "data: want images"),
        ((torch.zeros(3, 1, 2, 2), torch.zeros(2, dtype=torch.long)), "data: want images"),
        (torch.zeros(3, 1, 2, 2), "data: want a torch Dataset, or a pair of tensors"),
        (Numbers(0), "data: want a data set with a length >= 1"),
    ],
)
def test_wrong_data_are_answered(data, message):
    with pytest.raises((ValueError, TypeError), match=message):
        Loader(data, 4)
