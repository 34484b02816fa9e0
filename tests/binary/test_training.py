"""In training: mixed precision, compilation, two processes, torch.func, checkpointing and a resumed run."""

import copy
import os
import socket
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
import torch._dynamo.testing
from torch import nn

from isocline.binary import ESTIMATORS, BinaryConv2d, BinaryLinear, Estimator, PowerSchedule

from .two_processes import train

OTHERS = [name for name in ESTIMATORS if name != "reste"]


def _model(name="reste", **how):
    return nn.Sequential(
        BinaryConv2d(3, 4, 3, padding=1, pad_value=1, estimator=name, **how),
        nn.BatchNorm2d(4),
        BinaryConv2d(4, 4, 3, estimator=name, **how),
        nn.Flatten(),
        BinaryLinear(64, 3, estimator=name, scale="learnable"),
    )


def _sharpen(model, progress):
    for module in model.modules():
        if isinstance(module, Estimator):
            module.advance(progress)


@pytest.mark.filterwarnings(
    "ignore:.*should not be instantiated"
)  # Dynamo does so itself, for any autograd.Function
@pytest.mark.parametrize("name", ["reste", *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])
def test_compiled_whole_and_not_again_when_the_sharpness_changes(name):
    torch._dynamo.reset()
    model, dtype = _model(name).float(), torch.float32
    twin, counter = copy.deepcopy(model), torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(lambda x: twin(x), fullgraph=True, backend=counter)
    frames, slopes, x = set(), [], torch.randn(2, 3, 6, 6, dtype=dtype)
    for progress in (0.1, 0.5, 0.9):
        _sharpen(model, progress)
        _sharpen(twin, progress)
        found = []
        for one, call in ((model, model), (twin, compiled)):
            one.zero_grad()
            y = call(x)
            y.square().sum().backward()
            found.append([y.detach(), *(p.grad.clone() for p in one.parameters())])
        slopes.append(found[1][1])
        frames.add(counter.frame_count)
        torch.testing.assert_close(*found, rtol=1e-4, atol=1e-4)  # sums in float32, in another order
    assert len(frames) == 1  # one compilation for all three
    grows = name in ("reste", "ede", "rbnn", "progressive")
    assert grows != torch.equal(slopes[0], slopes[2])  # and the new sharpness was used


def test_mixed_precision_on_a_cpu():
    model, x = _model().float(), torch.randn(2, 3, 6, 6, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        y = model(x)
    assert y.dtype == torch.bfloat16
    y.float().square().sum().backward()
    for p in model.parameters():
        assert p.grad.dtype == torch.float32
        assert p.grad.isfinite().all()
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        assert model.eval()(x).dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_model_in_half_precision(dtype):
    model = _model().to(dtype)
    model(torch.randn(2, 3, 6, 6, dtype=dtype)).float().square().sum().backward()
    assert all(p.grad.dtype == dtype and p.grad.isfinite().all() for p in model.parameters())
    assert model[0].weight_estimator.o.dtype == torch.float64


def test_gradients_of_each_sample_by_torch_func():
    layer = BinaryConv2d(2, 3, 3).float()
    x, parameters = torch.randn(4, 2, 5, 5, dtype=torch.float32), dict(layer.named_parameters())

    def loss(parameters, image):
        return torch.func.functional_call(layer, parameters, (image[None],)).square().sum()

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, x)["weight"]
    layer(x).square().sum().backward()
    torch.testing.assert_close(each.sum(0), layer.weight.grad, rtol=1e-4, atol=1e-4)


def test_exported_and_traced():
    model, x = _model().float().eval(), torch.randn(2, 3, 6, 6, dtype=torch.float32)
    other = torch.randn(2, 3, 6, 6, dtype=torch.float32)
    program = torch.export.export(model, (x,)).module()
    torch.testing.assert_close(program(other), model(other))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is on its way out
        traced = torch.jit.trace(model, x, check_trace=False)
    torch.testing.assert_close(traced(other), model(other))


def test_checkpointed():
    layer, x = BinaryConv2d(2, 3, 3).float(), torch.randn(4, 2, 5, 5, dtype=torch.float32)
    layer(x).square().sum().backward()
    want = layer.weight.grad.clone()
    layer.zero_grad()
    torch.utils.checkpoint.checkpoint(layer, x, use_reentrant=False).square().sum().backward()
    torch.testing.assert_close(layer.weight.grad, want)


def _train(model, schedule, optimizer, batches):
    for x in batches:
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
        schedule.step()


def test_a_run_resumed_from_states_is_the_run_that_went_on():
    batches = torch.randn(6, 2, 3, 6, 6, dtype=torch.float32)
    model = _model().float()
    schedule, optimizer = (
        PowerSchedule(model, total=6),
        torch.optim.SGD(model.parameters(), 0.1, momentum=0.9),
    )
    _train(model, schedule, optimizer, batches[:3])
    resumed = _model().float()
    later, other = PowerSchedule(resumed, total=6), torch.optim.SGD(resumed.parameters(), 0.1, momentum=0.9)
    for new, old in ((resumed, model), (later, schedule), (other, optimizer)):
        new.load_state_dict(copy.deepcopy(old.state_dict()))
    for one in ((model, schedule, optimizer), (resumed, later, other)):
        _train(*one, batches[3:])
    assert schedule.done == later.done == 6
    for name, value in model.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


def test_two_processes_train_as_one():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    here = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": str(here.parents[1] / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", str(here / "two_processes.py"), "1", port]
    second = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    together, alone, o = train(0, port)
    _, error = second.communicate(timeout=60)
    assert second.returncode == 0, error
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-6)  # float32, sums in another order
    assert o == 3
