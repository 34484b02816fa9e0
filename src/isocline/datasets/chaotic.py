"""Chaotic systems to learn from: Lorenz-63, Lorenz-96, Roessler, any system of dysts by name, and delay
embedding.

Every simulation says by which solver and from which seed it came, and is the same again on the same machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
from numba import njit
from scipy.integrate import solve_ivp

from isocline._core.checks import check_finite, check_number, nearest, wrong
from isocline._core.files import plain

Array = npt.NDArray[np.float64]

_RTOL, _ATOL = 1e-9, 1e-11  # of the adaptive solver, for systems of unknown stiffness


@dataclass(frozen=True, slots=True, eq=False)
class Simulation:
    """A simulated series and how it was made; ``series * scale + mean`` are the units of the system's
    equations.
    """

    name: str
    series: Array  # (T, N)
    dt: float  # time from one sample to the next
    mean: Array  # (N,) zeros if not standardised
    scale: Array  # (N,) ones if not standardised
    noise: float  # standard deviation of the added noise, in standard deviations of the channel
    seed: int
    solver: str
    parameters: dict[str, object]

    def to_dict(self) -> dict[str, object]:
        """How the series was made, in plain JSON types: everything but its values."""
        names = [field.name for field in fields(self) if field.name != "series"]
        return {"shape": list(self.series.shape), **{name: plain(getattr(self, name)) for name in names}}


def lorenz63(
    steps: int = 100_000,
    *,
    sigma: float = 10.0,
    rho: float = 28.0,
    beta: float = 8.0 / 3.0,
    dt: float = 0.01,
    transient: float = 100.0,
    noise: float = 0.0,
    standardize: bool = True,
    seed: int = 0,
) -> Simulation:
    """``x' = sigma (y - x), y' = x (rho - z) - y, z' = x y - beta z``; series ``(steps, 3)``, ``transient``
    in time units.

    The exponents of the defaults are 0.906, 0 and -14.572 per unit of time. Raises ValueError. Source: Lorenz
    1963.
    """
    start = np.array([0.0, 1.0, 25.0]) + np.random.default_rng(seed).normal(size=3)
    parameters = {"sigma": sigma, "rho": rho, "beta": beta}
    return _simulated("lorenz63", start, parameters, steps, dt, transient, 0.0025, noise, standardize, seed)


def lorenz96(
    steps: int = 100_000,
    *,
    dimension: int = 20,
    forcing: float = 8.0,
    dt: float = 0.04,
    transient: float = 100.0,
    noise: float = 0.0,
    standardize: bool = True,
    seed: int = 0,
) -> Simulation:
    """``x_i' = (x_{i+1} - x_{i-2}) x_{i-1} - x_i + forcing`` on a ring; series ``(steps, dimension)``.

    Raises ValueError. Source: Lorenz 1996.
    """
    dimension = int(check_number("dimension", dimension, least=4, integer=True))
    start = forcing + np.random.default_rng(seed).normal(size=dimension)
    return _simulated(
        "lorenz96", start, {"forcing": forcing}, steps, dt, transient, 0.0025, noise, standardize, seed
    )


def roessler(
    steps: int = 100_000,
    *,
    a: float = 0.2,
    b: float = 0.2,
    c: float = 5.7,
    dt: float = 0.08,
    transient: float = 500.0,
    noise: float = 0.0,
    standardize: bool = True,
    seed: int = 0,
) -> Simulation:
    """``x' = -y - z, y' = x + a y, z' = b + z (x - c)``; series ``(steps, 3)``. Raises ValueError. Source:
    Roessler 1976.
    """
    start = np.array([1.0, 1.0, 0.0]) + np.random.default_rng(seed).uniform(0.0, 0.5, size=3)
    parameters = {"a": a, "b": b, "c": c}
    return _simulated("roessler", start, parameters, steps, dt, transient, 0.01, noise, standardize, seed)


_COMPILED = {"lorenz63": 0, "roessler": 1, "lorenz96": 2}


@njit(cache=True)
def _slope(system: int, x: Array, p: Array, out: Array) -> None:
    """The right-hand sides, parameters ``p`` in the order of the signatures above."""
    if system == 0:
        out[0] = p[0] * (x[1] - x[0])
        out[1] = x[0] * (p[1] - x[2]) - x[1]
        out[2] = x[0] * x[1] - p[2] * x[2]
    elif system == 1:
        out[0] = -x[1] - x[2]
        out[1] = x[0] + p[0] * x[1]
        out[2] = p[1] + x[2] * (x[0] - p[2])
    else:
        n = len(x)
        for i in range(n):
            out[i] = (x[(i + 1) % n] - x[i - 2]) * x[i - 1] - x[i] + p[0]


@njit(cache=True)
def _runge_kutta(system: int, x: Array, p: Array, steps: int, substeps: int, h: float) -> Array:
    """``(steps, N)`` samples, each ``substeps`` classical fourth-order steps of size h after the last."""
    samples = np.empty((steps, len(x)))
    stages, at = np.zeros((5, len(x))), np.empty(len(x))  # stages[0] stays zero: before the first one
    for t in range(steps):
        for _ in range(substeps):
            for stage in range(1, 5):
                reach = 0.0 if stage == 1 else h if stage == 4 else 0.5 * h
                for i in range(len(x)):
                    at[i] = x[i] + reach * stages[stage - 1, i]
                _slope(system, at, p, stages[stage])
            for i in range(len(x)):
                x[i] += h / 6.0 * (stages[1, i] + 2.0 * stages[2, i] + 2.0 * stages[3, i] + stages[4, i])
        for i in range(len(x)):
            samples[t, i] = x[i]
    return samples


def _simulated(
    name: str,
    start: Array,
    parameters: dict[str, float],
    steps: int,
    dt: float,
    transient: float,
    finest: float,
    noise: float,
    standardize: bool,
    seed: int,
) -> Simulation:
    steps = int(check_number("steps", steps, least=2, integer=True))
    dt = float(check_number("dt", dt, above=0))
    values = np.array([check_number(key, value) for key, value in parameters.items()])
    before = math.ceil(check_number("transient", transient, least=0) / dt)
    substeps = max(1, math.ceil(dt / finest - 1e-9))
    orbit = _runge_kutta(_COMPILED[name], start, values, before + steps, substeps, dt / substeps)[before:]
    solver = f"Runge-Kutta 4, fixed step {dt / substeps:g}, {substeps} per sample, transient {transient:g}"
    return _finished(name, orbit, dt, noise, standardize, seed, solver, dict(parameters))


def _finished(
    name: str,
    orbit: Array,
    dt: float,
    noise: float,
    standardize: bool,
    seed: int,
    solver: str,
    parameters: dict[str, object],
) -> Simulation:
    if not np.isfinite(orbit).all():
        raise wrong("parameters", "an orbit that stays finite", f"{name} with {parameters}", "choose others")
    noise = float(check_number("noise", noise, least=0))
    mean, scale = orbit.mean(0), orbit.std(0)
    if not scale.all():
        raise wrong("parameters", "an orbit that moves", f"{name} with {parameters}", "choose others")
    series = (orbit - mean) / scale
    if noise:
        series = series + noise * np.random.default_rng([seed, 1]).normal(size=series.shape)
    if not standardize:
        series, mean, scale = series * scale + mean, np.zeros_like(mean), np.ones_like(scale)
    return Simulation(name, series, dt, mean, scale, noise, seed, solver, parameters)


def dysts_system(
    name: str,
    steps: int = 10_000,
    *,
    per_period: int = 100,
    transient: float = 20.0,
    noise: float = 0.0,
    standardize: bool = True,
    seed: int = 0,
) -> Simulation:
    """A system of the dysts collection by its name there ("Lorenz", "Chua", "Henon", ...); series ``(steps,
    N)``.

    Flows are sampled ``per_period`` times in their dominant period, after ``transient`` periods, by LSODA at
    relative tolerance 1e-9 in the units of their equations; maps are iterated, ``dt`` being 1. The seed moves
    the start by 0.1 %. Needs ``pip install 'isocline[data]'``. Raises ImportError without it, ValueError for
    names it does not know, and for delay equations, whose state is a function. Source: Gilpin 2021.
    """
    steps = int(check_number("steps", steps, least=2, integer=True))
    per_period = int(check_number("per_period", per_period, least=1, integer=True))
    transient = float(check_number("transient", transient, least=0))
    system, is_map = _dysts(name)
    start = np.atleast_1d(np.asarray(system.ic, np.float64))
    start = start * (1.0 + 1e-3 * np.random.default_rng(seed).normal(size=start.shape))
    before = math.ceil(transient * per_period)
    if is_map:
        orbit, dt, solver = _iterated(system, start, before + steps), 1.0, f"iteration, transient {before}"
    else:
        dt = float(system.period) / per_period
        orbit = _solved(name, system, start, dt, before + steps)
        solver = f"LSODA, rtol {_RTOL:g}, atol {_ATOL:g}, transient {transient:g} periods"
    return _finished(name, orbit[before:], dt, noise, standardize, seed, solver, dict(system.params))


def _dysts(name: str):
    """The dysts system of that name, and whether it is a map."""
    try:
        from dysts import base, flows, maps
    except ImportError as error:
        raise ImportError("dysts_system needs dysts: pip install 'isocline[data]'") from error
    known = {}
    for module, kinds in ((flows, (base.DynSys, base.DynSysDelay)), (maps, (base.DynMap,))):
        found = {
            key: one for key, one in vars(module).items() if isinstance(one, type) and issubclass(one, kinds)
        }
        known |= {key: one for key, one in found.items() if one.__module__ == module.__name__}
    if name not in known:
        close = " or ".join(map(repr, nearest(str(name), known)))
        raise wrong(
            "name", f"one of {len(known)} systems of dysts", repr(name), close and f"did you mean {close}?"
        )
    if issubclass(known[name], base.DynSysDelay):
        raise wrong(
            "name", "a flow or a map", f"{name}, a delay equation", "simulate it and use delay_embedding"
        )
    return known[name](), issubclass(known[name], base.DynMap)


def _iterated(system, state: Array, steps: int) -> Array:
    orbit = np.empty((steps, len(state)))
    with np.errstate(over="ignore", invalid="ignore"):
        for t in range(steps):
            state = orbit[t] = np.asarray(system.rhs(state[None]))[0]
    return orbit


def _solved(name: str, system, state: Array, dt: float, steps: int) -> Array:
    times = dt * np.arange(steps)
    found = solve_ivp(
        lambda t, x: np.asarray(system.rhs(x, t), np.float64),
        (0.0, times[-1]),
        state,
        method="LSODA",
        t_eval=times,
        rtol=_RTOL,
        atol=_ATOL,
    )
    if found.y.shape[1] != steps:
        raise wrong("name", "a system the solver can follow", f"{name}: {found.message}", "give fewer steps")
    if getattr(system, "_postprocessing", None) is None:
        return found.y.T
    return np.stack(system._postprocessing(*found.y), axis=1)  # unbounded angles become bounded ones


def delay_embedding(signal: npt.ArrayLike, lags: int | Sequence[int], dimension: int | None = None) -> Array:
    """Columns ``x_{t + lag}`` of one signal: ``(T,)`` or ``(T, 1)`` to ``(T - largest lag, len(lags))``.

    ``lags`` are samples, one per column; or one number with ``dimension`` columns at 0, lag, 2 lag, ...
    Raises ValueError. Source: Takens 1981; Sauer, Yorke and Casdagli 1991.

    >>> delay_embedding([1.0, 2.0, 3.0, 4.0], 2, 2).tolist()
    [[1.0, 3.0], [2.0, 4.0]]
    """
    values = np.asarray(signal, np.float64)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise wrong("signal", "one channel, (time,) or (time, 1)", values, "embed one channel at a time")
    check_finite("signal", values)
    if isinstance(lags, (int, np.integer)):
        count = int(check_number("dimension", dimension, least=1, integer=True))
        lags = [int(lags) * i for i in range(count)]
    elif dimension is not None:
        raise wrong("dimension", "None where lags are listed", dimension)
    shifts = [int(check_number(f"lags[{i}]", lag, least=0, integer=True)) for i, lag in enumerate(lags)]
    if not shifts:
        raise wrong("lags", "one or more whole numbers", "none")
    length = len(values) - max(shifts)
    if length < 1:
        raise wrong("signal", f"more than {max(shifts)} samples, the largest lag", len(values))
    return np.stack([values[lag : lag + length] for lag in shifts], axis=1)
