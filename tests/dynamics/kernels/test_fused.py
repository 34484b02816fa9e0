"""The compiled operation: what torch sees of it, threads, memory."""

import os
import subprocess
import sys

import pytest
import torch

from isocline.dynamics import forced_rollout
from isocline.dynamics.kernels import cpu, fused


def arguments(runs=(), B=3, T=6, dtype=torch.float64):
    g = torch.Generator().manual_seed(1)

    def normal(*shape):
        return 0.4 * torch.randn(*runs, *shape, generator=g).to(dtype)

    weights = (normal(2), normal(2, 5), normal(5, 2), normal(2), normal(5))
    return (*weights, normal(B, 2), normal(T, B, 2), torch.tensor(0.3, dtype=dtype))


def _open(tensors):
    return [t if k == 6 else t.clone().requires_grad_() for k, t in enumerate(tensors)]


def test_the_registered_operation_keeps_torch_s_rules():
    tensors = _open(arguments())
    drive = torch.zeros(6, 3, 2, requires_grad=True)
    for extra in ((None, True), (drive, False)):
        torch.library.opcheck(fused.registered, (*tensors, *extra))
    with torch.no_grad():
        states = fused.registered(*tensors, drive, True)
    plain = [t.detach() for t in tensors]
    torch.library.opcheck(
        fused.registered_backward, (*plain, drive.detach(), True, states, torch.ones_like(states), True)
    )


def test_it_compiles_into_one_graph():
    *weights, z0, signal, _ = _open(arguments())

    def loss(*weights):
        return forced_rollout(*weights, z0, signal, 0.3).square().mean()

    expected = torch.autograd.grad(loss(*weights), weights)
    whole = torch.compile(loss, fullgraph=True, backend="aot_eager")
    for found, wanted in zip(torch.autograd.grad(whole(*weights), weights), expected, strict=True):
        torch.testing.assert_close(found, wanted)
    assert torch._dynamo.utils.counters["graph_break"] == {}


def test_vmap_over_parameters_is_an_ensemble():
    stacked = arguments(runs=(4,))[:5]
    *_, z0, signal, _ = arguments()

    def states(*weights):
        return forced_rollout(*weights, z0, signal, 0.3)

    def loss(*weights):
        return states(*weights).square().mean()

    expected = torch.stack([states(*(w[r] for w in stacked)) for r in range(4)])
    torch.testing.assert_close(torch.vmap(states)(*stacked), expected)
    slopes = torch.vmap(torch.func.grad(loss, argnums=(0, 1)))(*stacked)
    for r in range(4):
        weights = [w[r].clone().requires_grad_() for w in stacked]
        one = torch.autograd.grad(loss(*weights), weights[:2])
        for k in range(2):
            torch.testing.assert_close(slopes[k][r], one[k])


def test_the_number_of_threads_changes_no_bit():
    tensors = _open(arguments(B=70, T=9))
    assert (
        cpu._blocks(cpu._sizes(tensors[1], tensors[6]), tensors[0].detach().numpy()) == 9
    )  # there is something to share
    results = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            states = fused.forced_rollout(*tensors, None, True)
            wanted = [t for t in tensors if t.requires_grad]
            results.append([states, *torch.autograd.grad(states, wanted, torch.ones_like(states))])
    finally:
        torch.set_num_threads(1)
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


LONG = """
import re, torch
from isocline.dynamics import forced_rollout
def status(name):
    with open("/proc/self/status") as file:
        return int(re.search(name + r":\\s*(\\d+)", file.read())[1]) / 1024
weights = [(0.1 * torch.randn(*s)).requires_grad_() for s in ((3,), (3, 50), (50, 3), (3,), (50,))]
def step(T):
    signal = torch.zeros(1, 1, 1).expand(T, 16, 3)
    states = forced_rollout(*weights, torch.zeros(16, 3), signal, 0.1)
    states.backward(torch.ones(1, 1, 1).expand(T, 16, 3))
step(10)
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # forget the peak so far
before = status("VmRSS")
step(100_000)
print(status("VmHWM") - before)
"""


@pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux's /proc/self/clear_refs"
)
def test_a_hundred_thousand_steps_stay_below_100_megabytes():
    answer = subprocess.run([sys.executable, "-c", LONG], capture_output=True, text=True, check=True)
    assert 18 < float(answer.stdout) < 100  # the predictions alone are 18.3 MB of float32
