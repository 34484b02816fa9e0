"""The forced recursion on the CPU, compiled: its forward run and its hand-written adjoint.

A vector of lanes is a block of sequences of one run; blocks are independent and are shared among threads. The
way back runs in blocks of time: first the adjoint step by step,

    lambda_t = dl/dz_t + (1 - alpha_t) J_{t+1}^T lambda_{t+1},

with the gates computed again from the states; then the weights' gradients of the whole block at once, while
the units' outputs and signals are still in the cache. Nothing but the predictions is kept from the forward
run.

Compiled code gets tensors as bare places, ``(address, stride in bytes, ...)``: a few microseconds a call less
than arrays, which is much here, and one compilation serves every layout.
"""

from __future__ import annotations

import threading
from collections import namedtuple
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import torch
from torch import Tensor

from isocline._core.compiling import ONE, ZERO, compiled, inlined, merged

from .blocks import fill, force, force_back, read, read_forcing, write
from .simd import VECTOR_BYTES, ahead, load, pieces, pointer, store, total
from .steps import (
    UNITS,
    groups_of,
    limits_of,
    pack,
    predict,
    prepare,
    pull_back,
    theta_size,
    turn_back,
    unpack,
    weight_gradients,
)

CACHE = 1 << 20  # bytes that the units' outputs and signals of a block of time may take
SPAN = 32  # steps in a block of time of the forward run

_LIKE = {torch.float32: np.zeros(1, np.float32), torch.float64: np.zeros(1, np.float64)}
_HELD = threading.local()
_ABSENT = (0, 0, 0, 0, 0)
_PADDING = ((0, 0, 0, 0), (0, 0, 0), (0, 0), (0,), ())


def _needed(M, D, G, lanes):
    """Values of memory that the forward run takes: state, states, added, targets, weights, theta, prepared."""
    theta = 2 * M + UNITS * G * (1 + 2 * M)
    return M * lanes, SPAN * M * lanes, SPAN * M * lanes, SPAN * D * lanes, SPAN * D * lanes, theta, theta


def _needed_back(steps, M, D, G, lanes):
    """Values of memory that the way back takes: the pieces of a ``Span``, then theta and prepared.

    Between groups of units lies no power of two, or all would meet in one line of the cache.
    """
    theta = 2 * M + UNITS * G * (1 + 2 * M)
    states, forced, units = steps * M * lanes, steps * D * lanes, G * (UNITS * steps + UNITS) * lanes
    small = (2 * M + UNITS * G) * lanes
    return states, states, forced, forced, units, units, M * lanes, small, theta, theta


_pieces, _pieces_back = inlined(_needed), inlined(_needed_back)


@compiled
def _run(sizes, parameters, sequences, drive, clipped, like, memory, begin, end):
    """The forward run of the blocks begin .. end; sizes are (R, T, B, M, L, D), memory the address of enough."""
    _, T, B, M, L, D = sizes
    G = groups_of(L)
    z0, forcing, weight, predicted = sequences
    lanes = VECTOR_BYTES // like.itemsize
    blocks = (B + lanes - 1) // lanes
    state, states, added, targets, weights, theta, prepared = pieces(memory, _pieces(M, D, G, lanes), like)
    limits = limits_of(clipped, like)
    for block in range(begin, end):
        r, low = block // blocks, block % blocks * lanes
        high = min(low + lanes, B)
        if block == begin or low == 0:
            pack(parameters, r, M, L, theta)
            prepare(theta, M, G, clipped, prepared)
        read(state, ZERO, z0, M, r, ZERO, ONE, low, high, lanes)
        for first in range(0, T, SPAN):
            last = min(first + SPAN, T)
            read_forcing(targets, weights, ZERO, forcing, weight, D, r, first, last, low, high, lanes)
            if drive[0] != 0:
                read(added, ZERO, drive, M, r, first, last, low, high, lanes)
            for step in range(last - first):
                predict(prepared, M, G, limits, state, ZERO, states, step * M)
                for place in range(step * M, step * M + M):
                    if drive[0] != 0:
                        store(states, place, load(states, place) + load(added, place))
                    store(state, place - step * M, load(states, place))
                force(state, ZERO, targets, weights, step * D, D)
            write(states, ZERO, predicted, M, r, first, last, low, high, lanes)


Span = namedtuple("Span", "fed adjoints targets weights outputs signals back small")


@merged
def _read_span(span, sequences, slope, M, D, r, first, last, low, high, lanes):
    """What arrives at the steps first .. last, and the states they were fed; step 0 by z0, which is not
    forced.
    """
    z0, forcing, weight, predicted = sequences
    fed, adjoints, targets, weights, _, _, _, _ = span
    skip = 1 if first == 0 else 0
    if skip:
        read(fed, ZERO, z0, M, r, ZERO, ONE, low, high, lanes)
        fill(targets, D * lanes, ZERO)
        fill(weights, D * lanes, ZERO)
    before = first + skip - 1
    read(adjoints, ZERO, slope, M, r, first, last, low, high, lanes)
    read(fed, skip * M, predicted, M, r, before, last - 1, low, high, lanes)
    read_forcing(targets, weights, skip * D, forcing, weight, D, r, before, last - 1, low, high, lanes)
    for step in range(last - first):
        force(fed, step * M, targets, weights, step * D, D)


@merged
def _sweep(theta, M, D, G, limits, span, stride, steps, gradient):
    """The adjoint over a block of time, last step first, from ``span.back`` to ``span.back``."""
    fed, adjoints, targets, weights, outputs, signals, back, small = span
    for step in range(steps - 1, -1, -1):
        for i in range(M):
            place = step * M + i
            store(adjoints, place, load(adjoints, place) + load(back, i))
        pull_back(theta, M, G, limits, fed, adjoints, step * M, back, outputs, signals, stride, step, small)
        force_back(back, targets, weights, step * D, D)
    weight_gradients(M, G, steps, fed, adjoints, ZERO, outputs, signals, stride, gradient)


@compiled
def _run_back(
    sizes, parameters, sequences, slope, clipped, like, memory, steps, gradients, found, outs, begin, end
):  # fmt: skip
    """The adjoint of ``_run`` for ``slope`` = dl/dz, blocks begin .. end, in blocks of time of ``steps``
    steps.

    Fills gradients ``(blocks, theta)`` and ``outs``: dl/dz_0 and, where they have an address, the slopes
    along the forcing weights and the drive. A call that does all blocks, or that comes after them and does
    none, adds them up into ``found``, the gradients of the parameters.
    """
    R, T, B, M, L, D = sizes
    G = groups_of(L)
    to_z0, to_weight, to_drive = outs
    lanes = VECTOR_BYTES // like.itemsize
    blocks = (B + lanes - 1) // lanes
    fed, adjoints, targets, weights, outputs, signals, back, small, theta, prepared = pieces(
        memory, _pieces_back(steps, M, D, G, lanes), like
    )
    span = Span(fed, adjoints, targets, weights, outputs, signals, back, small)
    limits = limits_of(clipped, like)
    for block in range(begin, end):
        r, low = block // blocks, block % blocks * lanes
        high = min(low + lanes, B)
        if block == begin or low == 0:
            pack(parameters, r, M, L, theta)
            prepare(theta, M, G, clipped, prepared)
        gradient = ahead(pointer(gradients, like), block * theta_size(M, G))
        fill(gradient, theta_size(M, G), ZERO)
        fill(small, (2 * M + UNITS * G) * lanes, ZERO)
        fill(back, M * lanes, ZERO)
        for first in range((T - 1) // steps * steps, -1, -steps):
            last = min(first + steps, T)
            _read_span(span, sequences, slope, M, D, r, first, last, low, high, lanes)
            _sweep(prepared, M, D, G, limits, span, UNITS * steps + UNITS, last - first, gradient)
            if to_drive[0] != 0:
                write(adjoints, ZERO, to_drive, M, r, first, last, low, high, lanes)
            if to_weight[0] != 0:
                skip = 1 if first == 0 else 0
                write(targets, skip * D, to_weight, D, r, first + skip - 1, last - 1, low, high, lanes)
        write(back, ZERO, to_z0, M, r, ZERO, ONE, low, high, lanes)
        for k in range(2 * M + UNITS * G):
            gradient[k] += total(load(small, k))
        turn_back(theta, M, G, clipped, gradient)
    if end == R * blocks and (begin == 0 or begin == end):
        _sum_blocks(pointer(gradients, like), R, blocks, M, L, found)


@inlined
def _sum_blocks(gradients, R, blocks, M, L, found):
    """Add up the blocks of each run, in their order, and unpack into the parameters' gradients."""
    size = theta_size(M, groups_of(L))
    for r in range(R):
        whole = ahead(gradients, r * blocks * size)
        for n in range(size, blocks * size):
            whole[n % size] += whole[n]
        unpack(whole, found, r, M, L)


def forward(
    A: Tensor, W1: Tensor, W2: Tensor, h1: Tensor, h2: Tensor, z0: Tensor, forcing: Tensor, weight: Tensor,
    drive: Tensor | None, clipped: bool,
) -> Tensor:  # fmt: skip
    """The predictions; arguments as in ``reference.forced_rollout``, all of one dtype."""
    predicted = forcing.new_empty(*forcing.shape[:-1], z0.shape[-1])
    sizes, like = _sizes(W1, forcing), _LIKE[z0.dtype]
    parameters = _places(A, W1, W2, h1, h2)
    sequences = (_row(z0), _sequence(forcing), _spread(weight), _sequence(predicted))
    driving = _ABSENT if drive is None else _sequence(drive)

    _, _, _, M, L, D = sizes
    needed = like.itemsize * sum(_needed(M, D, -(-L // UNITS), VECTOR_BYTES // like.itemsize))

    def work(begin: int, end: int) -> None:
        _run(sizes, parameters, sequences, driving, clipped, like, memory_of(needed), begin, end)

    share(work, _blocks(sizes, like))
    return predicted


def backward(
    A: Tensor, W1: Tensor, W2: Tensor, h1: Tensor, h2: Tensor, z0: Tensor, forcing: Tensor, weight: Tensor,
    drive: Tensor | None, clipped: bool, predicted: Tensor, slope: Tensor, wants_weight: bool,
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """Gradients of A, W1, W2, h1, h2, z0, weight (None unless wanted) and drive (None if there is none)."""
    found = [torch.empty_like(p) for p in (A, W1, W2, h1, h2, z0)]
    to_weight = torch.zeros_like(forcing) if wants_weight else None
    to_drive = None if drive is None else torch.empty_like(slope)
    sizes, like = _sizes(W1, forcing), _LIKE[z0.dtype]
    parameters = _places(A, W1, W2, h1, h2)
    sequences = (_row(z0), _sequence(forcing), _spread(weight), _sequence(predicted))
    arriving = _sequence(slope)
    outs = (
        _row(found[5]),
        _ABSENT if to_weight is None else _sequence(to_weight),
        _ABSENT if to_drive is None else _sequence(to_drive),
    )
    values = _places(*found[:5])
    _, T, _, M, L, D = sizes
    G = -(-L // UNITS)
    steps = max(8, min(16, T, CACHE // (2 * VECTOR_BYTES * UNITS * G)))
    blocks = _blocks(sizes, like)
    needed = _needed_back(steps, M, D, G, VECTOR_BYTES // like.itemsize)
    gradients = torch.empty(blocks * needed[-1], dtype=z0.dtype)
    at, scratch = gradients.data_ptr(), like.itemsize * sum(needed)

    def work(begin: int, end: int) -> None:
        _run_back(
            sizes, parameters, sequences, arriving, clipped, like, memory_of(scratch), steps, at, values, outs,
            begin, end,
        )  # fmt: skip

    if share(work, blocks) > 1:
        work(blocks, blocks)
    if to_weight is not None:
        to_weight = to_weight.masked_fill_(forcing.isnan(), 0).sum_to_size(weight.shape)
    return *found, to_weight, to_drive


Place = tuple[int, ...]
Sizes = tuple[int, int, int, int, int, int]


def _sizes(W1: Tensor, forcing: Tensor) -> Sizes:
    """(R, T, B, M, L, D); R = 1 where the tensors have no run axis."""
    R = W1.shape[0] if W1.dim() == 3 else 1
    T, B, D = forcing.shape[-3:]
    M, L = W1.shape[-2:]
    return R, T, B, M, L, D


def _places(A: Tensor, W1: Tensor, W2: Tensor, h1: Tensor, h2: Tensor) -> tuple[Place, ...]:
    """Where the parameters lie."""
    if A.dim() == 1:
        return (
            (A.data_ptr(), 0, 0, 0, *A.stride()),
            (W1.data_ptr(), 0, 0, *W1.stride()),
            (W2.data_ptr(), 0, 0, *W2.stride()),
            (h1.data_ptr(), 0, 0, 0, *h1.stride()),
            (h2.data_ptr(), 0, 0, 0, *h2.stride()),
        )
    return tuple(
        (p.data_ptr(), p.stride(0), *_PADDING[p.dim()], *p.stride()[1:]) for p in (A, W1, W2, h1, h2)
    )


def _sequence(tensor: Tensor) -> Place:
    """Where a tensor ``([R,] T, B, columns)`` lies."""
    return (tensor.data_ptr(), *_PADDING[tensor.dim()], *tensor.stride())


def _row(z0: Tensor) -> Place:
    """Where z0 lies, as ``([R,] 1, B, M)``."""
    return (z0.data_ptr(), z0.stride(0) if z0.dim() == 3 else 0, 0, *z0.stride()[-2:])


def _spread(weight: Tensor) -> Place:
    """Where the weight lies; an axis it lacks, or of length 1, stands for all."""
    if weight.numel() == 1:
        return (weight.data_ptr(), 0, 0, 0, 0)
    strides = [step if count > 1 else 0 for step, count in zip(weight.stride(), weight.shape, strict=True)]
    return (weight.data_ptr(), *_PADDING[len(strides)], *strides)


def _blocks(sizes: Sizes, like: np.ndarray) -> int:
    """How many blocks of sequences there are to share among threads."""
    return sizes[0] * -(-sizes[2] * like.itemsize // VECTOR_BYTES)


def share(work: Callable[[int, int], None], blocks: int) -> int:
    """Give each thread an equal part of the blocks; the result does not depend on how many there are.

    Returns the number of threads.
    """
    threads = min(torch.get_num_threads(), blocks)
    if threads == 1:
        work(0, blocks)
        return 1
    cuts = [blocks * n // threads for n in range(threads + 1)]
    for _ in _pool(threads).map(work, cuts[:-1], cuts[1:]):
        pass
    return threads


def memory_of(size: int) -> int:
    """The address of ``size`` bytes that are this thread's until it asks again.

    They are kept: at three states the system's fresh pages would take a twentieth of the time.
    """
    held = getattr(_HELD, "memory", None)
    if held is None or held.numel() < size:
        held = _HELD.memory = torch.empty(size, dtype=torch.uint8)
    return held.data_ptr()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="isocline")
