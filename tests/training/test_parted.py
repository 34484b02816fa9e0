"""Parts of global batches: two processes, or rounds of accumulation, compute what one process does at once."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.multiprocessing import get_context

from isocline.training import Loader, Recipe, fit

from .two_processes import drawn, network, plain, second, together


@given(st.integers(1, 30), st.integers(1, 9), st.integers(1, 4), st.integers(1, 3), st.integers(0, 99))
def test_parts_are_the_global_batches_and_their_weights_its_mean(count, size, ranks, rounds, seed):
    pair = torch.arange(float(count)).view(-1, 1, 1, 1), torch.arange(count)
    whole = [labels.tolist() for _, labels in Loader(pair, size, shuffle=True, seed=seed)]
    loaders = [Loader(pair, size, shuffle=True, seed=seed, rounds=rounds) for _ in range(ranks)]
    for rank, loader in enumerate(loaders):
        loader.share(rank, ranks)
    if ranks * rounds == 1:
        return
    parts = [list(loader) for loader in loaders]
    assert {len(mine) for mine in parts} == {len(whole) * rounds}  # nobody waits for anybody
    for step, batch in enumerate(whole):
        turns = range(step * rounds, (step + 1) * rounds)
        pieces = [parts[rank][i] for i in turns for rank in range(ranks)]
        assert [n for _, labels, share in pieces for n in labels[: share.own].tolist()] == batch
        means = [share.weight * labels.double().mean() for _, labels, share in pieces]
        mean = float(sum(means)) / len(pieces)  # as Lightning and DDP take it
        assert mean == pytest.approx(sum(batch) / len(batch), rel=1e-12)
        assert [parts[0][i][2].last for i in turns] == [False] * (rounds - 1) + [True]


def _assert_close(found, expected):
    for row, other in zip(found[0], expected[0], strict=True):
        assert row == pytest.approx(other, rel=1e-9)  # sums in another order, through 14 steps of Adam
    for name, value in expected[1].items():
        torch.testing.assert_close(found[1][name], value, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("accumulate", [2, 3, 9])
def test_accumulation_changes_nothing_but_rounding(accumulate):
    _assert_close(plain(accumulate=accumulate), plain())


def test_two_processes_do_what_one_does_and_resume_to_the_same_bits(tmp_path):
    """This process is the first, so that only the second has everything to import."""
    other = get_context("spawn").Process(target=second, args=(str(tmp_path),))
    other.start()
    alone = plain()
    first = together(0, tmp_path)
    other.join(60)
    assert other.exitcode == 0
    theirs = torch.load(tmp_path / "second.pt", weights_only=True)
    for found in (first, theirs):
        _assert_close(found["plain"], alone)
        _assert_close(found["accumulated"], alone)
        history, weights, at = found["resumed"]
        assert at == 8  # it did resume, in the middle of an epoch
        assert found["whole"][2] == 0
        assert history == found["whole"][0]
        assert all(torch.equal(value, found["whole"][1][name]) for name, value in weights.items())
        assert all(torch.equal(value, first["whole"][1][name]) for name, value in weights.items())
    assert first["writes"] == 4  # steps 2, 4, 6 (the end of an epoch) and 8
    assert theirs["writes"] == 0
    with pytest.raises(
        ValueError, match="folder: want a run with devices = 1, accumulate = 2, got one with devices = 2"
    ):
        drawn(1, tmp_path / "run")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"devices": 0}, "devices: want a whole number >= 1, got 0"),
        ({"devices": "all"}, "devices: want a number, or \"auto\", got 'all'"),
        ({"strategy": "dp"}, "strategy: want one of 'auto', 'ddp', got 'dp'"),
        ({"precision": "8"}, "precision: want one of '32-true', 'bf16-mixed', '16-mixed', got '8'"),
        ({"accumulate": 0}, "accumulate: want a whole number >= 1, got 0"),
        ({"sync_batchnorm": True}, "sync_batchnorm: want False but on CUDA, got True on cpu"),
    ],
)
def test_wrong_calls_are_answered(data, how, message):
    with pytest.raises(ValueError, match=message):
        fit(network(), data, recipe=Recipe(epochs=1), device="cpu", **how)


def test_a_rank_is_one_of_the_ranks():
    with pytest.raises(ValueError, match="rank: want a whole number"):
        Loader((torch.zeros(3, 1, 1, 1), torch.zeros(3, dtype=torch.long)), 2).share(2, 2)


def test_bf16_trains(data):
    torch.set_default_dtype(torch.float32)
    images, labels = data
    model = network()
    pair = images[:, :, :6, :6].float(), labels
    found = fit(
        model, pair, pair, recipe=Recipe(epochs=1, batch_size=8), device="cpu", precision="bf16-mixed"
    )
    assert 0.5 < found.metrics["val_loss"] < 2
    assert model[0].weight.dtype == torch.float32
