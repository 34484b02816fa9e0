"""Small graphs with a class each, molecules and proteins: readers of the two text forms in which TUDataset's sets travel.

Source: Morris et al. 2020, *TUDataset: a collection of benchmark datasets for learning with graphs*.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from isocline._core.checks import wrong
from isocline.datasets.locate import SYSTEM, VARIABLE

Index = npt.NDArray[np.int64]
SUFFIXES = ("A", "graph_indicator", "graph_labels")  # what a folder of the collection must hold
PLACES = ("", "graphs", "tudataset", "TUDataset")  # usual folders below one of data sets


@dataclass(frozen=True, slots=True, eq=False)
class GraphSet:
    """Undirected graphs with a kind for every node and a class for every graph.

    ``edges[i]`` ``(E, 2)`` are graph i's edges, each once, from the lower node to the higher, in ascending order; ``tags[i]``
    ``(n,)`` the kinds of its nodes, 0 .. len(tag_names) - 1; ``labels`` ``(G,)`` the classes, 0 .. len(class_names) - 1. The
    names are the numbers in the file.
    """

    name: str
    edges: tuple[Index, ...]
    tags: tuple[Index, ...]
    labels: Index
    tag_names: tuple[int, ...]
    class_names: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def features(self, i: int) -> npt.NDArray[np.float32]:
        """The kinds of graph i's nodes as rows with a single one: ``(n, len(tag_names))``."""
        return np.eye(len(self.tag_names), dtype=np.float32)[self.tags[i]]

    def __repr__(self) -> str:
        nodes, edges = (sum(map(len, parts)) for parts in (self.tags, self.edges))
        return f"GraphSet({self.name}: {len(self)} graphs, {nodes} nodes, {edges} edges, {len(self.class_names)} classes)"


def load_graphs(name: str, data: str | os.PathLike[str] | None = None) -> GraphSet:
    """A set by its name, such as ``"MUTAG"``: ``NAME.txt``, or the collection's own folder ``NAME`` of ``NAME_A.txt`` and so on.

    It is looked for in `data`, in ``$ISOCLINE_DATA`` and in the system's folders, and there also below ``graphs`` and
    ``tudataset``. Raises: FileNotFoundError that says where it was looked for; ValueError that names file and line.
    """
    variable = os.environ.get(VARIABLE)
    roots = [Path(root).expanduser() for root in (data, variable) if root] + list(SYSTEM)
    for root in roots:
        for place in PLACES:
            file, folder = root / place / f"{name}.txt", root / place / name
            if file.is_file():
                return read_adjacency(file)
            if (folder / f"{name}_A.txt").is_file():
                return read_collection(folder)
    where = ", ".join(map(str, roots))
    raise FileNotFoundError(f"{name}.txt, or a folder {name} with {name}_A.txt, is in none of {where}")


def read_adjacency(path: str | os.PathLike[str]) -> GraphSet:
    """One file: the number of graphs, then for each a line ``nodes class`` and for each of its nodes ``tag degree neighbours``.

    Whatever follows the neighbours on a node's line is left out. An edge may stand at both ends or at one.
    Raises: ValueError with the number of the line.
    """
    file = Path(path)
    lines = file.read_text(encoding="utf-8-sig").split("\n")
    (count,), at = _numbers(file, lines, 0, "the number of graphs", 1), 1
    edges, tags, labels = [], [], []
    for _ in range(count):
        size, label = _numbers(file, lines, at, "nodes and class of a graph", 2)
        if size < 1:
            raise wrong(f"{file.name}, line {at + 1}", "a graph of at least one node", size)
        nodes = [_node(file, lines, at + 1 + node, size) for node in range(size)]
        edges.append(_once([(node, other) for node, (_, others) in enumerate(nodes) for other in others]))
        tags.append([tag for tag, _ in nodes])
        labels.append(label)
        at += 1 + size
    return _graph_set(file.stem, edges, tags, labels)


def read_collection(folder: str | os.PathLike[str]) -> GraphSet:
    """A folder of the collection: ``NAME_A.txt`` (edges ``i, j``, nodes counted through all graphs from 1),
    ``NAME_graph_indicator.txt`` (the graph of each node), ``NAME_graph_labels.txt``, and, if it is there,
    ``NAME_node_labels.txt``.

    Raises: FileNotFoundError for a file that is missing; ValueError for numbers that do not fit together.
    """
    folder = Path(folder)
    name = folder.name
    pairs, graph_of, labels = (_column(folder / f"{name}_{suffix}.txt") for suffix in SUFFIXES)
    graph_of, labels, pairs = graph_of[:, 0] - 1, labels[:, 0], pairs[:, :2] - 1
    tagged = folder / f"{name}_node_labels.txt"
    tags = _column(tagged)[:, 0] if tagged.is_file() else np.zeros(len(graph_of), np.int64)
    if len(tags) != len(graph_of):
        raise wrong(tagged.name, f"a line for each of {len(graph_of)} nodes", len(tags))
    if (np.diff(graph_of) < 0).any() or graph_of.min() < 0 or graph_of.max() >= len(labels):
        raise wrong(f"{name}_graph_indicator.txt", f"ascending graphs 1 .. {len(labels)}", graph_of + 1)
    if pairs.size and not 0 <= pairs.min() <= pairs.max() < len(graph_of):
        raise wrong(f"{name}_A.txt", f"nodes 1 .. {len(graph_of)}", f"{pairs.min() + 1} .. {pairs.max() + 1}")
    if (graph_of[pairs[:, 0]] != graph_of[pairs[:, 1]]).any():
        raise wrong(f"{name}_A.txt", "both ends of an edge in one graph", "an edge between two graphs")
    first = np.searchsorted(graph_of, np.arange(len(labels) + 1))
    pairs = pairs[np.argsort(graph_of[pairs[:, 0]], kind="stable")]
    cut = np.searchsorted(graph_of[pairs[:, 0]], np.arange(len(labels) + 1))
    edges = [_once(pairs[cut[i] : cut[i + 1]] - first[i]) for i in range(len(labels))]
    return _graph_set(name, edges, [tags[first[i] : first[i + 1]] for i in range(len(labels))], labels)


def folds(
    labels: Index, fold: int, *, count: int = 10, seed: int = 42, train_share: float = 0.8889
) -> tuple[Index, Index, Index]:
    """Train, validation and test examples of one of `count` folds, each with the classes in their proportions.

    The fold is the test; the rest is divided once more, `train_share` of it for training. ``(n,)`` each, disjoint, together all.
    Source: the protocol of pLSTM's experiments on TUDataset (ten folds, seed 42, .8889).
    """
    from sklearn.model_selection import StratifiedKFold, train_test_split

    if not 0 <= fold < count:
        raise wrong("fold", f"0 .. {count - 1}", fold)
    parts = list(StratifiedKFold(count, shuffle=True, random_state=seed).split(labels[:, None], labels))
    rest, test = parts[fold]
    how: dict[str, Any] = {"train_size": train_share, "random_state": seed, "stratify": labels[rest]}
    train, validation = train_test_split(rest, **how)
    return np.sort(train), np.sort(validation), test


def _graph_set(name: str, edges: Sequence[Index], tags: Sequence[Any], labels: Any) -> GraphSet:
    kinds, flat = np.unique(np.concatenate([np.asarray(x, np.int64) for x in tags]), return_inverse=True)
    classes, label = np.unique(np.asarray(labels, np.int64), return_inverse=True)
    cut = np.cumsum([len(x) for x in tags])[:-1]
    parts = tuple(np.split(flat.astype(np.int64), cut))
    names = tuple(map(int, kinds)), tuple(map(int, classes))
    return GraphSet(name, tuple(edges), parts, label.astype(np.int64), *names)


def _once(pairs: Any) -> Index:
    """Each undirected edge once, the lower node first, ascending; loops are left out."""
    array = np.sort(np.asarray(pairs, np.int64).reshape(-1, 2), axis=1)
    return np.unique(array[array[:, 0] < array[:, 1]], axis=0)


def _numbers(file: Path, lines: list[str], row: int, what: str, count: int) -> list[int]:
    """The first `count` whole numbers of a line; none of them is negative where they count something."""
    text = lines[row] if row < len(lines) else ""
    try:
        found = [int(word) for word in text.split()[:count]]
    except ValueError:
        found = []
    if len(found) < count:
        got = repr(text) if row < len(lines) else "the end of the file"
        raise wrong(f"{file.name}, line {row + 1}", what, got)
    return found


def _node(file: Path, lines: list[str], row: int, size: int) -> tuple[int, list[int]]:
    """A node's tag and its neighbours, as many as its line says."""
    tag, degree = _numbers(file, lines, row, "tag, degree and neighbours of a node", 2)
    what = f"{degree} neighbours among the graph's nodes 0 .. {size - 1}"
    others = _numbers(file, lines, row, what, 2 + max(degree, 0))[2:]
    if degree < 0 or any(not 0 <= other < size for other in others):
        raise wrong(f"{file.name}, line {row + 1}", what, repr(lines[row]))
    return tag, others


def _column(path: Path) -> Index:
    """The whole numbers of a file, a row a line, cut by commas."""
    read: Callable[..., Any] = np.loadtxt
    try:
        return read(path, delimiter=",", dtype=np.int64, ndmin=2)
    except ValueError as error:
        raise wrong(path.name, "whole numbers with commas between them", str(error)) from error
