"""Lyapunov exponents of maps by QR, with their error and their running estimate.

Notation: ``J_t`` the Jacobian at the state *before* step t, M states, lanes B = orbits followed side by side.
Source: Hess, Monfared, Brenner and Durstewitz 2023, Lyapunov spectrum; Geist, Parlitz and Lauterborn 1990.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from numba import njit

from isocline._core.checks import check_finite, check_number, wrong
from isocline._core.files import plain

from .orbit import Array, as_array, check_orbit, orbit, states_for

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CHUNK = 2**21  # numbers of one block of Jacobians: 16 MB
_SHOWN = 400  # points of the running estimate


@dataclass(frozen=True, slots=True, eq=False)
class LyapunovSpectrum:
    """Exponents in descending order, natural logarithm, per step; `per_time` divides by dt."""

    exponents: Array  # (M,) per step; -inf where a direction is lost altogether
    standard_error: Array  # (M,) per step, by block bootstrap
    running: Array  # (R, M) per step: the estimate after `running_steps` steps of every lane
    running_steps: npt.NDArray[np.int64]  # (R,)
    steps: int  # in all lanes together
    dt: float
    how: str

    @property
    def per_time(self) -> Array:
        """``(M,)`` exponents per unit of time."""
        return self.exponents / self.dt

    @property
    def dimension(self) -> float:
        """Kaplan-Yorke dimension."""
        return kaplan_yorke_dimension(self.exponents)

    def __str__(self) -> str:
        pairs = zip(self.per_time, self.standard_error / self.dt, strict=True)
        shown = ", ".join(f"{value:.4g} +- {error:.1g}" for value, error in pairs)
        return f"Lyapunov exponents {shown} ({self.how})"

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        return {field.name: plain(getattr(self, field.name)) for field in fields(self)}

    def plot(self, ax: Axes | None = None) -> Axes:
        """The running estimate of every exponent against steps; returns the axes."""
        from .pictures import lyapunov_convergence

        return lyapunov_convergence(self, ax)


def lyapunov_spectrum(
    step: Callable[[Any], Any],
    jacobian: Callable[[Any], Any] | None,
    z0: npt.ArrayLike,
    steps: int = 10_000,
    transient: int = 1000,
    *,
    dt: float = 1.0,
    every: int = 1,
    settle: int = 0,
    block: int | None = None,
) -> LyapunovSpectrum:
    """All exponents of the map ``step`` along its free orbit from ``z0``, after ``transient`` steps of it.

    Shapes: z0 ``(M,)`` or ``(B, M)``, B lanes which share one spectrum: ``step`` takes and gives ``(B, M)``
    (or ``(M,)`` for z0 ``(M,)``), ``jacobian`` takes ``(n, M)`` to ``(n, M, M)``, row = output. A module gets
    tensors and may bring its own ``jacobian`` (pass None); a z0 that is a tensor gets tensors too; all else
    NumPy arrays. ``steps`` counts per lane, ``dt`` is the time of one step. ``every``, ``settle`` and
    ``block`` as in ``exponents_along``. Many short lanes run faster than one long orbit; give them ``settle``
    steps to align. Raises ValueError, also if the orbit blows up.
    """
    steps = int(check_number("steps", steps, least=1, integer=True))
    transient = int(check_number("transient", transient, least=0, integer=True))
    every = int(check_number("every", every, least=1, integer=True))
    jacobian = getattr(step, "jacobian", None) if jacobian is None else jacobian
    if not callable(jacobian):
        raise wrong("jacobian", "a function of states (n, M), or a module that has one", jacobian)
    start = as_array(z0)
    if start.ndim not in (1, 2) or start.size == 0:
        raise wrong("z0", "shape (M,) or (lanes, M)", z0)
    check_finite("z0", start)
    lanes = start.reshape(-1, start.shape[-1])
    frames, growth = _identity_frames(lanes.shape), []
    chunk = every * max(1, _CHUNK // (lanes.size * lanes.shape[1] * every))
    with torch.no_grad():
        path = orbit(step, states_for(step, start, isinstance(z0, torch.Tensor)), transient)
        check_orbit(as_array(path), 0)
        for begin in range(0, steps, chunk):
            path = orbit(step, path[-1], min(chunk, steps - begin))
            check_orbit(as_array(path), transient + begin)
            found = as_array(jacobian(path[:-1].reshape(-1, lanes.shape[1])))
            growth.append(_grow(_square(found, len(path) - 1, lanes.shape), frames, every))
    return _summary(np.concatenate(growth), dt, settle, block, f"QR every {every}, transient {transient}")


def exponents_along(
    jacobians: npt.ArrayLike, *, dt: float = 1.0, every: int = 1, settle: int = 0, block: int | None = None
) -> LyapunovSpectrum:
    """All exponents along given Jacobians ``(T, M, M)`` or, of B lanes that share a spectrum, ``(T, B, M,
    M)``.

    Every ``every`` steps ``Q, R = qr(J ... J Q)`` and ``ln |R_ii|`` is added up, what remains at the end
    included. The first ``settle`` steps only turn Q and do not count. The error is the block bootstrap of the
    mean growth over blocks of ``block`` steps (about the square root of the steps that count; make it longer
    than the correlation of the orbit), in its limit of infinitely many resamples, which needs no random
    numbers. With forcing of strength alpha every Jacobian is scaled by 1 - alpha, hence every exponent moves
    by ln(1 - alpha). Raises ValueError.
    """
    array = as_array(jacobians)
    if array.ndim not in (3, 4) or array.shape[-1] != array.shape[-2] or array.size == 0:
        raise wrong("jacobians", "shape (steps, M, M) or (steps, lanes, M, M)", jacobians)
    check_finite("jacobians", array)
    every = int(check_number("every", every, least=1, integer=True))
    shape = (array[0].size // array.shape[-1] ** 2, array.shape[-1])
    growth = _grow(_square(array, len(array), shape), _identity_frames(shape), every)
    return _summary(growth, dt, settle, block, f"QR every {every}")


def _square(jacobians: Array, steps: int, shape: tuple[int, int]) -> Array:
    """The Jacobians as contiguous ``(T, B, M, M)``."""
    lanes, size = shape
    if jacobians.size != steps * lanes * size * size or jacobians.shape[-2:] != (size, size):
        raise wrong("jacobian", f"Jacobians of shape ({steps * lanes}, {size}, {size})", f"{jacobians.shape}")
    return np.require(
        jacobians.reshape(steps, lanes, size, size), np.float64, ["C", "W"]
    )  # one compiled kind


def _identity_frames(shape: tuple[int, int]) -> Array:
    lanes, size = shape
    return np.tile(np.eye(size), (lanes, 1, 1))


@njit(cache=True)
def _length(vector: Array) -> float:
    total = 0.0
    for value in vector:
        total += value * value
    return math.sqrt(total)


@njit(cache=True)
def _orthonormalise(frame: Array, k: int) -> float:
    """Make row k of ``frame`` a unit vector orthogonal to those before it; returns the log of its length."""
    size = len(frame)
    before = _length(frame[k])
    for _ in range(2):  # twice is enough: orthogonal to rounding
        for i in range(k):
            overlap = 0.0
            for j in range(size):
                overlap += frame[i, j] * frame[k, j]
            for j in range(size):
                frame[k, j] -= overlap * frame[i, j]
    length = _length(frame[k])
    lost = length <= 4e-16 * size * before
    for j in range(size):
        frame[k, j] = 0.0 if lost else frame[k, j] / length
    return -math.inf if lost else math.log(length)


@njit(cache=True)
def _grow(jacobians: Array, frames: Array, every: int) -> Array:
    """``ln R_ii`` ``(T, B, M)`` of ``J_t Q = Q' R``, the frames ``(B, M, M)`` (rows are the vectors) turned
    in place.

    What the last QR left over is flushed at the end. A direction shorter than rounding is lost: it becomes
    zero, and its logarithm -inf.
    """
    steps, lanes, size = jacobians.shape[:3]
    growth = np.zeros((steps, lanes, size))
    pushed = np.empty((size, size))
    for lane in range(lanes):
        frame = frames[lane]
        for t in range(steps):
            for k in range(size):
                for i in range(size):
                    total = 0.0
                    for j in range(size):
                        total += jacobians[t, lane, i, j] * frame[k, j]
                    pushed[k, i] = total
            frame[:] = pushed
            if (t + 1) % every and t + 1 < steps:
                continue
            for k in range(size):
                growth[t, lane, k] = _orthonormalise(frame, k)
    return growth


def _summary(growth: Array, dt: float, settle: int, block: int | None, how: str) -> LyapunovSpectrum:
    dt = float(check_number("dt", dt, above=0))
    settle = int(check_number("settle", settle, least=0, below=len(growth), integer=True))
    growth = growth[settle:]
    steps, lanes, _ = growth.shape
    block = min(steps, math.ceil(math.sqrt(steps * lanes))) if block is None else block
    block = int(check_number("block", block, least=1, most=steps, integer=True))
    with np.errstate(invalid="ignore"):
        total = np.cumsum(growth.mean(1), axis=0)
        error = _block_error(growth, block)
    order = np.argsort(-total[-1], kind="stable")
    shown = np.unique(np.geomspace(1, steps, _SHOWN).round().astype(np.int64))
    running = (total[shown - 1] / shown[:, None])[:, order]
    how = f"{how}, {steps} steps in {lanes} lane{'s' * (lanes > 1)}, error from blocks of {block}"
    return LyapunovSpectrum(total[-1][order] / steps, error[order], running, shown, steps * lanes, dt, how)


def _block_error(growth: Array, block: int) -> Array:
    """Standard error ``(M,)`` of the mean of ``(T, B, M)``: circular block bootstrap, infinitely many
    resamples.
    """
    steps, lanes, _ = growth.shape
    blocks = steps * lanes / block
    if blocks < 2:
        return np.full(growth.shape[2], math.nan)
    around = np.concatenate([np.zeros_like(growth[:1]), growth, growth[: block - 1]]).cumsum(0)
    means = (around[block:] - around[:-block]) / block
    return np.sqrt(means.var(axis=(0, 1)) / blocks)


def kaplan_yorke_dimension(exponents: npt.ArrayLike) -> float:
    """``j + sum_{i<=j} lambda_i / |lambda_{j+1}|``, j the most exponents, largest first, whose sum is >= 0.

    Shape: exponents ``(M,)``, any order, any unit. 0 if all are negative, M if all together sum to >= 0.
    Raises ValueError. Source: Kaplan and Yorke 1979; Frederickson et al. 1983.
    """
    values = -np.sort(-np.asarray(exponents, np.float64).reshape(-1))
    if not len(values) or np.isnan(values).any() or values[0] == math.inf:
        raise wrong("exponents", "one or more numbers below infinity", exponents)
    sums = np.cumsum(values)
    if sums[0] < 0:
        return 0.0
    if sums[-1] >= 0:
        return float(len(values))
    j = int(np.argmax(sums < 0))  # sums rise, then fall: all before the first negative one are >= 0
    return float(j + sums[j - 1] / abs(values[j]))
