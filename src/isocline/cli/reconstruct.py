"""`isocline reconstruct` and `isocline generate`: a recording in, a model, its scores and one page out."""

from __future__ import annotations

import json as _json
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

if TYPE_CHECKING:
    import numpy as np

    from isocline.datasets.recordings import Recording
    from isocline.dynamics.estimator import Reconstructor

# What a command needs is imported when it runs: `isocline --help` waits for neither torch nor matplotlib.


@dataclass(frozen=True, kw_only=True)
class Reconstruct:
    """Learn a small model whose free run has the attractor of a recording, and write a page about it.

    OUT gets index.html, scores.json, pictures/ and model/. Interrupted, the same command goes on where it stopped.
    """

    data: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="DATA")]]
    """The recording: .csv, .tsv, .txt or .npy, time down the rows; empty cells are missing samples."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder for the results."""
    columns: tuple[str, ...] = ()
    """Channels to take, by name; none means all."""
    lags: tuple[int, ...] = ()
    """Of a single channel, the delays in samples (0 20 68) whose columns stand for its state."""
    rate: float = 1.0
    """Samples per unit of time; exponents and frequencies are given in that unit."""
    test: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Another recording of the same system, to score on."""
    test_share: float = 0.2
    """Without --test, the share at the end that is kept for the scores and neither trained nor chosen on."""
    latent_dim: int = 0
    """States of the model; 0 means as many as channels."""
    hidden_dim: int = 100
    """Hidden units."""
    observation: Literal["identity", "affine", "principal"] = "identity"
    """Channels are the first states, or an affine image of all of them (principal: beginning at their principal axes,
    for many channels that need fewer states)."""
    forcing: Literal["constant", "adaptive", "sparse", "none"] = "constant"
    """How training is held to the data."""
    alpha: float = 0.2
    """Strength of constant forcing, 0 to 1."""
    interval: int = 16
    """Steps between the samples of sparse forcing."""
    sequence_length: int = 200
    """Steps of a training window."""
    batch_size: int = 16
    """Windows of an update."""
    updates: int = 60_000
    """Updates of the optimiser."""
    regularization: float = 1e-5
    """Weight of the parameters' squares."""
    seeds: int = 2
    """Models trained side by side; the best is used."""
    random_state: int = 0
    """The number from which all random numbers follow."""
    fresh: bool = False
    """Begin again, whatever OUT holds of an earlier call."""
    json: bool = False
    """Print the findings as JSON on stdout, and nothing else."""

    def run(self) -> int:
        from isocline._core.files import write_json

        series, test, recording, scored_on = self._series()
        fitted = self._fit(series, recording)
        found = fitted.examine(test)
        fitted.save(self.out / "model")
        write_json(self.out / "scores.json", {"channels": list(recording.channels), **found.to_dict()})
        from isocline.dynamics.report import write_report

        page = write_report(
            fitted,
            found,
            self.out / "index.html",
            title=f"A reconstruction of {recording.name}",
            scored_on=scored_on,
            channels=recording.channels,
            caveat=recording.caveat,
            command=self._command(),
            facts={"samples": len(series) + len(test), "channels": series.shape[1]},
            pictures=self.out / "pictures",
        )
        if self.json:
            print(_json.dumps({"page": str(page), **found.to_dict()}, indent=2, ensure_ascii=False))
        else:
            print(f"{found.scores}\npage: {page}")
        for words in (*map(str, fitted.stopped_), *_false_attractors(found.spurious)):
            print(f"isocline: {words}", file=sys.stderr)
        return 0

    def _series(self) -> tuple[np.ndarray, np.ndarray, Recording, str]:
        """What to learn from, what to score on, what is known of the recording, and the second in words."""
        from isocline._core.checks import check_number, wrong
        from isocline.datasets.recordings import read_series

        check_number("test-share", self.test_share, above=0, most=0.5)
        columns = [int(one) if one.isdigit() else one for one in self.columns] or None
        recording = read_series(self.data, columns=columns)
        series = self._embedded(recording.series)
        recording = _described(recording, series, self.lags)
        if self.test is not None:
            test = self._embedded(read_series(self.test, columns=columns).series)
            if test.shape[1] != series.shape[1]:
                raise wrong("test", f"{series.shape[1]} channels, as in {self.data.name}", test.shape[1])
            return series, test, recording, f"another recording, {self.test.name}"
        cut = round((1 - self.test_share) * len(series))
        return (
            series[:cut],
            series[cut:],
            recording,
            f"the last {self.test_share:.0%}, which training never saw",
        )

    def _embedded(self, series: np.ndarray) -> np.ndarray:
        from isocline._core.checks import wrong
        from isocline.datasets.chaotic import delay_embedding

        if not self.lags:
            return series
        if series.shape[1] != 1:
            raise wrong("lags", "a single channel", f"{series.shape[1]}", "pick one with --columns")
        return delay_embedding(series, list(self.lags))

    def _fit(self, series: np.ndarray, recording: Recording) -> Reconstructor:
        from isocline._core.checks import check_number
        from isocline.dynamics.estimator import Reconstructor

        rate = check_number("rate", self.rate, above=0)
        check_number("latent-dim", self.latent_dim, least=0, integer=True)
        estimator = Reconstructor(
            latent_dim=self.latent_dim or None,
            hidden_dim=self.hidden_dim,
            forcing=self._forcing(),
            observation=self.observation,
            sequence_length=self.sequence_length,
            batch_size=self.batch_size,
            updates=self.updates,
            regularization=self.regularization,
            seeds=self.seeds,
            random_state=self.random_state,
            dt=1 / rate,
        )
        checkpoint = self.out / "checkpoint"
        if self.fresh and checkpoint.is_dir():
            shutil.rmtree(checkpoint)
        import warnings

        from isocline.dynamics.estimator import DivergedWarning

        with _progress(recording.name) as watch, warnings.catch_warnings():
            warnings.simplefilter("ignore", DivergedWarning)  # said at the end, in one line each
            return estimator.fit(series, checkpoint=checkpoint, watch=watch)

    def _forcing(self) -> Any:
        from isocline.dynamics import schedules

        if self.forcing == "constant":
            return schedules.ConstantForcing(self.alpha)
        if self.forcing == "sparse":
            return schedules.SparseForcing(self.interval)
        return schedules.AdaptiveForcing() if self.forcing == "adaptive" else schedules.NoForcing()

    def _command(self) -> str:
        """The command line that does the same again."""
        words = ["isocline", "reconstruct", str(self.data)]
        for name, spec in type(self).__dataclass_fields__.items():
            value = getattr(self, name)
            if name in ("data", "json", "fresh") or value == spec.default:
                continue
            shown = [str(one) for one in value] if isinstance(value, tuple) else [str(value)]
            words += [f"--{name.replace('_', '-')}", *shown]
        return shlex.join(words)


@dataclass(frozen=True, kw_only=True)
class Generate:
    """Let a reconstructed system run freely, from the sample after its training data or from one you give."""

    model: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="DIR")]]
    """The folder that `isocline reconstruct` wrote."""
    steps: int
    """Samples to generate."""
    start: tuple[float, ...] = ()
    """The sample to start from, one number for each channel."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """A .csv or .npy file; without it, CSV on stdout."""

    def run(self) -> int:
        import io

        import numpy as np

        from isocline._core.checks import wrong
        from isocline._core.files import read_json, write_atomic
        from isocline.dynamics.estimator import Reconstructor

        if self.out is not None and self.out.suffix not in (".csv", ".npy"):
            raise wrong("out", "a .csv or .npy file", self.out.name)
        inside = self.model / "model"
        fitted = Reconstructor.load(inside if inside.is_dir() else self.model)
        run = fitted.generate(self.steps, self.start or None)
        scores = self.model / "scores.json"
        names = read_json(scores)["channels"] if scores.is_file() else []
        if len(names) != run.shape[1]:
            names = [f"channel {i}" for i in range(run.shape[1])]
        if self.out is not None and self.out.suffix == ".npy":
            data = io.BytesIO()
            np.save(data, run)
            write_atomic(self.out, data.getvalue())
            return 0
        text = io.StringIO()
        np.savetxt(text, run, "%.8g", delimiter=",", header=",".join(map(_quoted, names)), comments="")
        if self.out is None:
            sys.stdout.write(text.getvalue())
        else:
            write_atomic(self.out, text.getvalue())
        return 0


def _described(recording: Recording, series: np.ndarray, lags: tuple[int, ...]) -> Recording:
    """The recording under the names of the columns that are trained on."""
    from dataclasses import replace

    names = recording.channels
    if lags:
        names = tuple(f"{names[0]}, {lag} later" if lag else names[0] for lag in lags)
    return replace(recording, series=series, channels=names)


def _false_attractors(spurious: Any) -> Iterator[str]:
    count = sum(len(group) for group in spurious)
    if count:
        verb = "attracts" if count == 1 else "attract"
        yield f"{count} stable fixed point{'s' * (count > 1)} of the model {verb} where the data do not stay"


def _quoted(name: str) -> str:
    """A name as a CSV cell."""
    return '"' + name.replace('"', '""') + '"' if any(mark in name for mark in ',"\n') else name


@contextmanager
def _progress(name: str) -> Iterator[Callable[[Any], None] | None]:
    """A bar on stderr, or nothing where that is not a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = [
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(), TextColumn("{task.fields[about]}"),
    ]  # fmt: skip
    with Progress(*columns, console=console) as bars:
        bar = bars.add_task(name, total=None, about="")

        def watch(moment: Any) -> None:
            about = f"loss {moment.loss:.3g}, best free run {moment.best:.3g}"
            bars.update(bar, total=moment.updates, completed=moment.update, about=about)

        yield watch
