"""The claims on chaotic dynamics: what they promise can be measured, and what they measure is right on small subjects."""

import math

import numpy as np
import pytest
from matplotlib.figure import Figure

from isocline.datasets.chaotic import lorenz63
from isocline.dynamics import Reconstructor
from isocline.lab import Missing, Options, Record, run_claims
from isocline.lab.claim import SCALES, Scale
from isocline.lab.claims.dynamics import CLAIMS, budget, fits, gradients, parallel, table
from isocline.lab.style import house_style
from isocline.lab.verdict import judge

BY_NAME = {claim.name.partition("/")[2]: claim for claim in CLAIMS}
FITTED = [claim for claim in CLAIMS if claim.run is fits.run]


def made_up(claim, scale, seeds=3, **values):
    """Records as the tasks of a scale would leave them, without the work."""
    generator = np.random.default_rng(0)

    def values_of(seed):
        return {
            "D_stsp": 1.0 + seed, "D_H": 0.1 + seed / 100, "PE(20)": 1e-3, "exponent": 0.906,
            "floors": [0.3, 0.06, 1.1], "valid steps": 300.0, "alpha": 0.3, "kept from": 1000,
            "diverged at": None, "fit, cpu s": 60.0, **values,
        }  # fmt: skip

    def arrays():
        return {"truth": generator.normal(size=(50, 5)), "made": generator.normal(size=(50, 5))}

    settings = claim.scales[scale].settings
    return [Record(dict(s), seed, values_of(seed), arrays(), 60.0) for s in settings for seed in range(seeds)]


def test_the_orbit_to_test_on_is_in_the_frame_of_the_one_to_train_on():
    """Both come standardised by their own means, which differ by a tenth of a deviation here."""
    train, test, dt = fits.series_of({"data": "lorenz63", "samples": 3000})
    own = lorenz63(3000, noise=0.05, seed=1)
    raw = lorenz63(3000, seed=2, standardize=False).series
    assert dt == 0.01
    np.testing.assert_array_equal(train, own.series)
    np.testing.assert_allclose(test * own.scale + own.mean, raw, atol=1e-9)
    assert np.abs(test.mean(0)).max() > 0.1


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("claim", FITTED, ids=lambda claim: claim.name)
def test_every_figure_that_is_promised_is_measured(claim, scale):
    verdict = judge(claim, scale, made_up(claim, scale))
    judged = [row for row in verdict.rows if row.expected and scale in row.expected.scales]
    assert all(row.values for row in judged), verdict.why
    assert bool(judged) == (verdict.answer != "not decided")
    assert judged or (claim is table.EEG and scale == "tour")  # too short for anything about an EEG


@pytest.mark.parametrize("claim", FITTED, ids=lambda claim: claim.name)
def test_a_run_that_was_lost_is_counted_and_leaves_the_medians_alone(claim):
    records = made_up(claim, "small")
    for record in records[:1]:
        record.values["D_H"] = math.nan
    figures = claim.measure(records)
    lost = [values for name, values in figures.items() if "without finite scores" in name]
    assert sum(map(sum, lost)) == 1
    assert all(np.isfinite(values).all() for values in figures.values())
    with house_style():
        assert claim.plot(records)


@pytest.mark.parametrize("claim", FITTED, ids=lambda claim: claim.name)
def test_its_picture_has_a_caption_and_named_axes(claim):
    with house_style():
        for figure in claim.plot(made_up(claim, "small")).values():
            assert isinstance(figure, Figure)
            assert len(figure.get_label()) > 20
            assert all(ax.get_xlabel() for ax in figure.axes)


def test_medians_and_deviations_are_those_of_the_paper():
    assert fits.deviation([1.0, 2.0, 4.0, 9.0, 100.0]) == 3.0  # around 4: 3 2 0 5 96
    assert math.isnan(fits.deviation([]))
    figures = table.measure(made_up(BY_NAME["table-1-ecg"], "small"))
    assert figures["GTF: D_stsp"] == [1.0, 2.0, 3.0]
    assert figures["GTF: D_stsp, median absolute deviation"] == [1.0]
    assert figures["D_stsp, noise floor"] == [0.3]


@pytest.mark.parametrize(("data", "channels", "count"), [("ecg", 5, 2785), ("eeg", 64, 17952)])
def test_the_models_of_table_1_have_the_parameters_of_table_1(data, channels, count):
    for setting in BY_NAME[f"table-1-{data}"].scales["paper"].settings:
        fit = setting["fit"]
        M, L = fit["latent_dim"], fit["hidden_dim"]
        observing = channels * M if fit["observation"] != "identity" else (M - channels) * channels
        parameters = 2 * M + 2 * M * L + L + observing
        assert parameters <= count if setting["method"] == "ours" else parameters == count


@pytest.mark.parametrize("claim", FITTED, ids=lambda claim: claim.name)
def test_every_setting_is_one_that_the_estimator_takes(claim):
    for scale in SCALES:
        for setting in claim.scales[scale].settings:
            arguments = {**setting["fit"], "forcing": fits.forcing_of(setting["fit"]["forcing"])}
            arguments["learning_rate"] = tuple(arguments.get("learning_rate", (1e-3, 1e-6)))
            Reconstructor(**arguments)._check()


def test_a_fit_is_scored_on_the_test_series():
    fit = {
        "hidden_dim": 10,
        "updates": 20,
        "sequence_length": 20,
        "forcing": {"kind": "constant", "alpha": 0.5},
    }
    setting = {"data": "lorenz63", "samples": 2000, "exponent_steps": 200, "fit": fit}
    found = fits.run(setting, 0, "cpu")
    assert found.values["alpha"] == 0.5
    assert found.values["floors"][0] > 0
    assert found.arrays["truth"].shape == found.arrays["made"].shape == (2000, 3)
    assert fits.run(setting, 0, "cpu").values["PE(20)"] == found.values["PE(20)"]
    assert fits.run(setting, 1, "cpu").values["PE(20)"] != found.values["PE(20)"]


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """A folder without recordings is the only one."""
    monkeypatch.setenv("ISOCLINE_DATA", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("data", ["ecg", "eeg"])
def test_a_recording_that_is_not_here_is_missed_by_name(data, nowhere):
    with pytest.raises(Missing, match=f"folder: want a folder with {data}.*{nowhere}"):
        fits.known(data)


def test_without_its_recording_a_claim_is_not_decided_and_says_where_it_looked(nowhere, capsys):
    from isocline.cli import main

    out = str(nowhere / "runs")
    assert main(["reproduce", "dynamics/table-1-ecg", "--jobs", "1", "--out", out]) == 0
    said = capsys.readouterr()
    assert "not decided" in said.out
    assert "1 skipped" in said.out
    page = nowhere / "runs" / "dynamics" / "table-1-ecg" / "tour" / "index.html"
    assert str(nowhere) in page.read_text()


@pytest.fixture(scope="module")
def small():
    """Both claims that look at one small chaotic model, trained as long as in the tour."""
    made = {}
    for claim, setting in ((gradients.BOUNDED_GRADIENTS, {"steps": 3000}), (parallel.PARALLEL_IN_TIME, {})):
        found = claim.run({**claim.scales["tour"].settings[0], **setting}, 0, "cpu")
        values = {**found.values}
        made[claim.name] = claim, [Record({**setting}, 0, values, dict(found.arrays), 1.0)]
    return made


def test_gradients_explode_freely_and_stay_bounded_under_forcing(small):
    claim, records = small["dynamics/bounded-gradients"]
    figures = claim.measure(records)
    (free,) = figures["largest adjoint over T = 3000, none: powers of ten"]
    (bounded,) = figures["largest adjoint over T = 3000, worst case: powers of ten"]
    assert bounded <= math.log10(3000)
    assert free > 10 > bounded
    assert figures[gradients.SHIFT][0] < 1e-9
    with house_style():
        assert claim.plot(records)["gradients"].get_label()


def test_newton_counts_its_rounds(small):
    claim, records = small["dynamics/parallel-in-time"]
    figures = claim.measure(records)
    assert figures[parallel.MANY][0] <= 10
    assert figures[parallel.FREE][0] > parallel.MOST
    assert figures[parallel.APART][0] < 1e-9
    with house_style():
        assert claim.plot(records)["iterations"].get_label()


def test_a_task_travels_to_a_worker_and_comes_back(tmp_path):
    """The setting is plain data; the record of a worker process is what a direct call gives."""
    fit = {"hidden_dim": 10, "updates": 20, "sequence_length": 20, "forcing": {"kind": "none"}}
    setting = {"data": "lorenz63", "method": "gtf", "samples": 1000, "exponent_steps": 200, "fit": fit}
    from dataclasses import replace

    claim = replace(budget.SAME_BUDGET, scales={scale: Scale([setting], 1, "") for scale in SCALES})
    (report,) = run_claims([claim], "tour", Options(out=tmp_path, jobs=1))
    assert [trouble.error for trouble in report.troubles] == []
    values = fits.run(setting, 0, "cpu").values
    assert report.records[0].values["PE(20)"] == values["PE(20)"]
