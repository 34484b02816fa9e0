"""Which parameters are kept: those whose free run comes nearest to the recording, not the last ones.

The rule. From eight samples spread over the recording the model runs freely for as many steps as the recording has
(at most 100,000); what the last eighths of these runs visit is compared with the part held out, and with the part
trained on. The score is D_stsp + 10 D_H, the mean over both parts; D_stsp of the part held out is the mean over the
runs, so that one of them which comes to rest counts. From 512 samples it also runs for 1000 steps; ten times the
share of those that come to rest is added, as a false attractor may wait beside the true one. A run that leaves the
finite numbers scores infinity. Nothing of this enters a gradient.

The part trained on is there because it is longer: on Lorenz-63, D_stsp against it ranks snapshots nearly as a test
orbit does (rank correlation 0.9, against 0.7 for the part held out alone). Source of the measures: Hess et al. 2023;
the reference keeps the last parameters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import gaussian_filter1d

from .measures import binned_divergence, mixture_divergence
from .measures.series import Array, lost_at, still_channels
from .members import Member, Validation
from .windows import Recorded

RULE = (
    "of all snapshots, the one with the least D_stsp + 10 D_H between long free runs and the recording, the mean of the "
    "part held out and of the part trained on"
)
WEIGHT = 10.0  # of D_H, which lies in [0, 1]
RUNS = 8  # lanes of one vector: as cheap as one
LONGEST = 100_000  # steps of a free run
RESTARTS, BRIEF = 512, 1000  # short runs, and their steps
AT_REST = 1e-2  # range of a channel over the last quarter of a short run, in its standard deviations
SEGMENT = 5000  # samples of a spectrum, at least where there are as many: one bin of smoothing
POINTS = 40_000  # of a histogram; a twentieth of them for mixtures
LEAST = 16  # complete samples of a stretch that can be compared with


@dataclass(frozen=True)
class Part:
    """A part of the recording to compare with."""

    points: Array  # (P, N) standardised
    spectrum: Array  # (S // 2 + 1, N) mean over segments of S samples, smoothed, of sum 1
    segment: int  # S
    each: bool  # D_stsp of every run by itself

    @classmethod
    def of(cls, stretches: Sequence[Recorded], each: bool) -> Part | None:
        """Of complete stretches; None if none is long enough."""
        known = [
            one.series for one in stretches if len(one) >= LEAST and not still_channels(one.series).any()
        ]
        if not known:
            return None
        total, longest = sum(map(len, known)), max(map(len, known))
        segment = min(longest, max(total // RUNS, SEGMENT))
        pieces = [one[k * segment : (k + 1) * segment] for one in known for k in range(len(one) // segment)]
        points = np.concatenate(known)
        return cls(points[:: -(-total // POINTS)], mean_spectrum(np.stack(pieces)), segment, each)

    def distances(self, runs: Array) -> tuple[float, float]:
        """D_stsp and D_H of runs ``(RUNS, S, N)``, their last samples."""
        pooled = runs.reshape(-1, runs.shape[2])
        made = list(runs) if self.each else [pooled[:: -(-len(pooled) // POINTS)]]
        divergence = float(np.mean([_divergence(self.points, one) for one in made]))
        q = mean_spectrum(runs[:, -self.segment :])
        apart = np.sum((np.sqrt(self.spectrum) - np.sqrt(q)) ** 2, axis=0)
        return divergence, float(np.where(q.sum(0) > 0, np.sqrt(0.5 * apart), 1.0).mean())


@dataclass(frozen=True)
class Judge:
    """Scores members by the rule above."""

    parts: tuple[Part, ...]
    starts: Array  # (RUNS, N) samples
    restarts: Array  # (RESTARTS, N) samples, none of a driven system
    steps: int
    keep: int  # the last samples of each run that are compared
    inputs: Array | None  # (steps, K) of a driven system, whose runs all start at its beginning
    truth: float = math.nan  # what stretches of the recording itself score; NaN where there are too few

    @classmethod
    def of(cls, held_out: Sequence[Recorded], trained_on: Sequence[Recorded]) -> Judge | None:
        """From what was held out and what is trained on; None if no complete stretch is long enough."""
        stretches = [[one.complete() for one in part] for part in (held_out, trained_on)]
        parts = [
            part for some, each in zip(stretches, (True, False), strict=True) if (part := Part.of(some, each))
        ]
        if not parts:
            return None
        longest = max((one for some in stretches for one in some), key=len)
        everything = np.concatenate([one.series for some in stretches for one in some])
        keep = max(part.segment for part in parts)
        if longest.inputs is not None:
            starts = np.repeat(longest.series[:1], RUNS, 0)
            return cls(tuple(parts), starts, starts[:0], len(longest) - 1, keep, longest.inputs[1:])
        steps = max(min(len(everything), LONGEST), keep)
        starts, restarts = (_spread(everything, count) for count in (RUNS, RESTARTS))
        judge = cls(tuple(parts), starts, restarts, steps, keep, None)
        return replace(judge, truth=judge._of_truth(longest.series))

    def __call__(self, member: Member, update: int) -> Validation:
        """How near the free runs of a member come."""
        driven = None if self.inputs is None else np.repeat(self.inputs[:, None], RUNS, 1)
        runs = member.run(self.starts, self.steps, driven)
        if self.inputs is not None:
            runs = np.concatenate([self.starts[None], runs])
        runs = runs[-self.keep :].swapaxes(0, 1)
        if lost_at(runs.reshape(-1, runs.shape[2])) is not None:
            return Validation(math.inf, math.nan, math.nan, update)
        return self._validation(runs, update, self._at_rest(member))

    def _at_rest(self, member: Member) -> float:
        """The share of short runs that come to rest."""
        if not len(self.restarts):
            return 0.0
        last = member.run(self.restarts, BRIEF)[-BRIEF // 4 :]
        return float((np.ptp(last, axis=0) < AT_REST).all(1).mean())

    def _validation(self, runs: Array, update: int, at_rest: float) -> Validation:
        found = [part.distances(runs) for part in self.parts]
        value = float(np.mean([divergence + WEIGHT * hellinger for divergence, hellinger in found]))
        value += WEIGHT * at_rest
        return Validation(value if math.isfinite(value) else math.inf, *found[0], update)

    def _of_truth(self, series: Array) -> float:
        if len(series) < 2 * self.keep:
            return math.nan
        firsts = np.linspace(0, len(series) - self.keep, RUNS).astype(int)
        return self._validation(np.stack([series[at : at + self.keep] for at in firsts]), 0, 0.0).value


def _spread(series: Array, count: int) -> Array:
    return series[np.linspace(0, len(series), count, endpoint=False).astype(int)]


def mean_spectrum(pieces: Array) -> Array:
    """The mean power spectrum of pieces ``(k, S, N)``, smoothed over one bin in 5000 samples, of sum 1 each channel.

    All pieces share one scale; a piece at rest adds nothing, and a channel at rest in all of them is zero.
    """
    largest = np.abs(pieces).max((0, 1))
    moving = np.ptp(pieces, axis=1).max(0) > 1e-9 * largest
    pieces = pieces / np.where(
        largest > 0, largest, 1.0
    )  # the scale does not matter: squares must not overflow
    size = np.abs(pieces).max((0, 1))
    pieces = pieces / np.where(size > 0, size, 1.0)  # the squares of a run that left for infinity overflow
    power = (np.abs(np.fft.rfft(pieces - pieces.mean(1, keepdims=True), axis=1)) ** 2).mean(0)
    power = gaussian_filter1d(power, max(1.0, pieces.shape[1] / SEGMENT), axis=0, mode="mirror")
    return np.where(moving, power / np.where(moving, power.sum(0), 1.0), 0.0)


def _divergence(truth: Array, made: Array) -> float:
    if truth.shape[1] < 6:
        value = float(binned_divergence(truth, made))
    else:
        few = POINTS // 20
        thin = [one[:: -(-len(one) // few)] for one in (truth, made)]
        value = float(mixture_divergence(*thin, samples=400))
    return math.inf if math.isnan(value) else value
