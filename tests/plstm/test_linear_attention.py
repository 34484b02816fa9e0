"""The door to flash-linear-attention: its call, and what is made of the answer, with a plain stand-in for its kernel."""

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest
import torch

from isocline.plstm import plstm_1d


def chunk_simple_gla(q, k, v, g, *, scale, initial_state, output_final_state):
    """Simple GLA token by token; tensors ``(B, N, heads, ...)`` as that library takes them."""
    assert output_final_state
    assert g.shape == q.shape[:3]
    state, outputs = initial_state, []
    for t in range(q.shape[1]):
        state = state * g[:, t].exp()[..., None, None] + k[:, t].unsqueeze(-1) * v[:, t].unsqueeze(-2)
        outputs.append(scale * (q[:, t].unsqueeze(-1) * state).sum(-2))
    return torch.stack(outputs, 1), state


@pytest.fixture
def fla(monkeypatch):
    for name in ("fla", "fla.ops", "fla.ops.simple_gla"):
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        monkeypatch.setitem(sys.modules, name, module)
    module.chunk_simple_gla = chunk_simple_gla


@pytest.mark.usefixtures("fla")
def test_it_is_called_as_it_wants(problems, assert_same):
    problem = problems(0).line(7)
    transition = problem.tensors["transition"]
    assert (transition < 0).any()
    transition[transition == 0] = 0.2  # a zero has no gradient there
    assert_same(problem.with_gradients("fla"), problem.with_gradients("reference"))


@pytest.mark.usefixtures("fla")
def test_zero_transitions_and_no_direct_term(problems):
    problem = problems(1).line(6)
    problem.tensors["transition"][:, 2:4] = 0
    problem.tensors["direct"] = None
    for ours, theirs in zip(problem.run("fla"), problem.run("reference"), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.usefixtures("fla")
def test_several_channels_are_refused(problems):
    t = problems(2).line(3, channels=(1, 1, 2, 2, 1), states=False).tensors
    with pytest.raises(
        ValueError, match="backend: want 'chunked' or 'reference' for gates of several channels, got"
    ):
        plstm_1d(**t, backend="fla")
