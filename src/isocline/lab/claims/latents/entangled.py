"""Where a generator has learned two attributes as one: what every method changes besides what it was asked for."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from isocline._core.seeds import derive_seed, torch_generator
from isocline.latents import (
    AttributeWarning,
    EditPath,
    GANSpace,
    InterFaceGAN,
    ModuleGenerator,
    SeFa,
    edit,
    fit_attributes,
    leakage,
    measure_path,
    score_codes,
)

from ...claim import Claim, Expected, Measurement, Record, Scale
from ...style import GREY, ORANGE, PLUM, TEAL, new_figure
from .decoder import train_decoder
from .paper import PAPER
from .regressor import SCORED, Regressor, correlation, gate, train_regressor

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from isocline.latents.baselines import Directions

OURS, RIVAL = "gradient, projected", "InterFaceGAN, conditional"
METHODS = (
    "gradient", OURS, "gradient, 2 channels excluded", "gradient, channels excluded", "InterFaceGAN", RIVAL,
    "SeFa, best of 8", "GANSpace, best of 8",
)  # fmt: skip
COLORS = (TEAL, TEAL, PLUM, PLUM, ORANGE, ORANGE, GREY, GREY)
ENTANGLED = ("scale", "hue")
ENOUGH = 0.8  # success below which a method is no part of the comparison, and does not shrink it
GAIN = "{}: leakage of conditional InterFaceGAN less the projected gradient's"
SURE = "{}: the same, mean over seeds less two standard errors"
SUCCESS = "{}: success of the projected gradient"
CAPTION = (
    "What an edit changes besides its target, in standard deviations, once the target has changed by one; mean over the other "
    "four factors and over the codes that all methods with a success of at least 0.8 can change. A dot a seed, a bar their mean; "
    "pale: a method that fails more often, over its own successes. Hue and scale are entangled: the generator saw them together."
)
STRIPS = (
    "Three codes, edited to another hue: at the start, and where the hue has changed by one and by two standard deviations. "
    "Each picture is the frame of the path that comes nearest."
)


def run(setting: dict[str, Any], seed: int, device: str) -> Measurement:
    regressor = train_regressor(setting["regressor"], derive_seed("regressor", seed) % 2**31)
    decoder = train_decoder(
        latent_dim=setting["width"], updates=setting["decoder"], seed=seed, noise=setting["noise"]
    )
    prior = None if setting["codes_of"] == "prior" else decoder.seen_codes
    generator = ModuleGenerator(decoder, decoder.latent_dim, output_range=(0, 1), prior=prior)
    judge = _Judge(regressor)
    w = generator.sample(setting["sample"], generator=torch_generator(derive_seed("sample", seed)))
    scores = score_codes(w, generator, judge)
    deviations = {name: float(scores[name].std()) for name in SCORED}
    codes = generator.sample(setting["codes"], generator=torch_generator(derive_seed("edited", seed)))
    passed = gate(decoder, regressor)
    values: dict[str, Any] = {
        "gate": passed["measured"],
        "passed": passed["passed"],
        "r": correlation(scores["hue"], scores["scale"]),
    }
    editors = _Editors(w, scores, generator, judge, deviations, setting, seed)
    strips: dict[str, np.ndarray] = {}
    for target in SCORED:
        paths = {method: editors.path(method, codes, target) for method in METHODS}
        seen = {method: measure_path(path, generator, judge) for method, path in paths.items()}
        values[target] = _compared(seen, paths, deviations, w)
        if target == "hue":
            strips = _strips(paths, seen, deviations["hue"], generator)
    return Measurement(values, strips)


class _Judge:
    """Images to the factors that are scored, and the shape's logits."""

    def __init__(self, regressor: Regressor) -> None:
        self.regressor = regressor

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        found = self.regressor(images)
        return {name: found[:, i] for i, name in enumerate(SCORED)} | {"shape": found[:, 6:]}


class _Editors:
    """Every method, fitted on the same codes and scores."""

    def __init__(
        self, w: Tensor, scores: dict[str, Tensor], generator: ModuleGenerator, judge: _Judge,
        deviations: dict[str, float], setting: dict[str, Any], seed: int,
    ) -> None:  # fmt: skip
        two_way = {name: scores[name] for name in SCORED}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AttributeWarning)  # correlated scores are what this is about
            self.model = fit_attributes(w, two_way, updates=setting["updates"], seed=seed)
        self.boundaries = InterFaceGAN.fit(w, two_way, seed=seed)
        self.found: dict[str, Directions] = {
            "SeFa, best of 8": SeFa.fit(generator.style_weights()),
            "GANSpace, best of 8": GANSpace.fit(w),
        }
        self.how = {"steps": setting["steps"], "length": setting["length"]}
        self.generator, self.judge, self.deviations = generator, judge, deviations
        self.medians = {name: float(scores[name].median()) for name in SCORED}
        self.trial = generator.sample(50, generator=torch_generator(derive_seed("trial", seed)))

    def path(self, method: str, codes: Tensor, target: str) -> EditPath:
        """Every code towards the far side of the target's median, where there is room for the change."""
        keep, to = [name for name in SCORED if name != target], self.away(codes, target)
        if method in self.found:
            index, sign = self._picked(self.found[method], target)
            return self._along(self.found[method], codes, target, index, sign, to, self.how)
        if method.startswith("InterFaceGAN"):
            return self.boundaries.edit(codes, target, to, keep if method == RIVAL else (), **self.how)
        if method == "gradient":
            return edit(self.model, codes, target, to, method="none", **self.how)
        if method == OURS:
            return edit(self.model, codes, target, to, keep, method="project", **self.how)
        some = dict.fromkeys(keep, 2) if "2" in method else "auto"
        return edit(self.model, codes, target, to, keep, method="exclude", exclude_channels=some, **self.how)

    def away(self, codes: Tensor, target: str) -> Tensor:
        """+1 for codes below the population's median of the target, -1 for those above."""
        now = score_codes(codes, self.generator, self.judge)[target]
        return torch.where(now < self.medians[target], 1, -1)

    def _along(
        self,
        found: Directions,
        codes: Tensor,
        target: str,
        index: int,
        sign: int,
        to: Tensor,
        how: dict[str, Any],
    ) -> EditPath:
        return replace(found.edit(codes, index, sign * to, target=target, **how), to=to)

    def _picked(self, directions: Directions, target: str) -> tuple[int, int]:
        """The direction, of the first eight, and its sign that leak least on codes of their own; chosen with the judge's help."""
        best, picked, to = float("inf"), (0, 1), self.away(self.trial, target)
        for index in range(8):
            for sign in (1, -1):
                path = self._along(directions, self.trial, target, index, sign, to, self.how | {"steps": 20})
                found = leakage(
                    {"": measure_path(path, self.generator, self.judge)}, {"": path}, self.deviations
                )
                leaked = float(found.leaked[0]) + 10 * max(0.0, ENOUGH - float(found.success[0]))
                if leaked < best:
                    best, picked = leaked, (index, sign)
        return picked


def _compared(
    seen: dict[str, dict[str, Tensor]], paths: dict[str, EditPath], deviations: dict[str, float], w: Tensor
) -> dict[str, dict[str, Any]]:
    """By method: success, leakage, its matrix; over the codes common to the methods that succeed often enough, and the rival."""
    every = leakage(seen, paths, deviations, population=w)
    often = [m for i, m in enumerate(METHODS) if float(every.success[i]) >= ENOUGH or m in (OURS, RIVAL)]
    common = leakage({m: seen[m] for m in often}, {m: paths[m] for m in often}, deviations, population=w)
    found: dict[str, dict[str, Any]] = {}
    for i, method in enumerate(METHODS):
        compared = method in often
        own = (
            common
            if compared
            else leakage({method: seen[method]}, {method: paths[method]}, deviations, population=w)
        )
        j = often.index(method) if compared else 0
        found[method] = {
            "success": float(every.success[i]),
            "compared": compared,
            "leaked": float(own.leaked[j]),
            "error": float(own.error[j]),
            "others": dict(zip(own.others, own.matrix[j].tolist(), strict=True)),
            "flips": float(own.flipped[j][:, own.common].mean()),
            "walked": float(own.walked[j][own.common].mean()),
            "mahalanobis": float(own.mahalanobis[j][own.common].mean()),
            "codes": int(own.common.sum()),
        }
    return found


def _strips(
    paths: dict[str, EditPath],
    seen: dict[str, dict[str, Tensor]],
    deviation: float,
    generator: ModuleGenerator,
) -> dict[str, np.ndarray]:
    """Frames of three codes whose hue can grow far, at changes of 0, 1 and 2 deviations, by method."""
    changes = {m: paths[m].to * (seen[m]["hue"] - seen[m]["hue"][0]) / deviation for m in (OURS, RIVAL)}
    far = torch.stack([c.amax(0) for c in changes.values()]).amin(0)
    rows = far.argsort(descending=True)[:3].tolist()
    found = {}
    for m, change in changes.items():
        images = paths[m].frames(generator, rows=rows)
        picked = [(change[:, rows] - aim).abs().argmin(0) for aim in (0, 1, 2)]
        frames = torch.stack([images[steps, torch.arange(3)] for steps in picked], 1)
        found[m] = (255 * frames).round().byte().permute(0, 1, 3, 4, 2).numpy()
    return found


def measure(records: list[Record]) -> dict[str, list[float]]:
    figures: dict[str, list[float]] = {}
    for record in records:
        v = record.values
        found = {"r of hue and scale among the generator's images": v["r"]}
        found |= {"worst factor that the generator keeps (correlation)": min(v["gate"][n] for n in SCORED)}
        for target in SCORED:
            ours, rival = v[target][OURS], v[target][RIVAL]
            found[GAIN.format(target)] = rival["leaked"] - ours["leaked"]
            found[SUCCESS.format(target)] = ours["success"]
            for method in METHODS:
                one = v[target][method]
                found[f"{target}: leakage, {method}"] = one["leaked"]
                found[f"{target}: success, {method}"] = one["success"]
        for name, value in found.items():
            figures.setdefault(name, []).append(value)
    for target in ENTANGLED:
        gains = np.array(figures.get(GAIN.format(target), []))
        if len(gains) > 1:
            figures[SURE.format(target)] = [float(gains.mean() - 2 * gains.std(ddof=1) / len(gains) ** 0.5)]
    return figures


def plot(records: list[Record]) -> dict[str, Figure]:
    return {"leakage": _bars(records), "edits": _pictures(records[0])}


def _bars(records: list[Record]) -> Figure:
    figure, axes = new_figure(CAPTION, columns=len(SCORED), width=13, height=3.6)
    for ax, target in zip(axes, SCORED, strict=True):
        for i, (method, color) in enumerate(zip(METHODS, COLORS, strict=True)):
            each = [r.values[target][method] for r in records]
            leaked = np.array([one["leaked"] for one in each])
            shade = 0.9 if all(one["compared"] for one in each) else 0.25
            ax.barh(
                -i,
                np.nanmean(leaked) if np.isfinite(leaked).any() else 0.0,
                color=color,
                alpha=shade,
                height=0.6,
            )
            ax.plot(leaked, np.full(len(leaked), -i), "o", color="black", markersize=2.5)
            success = np.mean([one["success"] for one in each])
            ax.text(0.01, -i - 0.42, f"success {success:.2f}", fontsize=6.5, color=GREY, va="center")
        ax.set_title(target, fontsize=9.5, fontweight="bold" if target in ENTANGLED else "normal")
        ax.set(yticks=[], xlim=(0, None))
        ax.grid(False, axis="y")
    axes[0].set_yticks([-i for i in range(len(METHODS))], METHODS, fontsize=8)
    return figure


def _pictures(record: Record) -> Figure:
    figure, axes = new_figure(STRIPS, columns=6, rows=3, width=9, height=5)
    for block, method in enumerate((OURS, RIVAL)):
        for row, frames in enumerate(record.arrays[method]):
            for column, image in enumerate(frames):
                ax = axes[6 * row + 3 * block + column]
                ax.imshow(image, interpolation="nearest")
                ax.axis("off")
                if row == 0:
                    ax.set_title(("start", f"{method}\n+1", "+2")[column], fontsize=8.5)
    return figure


def _setting(**how: Any) -> list[dict[str, Any]]:
    usual = {
        "width": 24,
        "regressor": 2500,
        "decoder": 2500,
        "noise": 0.15,
        "codes_of": "prior",
        "sample": 10_000,
        "codes": 400,
        "updates": 1500,
        "steps": 60,
        "length": 10.0,
    }
    return [usual | how]


ENTANGLED_CLAIM = Claim(
    name="latents/entangled",
    paper=PAPER,
    sentence=(
        "Where a generator has learned two attributes as one, following the attribute's gradient without those of the others "
        "changes the others less than the linear boundary does."
    ),
    expected=(
        *(
            Expected(
                SURE.format(t),
                0.0,
                ">=",
                source="a difference that stands out of its spread",
                scales=("small", "paper"),
            )
            for t in ENTANGLED
        ),
        *(Expected(GAIN.format(t), 0.0, ">=", source="the paper's claim in words") for t in ENTANGLED),
        *(Expected(SUCCESS.format(t), ENOUGH, ">=", source="a method that works at all") for t in ENTANGLED),
        Expected(
            "worst factor that the generator keeps (correlation)",
            0.9,
            ">=",
            source="a generator worth editing",
        ),
    ),
    scales={
        "tour": Scale(
            _setting(regressor=800, decoder=1000, noise=0.1, sample=4000, codes=100, updates=600, steps=30),
            1,
            "30 seconds",
        ),
        "small": Scale(_setting(), 5, "10 minutes on two cores: 5 generators"),
        "paper": Scale(_setting(regressor=10_000, decoder=20_000, codes=1000), 10, "2 hours on two cores"),
    },
    run=run,
    measure=measure,
    plot=plot,
)
