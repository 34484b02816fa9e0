"""The Triton kernel on a GPU; without one it is tested through Triton's interpreter, in ``test_backends``."""

import os
import subprocess
import sys

import pytest

ON_A_GPU = """
import torch
from isocline.dynamics import forced_rollout
torch.manual_seed(0)
for M, L, B, T in ((3, 50, 16, 200), (16, 512, 70, 50), (33, 70, 5, 9)):
    shapes = ((M,), (M, L), (L, M), (M,), (L,), (B, M))
    leaves = [torch.randn(s) * 0.3 * s[-1] ** -0.5 for s in shapes]
    signal, slope = torch.randn(T, B, M), torch.randn(T, B, M)
    results = []
    for device, dtype in (("cpu", torch.float64), ("cuda", torch.float32)):
        given = [leaf.to(device, dtype).requires_grad_() for leaf in leaves]
        backend = "triton" if device == "cuda" else "reference"
        states = forced_rollout(*given, signal.to(device, dtype), 0.2, backend=backend)
        gradients = torch.autograd.grad(states, given, slope.to(device, dtype))
        results.append([t.cpu().double() for t in (states, *gradients)])
    for one, other in zip(*results):
        assert (one - other).norm() <= 2e-3 * one.norm(), (M, L, B, T, (one - other).norm() / one.norm())
"""


@pytest.mark.gpu
def test_it_equals_the_reference_on_a_gpu():
    environment = {**os.environ, "TRITON_INTERPRET": "0"}
    subprocess.run([sys.executable, "-c", ON_A_GPU], check=True, env=environment)
