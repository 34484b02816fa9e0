"""Grids and sequences beside softmax attention, beside the plain recursion, and beside the paper's parallel algorithm.

The recursion is `isocline.plstm.kernels.reference` under autograd. The parallel algorithm (``plain/plstm.py``) is
written from the paper's description: tiles merged by fours. ``--reference DIR`` adds another implementation: a folder with
an ``adapter.py`` that defines ``grid`` and ``line`` with the signatures of ``plain/plstm.py``. ``--only grids14`` (or grids32,
kept, lines, sizes) prints one table and writes nothing; with ``--parts DIR`` it is kept there, where a run without
``--only`` finds it.
"""

import side_by_side as sides  # first: holds the threads  # isort: skip

import argparse
import importlib.util
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType

import torch
from plain import plstm as plain
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from isocline.plstm import plstm_1d, plstm_2d_d, plstm_2d_p

HEADS, DIM = 3, 64
SIDES_OF_GRIDS = (14, 32)
LENGTH = 1024
SIDES = (8, 16, 32, 64, 96, 128)
POOL = 7 << 20  # numbers: the largest piece, 28 MiB, by whose size malloc learns
BACKENDS = ("dense", "sweep", "tiled", "auto")
MEMORY = 3e9  # bytes that a contestant may keep for the way back; one that needs more is left out
P = ("source_r", "source_d", "transition_r", "transition_d", "mark")
D = ("source_r", "source_d", "transition_r", "transition_d", "transition_turn", "mark_l", "mark_u")

ABOUT = (
    f"Four directions, {HEADS} heads of {DIM}, float32, side by side as a layer makes them. Softmax attention is "
    "`scaled_dot_product_attention` on the same nodes; the recursion goes from node to node under autograd; `tiles merged` "
    "is the paper's parallel algorithm in plain PyTorch, written from its description, not the published code.\n\n"
)

Call = Callable[[], Tensor]


def kept(call: Call, leaves: list[Tensor]) -> tuple[int, int]:
    """Bytes kept for the way back, each piece of memory once: all, and those beside the inputs."""
    seen: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        _y = call()
    given = {leaf.untyped_storage().data_ptr() for leaf in leaves}
    return sum(seen.values()), sum(size for place, size in seen.items() if place not in given)


def both_ways(call: Call, leaves: list[Tensor]) -> dict[str, Callable[[], object]]:
    slope = torch.randn_like(call().detach())

    def forward() -> object:
        with torch.no_grad():
            return call()

    def forward_and_backward() -> object:
        return torch.autograd.grad(call(), leaves, slope, allow_unused=True)

    return {"forward": forward, "forward and backward": forward_and_backward}


def random(*shape: int) -> Tensor:
    return torch.rand(shape).mul_(0.5).requires_grad_()


def projected(batch: int, *nodes: int) -> Tensor:
    """Features ``(B, heads, *nodes, d)`` as a layer makes them: in memory the heads of a node lie side by side."""
    return torch.randn(batch, *nodes, HEADS, DIM).movedim(-2, 1).requires_grad_()


def grid_calls(
    batch: int, side: int, others: dict[str, Callable[..., Tensor]]
) -> dict[str, tuple[Call, list[Tensor]]]:
    """Every contestant at P-mode gates of one size, and ours at D-mode; each with the leaves of its gradients."""
    q, k, v = (projected(batch, side, side) for _ in range(3))
    p = {name: random(batch, HEADS, 4, side, side) for name in P}
    d = {name: random(batch, HEADS, 4, side, side) for name in D}
    flat = [p[name].flatten(0, 1) for name in P]
    eight = [flat[0], flat[1], flat[2], flat[2], flat[3], flat[3], flat[4], flat[4]]
    vectors = [q, k, v]
    calls: dict[str, tuple[Call, list[Tensor]]] = {
        "P": (lambda: plstm_2d_p(q, k, v, **p), [*vectors, *p.values()]),
        "D": (lambda: plstm_2d_d(q, k, v, **d), [*vectors, *d.values()]),
        "softmax": (lambda: scaled_dot_product_attention(*(t.flatten(2, 3) for t in vectors)), vectors),
        "recursion": (lambda: plstm_2d_p(q, k, v, **p, backend="reference"), [*vectors, *p.values()]),
    }
    for name, grid in others.items():
        calls[name] = (
            lambda grid=grid: grid(*(t.flatten(0, 1) for t in vectors), eight),
            [*vectors, *p.values()],
        )
    return calls


def line_calls(batch: int, others: dict[str, Callable[..., Tensor]]) -> dict[str, tuple[Call, list[Tensor]]]:
    vectors = [projected(batch, LENGTH) for _ in range(3)]
    gates = [torch.rand(batch, HEADS, LENGTH).requires_grad_() for _ in range(4)]
    leaves = [*vectors, *gates]
    calls: dict[str, tuple[Call, list[Tensor]]] = {
        "ours": (lambda: plstm_1d(*vectors, *gates), leaves),
        "softmax": (lambda: scaled_dot_product_attention(*vectors, is_causal=True), vectors),
        "recursion": (lambda: plstm_1d(*vectors, *gates, backend="reference"), leaves),
    }
    for name, line in others.items():
        calls[name] = (lambda line=line: line(*(t.flatten(0, 1) for t in leaves)), leaves)
    return calls


def measured(calls: dict[str, tuple[Call, list[Tensor]]], way: str, rounds: int) -> dict[str, sides.Timing]:
    """CPU time of one way, in turns."""
    return sides.take_turns({name: both_ways(*call)[way] for name, call in calls.items()}, rounds=rounds)


def kept_of_one(side: int, others: dict[str, Callable[..., Tensor]]) -> dict[str, tuple[int, int]]:
    """Bytes that each contestant keeps of one image; they grow in proportion to the batch."""
    calls = grid_calls(1, side, others)
    return {name: kept(*calls[name]) for name in ("P", "recursion", *others)}


def verdict(ratio: sides.Timing | float, wanted: float, at_most: bool) -> list[str]:
    middle = ratio if isinstance(ratio, float) else ratio.middle
    good = middle <= wanted if at_most else middle >= wanted
    return [f"{'≤' if at_most else '≥'} {wanted:g}", "reached" if good else "**lost**"]


def grids(side: int, others: dict[str, Callable[..., Tensor]]) -> str:
    rows: list[list[str]] = []
    of_one = kept_of_one(side, others)
    for batch in (8, 1):
        calls = grid_calls(batch, side, others)
        size = f"{side} × {side}, batch {batch}"
        for way, limit, least in (("forward", 3, 20), ("forward and backward", 4, 15)):
            fast = measured({name: calls[name] for name in ("P", "D", "softmax")}, way, rounds=5)
            for mode in "PD":
                over = fast[mode].over(fast["softmax"])
                goal = verdict(over, limit, True) if side == 14 else ["", ""]
                rows.append([size, way, f"{mode} / softmax attention", ms(fast[mode]), over.words(), *goal])
            for name in ("recursion", *others):
                keeps = batch * of_one[name][0]
                if way != "forward" and keeps > MEMORY:
                    rows.append([size, way, f"{name} / P", "", f"would keep {keeps / 1e9:.0f} GB", "", ""])
                    continue
                times = measured({"P": calls["P"], name: calls[name]}, way, rounds=2)
                over = times[name].over(times["P"])
                rows.append(
                    [size, way, f"{name} / P", ms(times["P"]), over.words(), *verdict(over, least, False)]
                )
    columns = ["grid", "pass", "ratio", "ours, ms", "ratio of CPU times", "wanted", ""]
    return ABOUT * (side == SIDES_OF_GRIDS[0]) + sides.table(columns, rows)


def keeping(others: dict[str, Callable[..., Tensor]]) -> str:
    rows = []
    for side in SIDES_OF_GRIDS:
        of_one = kept_of_one(side, others)
        for name in ("recursion", *others):
            row = [f"{side} × {side}", name]
            for ours, theirs in zip(of_one["P"], of_one[name], strict=True):
                share = theirs / ours
                row += [f"{ours / 2**20:.3g}", f"{theirs / 2**20:.4g}", f"{share:.3g}"]
                row += verdict(share, 8, False)
            rows.append(row)
    columns = ["grid", "peer"]
    for what in ("all", "beside the inputs"):
        columns += [f"{what}: ours, MiB", "peer, MiB", "peer / ours", "wanted", ""]
    return (
        "Kept for the way back of one image: all, and beside q, k, v and the gates, which whoever calls holds anyway.\n\n"
        + sides.table(columns, rows)
    )


def lines(others: dict[str, Callable[..., Tensor]]) -> str:
    rows = []
    for batch in (8, 1):
        calls = line_calls(batch, others)
        for way in ("forward", "forward and backward"):
            times = measured(calls, way, rounds=3)
            for name in [name for name in calls if name != "ours"]:
                over = times[name].over(times["ours"])
                goal = ["", ""] if name == "softmax" else verdict(over, 15, False)
                rows.append([f"batch {batch}", way, name, ms(times["ours"]), over.words(), *goal])
    columns = ["", "pass", "peer", "ours, ms", "peer / ours", "wanted", ""]
    return (
        f"A sequence of {LENGTH}, {HEADS} heads of {DIM}, float32, side by side as a layer makes them; softmax attention is "
        "causal.\n\n" + sides.table(columns, rows)
    )


def cost_of_a_node(side: int) -> list[str]:
    """Microseconds, by the backends in turn, forward and then both ways."""
    q, k, v = (torch.randn(1, side, side, DIM, requires_grad=True) for _ in range(3))
    p = {name: random(1, 4, side, side) for name in P}
    leaves, found = [q, k, v, *p.values()], []
    for backend in BACKENDS:
        call = partial(plstm_2d_p, q, k, v, **p, backend=backend)
        for way in ("forward", "forward and backward"):
            if backend == "dense" and side > 64:
                found.append("")
                continue
            time = measured({backend: (call, leaves)}, way, rounds=2)[backend]
            found.append(f"{1e6 * time.middle / side**2:.3g}")
    return found


def sizes(_others: object) -> str:
    """What a node costs as the grid grows, one head, P-mode."""
    rows = [[f"{side} × {side}", *cost_of_a_node(side)] for side in SIDES]
    ways = [f"{backend}, {way}" for backend in BACKENDS for way in ("forward", "both ways")]
    return f"Microseconds a node, one head of {DIM}, P-mode:\n\n" + sides.table(["grid", *ways], rows)


def ms(time: sides.Timing) -> str:
    return sides.Timing(tuple(1e3 * s for s in time.seconds)).words()


def adapter(folder: Path) -> ModuleType:
    """The ``adapter.py`` in the folder."""
    spec = importlib.util.spec_from_file_location("adapter", folder / "adapter.py")
    if spec is None or spec.loader is None or not (folder / "adapter.py").exists():
        raise SystemExit(f"--reference: want a folder with an adapter.py, got {folder}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    tables: dict[str, Callable[[dict[str, Callable[..., Tensor]]], str]] = {
        **{f"grids{side}": partial(grids, side) for side in SIDES_OF_GRIDS},
        "kept": keeping,
        "lines": lines,
        "sizes": sizes,
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--reference", type=Path, help="a folder with an adapter.py of another implementation"
    )
    parser.add_argument("--only", choices=tables)
    parser.add_argument(
        "--parts", type=Path, help="a folder in which --only leaves its table for a later run"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.empty(
        POOL
    )  # given back at once: from now on malloc keeps what is freed, and nobody pays for fresh pages
    grid, line = {"tiles merged": plain.grid}, {"tiles merged": plain.line}
    if options.reference:
        module = adapter(options.reference)
        grid["published"], line["published"] = module.grid, module.line
    parts = {
        name: made(name, partial(tables[name], line if name == "lines" else grid), options.parts)
        for name in ([options.only] if options.only else tables)
    }
    if options.only:
        print(parts[options.only])
    else:
        sides.write_results("plstm", "linear recurrences on grids and sequences", list(parts.values()))


def made(name: str, table: Callable[[], str], folder: Path | None) -> str:
    """A table, or the one that an earlier run left in the folder."""
    if folder is None:
        return table()
    file = folder / f"{name}.md"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(table())
    return file.read_text()


if __name__ == "__main__":
    main()
