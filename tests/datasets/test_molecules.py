"""Sets of graphs: both forms of text say the same, folds are fair, and a damaged file is named with its line."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isocline.datasets.molecules import folds, load_graphs, read_adjacency, read_collection

TRIANGLE_AND_PATH = """2
3 -1
7 2 1 2
7 2 0 2
9 2 0 1
4 1
0 1 1
7 2 0 2 0.5 0.25
0 2 1 3
0 1 2
"""


def random_set(seed):
    """Tags, edges (each once) and classes of a few graphs."""
    rng = np.random.default_rng(seed)
    graphs = []
    for _ in range(int(rng.integers(2, 6))):
        n = int(rng.integers(1, 7))
        pairs = [(u, v) for u in range(n) for v in range(u + 1, n) if rng.random() < 0.5]
        graphs.append((rng.integers(0, 4, n).tolist(), pairs, int(rng.integers(0, 3))))
    return graphs


def write_adjacency(path, graphs):
    lines = [str(len(graphs))]
    for tags, pairs, label in graphs:
        lines.append(f"{len(tags)} {label}")
        for node, tag in enumerate(tags):
            others = [v for u, v in pairs if u == node] + [u for u, v in pairs if v == node]
            lines.append(" ".join(map(str, [tag, len(others), *others])))
    path.write_text("\n".join(lines) + "\n")


def write_collection(folder, graphs):
    folder.mkdir(exist_ok=True)
    first, arcs, graph_of, tags = 1, [], [], []
    for number, (kinds, pairs, _) in enumerate(graphs, 1):
        arcs += [f"{first + u}, {first + v}\n{first + v}, {first + u}" for u, v in pairs]
        graph_of += [number] * len(kinds)
        tags += kinds
        first += len(kinds)
    rows = {
        "A": arcs,
        "graph_indicator": graph_of,
        "graph_labels": [g[2] for g in graphs],
        "node_labels": tags,
    }
    for suffix, lines in rows.items():
        (folder / f"{folder.name}_{suffix}.txt").write_text("".join(f"{line}\n" for line in lines))


@given(st.integers(0, 10_000))
def test_what_was_written_is_read_in_either_form(tmp_path_factory, seed):
    graphs, folder = random_set(seed), tmp_path_factory.mktemp("sets")
    write_adjacency(folder / "SET.txt", graphs)
    write_collection(folder / "SET", graphs)
    readers = [read_adjacency(folder / "SET.txt")]
    if any(pairs for _, pairs, _ in graphs):
        readers.append(read_collection(folder / "SET"))
    for found in readers:
        assert len(found) == len(graphs)
        for i, (tags, pairs, label) in enumerate(graphs):
            assert found.edges[i].tolist() == [list(pair) for pair in pairs]
            assert [found.tag_names[tag] for tag in found.tags[i]] == tags
            assert found.class_names[found.labels[i]] == label
            assert found.features(i).argmax(1).tolist() == found.tags[i].tolist()


def test_an_example_with_attributes_at_the_end_of_a_line(tmp_path):
    (tmp_path / "graphs").mkdir()
    (tmp_path / "graphs" / "TOY.txt").write_text(TRIANGLE_AND_PATH)
    found = load_graphs("TOY", tmp_path)
    assert repr(found) == "GraphSet(TOY: 2 graphs, 7 nodes, 6 edges, 2 classes)"
    assert (found.tag_names, found.class_names) == ((0, 7, 9), (-1, 1))
    assert found.edges[1].tolist() == [[0, 1], [1, 2], [2, 3]]


def test_an_edge_that_stands_at_one_end_only_is_an_edge(tmp_path):
    (tmp_path / "X.txt").write_text("1\n3 0\n0 1 1\n0 0\n0 2 1 1\n")
    assert read_adjacency(tmp_path / "X.txt").edges[0].tolist() == [[0, 1], [1, 2]]


@given(st.integers(0, 9), st.integers(40, 120), st.integers(0, 1000))
def test_folds_are_disjoint_complete_and_stratified(fold, count, seed):
    labels = np.random.default_rng(seed).permutation(np.arange(count) % 2)
    train, validation, test = folds(labels, fold)
    assert sorted([*train, *validation, *test]) == list(range(count))
    for part in (train, validation, test):
        assert abs(labels[part].mean() - labels.mean()) <= 1.5 / len(
            part
        )  # one graph more or less of a class
    again = folds(labels, fold)
    assert all(np.array_equal(a, b) for a, b in zip(again, (train, validation, test), strict=True))


def test_every_graph_is_tested_once():
    labels = np.arange(57) % 3
    tested = np.concatenate([folds(labels, fold)[2] for fold in range(10)])
    assert sorted(tested) == list(range(57))
    with pytest.raises(ValueError, match=r"fold: want 0 \.\. 9, got 10"):
        folds(labels, 10)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: want the number of graphs, got ''"),
        ("two\n", "line 1: want the number of graphs, got 'two'"),
        ("1\n", "line 2: want nodes and class of a graph, got ''"),
        ("1\n0 1\n", "line 2: want a graph of at least one node, got 0"),
        ("1\n2 1\n0 1 1\n", "line 4: want tag, degree and neighbours of a node, got ''"),
        ("1\n2 1\n0 1 1\n0 1", "line 4: want 1 neighbours among the graph's nodes 0 .. 1, got '0 1'"),
        ("1\n2 1\n0 1 2\n0 1 0\n", "line 3: want 1 neighbours among the graph's nodes 0 .. 1"),
        ("1\n2 1\n0 -1\n0 1 0\n", "line 3: want -1 neighbours"),
        ("2\n1 1\n0 0", "line 4: want nodes and class of a graph, got the end of the file"),
    ],
)
def test_a_damaged_file_is_named_with_its_line(tmp_path, text, message):
    (tmp_path / "X.txt").write_text(text)
    with pytest.raises(ValueError, match=r"X\.txt, ") as error:
        read_adjacency(tmp_path / "X.txt")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("suffix", "text", "message"),
    [
        ("A", "1, 9\n", "nodes 1 .. 5"),
        ("A", "1, 5\n", "both ends of an edge in one graph"),
        ("A", "1, x\n", "whole numbers"),
        ("graph_indicator", "1\n1\n2\n2\n3\n", "ascending graphs 1 .. 2"),
        ("node_labels", "1\n", "a line for each of 5 nodes, got 1"),
    ],
)
def test_a_damaged_collection_is_answered(tmp_path, suffix, text, message):
    write_collection(tmp_path / "X", [([0, 1, 0], [(0, 1), (1, 2)], 0), ([1, 1], [(0, 1)], 1)])
    (tmp_path / "X" / f"X_{suffix}.txt").write_text(text)
    with pytest.raises(ValueError, match=f"X_{suffix}") as error:
        read_collection(tmp_path / "X")
    assert message in str(error.value)


def test_a_set_that_is_nowhere_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(FileNotFoundError, match=rf"NOWHERE\.txt, or a folder .* is in none of {tmp_path}"):
        load_graphs("NOWHERE", tmp_path)
