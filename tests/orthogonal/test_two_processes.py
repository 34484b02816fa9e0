"""Data-parallel training: two processes with half of every batch each are one process with all of it."""

import torch
from torch.multiprocessing import get_context

from .two_processes import as_torchrun, by_callback, half, in_the_loss, second


def test_two_processes_do_what_one_does(tmp_path, monkeypatch):
    """This process is the first, so that only the second has everything to import."""
    meeting, file = str(tmp_path / "meeting"), str(tmp_path / "second.pt")
    other = get_context("spawn").Process(target=second, args=(meeting, file))
    other.start()
    losses, weights = in_the_loss()
    theirs, turn = by_callback()
    with monkeypatch.context() as environment:
        for name, value in as_torchrun(0).items():
            environment.setenv(name, value)
        first = half(0, meeting)
    other.join(60)
    assert other.exitcode == 0
    for found in (first, torch.load(file, weights_only=True)):
        assert found["ranks"].tolist() == [0, 1]  # both were there, and spoke with each other
        torch.testing.assert_close(found["losses"], losses, rtol=1e-12, atol=0)
        torch.testing.assert_close(found["weights"], weights, rtol=1e-10, atol=1e-13)
        torch.testing.assert_close(found["theirs"], theirs, rtol=1e-10, atol=1e-13)
        assert found["turn"] == turn == 2
    assert not torch.equal(theirs["0.weight"], weights["0.weight"])  # after two epochs, and after one
