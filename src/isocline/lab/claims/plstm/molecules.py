"""Molecules and proteins: how often the pLSTM graph model is right, ten folds, beside what is published of others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from ...claim import Claim, Expected, Record, Scale
from ...style import GREY, INK, ORANGE, SOFT, TEAL, new_figure
from . import graph_training
from .paper import PAPER

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACCURACY = "{}: test accuracy, mean of {} folds"
SPREAD = "{}: its standard deviation over folds"
GAIN = "{}: how far that is above always the most frequent class"
# Published means of ten folds, and for pLSTM their intervals. Source: arXiv 2506.11997, table of TUDataset.
PUBLISHED = {
    "MUTAG": {"pLSTM": 0.8512, "GIN": 0.8251, "GAT": 0.7822, "GCN": 0.7234},
    "PTC": {"pLSTM": 0.6133, "GIN": 0.6097, "GAT": 0.6105, "GCN": 0.6162},
    "PROTEINS": {"pLSTM": 0.7502, "GIN": 0.7350, "GAT": 0.7215, "GCN": 0.7395},
    "NCI1": {"pLSTM": 0.7324, "GIN": 0.8175, "GAT": 0.7968, "GCN": 0.7852},
}
DEVIATION = {"MUTAG": 0.06, "PTC": 0.08, "PROTEINS": 0.05, "NCI1": 0.03}
TITLES = {"PTC": "PTC (FM)"}
CAPTION = (
    "Test accuracy of the pLSTM graph model. Small dots are folds, the bar is their mean, the orange diamond the paper's "
    "figure with its interval. Other models are as the paper gives them, not trained again here. Dotted line: always the "
    "most frequent class."
)


def run(setting: dict[str, Any], seed: int, device: str) -> Any:
    """One fold of one set."""
    return graph_training.run(setting, seed, device)


def measure(records: list[Record]) -> dict[str, list[float]]:
    """The mean over the graphs' folds, one value for each seed, of sets all of whose folds are there."""
    figures: dict[str, list[float]] = {}
    for name, _, group in _groups(records):
        accuracies = [record.values["accuracy"] for record in group]
        folds = group[0].setting["folds"]
        if {record.setting["fold"] for record in group} == set(range(folds)):
            guess = [record.values["most_frequent"] for record in group]
            figures.setdefault(ACCURACY.format(name, folds), []).append(float(np.mean(accuracies)))
            figures.setdefault(GAIN.format(name), []).append(float(np.mean(accuracies) - np.mean(guess)))
            figures.setdefault(SPREAD.format(name), []).append(float(np.std(accuracies)))
    return figures


def _groups(records: Iterable[Record]) -> list[tuple[str, int, list[Record]]]:
    groups: dict[tuple[str, int], list[Record]] = {}
    for record in records:
        groups.setdefault((record.setting["data"], record.seed), []).append(record)
    return [(*key, group) for key, group in groups.items()]


def plot(records: list[Record]) -> dict[str, Figure]:
    names = [name for name in PUBLISHED if any(record.setting["data"] == name for record in records)]
    figure, axes = new_figure(CAPTION, columns=len(names), width=3.6 + 2.6 * (len(names) - 1), height=3.2)
    for ax, name in zip(axes, names, strict=True):
        _panel(ax, name, [record for record in records if record.setting["data"] == name])
    for ax in axes[1:]:
        ax.tick_params(labelleft=False)
    return {"folds": figure}


def _panel(ax: Axes, name: str, records: list[Record]) -> None:
    """One set: a row a model."""
    published, rows = PUBLISHED[name], ["pLSTM, here", "pLSTM", "GIN", "GAT", "GCN"]
    found = np.array([100 * record.values["accuracy"] for record in records])
    jitter = np.linspace(-0.22, 0.22, len(found)) if len(found) > 1 else np.zeros(1)
    ax.plot(found, jitter, "o", color=TEAL, alpha=0.45, markersize=5, markeredgewidth=0)
    ax.plot([found.mean()] * 2, [-0.34, 0.34], color=TEAL, linewidth=3)
    ax.errorbar(100 * published["pLSTM"], 1, xerr=100 * DEVIATION[name], fmt="D", color=ORANGE, capsize=3)
    for y, other in enumerate(rows[2:], 2):
        ax.plot(100 * published[other], y, "D", color=GREY)
    guess = [record.values["most_frequent"] * 100 for record in records]
    ax.axvline(float(np.mean(guess)), color=SOFT, linewidth=1, linestyle=":")
    ax.set_yticks(range(len(rows)), [*rows[:1], *(f"{row}, published" for row in rows[1:])])
    ax.get_yticklabels()[0].set(color=INK, fontweight="bold")
    ax.set(
        ylim=(len(rows) - 0.5, -0.6),
        xlabel="accuracy, %",
        title=f"{TITLES.get(name, name)}: {found.mean():.1f} %",
    )
    ax.grid(axis="y", visible=False)


RECIPE = {"batch_size": 64, "lr": 1e-3, "warmup": 5.0, "clip_norm": 1.0, "weight_decay": 0.01}
THIN = {"dim": 32, "heads": 4}
FULL = {"dim": 96, "heads": 4}


def _settings(name: str, model: dict[str, Any], *, folds: int = 10, **recipe: Any) -> list[dict[str, Any]]:
    how = {"data": name, "folds": folds, "model": model, "recipe": RECIPE | recipe}
    return [how | {"fold": fold} for fold in range(folds)]


def _expected(name: str, *scales: str) -> Expected:
    source = f"table of TUDataset: {PUBLISHED[name]['pLSTM']:.3f} ± {DEVIATION[name]:.2f}"
    promise = (ACCURACY.format(name, 10), PUBLISHED[name]["pLSTM"], ">=", DEVIATION[name])
    return Expected(*promise, source=source, scales=scales, optional=True)


MOLECULES = Claim(
    name="plstm/molecules",
    paper=PAPER,
    sentence="Run there and back along the bonds, pLSTM classifies molecules and proteins as well as published.",
    expected=(
        _expected("MUTAG", "small", "paper"),
        _expected("PTC", "small", "paper"),
        _expected("PROTEINS", "small", "paper"),
        _expected("NCI1", "paper"),
        Expected(GAIN.format("MUTAG"), 0.0, ">=", source="that it learns", scales=("tour",), optional=True),
    ),
    scales={
        "tour": Scale(
            _settings("MUTAG", THIN, folds=2, epochs=50),
            1,
            "15 seconds; MUTAG.txt in --data (or its folder graphs), 2 of the ten folds, 50 epochs",
        ),
        "small": Scale(
            [
                *_settings("MUTAG", THIN, epochs=100),
                *_settings("PROTEINS", THIN, epochs=30),
                *_settings("PTC", THIN, epochs=100),
            ],
            1,
            "15 minutes on two cores; MUTAG, PTC and PROTEINS in --data; 31,000 parameters, of PROTEINS 30 epochs",
        ),
        "paper": Scale(
            [setting for name in PUBLISHED for setting in _settings(name, FULL, epochs=100)],
            1,
            "half a day on two cores; the four sets in --data; width 96, 247,000 parameters, 100 epochs",
        ),
    },
    run=run,
    measure=measure,
    plot=plot,
)
