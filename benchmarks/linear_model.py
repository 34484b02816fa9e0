"""Time to the first perfect separator: LargeStepClassifier with its defaults beside scikit-learn's linear models.

A peer does not stop at the first separator, so each runs with the fastest of its settings that separates (see
`isocline.lab.claims.linear_model.time_to_separator`); the search for that setting is not counted.
"""

import side_by_side as sides  # first: holds the threads  # isort: skip

import sys
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from scipy import sparse

from isocline.lab.claims.linear_model.data import two_classes
from isocline.lab.claims.linear_model.time_to_separator import OURS, STRENGTH, cheapest, model, seconds_of

Rows = tuple[Any, np.ndarray]
MARGINS = (0.6, 0.4, 0.2)  # a cyclic perceptron needs about 1300, 2500 and 8400 updates
GOALS = dict.fromkeys(
    [f"dense, margin {margin}" for margin in MARGINS], 5.0
)  # times as fast as the best peer; else 1


def dense(slab: float, n: int = 100_000, d: int = 1000) -> Rows:
    """Gaussian rows ``(n, d)`` in float32, moved out of a slab around a random hyperplane; their radius is about 35."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d), dtype=np.float32)
    normal = rng.standard_normal(d, dtype=np.float32)
    normal /= np.linalg.norm(normal)
    score = X @ normal
    y = np.where(score > 0, 1, -1)
    for start in range(0, n, 10_000):
        part = slice(start, start + 10_000)
        X[part] += np.outer(y[part] * np.maximum(0, slab - np.abs(score[part])), normal)
    return X, y


def text(n: int = 20_000, d: int = 50_000, words: int = 80) -> Rows:
    """Text-like rows: CSR ``(n, d)``, word frequencies by a power law, tf-idf weights, unit length, planted labels."""
    rng = np.random.default_rng(0)
    frequency = 1.0 / np.arange(1, d + 1)
    columns = rng.choice(d, size=n * words, p=frequency / frequency.sum())
    rows = np.repeat(np.arange(n), words)
    X = sparse.coo_matrix((np.ones(n * words), (rows, columns)), shape=(n, d)).tocsr()
    X.data = 1 + np.log(X.data)
    used = np.bincount(X.indices, minlength=d)
    X = X @ sparse.diags(np.log((1 + n) / (1 + used)) + 1)
    X = sparse.diags(1 / np.sqrt(np.asarray(X.multiply(X).sum(axis=1)).ravel())) @ X
    score = X @ rng.standard_normal(d)
    kept = np.abs(score) > 0.1 * score.std()
    return X.tocsr()[kept], np.where(score[kept] > 0, 1, -1)


SETS: dict[str, tuple[Callable[[], Rows], float]] = {  # seconds to look for each peer's setting
    **{f"dense, margin {margin}": (partial(dense, margin), 30.0) for margin in MARGINS},
    "text": (text, 30.0),
    "breast cancer": (lambda: two_classes("breast cancer"), 20.0),
    "digits 3/rest": (lambda: two_classes("digits 3/rest"), 20.0),
    "digits 1/8": (lambda: two_classes("digits 1/8"), 20.0),
}


def race(name: str) -> tuple[list[object], list[list[object]]]:
    """One line for the summary of a data set, and a line for every contestant."""
    load, budget = SETS[name]
    X, y = load()
    seconds_of(X, y, OURS, {})  # compile
    chosen = {OURS: {}} | {peer: cheapest(X, y, peer, budget) for peer in STRENGTH}
    running = {who: about for who, about in chosen.items() if about is not None}
    rounds = 5 if name in GOALS else 11
    times = sides.take_turns({who: _fit(X, y, who, about) for who, about in running.items()}, rounds=rounds)
    best = min((who for who in times if who != OURS), key=lambda who: times[who].middle)
    ratio, goal = times[best].over(times[OURS]), GOALS.get(name, 1.0)
    data = X.data.nbytes + X.indices.nbytes + X.indptr.nbytes if sparse.issparse(X) else X.nbytes
    more = sides.peak_bytes(_fit(X, y, OURS, {}))
    verdict = "reached" if ratio.middle >= goal else "**lost**"
    kind = f"{X.shape[0]} × {X.shape[1]}{' CSR' if sparse.issparse(X) else ''} {X.dtype}"
    memory = f"{1 + more / data:.3f} ({more / 1024:.0f} KiB over {data / 1024:.0f})"
    summary = [name, kind, best, ratio.words(), f"≥ {goal:g}", verdict, memory]
    lines = [[name, who, _words(chosen[who]), _ratio(times, who)] for who in chosen]
    return summary, lines


def _fit(X: Any, y: np.ndarray, name: str, setting: dict[str, Any]) -> Callable[[], object]:
    def fit() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model(name, **setting).fit(X, y)

    return fit


def _ratio(times: dict[str, sides.Timing], who: str) -> str:
    return times[who].over(times[OURS]).words() if who in times else "no separator within its budget"


def _words(setting: dict[str, Any] | None) -> str:
    return (
        "–"
        if setting is None
        else ", ".join(f"{key}={value:g}" for key, value in setting.items()) or "defaults"
    )


def main() -> None:
    found = []
    for name in sys.argv[1:] or SETS:
        found.append(race(name))
        print(" | ".join(map(str, found[-1][0])), flush=True)  # minutes a set: say where we are
    summary = sides.table(
        ["data", "rows", "best peer", "its CPU time / ours", "wanted", "", "memory of a fit / data"],
        [line for line, _ in found],
    )
    details = sides.table(
        ["data", "model", "setting", "CPU time / ours"], [line for _, lines in found for line in lines]
    )
    if len(sys.argv) > 1:
        print(summary, details, sep="\n\n")
        return
    sides.write_results("linear_model", "time to the first perfect separator", [summary, details])


if __name__ == "__main__":
    main()
