"""The Triton kernels: through Triton's interpreter on tiny grids, and, with a GPU, at real sizes."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")


@needs_triton
@pytest.mark.parametrize(
    ("mode", "size", "directions"), [("P", (2, 3), (0, 3)), ("D", (3, 2), (1,)), ("R", (1, 2), (2,))]
)
def test_it_equals_the_recursion(mode, size, directions, problems, assert_same):
    problem = problems(1).quadrants(mode, *size, B=1, directions=directions)
    assert_same(problem.with_gradients("triton"), problem.with_gradients("reference"))


@needs_triton
@pytest.mark.parametrize(
    ("mode", "directions"), [("P", (3,)), pytest.param("D", (0, 3), marks=pytest.mark.slow)]
)
def test_gradcheck(mode, directions, problems):
    """Its own way back beside differences of its own way there."""
    assert problems(3).quadrants(mode, 2, 2, B=1, dk=1, dv=1, directions=directions).gradcheck("triton")


@needs_triton
def test_more_targets_than_a_block(problems, assert_same):
    """Thirty-three nodes, blocks of thirty-two; heads a few at a time."""
    from isocline.plstm.kernels import cuda

    problem = problems(2).quadrants("P", 3, 11, B=2, dk=1, dv=1, directions=(0,))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuda, "SCRATCH", 1)
        assert_same(problem.with_gradients("triton"), problem.with_gradients("reference"))


def test_wrong_calls(problems, monkeypatch):
    with pytest.raises(ValueError, match="backend: want one that takes and returns states, got 'triton'"):
        problems(0).quadrants("P", 2, 2, states=True).run("triton")
    with pytest.raises(
        ValueError, match="backend: want one for rows of more than 64 nodes, got 'triton' for 65"
    ):
        problems(0).quadrants("P", 1, 65).run("triton")
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    with pytest.raises(
        ValueError, match="backend: want a kernel for the tensors' device, got 'triton' on cpu"
    ):
        problems(0).quadrants("P", 2, 2).run("triton")


ON_A_GPU = """
import torch
from isocline.plstm import plstm_2d_p, plstm_2d_d
torch.manual_seed(0)
P = ("source_r", "source_d", "transition_r", "transition_d", "mark")
D = ("source_r", "source_d", "transition_r", "transition_d", "transition_turn", "mark_l", "mark_u")
for function, names in ((plstm_2d_p, P), (plstm_2d_d, D)):
    for X, Y in ((14, 14), (32, 32), (5, 33)):
        vectors = [torch.randn(6, X, Y, 64) for _ in range(3)]
        gates = {name: torch.rand(6, 4, X, Y) - 0.4 for name in names}
        slope, results = torch.randn(6, X, Y, 64), []
        for device, dtype in (("cpu", torch.float64), ("cuda", torch.float32)):
            given = [t.to(device, dtype).requires_grad_() for t in (*vectors, *gates.values())]
            backend = "triton" if device == "cuda" else "dense"
            y = function(*given[:3], **dict(zip(names, given[3:])), backend=backend)
            results.append([t.cpu().double() for t in (y, *torch.autograd.grad(y, given, slope.to(device, dtype)))])
        for one, other in zip(*results):
            assert (one - other).norm() <= 1e-4 * one.norm(), (X, Y, (one - other).norm() / one.norm())
"""


@pytest.mark.gpu
def test_it_equals_the_dense_kernel_on_a_gpu():
    environment = {**os.environ, "TRITON_INTERPRET": "0"}
    subprocess.run([sys.executable, "-c", ON_A_GPU], check=True, env=environment)
