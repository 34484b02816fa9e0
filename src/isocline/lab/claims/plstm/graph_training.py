"""Ten folds of a set of graphs, as the paper trains and judges them: what test labels say is never looked at before the end."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from isocline._core.seeds import derive_seed
from isocline.datasets.molecules import GraphSet, folds, load_graphs
from isocline.plstm.graph_classifier import BothWays, PLSTMGraphClassifier
from isocline.training.recipe import Recipe, optimizer_of, schedule_of

from ...claim import Measurement, Missing, data_folder


class Batch(NamedTuple):
    """Graphs side by side."""

    x: Tensor  # (N, kinds of nodes)
    graphs: BothWays
    labels: Tensor  # (G,)


class Prepared:
    """A set of graphs, each oriented once; `batch` joins any of them."""

    def __init__(self, found: GraphSet) -> None:
        self.labels, self.kinds, self.classes = found.labels, len(found.tag_names), len(found.class_names)
        self._x = [torch.from_numpy(found.features(i)) for i in range(len(found))]
        self._graphs = [BothWays.from_edges(e, len(t)) for e, t in zip(found.edges, found.tags, strict=True)]

    def batch(self, which: np.ndarray) -> Batch:
        rows = which.tolist()
        x = torch.cat([self._x[i] for i in rows])
        return Batch(x, BothWays.union([self._graphs[i] for i in rows]), torch.from_numpy(self.labels[which]))


@cache
def prepared(name: str, folder: str | None) -> Prepared:
    try:
        return Prepared(load_graphs(name, folder))
    except FileNotFoundError as error:
        raise Missing(str(error)) from error


def run(setting: dict[str, Any], seed: int, device: str) -> Measurement:
    """One fold: train, keep the weights of the epoch that is best on validation graphs, and judge them once on the test."""
    data = prepared(setting["data"], data_folder())
    train, held_out, test = folds(data.labels, setting["fold"])
    recipe = Recipe(**setting["recipe"], seed=derive_seed(seed, setting["fold"]))
    torch.manual_seed(recipe.seed)
    model = PLSTMGraphClassifier(data.kinds, data.classes, **setting["model"]).to(device)
    judged = [data.batch(part) for part in np.array_split(held_out, -(-len(held_out) // recipe.batch_size))]
    best, kept, path = (-1.0, 0.0), model.state_dict(), []
    order = np.random.default_rng(recipe.seed)
    steps = -(-len(train) // recipe.batch_size)
    optimizer = optimizer_of(recipe, model.parameters())
    schedule = schedule_of(recipe, optimizer, steps)
    for _ in range(recipe.epochs):
        loss = _epoch(model, data, order.permutation(train), recipe, optimizer, schedule, device)
        found = judge(model, judged, device)
        path.append((loss, *found))
        if (found[0], -found[1]) > best:  # of equal accuracies the one of smaller loss
            best, kept = (found[0], -found[1]), deepcopy(model.state_dict())
    model.load_state_dict(kept)
    parts = [data.batch(part) for part in np.array_split(test, -(-len(test) // recipe.batch_size))]
    accuracy, loss = judge(model, parts, device)
    guess = np.bincount(data.labels[train]).argmax()  # what one would answer without looking
    values = {
        "accuracy": accuracy,
        "loss": loss,
        "validation": best[0],
        "most_frequent": float(np.mean(data.labels[test] == guess)),
        "graphs": len(test),
    }
    return Measurement(values, {"path": np.array(path)})


def _epoch(
    model: nn.Module,
    data: Prepared,
    order: np.ndarray,
    recipe: Recipe,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    device: str,
) -> float:
    """One pass over the training graphs; returns the mean loss."""
    model.train()
    total = 0.0
    for start in range(0, len(order), recipe.batch_size):
        x, graphs, labels = data.batch(order[start : start + recipe.batch_size])
        optimizer.zero_grad()
        logits = model(x.to(device), graphs.to(device))
        loss = cross_entropy(logits, labels.to(device))
        loss.backward()
        if recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
        optimizer.step()
        schedule.step()
        total += float(loss.detach()) * len(labels)
    return total / len(order)


@torch.no_grad()
def judge(model: nn.Module, batches: list[Batch], device: str = "cpu") -> tuple[float, float]:
    """Accuracy and mean cross entropy."""
    model.eval()
    right, loss, count = 0, 0.0, 0
    for x, graphs, labels in batches:
        labels = labels.to(device)
        logits = model(x.to(device), graphs.to(device))
        right += int((logits.argmax(1) == labels).sum())
        loss += float(cross_entropy(logits, labels, reduction="sum"))
        count += len(labels)
    return right / count, loss / count
