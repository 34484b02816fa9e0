"""What an edit changes besides its target, measured by a judge of your own at the same effect for every method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from isocline._core.checks import check_number, nearest, wrong
from isocline._core.files import plain
from isocline.latents import functional as F
from isocline.latents.fitting import Scores, score_codes
from isocline.latents.generators import Generator
from isocline.latents.path import EditPath

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, slots=True, eq=False)
class Leakage:
    """Edits of B codes by M methods, each looked at where the target has first changed by `effect` standard deviations.

    Measured, with standard errors over codes. The means are over the codes on which every method succeeds (`common`): a method
    that fails on the hard codes is not compared on the easy ones alone. Two-way attributes leak ``|change| / deviation``;
    attributes with classes flip.
    """

    target: str
    methods: tuple[str, ...]  # (M,)
    others: tuple[str, ...]  # (A,) two-way attributes
    categories: tuple[str, ...]  # (C,) attributes with classes
    effect: float
    step: Tensor  # (M, B) the first step at which the target has changed enough, -1 where it never does
    change: Tensor  # (M, A, B) signed change of the others there, in deviations; NaN where it failed
    flipped: Tensor  # (M, C, B) 1 where the class changed, NaN where it failed
    walked: Tensor  # (M, B) length of the path up to there, NaN where it failed
    mahalanobis: (
        Tensor  # (M, B) squared distance of the code to the population; NaN where it failed or none was given
    )

    @property
    def success(self) -> Tensor:
        """The share of codes whose target changed by `effect`, ``(M,)``."""
        return (self.step >= 0).double().mean(1)

    @property
    def common(self) -> Tensor:
        """Codes on which all methods succeed, ``(B,)``."""
        return (self.step >= 0).all(0)

    @property
    def matrix(self) -> Tensor:
        """Mean leakage into every other attribute over the common codes, ``(M, A)``."""
        return self.change[:, :, self.common].abs().mean(2)

    @property
    def leaked(self) -> Tensor:
        """Mean leakage over attributes and common codes, ``(M,)``; NaN where no code is common."""
        return self.change[:, :, self.common].abs().mean((1, 2))

    @property
    def error(self) -> Tensor:
        """The standard error of `leaked` over codes, ``(M,)``."""
        each = self.change[:, :, self.common].abs().mean(1)
        return each.std(1) / each.shape[1] ** 0.5

    def table(self) -> tuple[list[str], list[list[object]]]:
        """Columns, and a row a method: success, leakage with its standard error, flips, and how far the code went."""
        rows: list[list[object]] = []
        for m, method in enumerate(self.methods):
            flips = self.flipped[m][:, self.common].mean(1).tolist()
            means = [float(x[m][self.common].mean()) for x in (self.walked, self.mahalanobis)]
            numbers = [self.success[m], self.leaked[m], self.error[m], *flips, *means]
            rows.append([method, *(round(float(x), 3) for x in numbers)])
        flips = [f"{name} flips" for name in self.categories]
        return ["method", "success", "leakage", "± SE", *flips, "walked", "Mahalanobis²"], rows

    def __str__(self) -> str:
        columns, rows = self.table()
        lines = [
            f"{self.target}, {int(self.common.sum())} of {self.step.shape[1]} codes common to all methods"
        ]
        lines += ["  ".join(f"{cell!s:>14}" for cell in row) for row in [columns, *rows]]
        return "\n".join(lines)

    def plot(self, ax: Axes | None = None) -> Axes:
        """A heat map of `matrix`, methods down, attributes across. Returns the axes."""
        if ax is None:
            import matplotlib.pyplot as plt

            ax = plt.subplots()[1]
        shown = self.matrix.cpu()
        ax.imshow(shown.numpy(), cmap="Oranges", vmin=0, aspect="auto")
        top = float(shown.nan_to_num().max()) if shown.numel() else 1.0
        for m, row in enumerate(shown.tolist()):
            for a, value in enumerate(row):
                ax.text(
                    a,
                    m,
                    f"{value:.2f}",
                    ha="center",
                    va="center",
                    color="white" if value > 0.6 * top else "black",
                )
        ax.set_xticks(range(len(self.others)), self.others)
        ax.set_yticks(range(len(self.methods)), self.methods)
        ax.set_title(f"editing {self.target}: what else changed, in standard deviations", fontsize=9.5)
        ax.grid(False)
        return ax

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        numbers = ("success", "leaked", "error", "matrix", "step", "walked", "mahalanobis", "flipped")
        return {
            "target": self.target,
            "methods": list(self.methods),
            "others": list(self.others),
            "categories": list(self.categories),
            "effect": self.effect,
            "common": int(self.common.sum()),
            **{name: plain(getattr(self, name).double().cpu()) for name in numbers},
        }


def measure_path(
    path: EditPath, generator: Generator, judge: Callable[[Tensor], Scores], *, batch: int = 512
) -> dict[str, Tensor]:
    """What ``judge(images) -> {name: scores}`` sees in every image along the path: ``(S + 1, B)``, or ``(S + 1, B, K)``."""
    shape = path.codes.shape[:2]
    if path.layers is None:
        found = score_codes(path.codes.flatten(0, 1), generator, judge, batch=batch)
        return {name: values.reshape(*shape, *values.shape[1:]) for name, values in found.items()}
    parts: dict[str, list[Tensor]] = {}
    with torch.no_grad():
        for s in range(shape[0]):
            for name, values in judge(path.frames(generator, [s])[0]).items():
                parts.setdefault(name, []).append(values)
    return {name: torch.stack(values) for name, values in parts.items()}


def leakage(
    measured: Mapping[str, Mapping[str, Tensor]],
    paths: Mapping[str, EditPath],
    deviations: Mapping[str, float],
    *,
    effect: float = 1.0,
    population: Tensor | None = None,
) -> Leakage:
    """Compare methods that edit the same codes towards the same target.

    measured: by method, what `measure_path` gave, or true factors. deviations: the standard deviation of every two-way
    attribute's measure over the population. effect: in deviations of the target; of a target with classes, the step where the
    judge first answers the class asked for counts. population ``(N, D)``: codes, for the Mahalanobis distance.
    Raises: ValueError where methods differ in target or codes. Source: ours, section 8 of the specification.
    """
    methods = tuple(measured)
    if not methods or set(methods) != set(paths):
        raise wrong("paths", f"the methods measured, {', '.join(methods)}", ", ".join(paths))
    first, seen = paths[methods[0]], measured[methods[0]]
    check_number("effect", effect, above=0)
    for method in methods[1:]:
        path = paths[method]
        if (
            path.target != first.target
            or not torch.equal(path.to, first.to)
            or not torch.equal(path.codes[0], first.codes[0])
        ):
            raise wrong("paths", f"the same codes towards the same {first.target!r}", f"others by {method!r}")
    if first.target not in seen:
        close = nearest(first.target, seen)
        raise wrong(
            "measured",
            f"the target {first.target!r}",
            ", ".join(seen),
            f"is it {close[0]!r}?" if close else "",
        )
    others = tuple(n for n, v in seen.items() if v.ndim == 2 and n != first.target)
    categories = tuple(n for n, v in seen.items() if v.ndim == 3 and n != first.target)
    missing = [n for n in (*others, first.target) if seen[n].ndim == 2 and not deviations.get(n, 0) > 0]
    if missing:
        raise wrong(
            "deviations", "a number > 0 for every two-way attribute", f"none for {', '.join(missing)}"
        )
    rows = [
        _matched(measured[m], paths[m], deviations, effect, others, categories, population) for m in methods
    ]
    return Leakage(
        first.target,
        methods,
        others,
        categories,
        effect,
        *(torch.stack(column) for column in zip(*rows, strict=True)),
    )


def _matched(
    seen: Mapping[str, Tensor],
    path: EditPath,
    deviations: Mapping[str, float],
    effect: float,
    others: tuple[str, ...],
    categories: tuple[str, ...],
    population: Tensor | None,
) -> list[Tensor]:
    """One method's step, change, flips, length and Mahalanobis distance at the matched effect."""
    values = seen[path.target].double()
    if values.ndim == 3:
        arrived = values.argmax(-1) == path.to
    else:
        arrived = (values - values[0]) * path.to >= effect * deviations[path.target]
    step = torch.where(arrived.any(0), arrived.long().argmax(0), -1)
    failed, b = step < 0, torch.arange(len(step), device=step.device)

    def there(x: Tensor) -> Tensor:
        return torch.where(failed, torch.nan, x[step.clamp(min=0), b].double())

    none = values.new_zeros(0, len(step))
    change = [there((seen[n].double() - seen[n][0].double()) / deviations[n]) for n in others]
    flips = [there((seen[n].argmax(-1) != seen[n][0].argmax(-1)).double()) for n in categories]
    far = torch.full_like(path.walked, torch.nan)
    if population is not None:
        centred = (population - population.mean(0)).double()
        precision = torch.linalg.pinv(centred.T @ centred / len(population), hermitian=True)
        far = F.squared_mahalanobis(path.codes.double(), population.mean(0).double(), precision)
    return [
        step,
        torch.stack(change) if change else none,
        torch.stack(flips) if flips else none,
        there(path.walked),
        there(far),
    ]
