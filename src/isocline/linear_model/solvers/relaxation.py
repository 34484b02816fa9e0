"""Learn on some rows, look at all, repair a few: large data are separated in hardly more than one pass.

1. Relaxation visits rows in random order; a row short of margin one is pulled towards it. The mean of the walk
   over a share of the rows is nearly as good a direction as those rows can give. (With few rows for many
   columns its last point is better.) Where rows it has not met lie far on the right side, three fifths of the
   share will do.
2. One pass over all rows gives every margin, with a bound on its rounding.
3. Relaxation on the rows of small margin alone moves theta a little, by ``delta``. By Cauchy-Schwarz no margin
   fell by more than ``||x_i|| ||delta||``, so that only rows whose margin was smaller have to be looked at again.

Step 3 repeats until no row is left. Only a margin proved positive for the row as it came counts as separated.
Source: Agmon 1954 (relaxation); Polyak & Juditsky 1992 (the mean); the cutting planes of step 3 are ours.
"""

from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from isocline.linear_model.rows import Rows, squares
from isocline.linear_model.solvers.plane import Lookout, Plane, sampled, sampled_coordinates
from isocline.linear_model.solvers.walk import Walk

Array = npt.NDArray[Any]
PULL = 1.0  # of the way to the target while the mean is learned; repairs go all the way
SHARE, PER_COLUMN = 0.2, 20  # learn on this share of the rows, and on at least so many rows a column
# Bytes of rows that are visited in the order of memory, when all fit a cache of so many and when they do not.
SHORT_RUN, CACHE, LONG_RUN = 1 << 12, 1 << 24, 1 << 18
SWEEPS = 5  # over the rows in repair, before all are judged again
NEAR, DEEP = 0.01, 0.2  # how far to pull in repair: of the usual margin, or of the deepest mistake
PATIENCE = 8  # rounds without fewer wrong rows


def relaxation(rows: Rows, kernels: ModuleType, *, max_passes: float, seed: int) -> Walk:
    """Search for a separator of two classes until there is one, or until rounds stop making progress.

    ``walk.separated_at`` counts the rounds of repairing and looking, the first look included.
    """
    rng = np.random.default_rng(seed)
    sample = sampled(rows.X)
    longest = float(squares(sample).max())
    rows = replace(rows, coordinates=sampled_coordinates(sample, rows.coordinates.bias))
    del sample
    plane = Plane(rows, kernels, longest)
    plane.learn(learning_order(rows, rng), pull=PULL)
    lookout = Lookout(plane)
    walk, stalled = Walk("relaxation", rows, np.zeros(0)), 0
    while True:
        wrong = lookout.wrong
        walk.n_iter, walk.n_passes = walk.n_iter + 1, plane.visits / rows.n
        errors = len(wrong) / rows.n if rows.share is None else float(rows.share[wrong].sum())
        stalled = 0 if errors < walk.errors else stalled + 1
        if errors < walk.errors:
            walk.plane, walk.errors = (plane.w.astype(np.float64), np.float64(plane.level)), errors
        if len(wrong) == 0:
            walk.separated_at = walk.n_iter
        lost = not np.isfinite(plane.w).all() or not np.isfinite(lookout.low).any()
        if len(wrong) == 0 or lost or stalled >= PATIENCE or walk.n_passes >= max_passes:
            break
        repair(plane, lookout, rng)
    walk.low, walk.upper, walk.radius = lookout.low, plane.margin_bound(), float(lookout.norms.max())
    return walk


def repair(plane: Plane, lookout: Lookout, rng: np.random.Generator) -> None:
    """Relax on the rows of small margin until a sweep meets no wrong one, and tell the lookout."""
    low, before, level = lookout.low, plane.w.astype(np.float64), plane.level
    usual = float(np.median(np.abs(low[:: max(1, len(low) // 1000)])))
    target = min(1.0, max(NEAR * usual, -DEEP * float(low[np.isfinite(low)].min())))
    near = lookout.every[~(low >= target)]
    for _ in range(SWEEPS if 4 * len(near) < len(low) else 3):
        if plane.relax(rng.permutation(near), target=target) == 0:
            break
    lookout.moved(before, level)


def learning_order(rows: Rows, rng: np.random.Generator) -> Array:
    """Random rows to learn on, in short runs: a share of all, more when there are many columns."""
    X, n = rows.X, rows.n
    count = min(n, max(int(SHARE * n), PER_COLUMN * X.shape[1]))
    size = X.data.nbytes * 3 // 2 if sparse.issparse(X) else X.nbytes
    run = max(1, min((SHORT_RUN if size <= CACHE else LONG_RUN) * n // size, count // 100))
    starts = rng.permutation(n // run)[: -(-count // run)] * run
    return (starts[:, None] + np.arange(run)).ravel().astype(np.int32 if n < 2**31 else np.int64)
