"""The claims on large steps: exact where the paper is exact, and a race in which nobody is favoured."""

from math import inf

import numpy as np
import pytest
from matplotlib.figure import Figure

from isocline.lab import Missing, Options, Record, find, run_claims
from isocline.lab.claims.linear_model import data, linear_in_n, time_to_separator
from isocline.lab.claims.linear_model.perceptron_limit import gaussian_rows
from isocline.lab.claims.linear_model.worst_case import worst_case_rows
from isocline.lab.style import house_style
from isocline.linear_model import functional as F

EXACT = ["worst-case", "linear-in-n", "perceptron-limit", "loss-up-steps-down"]


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """The four exact claims at tour scale."""
    out = tmp_path_factory.mktemp("runs")
    claims = find([f"linear_model/{name}" for name in EXACT])
    return {report.claim.name: report for report in run_claims(claims, "tour", Options(out=out, jobs=2))}


@pytest.mark.parametrize("name", EXACT)
def test_the_exact_claims_hold_and_show_a_picture(reports, name):
    report = reports[f"linear_model/{name}"]
    assert report.verdict.answer == "holds", report.verdict
    assert all(row.holds for row in report.verdict.rows if row.expected and not row.why)
    with house_style():
        figures = report.claim.plot(list(report.records))
        for figure in figures.values():
            assert isinstance(figure, Figure)
            assert len(figure.get_label()) > 20  # the caption
            for ax in figure.axes:
                assert ax.get_xlabel()


def test_table_1_is_met_to_the_iteration(reports):
    counts = {row.figure: row.values for row in reports["linear_model/worst-case"].verdict.rows}
    for step, count in ((100, 2), (10, 2), (1, 16), (0.1, 157)):
        assert counts[f"Normalized LR+GD, step {step:g}, n = 1000: iterations"] == (count,)
    assert counts["LR+GD, step 100, n = 1000: iterations"] == (308,)
    for n, count in ((100, 31), (1000, 301), (10_000, 3001)):
        assert counts[f"Batch Perceptron, n = {n}: iterations"] == (count,)


@pytest.mark.parametrize("n", [10, 30, 100, 301, 1000])
@pytest.mark.parametrize(
    ("method", "step"),
    [
        ("batch_perceptron", inf),
        ("normalized_batch_perceptron", inf),
        ("normalized_lr_gd", 100.0),
        ("normalized_lr_gd", 1.0),
        ("lr_gd", 100.0),
    ],
)
def test_counting_on_two_rows_is_counting_on_n(n, method, step):
    whole = F.iterate(worst_case_rows(n), method, step, 2 * n, stop=True)
    assert whole.separated_at is not None
    assert linear_in_n.iterations(n, method, step) == whole.separated_at


def test_the_rows_of_the_limit_are_separable_and_the_seed_s_own():
    rows = gaussian_rows(200, 10, seed=3)
    assert F.iterate(rows, "perceptron", max_iter=20_000, stop=True).separated_at is not None
    assert np.array_equal(rows, gaussian_rows(200, 10, seed=3))
    assert not np.array_equal(rows, gaussian_rows(200, 10, seed=4))
    assert np.linalg.norm(rows, axis=1).max() == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("name", "shape", "positives"),
    [
        ("iris 0/1", (100, 4), 50),
        ("breast cancer", (569, 30), 357),
        ("digits 1/8", (356, 64), 182),
        ("digits 3/rest", (1797, 64), 183),
    ],
)
def test_two_classes_of_real_data(name, shape, positives):
    X, y = data.two_classes(name)
    assert X.shape == shape
    assert set(y.tolist()) == {-1, 1}
    assert (y == 1).sum() == positives


def test_image_pairs_are_looked_for_and_said_to_be_missing(tmp_path, monkeypatch):
    """Two classes of a made-up Fashion-MNIST; without the files, Missing tells where they were looked for."""
    from isocline.datasets import locate

    monkeypatch.setattr(locate, "SYSTEM", ())
    monkeypatch.setenv("ISOCLINE_DATA", str(tmp_path))
    with pytest.raises(Missing, match="Fashion-MNIST"):
        data.two_classes("fashion-mnist 1/8")
    labels = np.array([1, 8, 3, 8, 1], np.uint8)
    pixels = np.arange(5 * 28 * 28).reshape(5, 28, 28) % 256
    (tmp_path / "train-images-idx3-ubyte").write_bytes(_idx(pixels.astype(np.uint8)))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(_idx(labels))
    X, y = data.two_classes("fashion-mnist 1/8")
    assert X.shape == (4, 784)
    assert y.tolist() == [1, -1, -1, 1]
    assert X[0] == pytest.approx(pixels[0].ravel() / 255)
    rows = data.image_rows("fashion-mnist 1/8", 3)
    assert rows.shape == (3, 785)
    assert np.sign(rows[:, -1]).tolist() == [1, -1, -1]


def _idx(array):
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


@pytest.fixture
def iris():
    return data.two_classes("iris 0/1")


@pytest.mark.parametrize("name", [*time_to_separator.STRENGTH, time_to_separator.OURS])
def test_every_runner_of_the_race_can_separate_an_easy_set(iris, name):
    X, y = iris
    setting = {} if name == time_to_separator.OURS else time_to_separator.cheapest(X, y, name, 10.0)
    assert setting is not None
    seconds, separates = time_to_separator.seconds_of(X, y, name, setting)
    assert separates
    assert seconds > 0


def test_a_peer_that_finds_none_within_its_budget_does_not_start():
    X, y = np.array([[0.0], [1.0], [2.0]]), np.array([1, -1, 1])  # nobody can separate these
    assert time_to_separator.cheapest(X, y, "Perceptron", 0.05) is None


def test_the_fewest_iterations_that_separate_are_taken():
    """The peers get the cheapest of their settings: half as many iterations do not separate."""
    X, y = data.two_classes("digits 1/8")
    setting = time_to_separator.cheapest(X, y, "Perceptron", 10.0)
    assert setting is not None
    assert setting["max_iter"] > 1
    fewer = {**setting, "max_iter": setting["max_iter"] // 2}
    assert not time_to_separator.seconds_of(X, y, "Perceptron", fewer)[1]


def test_the_ratio_is_taken_round_by_round_against_the_best_peer():
    seconds = {"LargeStepClassifier": [1.0, 2.0], "Perceptron": [9.0, 9.0], "LinearSVC": [3.0, 4.0]}
    assert time_to_separator.ratios(_race(seconds)) == [3.0, 2.0]
    assert time_to_separator.ratios(_race({"LargeStepClassifier": [1.0, 2.0]})) == [inf, inf]
    assert time_to_separator.ratios(_race({"LargeStepClassifier": [inf], "Perceptron": [1.0]})) == [0.0]


def _race(seconds):
    return Record({"data": "iris 0/1"}, 0, {"seconds": seconds, "n": 100, "d": 4}, {}, 0.0)


def test_the_race_measures_and_draws_every_data_set():
    setting = {"data": "iris 0/1", "rounds": 2, "budget": 1.0}
    found = time_to_separator.run(setting, 0, "cpu").values
    assert set(found["seconds"]) <= {time_to_separator.OURS, *time_to_separator.STRENGTH}
    assert all(len(times) == 2 for times in found["seconds"].values())
    record = Record(setting, 0, found, {}, 0.0)
    assert len(time_to_separator.measure([record])["iris 0/1: best peer's time / ours"]) == 2
    with house_style():
        (figure,) = time_to_separator.plot([record]).values()
    assert "iris 0/1" in figure.axes[0].get_yticklabels()[0].get_text()


def test_the_race_runs_alone():
    assert find(["linear_model/time-to-separator"])[0].alone
