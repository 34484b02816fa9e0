"""One training step of the clipped shallow PLRNN under forcing: the compiled kernels beside the plain PyTorch
loop.

The plain loop is what one writes from the paper's two equations, under autograd. "Forward and backward" is
predictions, mean squared error and all gradients; "training step" adds the drawing of windows, the penalties
and RAdam.
"""

import side_by_side as sides  # first: holds the threads  # isort: skip

import re
import subprocess
import sys
from collections.abc import Callable

import torch
from torch.nn.functional import mse_loss, relu

from isocline.dynamics import AffineObservation, IdentityObservation, ShallowPLRNN, forced_rollout
from isocline.dynamics import functional as F
from isocline.dynamics.kernels.runs import Setup, advance, begin

ALPHA = 0.1
# M, L, B, T: how many times as fast as the plain loop it has to be
SIZES = {(3, 50, 16, 200): 100.0, (5, 250, 16, 200): 25.0, (16, 512, 16, 50): 5.0, (64, 512, 16, 200): 1.5}
SETUPS = {  # what the paper trains on each recording; milliseconds that a step may take
    "Lorenz-63": (Setup(3, 50, 3, shrinkage=1e-5), 0.5),
    "ECG": (Setup(5, 250, 5, observation="affine", observation_penalty=1e-7), None),
    "EEG": (
        Setup(
            16, 512, 64, observation="affine", observation_penalty=1e-6, sequence_length=50, shrinkage=1e-4
        ),
        None,
    ),
}


def plain_loop(A, W1, W2, h1, h2, z0, signal, alpha):
    """Predictions ``(T, B, M)``, step by step."""
    z, predicted = z0, []
    for target in signal:
        u = z @ W2.T
        z = A * z + (relu(u + h2) - relu(u)) @ W1.T + h1
        predicted.append(z)
        z = (1 - alpha) * z + alpha * target
    return torch.stack(predicted)


def forward_and_backward(rollout: Callable[..., torch.Tensor], size: tuple[int, ...]) -> Callable[[], object]:
    M, L, B, T = size
    torch.manual_seed(0)
    weights = list(ShallowPLRNN(M, L).parameters())
    z0, signal, observed = torch.randn(B, M), torch.randn(T, B, M), torch.randn(T, B, M)
    by_name = dict(zip(("A", "W1", "W2", "h1", "h2"), weights, strict=True))

    def step() -> object:
        predicted = rollout(**by_name, z0=z0, signal=signal, alpha=ALPHA)
        return torch.autograd.grad(mse_loss(predicted, observed), weights)

    return step


def fused(*, signal, **rest):
    return forced_rollout(forcing=signal, **rest)


def kernels() -> str:
    rows = []
    for size, goal in SIZES.items():
        calls = {"plain": forward_and_backward(plain_loop, size), "ours": forward_and_backward(fused, size)}
        for plain, ours in zip(calls["plain"](), calls["ours"](), strict=True):
            torch.testing.assert_close(ours, plain, rtol=2e-2, atol=1e-4)  # float32: a gate may flip
        times = sides.take_turns(calls, rounds=15)
        ratio = times["plain"].over(times["ours"])
        verdict = "reached" if ratio.middle >= goal else "**lost**"
        milliseconds = [
            sides.Timing(tuple(1e3 * s for s in times[who].seconds)).words() for who in ("plain", "ours")
        ]
        rows.append([size, *milliseconds, ratio.words(), f"≥ {goal:g}", verdict])
    columns = ["(M, L, B, T), float32", "plain loop, ms", "ours, ms", "plain / ours", "wanted", ""]
    return "Forward and backward:\n\n" + sides.table(columns, rows)


def eager_training(setup: Setup, series: torch.Tensor) -> Callable[[], object]:
    """The same step in plain PyTorch."""
    model = ShallowPLRNN(setup.latent_dim, setup.hidden_dim)
    affine = setup.observation == "affine"
    kind = AffineObservation if affine else IdentityObservation
    observation = kind(setup.observed_dim, setup.latent_dim)
    parameters = [*model.parameters(), *observation.parameters()]
    optimiser = torch.optim.RAdam(parameters, lr=1e-3)
    offsets = torch.arange(setup.sequence_length + 1).unsqueeze(1)

    def step() -> object:
        rows = torch.randint(len(series) - setup.sequence_length - 1, (setup.batch_size,)) + offsets
        x = series[rows]
        states = plain_loop(
            *model.weights(), observation.initial_state(x[0]), observation.forcing(x[1:]), ALPHA
        )
        loss = mse_loss(observation(states), x[1:]) + setup.shrinkage * F.shrinkage(*model.weights())
        if affine:
            loss = loss + setup.observation_penalty * observation.penalty()
        optimiser.zero_grad()
        loss.backward()
        return optimiser.step()

    return step


def compiled_training(setup: Setup, series: torch.Tensor, updates: int) -> Callable[[], object]:
    model = ShallowPLRNN(setup.latent_dim, setup.hidden_dim)
    parameters = dict(model.named_parameters())
    if setup.observation == "affine":
        parameters |= dict(AffineObservation(setup.observed_dim, setup.latent_dim).named_parameters())
    runs = begin(setup, [parameters], [1])
    starts = torch.arange(len(series) - setup.sequence_length - 1)
    rates = [1e-3] * updates
    return lambda: advance(setup, runs, series, starts, alphas=[ALPHA], rates=rates)


def training() -> str:
    rows, updates = [], 50  # an epoch
    for name, (setup, goal) in SETUPS.items():
        torch.manual_seed(0)
        series = torch.randn(100_000, setup.observed_dim).cumsum(0).div_(100)
        calls = {
            "plain": eager_training(setup, series),
            "ours": compiled_training(setup, series, updates),
        }
        times = sides.take_turns(calls, rounds=9)
        plain = sides.Timing(tuple(1e3 * s for s in times["plain"].seconds))
        ours = sides.Timing(tuple(1e3 * s / updates for s in times["ours"].seconds))
        size = (setup.latent_dim, setup.hidden_dim, setup.batch_size, setup.sequence_length)
        wanted = (
            ["", ""] if goal is None else [f"< {goal} ms", "reached" if ours.middle < goal else "**lost**"]
        )
        rows.append(
            [
                f"{name} {size}, {setup.observation}",
                plain.words(),
                ours.words(),
                plain.over(ours).words(),
                *wanted,
            ]
        )
    columns = ["model", "plain loop, ms a step", "ours, ms a step", "plain / ours", "wanted", ""]
    return f"Whole training steps, {updates} a call:\n\n" + sides.table(columns, rows)


LONG = """
import re, torch
from isocline.dynamics import forced_rollout
def status(name):
    with open("/proc/self/status") as file:
        return int(re.search(name + r":\\s*(\\d+)", file.read())[1]) / 1024
weights = [(0.1 * torch.randn(*s)).requires_grad_() for s in ((3,), (3, 50), (50, 3), (3,), (50,))]
def step(T):
    signal, slope = torch.zeros(T, 16, 3), torch.ones(T, 16, 3)
    forced_rollout(*weights, torch.zeros(16, 3), signal, 0.1).backward(slope)
step(10)
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")
before = status("VmRSS")
step(100_000)
print(status("VmHWM") - before)
"""


def memory() -> str:
    megabytes = float(
        subprocess.run([sys.executable, "-c", LONG], capture_output=True, text=True, check=True).stdout
    )
    verdict = "reached" if megabytes < 100 else "**lost**"
    return (
        "Forward and backward over 100 000 steps at M = 3, L = 50, B = 16, float32: the process grows by "
        f"{megabytes:.0f} MB at its peak, signal and slope included (wanted: < 100 MB, {verdict})."
    )


def main() -> None:
    torch.set_num_threads(1)
    parts = {"kernels": kernels, "training": training, "memory": memory}
    wanted = [name for name in sys.argv[1:] if re.fullmatch("kernels|training|memory", name)] or list(parts)
    found = [parts[name]() for name in wanted]
    if len(sys.argv) > 1:
        print(*found, sep="\n\n")
        return
    sides.write_results("dynamics", "a training step beside the plain loop", found)


if __name__ == "__main__":
    main()
