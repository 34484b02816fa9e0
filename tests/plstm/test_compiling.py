"""torch.compile without a graph break, half precision, other devices, no wait for the device, and what is kept."""

import pytest
import torch
from torch._dynamo.backends.debugging import aot_eager

from isocline.plstm.functional import plstm_1d


def compiled(function):
    """The function compiled with ``fullgraph=True``, and a list that grows with every compilation."""
    graphs = []

    def backend(module, example):
        graphs.append(module)
        return aot_eager(module, example)

    torch._dynamo.reset()
    return torch.compile(function, fullgraph=True, backend=backend, dynamic=False), graphs


@pytest.mark.parametrize(
    ("backend", "mode"),
    [
        ("dense", "P"),
        pytest.param("dense", "D", marks=pytest.mark.slow),
        pytest.param("sweep", "P", marks=pytest.mark.slow),
        pytest.param("tiled", "P", marks=pytest.mark.slow),
    ],
)
def test_grids_compile_once_for_each_resolution(backend, mode, problems, assert_same):
    sizes = [(2, 3), (4, 4), (2, 3), (4, 4)]
    samples = [problems(seed).quadrants(mode, *size) for seed, size in enumerate(sizes)]
    names = list(samples[0].tensors)
    run, graphs = compiled(
        lambda *given: samples[0].function(**dict(zip(names, given, strict=True)), backend=backend)
    )
    for problem in samples:
        eager = problem.with_gradients(backend)
        problem.run = lambda _, *given: (run(*given),)
        assert_same(problem.with_gradients("compiled"), eager)
    assert len(graphs) == 2


@pytest.mark.filterwarnings(
    "ignore:.*should not be instantiated:DeprecationWarning"
)  # torch's own, in its tracer
def test_sequences_compile_once_for_each_length(problems):
    samples = [problems(N).line(N).tensors for N in (5, 7, 5)]
    run, graphs = compiled(lambda *t: plstm_1d(*t[:7], initial_state=t[7], return_state=True))
    for t in samples:
        *given, state = t.values()
        torch.testing.assert_close(
            run(*given, state), plstm_1d(*given, initial_state=state, return_state=True)
        )
    assert len(graphs) == 2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_vectors_with_float32_gates(dtype, problems):
    """Only what comes in and what goes out is rounded: products of gates and sums over paths are float32."""
    for exact in (problems(1).quadrants("P", 5, 6), problems(2).line(70)):
        half = {
            name: t.to(dtype if name in "qkv" else torch.float32).requires_grad_()
            for name, t in exact.tensors.items()
        }
        truth = exact.run("reference", *(t.detach().double() for t in half.values()))
        found = exact.run("auto", *half.values())
        assert found[0].dtype == dtype
        if len(found) > 1:
            assert found[1].dtype == torch.float32
        tolerance = 4 * torch.finfo(dtype).eps * truth[0].abs().max()  # one rounding of the result
        assert (found[0].double() - truth[0]).abs().max() <= tolerance
        slopes = torch.autograd.grad(found[0].sum(), list(half.values()), allow_unused=True)
        assert all(
            slope is None or slope.dtype == t.dtype for slope, t in zip(slopes, half.values(), strict=True)
        )


def test_autocast_leaves_the_recursion_alone(problems):
    for problem in (problems(1, torch.float32).quadrants("P", 3, 4), problems(2, torch.float32).line(9)):
        leaves = [t.clone().requires_grad_() for t in problem.tensors.values()]
        expected = problem.run("auto", *leaves)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = problem.run("auto", *leaves)
            torch.autograd.grad(problem.run("auto", *leaves)[0].sum(), leaves, allow_unused=True)
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
        slopes = [
            torch.autograd.grad(out[0].sum(), leaves, materialize_grads=True) for out in (found, expected)
        ]
        torch.testing.assert_close(*slopes, rtol=0, atol=0)


@pytest.mark.parametrize("backend", ["dense", "tiled"])
@pytest.mark.parametrize("mode", ["P", "D"])
def test_a_grid_never_waits_for_the_device(backend, mode, problems):
    """On the meta device there are no numbers: whatever asks for one raises. It also takes the path of other devices."""
    problem = problems(0).quadrants(mode, 3, 5)
    leaves = [t.to("meta").requires_grad_() for t in problem.tensors.values()]
    (y,) = problem.run(backend, *leaves)
    assert y.device.type == "meta"
    assert y.shape == (2, 3, 5, 3)
    assert all(
        slope.shape == leaf.shape
        for slope, leaf in zip(torch.autograd.grad(y.sum(), leaves), leaves, strict=True)
    )


def test_a_sequence_never_waits_for_the_device(problems):
    leaves = [t.to("meta").requires_grad_() for t in problems(0).line(70).tensors.values()]
    y, state = plstm_1d(*leaves[:7], initial_state=leaves[7], return_state=True)
    torch.autograd.grad(y.sum() + state.sum(), leaves)


def kept(run):
    """Numbers kept for the way back, beside the leaves that are given anyway."""
    seen = {}

    def pack(tensor):
        if not tensor.is_leaf:
            seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs = run()
    return sum(seen.values()), outputs


@pytest.mark.parametrize("backend", ["dense", "sweep", "tiled"])
def test_little_is_kept_of_a_grid(backend, problems):
    problem = problems(0).quadrants("P", 8, 8, B=1, dk=16, dv=16)
    leaves = [t.requires_grad_() for t in problem.tensors.values()]
    ours, _ = kept(lambda: problem.run(backend, *leaves))
    theirs, _ = kept(lambda: problem.run("reference", *leaves))
    assert 0 < 8 * ours <= theirs


def test_little_is_kept_of_a_sequence(problems):
    t = [x.requires_grad_() for x in problems(0).line(100, B=1, dk=32, dv=32, states=False).tensors.values()]
    ours, _ = kept(lambda: plstm_1d(*t, backend="chunked"))
    theirs, _ = kept(lambda: plstm_1d(*t, backend="reference"))
    assert 0 < 8 * ours <= theirs
