"""One HTML page about a reconstruction: the attractor, the scores beside their floors, what is inside the model."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isocline._core.files import plain, write_atomic
from isocline._core.page import Badge, Page, Picture, drawn
from isocline._version import __version__

from . import drawings
from .findings import Findings
from .plan import parameter_count
from .schedules import forcing_to_dict
from .scores import Line
from .selection import RULE

if TYPE_CHECKING:
    from .estimator import Reconstructor

NEAR = 2.0  # times its noise floor: as near as can be told
FAR = 5.0  # times its noise floor: not the same attractor
SHOWN = 12  # fixed points in the table


def write_report(
    fitted: Reconstructor,
    found: Findings,
    path: str | os.PathLike[str],
    *,
    title: str = "A reconstructed system",
    scored_on: str = "the part held out while fitting",
    channels: Sequence[str] | None = None,
    caveat: str = "",
    command: str = "",
    facts: Mapping[str, object] | None = None,
    pictures: str | os.PathLike[str] | None = None,
) -> Path:
    """Write the page about what ``findings.examine`` found, and return its path.

    ``scored_on`` says what the scores were computed on, ``channels`` what its columns are, ``caveat`` what has to
    stand beside every score, ``command`` how the page was made; ``facts`` are further numbers for its head, and
    ``pictures`` is a folder for the figures as PNG files as well.
    """
    names = list(channels or (f"channel {i}" for i in range(len(fitted.mean_))))
    with _look():
        figures = drawings.figures_of(fitted, found, names)
        shown = {name: (drawn(figure), words) for name, (figure, words) in figures.items()}
    if pictures is not None:
        for name, (picture, _) in shown.items():
            write_atomic(Path(pictures) / f"{name}.png", picture.png)
    page = _page(fitted, found, shown, title, scored_on, caveat, command, dict(facts or {}))
    return page.write(path)


@contextmanager
def _look() -> Iterator[None]:
    """Quiet axes inside; the person's own matplotlib settings are back afterwards."""
    import matplotlib

    settings: dict[Any, Any] = {
        "font.size": 9.5, "axes.titlesize": 10.5, "axes.titleweight": "bold", "axes.titlelocation": "left",
        "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": "0.9",
        "legend.frameon": False, "figure.facecolor": "white",
    }  # fmt: skip
    with matplotlib.rc_context(settings):
        yield


def _page(
    fitted: Reconstructor,
    found: Findings,
    figures: Mapping[str, tuple[Picture, str]],
    title: str,
    scored_on: str,
    caveat: str,
    command: str,
    facts: dict[str, object],
) -> Page:
    badge, sentence = verdict(found)
    setup = found.member.setup
    facts |= {
        "states": setup.latent_dim,
        "hidden units": setup.hidden_dim,
        "parameters": parameter_count(setup),
        "updates": fitted.updates,
        "members": len(fitted.members_),
    }
    lead = f"{sentence} Scored on {scored_on}." + (f" Mind: {caveat}." if caveat else "")
    page = Page(title, lead, facts, badge)

    def show(*names: str) -> None:
        for name in names:
            if name in figures:
                page.figure(figures[name][0], figures[name][1])

    page.section("The free run beside the data")
    show("attractor", "series")
    page.section("Scores", _score_badge(found))
    _scores(page, found)
    show("spectra")
    page.section("Exponents and gradients")
    _exponents(page, found)
    show("gradients", "lyapunov")
    page.section("Fixed points", _fixed_badge(found))
    _fixed(page, found)
    show("fixed-points")
    page.section("Training", _training_badge(fitted))
    _training(page, fitted)
    show("training")
    _made(page, fitted, command)
    return page


def verdict(found: Findings) -> tuple[Badge, str]:
    """The page in one word and one sentence."""
    scores = found.scores
    if not np.isfinite(scores.generated).all():
        return Badge("left", "bad"), "The free run left the finite numbers."
    ratios = (
        scores.divergence.value / scores.floor.divergence.value,
        scores.hellinger.value / scores.floor.hellinger.value,
    )
    worst = max(ratio if math.isfinite(ratio) else math.inf for ratio in ratios)
    words = (
        f"The free run lies {ratios[0]:.1f} noise floors from the data in state space "
        f"and {ratios[1]:.1f} in its spectrum."
    )
    if found.spurious:
        return Badge("false attractor", "bad"), f"{words} The model also attracts where the data do not stay."
    if worst <= NEAR:
        return Badge("as near as can be told", "good"), words
    return (Badge("near", "info"), words) if worst <= FAR else (Badge("far", "open"), words)


def _score_badge(found: Findings) -> Badge | None:
    r = found.scores.restarts
    bad = r.escaped + r.still
    return Badge(f"{bad} of {len(r.divergences)} restarts end elsewhere", "bad") if bad else None


def _scores(page: Page, found: Findings) -> None:
    page.text(
        "No score means anything alone. Beside D_stsp (how far the two attractors lie apart) and D_H (how far their "
        f"spectra do) stands what truth scores against truth, here {found.scores.floor.how}; beside the predictions what "
        "predicting no change would score."
    )
    rows = [_row(line) for line in found.scores.lines()]
    page.table(["", "model", "error", "beside", "which is", "ratio"], rows, align="lrrrlr")
    times, r = found.scores.valid_times, found.scores.restarts
    words = [
        f"Forecasts from {times.starts} places stay valid for {times.least} to {times.most} steps"
        + (f" (median {times.lyapunov_times:.2g} Lyapunov times)" if times.lyapunov_times else "")
        + f", {times.how}."
    ]
    if r.divergences:
        words.append(
            f"Started from {len(r.divergences)} other samples, {r.escaped} runs left the range of the data and "
            f"{r.still} came to rest."
        )
    page.text(" ".join(words))


def _row(line: Line) -> list[object]:
    ratio = line.value / line.beside if line.beside else None
    return [line.name, line.value, line.error, line.beside, line.what, ratio]


def _exponents(page: Page, found: Findings) -> None:
    exponents = found.scores.lyapunov
    if exponents is None:
        page.text("The orbit left the finite numbers, so it has no Lyapunov exponents.")
        return
    largest, error = float(exponents.exponents[0]), float(exponents.standard_error[0])
    kind = (
        "chaotic"
        if largest > 3 * error
        else "not chaotic"
        if largest < -3 * error
        else "at the edge of chaos"
    )
    grows = largest > 0
    horizon = f"{found.horizon:.0f} steps" if math.isfinite(found.horizon) else "not at all"
    page.text(
        f"The model is {kind}: its largest exponent is {largest:.4g} ± {error:.1g} per step"
        + (f", so a gradient grows tenfold every {math.log(10) / largest:.0f} steps" if grows else "")
        + f". Forcing of {found.critical_alpha:.3g} would just hold it; the model was trained with alpha = "
        f"{found.alpha:.3g}, under which a gradient falls to 1/e in {horizon}."
    )


def _fixed_badge(found: Findings) -> Badge | None:
    count = sum(len(group) for group in found.spurious)
    return Badge(f"{count} false attractor{'s' * (count > 1)}", "bad") if count else None


def _fixed(page: Page, found: Findings) -> None:
    points = found.fixed_points
    known = "all there are" if points.complete else "there may be more"
    page.text(f"{len(points)} fixed point{'s' * (len(points) != 1)}, {known} ({points.how}).")
    if found.spurious:
        page.text(
            "Warning: a stable fixed point lies where the data do not settle. The free run may look right and still "
            "end there from another start, or after a disturbance. Start generation from several samples, train "
            "longer, or take another seed."
        )
    false = {tuple(point) for group in found.spurious for point in group.points}
    rows = [
        [
            Badge("false attractor", "bad") if tuple(point) in false else kind,
            ", ".join(f"{value:.3g}" for value in point[:6]) + (", ..." if len(point) > 6 else ""),
            float(abs(rates[0])),
        ]
        for kind, point, rates in zip(points.kinds, points.points, points.multipliers, strict=True)
    ]
    if rows:
        page.table(["kind", "state (of standardised channels)", "largest modulus"], rows[:SHOWN], align="llr")
    if len(rows) > SHOWN:
        page.text(f"and {len(rows) - SHOWN} more.")


def _training_badge(fitted: Reconstructor) -> Badge | None:
    count = len(fitted.stopped_)
    return Badge(f"{count} of {len(fitted.members_)} members diverged", "bad") if count else None


def _training(page: Page, fitted: Reconstructor) -> None:
    page.text(
        f"Kept is, {RULE}."
        if fitted.truth_ is not None
        else "Nothing to compare with: the last parameters are kept."
    )
    best, stopped = fitted.member_, {stop.member: stop for stop in fitted.stopped_}
    rows = []
    for r, member in enumerate(fitted.members_):
        seen = member.validation
        rows.append(
            [
                r,
                None if seen is None else seen.value,
                None if seen is None else seen.divergence,
                None if seen is None else seen.hellinger,
                fitted.updates if seen is None else seen.update,
                member.alpha,
                stopped[r].why if r in stopped else Badge("used", "good") if member is best else "",
            ]
        )
    page.table(
        ["member", "validation", "D_stsp", "D_H", "kept from update", "alpha", ""], rows, align="rrrrrrl"
    )


def _made(page: Page, fitted: Reconstructor, command: str) -> None:
    inside = page.details("How this was made")
    if command:
        inside.code(command, "the command")
    settings = {field.name: getattr(fitted, field.name) for field in fields(fitted)}
    settings |= {"forcing": forcing_to_dict(fitted.forcing), "random_state": fitted.seed_}
    inside.table(["setting", "value"], [[name, str(plain(value))] for name, value in settings.items()])
    inside.facts({"isocline": __version__, "Python": platform.python_version(), "NumPy": np.__version__})
