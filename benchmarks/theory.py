"""Kernels and NTKs of 50 layers beside neural-tangents, and the report on one input of 100 layers.

neural-tangents is compiled before it is timed; the time of its first call, which is what a person waits for,
stands beside it. Without a closed form (tanh, SWISH) it integrates numerically with its default of 25 nodes.
"""

import side_by_side as sides  # first: holds the threads  # isort: skip

import os
import time
from collections.abc import Callable

import numpy as np

from isocline.theory import pairs
from isocline.theory.functional import first_kernel, many_input, single_input

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

DEPTH, INPUTS, FEATURES = 50, 100, 32
# C_b, C_W, and how many times as fast as neural-tangents: after its compilation, and with it
CLOSED = {
    "relu": (0.0, 2.0, 1.0, 20.0),
    "erf": (0.0, 1.0, 1.0, 20.0),
    "gelu": (0.17292239, 1.98305826, 1.0, 20.0),
}
NUMERIC = {"tanh": (0.0, 1.0, 20.0, 20.0), "swish": (0.55514317, 1.98800468, 20.0, 20.0)}
REPORTS = [
    ("tanh", 1.0, 0.0),
    ("gelu", 1.98, 0.0),
    ("relu", 2.0, 0.0),
    ("mish", 2.0, 0.0),
    ("gelu", 1.0, 0.7),
]
REPORT_MS = 50.0

Kernels = tuple[np.ndarray, np.ndarray]


def inputs(count: int = INPUTS) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, FEATURES))


def ours(name: str, C_b: float, C_W: float, x: np.ndarray) -> Callable[[], Kernels]:
    def call() -> Kernels:
        # neural-tangents' parameters have variance one, so that its rates are the variances
        found = many_input(name, DEPTH, first_kernel(x, C_b, C_W), C_b, C_W, C_b, C_W, layers=[DEPTH])
        return found.K[0], found.Theta[0]

    return call


def theirs(name: str, C_b: float, C_W: float, x: np.ndarray) -> Callable[[], Kernels]:
    import jax
    from neural_tangents import stax

    jax.config.update("jax_enable_x64", True)
    activation = {
        "relu": stax.Relu,
        "erf": stax.Erf,
        "gelu": stax.Gelu,
        "tanh": lambda: stax.ElementwiseNumerical(jax.numpy.tanh, deg=25),
        "swish": lambda: stax.ElementwiseNumerical(jax.nn.swish, deg=25),
    }[name]()
    dense = stax.Dense(1, W_std=C_W**0.5, b_std=C_b**0.5)
    network = stax.serial(*(layer for _ in range(DEPTH - 1) for layer in (dense, activation)), dense)[2]
    compiled = jax.jit(lambda x: tuple(network(x, None, ("nngp", "ntk"))))
    return lambda: tuple(map(np.asarray, jax.block_until_ready(compiled(x))))


def seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def off(found: Kernels, exact: Kernels) -> str:
    return " / ".join(f"{np.abs(mine / true - 1).max():.0e}" for mine, true in zip(found, exact, strict=True))


def by_panels(name: str, C_b: float, C_W: float, x: np.ndarray) -> Kernels:
    """Every pair integrated in the plane: no series, no closed form."""
    before = pairs.CUT, pairs.pair_form
    pairs.CUT, pairs.pair_form = -1.0, lambda activation: None
    try:
        return ours(name, C_b, C_W, x)()
    finally:
        pairs.CUT, pairs.pair_form = before


def milliseconds(timing: sides.Timing) -> str:
    return sides.Timing(tuple(1e3 * s for s in timing.seconds)).words()


def kernels() -> str:
    rows = []
    for name, (C_b, C_W, after, compiling) in (CLOSED | NUMERIC).items():
        calls = {who.__name__: who(name, C_b, C_W, inputs()) for who in (ours, theirs)}
        first = {who: seconds(call) for who, call in calls.items()}
        times = sides.take_turns(calls, rounds=7 if name in CLOSED else 3)
        ratio, waiting = times["theirs"].over(times["ours"]), first["theirs"] / first["ours"]
        few = inputs(4)
        truth = by_panels(name, C_b, C_W, few)
        rows.append([
            name,
            *(milliseconds(times[who]) for who in ("ours", "theirs")),
            ratio.words(),
            f"≥ {after:g}",
            f"{first['theirs']:.1f} s / {1e3 * first['ours']:.0f} ms = {waiting:.0f}",
            f"≥ {compiling:g}",
            *(off(who(name, C_b, C_W, few)(), truth) for who in (ours, theirs)),
            "reached" if ratio.middle >= after and waiting >= compiling else "**lost**",
        ])  # fmt: skip
    columns = [
        "activation", "ours, ms", "neural-tangents, ms", "ratio", "wanted", "first call", "wanted",
        "ours off by (K / Θ)", "theirs off by (K / Θ)", "",
    ]  # fmt: skip
    words = (
        f"Kernel and NTK, {DEPTH} layers, {INPUTS} × {INPUTS} inputs, float64. Exactness is relative to an "
        "integration of every pair over panels in the plane, for 4 inputs:"
    )
    return f"{words}\n\n{sides.table(columns, rows)}"


def reports() -> str:
    rows = []
    for name, C_W, skip in REPORTS:

        def call(name: str = name, C_W: float = C_W, skip: float = skip) -> object:
            return single_input(name, 100, 1.0, 0.05, C_W, skip=skip)

        taken = sides.take_turns({"ours": call})["ours"]
        verdict = "reached" if 1e3 * taken.middle < REPORT_MS else "**lost**"
        rows.append([name, skip or "–", milliseconds(taken), f"< {REPORT_MS:g}", verdict])
    columns = ["activation", "skip", "ms", "wanted", ""]
    return "One input, 100 layers, every coefficient:\n\n" + sides.table(columns, rows)


if __name__ == "__main__":
    sides.write_results("theory", "infinite width and its corrections", [kernels(), reports()])
