"""One run of these claims: fit one model with one seed, score it on the test series, in the units of the data."""

from __future__ import annotations

import math
import time
import warnings
from typing import Any

import numpy as np

from isocline.datasets.chaotic import lorenz63, lorenz96
from isocline.datasets.recordings import Recording, recording

from ...claim import Measurement, Missing, Record, data_folder

SIMULATED = {"lorenz63": lorenz63, "lorenz96": lorenz96}

# Schedules by the words of a setting. torch and numba are slow to import and only wanted where a task runs.


def forcing_of(words: dict[str, Any]) -> Any:
    """The schedule that ``{"kind": "constant", "alpha": 0.3}`` means."""
    from isocline.dynamics.schedules import forcing_from_dict

    return forcing_from_dict(words)


def series_of(setting: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, float]:
    """Series to train on, series to test on, time of one sample; raises Missing where the recording is not here."""
    name, length = setting["data"], setting["samples"]
    if name in SIMULATED:
        train, test = SIMULATED[name](length, noise=0.05, seed=1), SIMULATED[name](length, seed=2)
        # An orbit is standardised by its own mean, which differs from orbit to orbit: one frame for both.
        return train.series, (test.series * test.scale + test.mean - train.mean) / train.scale, train.dt
    found = known(name)
    train = found.series[:length]
    return train, train if found.test is None else found.test[:length], 1.0


def known(name: str) -> Recording:
    """A benchmark recording, or Missing."""
    try:
        return recording(name, data_folder())
    except FileNotFoundError as error:
        raise Missing(str(error)) from error


def run(setting: dict[str, Any], seed: int, device: str) -> Measurement:
    """Fit with ``setting["fit"]``, the arguments of a Reconstructor, and score on the test series.

    Scores of a run that left the finite numbers are NaN. ``seconds`` is processor time of the fit alone.
    """
    from isocline.dynamics.estimator import DivergedWarning, Reconstructor

    train, test, dt = series_of(setting)
    arguments = dict(setting["fit"])
    arguments["forcing"] = forcing_of(arguments["forcing"])
    arguments["learning_rate"] = tuple(arguments.get("learning_rate", (1e-3, 1e-6)))
    estimator = Reconstructor(**arguments, random_state=seed, dt=dt, device=device)
    begun = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DivergedWarning)
        estimator.fit(train)
    seconds = time.process_time() - begun
    other = None if test is train else train  # without a test set its halves make the noise floor
    scores = estimator.score(
        test, other=other, units="data", exponent_steps=setting.get("exponent_steps", 4000)
    )
    member = estimator.member_
    values = {
        "D_stsp": scores.divergence.value,
        "D_H": scores.hellinger.value,
        "PE(20)": scores.prediction.value,
        "exponent": math.nan if scores.lyapunov is None else float(scores.lyapunov.per_time[0]),
        "floors": [scores.floor.divergence.value, scores.floor.hellinger.value, scores.floor.persistence],
        "valid steps": scores.valid_times.median,
        "alpha": member.alpha,
        "kept from": member.validation.update if member.validation else arguments["updates"],
        "diverged at": estimator.stopped_[0].update if estimator.stopped_ else None,
        "fit, cpu s": seconds,
    }
    return Measurement(values, {"truth": test[:4000], "made": scores.generated[:4000]})


def finite(records: list[Record], name: str) -> list[float]:
    """A score of all runs that have finite scores, as in the paper; how many have not is a figure of its own."""
    rows = [[record.values[key] for key in ("D_stsp", "D_H", "PE(20)")] for record in records]
    kept = [record for record, row in zip(records, rows, strict=True) if np.isfinite(row).all()]
    return [float(record.values[name]) for record in kept]


def dropped(records: list[Record]) -> int:
    """How many runs have a score that is not finite."""
    return len(records) - len(finite(records, "D_stsp"))


def deviation(values: list[float]) -> float:
    """Median absolute deviation, not normalised, as in the paper."""
    return float(np.median(np.abs(np.array(values) - np.median(values)))) if values else math.nan
