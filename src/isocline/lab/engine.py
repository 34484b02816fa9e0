"""Where tasks run: worker processes of this machine (loky), or a Ray cluster, both through joblib."""

from __future__ import annotations

import logging
import os
import re
import socket
import time
import traceback
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from isocline._core.checks import wrong
from isocline._core.files import plain
from isocline._core.seeds import derive_seed, seeded

from .claim import Measurement, Missing, Task, looking_in
from .machine import fingerprint

# Set before a worker imports anything: libraries read these when they are loaded.
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS", "NUMBA")}


class BrokenPool(RuntimeError):
    """A worker process died, and the pool with it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a task: ``done`` and a measurement, ``failed`` and a traceback, ``skipped`` and why."""

    status: str
    values: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    traceback: str = ""
    seconds: float = 0.0
    machine: dict[str, str] = field(default_factory=dict)


def results(
    tasks: Sequence[Task],
    *,
    jobs: int,
    ray: bool = False,
    address: str | None = None,
    data: str | None = None,
) -> Iterator[tuple[Task, Outcome]]:
    """Run the tasks and give each one's outcome the moment it is there, in the order they finish.

    Tasks of claims that measure time (`alone`) run one at a time, after all others. Each task has one thread
    for torch and BLAS, and random generators that depend on nothing but the task, so the numbers do not
    depend on `jobs` or the engine. A worker process that dies takes no task with it but the one that killed
    it.
    """
    if not tasks:
        return
    left = {index: task for index, task in enumerate(tasks) if not task.claim.alone}
    apart = {index: task for index, task in enumerate(tasks) if task.claim.alone}
    with _backend(jobs, ray=ray, address=address) as stream:
        with suppress(BrokenPool):  # which of the tasks killed its worker shows when they run one by one
            yield from _drain(left, stream, data, one_by_one=jobs == 1)
        left |= apart
        while left:
            try:
                yield from _drain(left, stream, data, one_by_one=True)
            except BrokenPool as error:
                culprit = left.pop(next(iter(left)))
                yield (
                    culprit,
                    Outcome("failed", error="the worker process died (out of memory?)", traceback=str(error)),
                )


def _drain(
    left: dict[int, Task], stream: Callable, data: str | None, *, one_by_one: bool
) -> Iterator[tuple[Task, Outcome]]:
    """Give the outcomes of the tasks in `left`, which each leaves as it is given; raises BrokenPool."""
    calls = [(index, task, data) for index, task in left.items()]
    if not calls:
        return
    running = stream(calls, one_by_one)
    try:
        for index, outcome in running:
            yield left.pop(index), outcome
    except Exception as error:
        if isinstance(error, BrokenExecutor) or type(error).__name__ in ("RayActorError", "ActorDiedError"):
            raise BrokenPool(str(error)) from error
        raise
    finally:
        with warnings.catch_warnings():  # the caller stopped early: joblib has views on that
            warnings.simplefilter("ignore")
            running.close()


def execute(task: Task, data: str | None = None) -> Outcome:
    """Run one task in this process: one thread, seeded, and whatever it raises becomes its outcome."""
    start = time.perf_counter()

    def outcome(status: str, **found: Any) -> Outcome:
        return Outcome(status, **found, seconds=time.perf_counter() - start, machine=fingerprint())

    try:
        seed = derive_seed(task.claim.name, task.setting, task.seed)
        with _one_thread(), looking_in(data), seeded(seed):
            found = task.claim.run(dict(task.setting), task.seed, task.device)
        if not isinstance(found, Measurement):
            raise wrong("run", "a Measurement", type(found).__name__, error=TypeError)
        return outcome("done", values=plain(found.values), arrays=_arrays(found))
    except Missing as reason:
        return outcome("skipped", error=str(reason))
    except Exception as error:
        words = f"{type(error).__name__}: {error}"
        return outcome("failed", error=words, traceback=traceback.format_exc())


def _arrays(found: Measurement) -> dict[str, np.ndarray]:
    arrays = {name: np.asarray(array) for name, array in found.arrays.items()}
    for name, array in arrays.items():
        if array.dtype.kind not in "biuf":
            raise wrong(f"arrays[{name!r}]", "real numbers", array, error=TypeError)
    return arrays


def _numbered(index: int, task: Task, data: str | None) -> tuple[int, Outcome]:
    return index, execute(task, data)


@contextmanager
def _backend(jobs: int, *, ray: bool, address: str | None) -> Iterator[Callable]:
    """A function from calls to a stream of their results, in the order they finish.

    There are always two workers at least, as joblib runs in the calling process when there is one: a task
    must not be able to take the command down with it. `one_by_one` then keeps all but one of them idle.
    """
    from joblib import Parallel, delayed, parallel_config

    def stream(calls: list[tuple], one_by_one: bool) -> Generator[tuple[int, Outcome], None, None]:
        how: dict[str, Any] = {"batch_size": 1, "pre_dispatch": 1 if one_by_one else "2*n_jobs"}
        parallel: Any = Parallel(n_jobs=workers, return_as="generator_unordered", **how)
        return parallel(delayed(_numbered)(*call) for call in calls)

    workers = -1 if address and jobs < 0 else max(jobs, 2)
    if ray:
        with _ray(workers, address), parallel_config(backend="ray"):
            yield stream
    else:
        with parallel_config(backend="loky", inner_max_num_threads=1):
            yield stream


@contextmanager
def _ray(workers: int, address: str | None) -> Iterator[None]:
    """A connection to Ray for the time of the run: to `address`, or to a cluster of this machine's cores.

    Nothing leaves the machine: no usage statistics, no dashboard.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        from joblib import register_parallel_backend
        from ray.util.joblib.ray_backend import RayBackend
    except ImportError as error:
        raise wrong("engine", "ray to be installed", f"{error}", "pip install 'isocline[ray]'") from error

    class Backend(RayBackend):
        """Ray's pool hands over results as they come, which joblib assumes of no pool but its own."""

        supports_return_generator = True

    _check_answers(address)
    register_parallel_backend("ray", Backend)
    for name in ("ray", "ray.util.multiprocessing.pool"):
        logging.getLogger(name).setLevel(logging.ERROR)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    options |= {"address": address or "local"}
    if address:
        options["runtime_env"] = {"env_vars": ONE_THREAD}
    else:  # workers of our own inherit the variables; a runtime environment would start a second set of them
        options |= {"num_cpus": workers, "include_dashboard": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with _environment({} if address else ONE_THREAD):
                ray.init(**options)
        except (OSError, RuntimeError, ValueError) as error:
            raise wrong("ray_address", "a Ray cluster that answers", repr(address), str(error)) from error
        try:
            yield
        finally:
            ray.shutdown()


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Environment variables that processes started inside inherit; ours are afterwards as they were."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _check_answers(address: str | None) -> None:
    """Knock at ``host:port``: Ray itself goes on trying for minutes."""
    place = re.fullmatch(r"(?:ray://)?([^:/]+):(\d+)", address or "")
    if place is None:
        return
    try:
        socket.create_connection((place[1], int(place[2])), timeout=5).close()
    except (OSError, OverflowError) as error:
        raise wrong("ray_address", "a Ray cluster that answers", repr(address), str(error)) from error


@contextmanager
def _one_thread() -> Iterator[None]:
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)
