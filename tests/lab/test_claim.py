"""What every claim of the house keeps to, and what a task's folder is named after."""

import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from isocline._core.files import plain
from isocline.lab import Claim, Expected, Measurement, Scale, all_claims, find
from isocline.lab.claim import RELATIONS, SCALES

CLAIMS = all_claims()
EVERY = pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)


@EVERY
def test_every_claim_has_three_scales_that_say_what_they_need(claim):
    assert set(claim.scales) == set(SCALES)
    assert all(scale.needs.strip() for scale in claim.scales.values())
    assert claim.sentence.endswith(".")
    assert claim.paper


@EVERY
def test_every_expected_figure_names_its_source(claim):
    assert claim.expected
    for expected in claim.expected:
        assert expected.relation in RELATIONS
        assert expected.source, expected.figure


@EVERY
def test_every_claim_is_named_after_its_room(claim):
    assert f".{claim.room}" in claim.run.__module__


@EVERY
def test_claims_and_their_settings_travel(claim):
    copy = pickle.loads(pickle.dumps(claim))
    assert (copy.name, copy.run) == (claim.name, claim.run)
    for name in SCALES:
        for setting in claim.scales[name].settings:
            assert json.loads(json.dumps(setting)) == plain(setting)


@EVERY
def test_no_two_tasks_of_a_scale_share_a_folder(claim):
    for name in SCALES:
        keys = [task.key for task in claim.tasks(name)]
        assert len(set(keys)) == len(keys)


def test_names_are_unique():
    names = [claim.name for claim in CLAIMS]
    assert len(set(names)) == len(names)


@pytest.fixture
def task(toys, log):
    return toys.claim(log).tasks("tour")[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda task: replace(task, seed=1),
        lambda task: replace(task, device="cuda"),
        lambda task: replace(task, setting={**task.setting, "number": 1}),
        lambda task: replace(task, claim=replace(task.claim, revision=2)),
        lambda task: replace(task, claim=replace(task.claim, name="toy/other")),
    ],
)
def test_the_key_changes_with_what_could_change_the_result(task, change):
    assert change(task).key != task.key


def test_the_key_does_not_change_with_order_or_scale(task):
    backwards = dict(reversed(task.setting.items()))
    assert list(backwards) != list(task.setting)
    assert replace(task, setting=backwards).key == task.key
    assert replace(task, scale="paper").key == task.key


def test_tasks_are_settings_times_seeds(toys, log):
    claim = toys.claim(log, ["good", "raise"], seeds=3)
    tasks = claim.tasks("small")
    assert [(task.setting["number"], task.seed) for task in tasks] == [
        (0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)
    ]  # fmt: skip
    assert len(claim.tasks("small", seeds=1)) == 2
    assert tasks[0].folder(Path("runs")) == Path("runs/toy/play/small") / tasks[0].key


def _claim(**changes) -> Claim:
    scale = Scale([{}], 1, "nothing")
    about = {
        "name": "toy/play",
        "paper": "p",
        "sentence": "s.",
        "expected": [],
        "run": _run,
        "measure": _measure,
    }
    return Claim(**{**about, "scales": dict.fromkeys(SCALES, scale), **changes})


def _run(setting, seed, device):
    return Measurement({})


def _measure(records):
    return {}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Scale([{}], 0, ""), "seeds: want a whole number >= 1, got 0"),
        (lambda: Scale([], 1, ""), "settings: want at least one setting, got none"),
        (lambda: Expected("x", 1, "="), "relation: want one of '==', '<=', '>=', '~', got '='"),
        (lambda: Expected("x", 1, tolerance=-1), "tolerance: want a finite number >= 0, got -1"),
        (
            lambda: Expected("x", 1, scales=("huge",)),
            "scales: want one of 'tour', 'small', 'paper', got 'huge'",
        ),
        (lambda: _claim(name="Toy play"), "name: want room/words-with-dashes, got Toy play"),
        (lambda: _claim(scales={}), "scales: want exactly tour, small, paper"),
        (lambda: find(["linear_model/wurst-case"]), "did you mean linear_model/worst-case"),
        (lambda: find(["linear-model"]), "did you mean linear_model"),
        (lambda: find(["zzzz"]), "`isocline claims` lists them"),
    ],
)
def test_wrong_calls_say_what_would_be_right(make, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the message is compared below
        make()
    assert message in str(caught.value)


def test_find_takes_claims_rooms_and_patterns_once_each_in_the_order_of_the_tour():
    room = [claim.name for claim in CLAIMS if claim.room == "linear_model"]
    assert [claim.name for claim in find(["linear_model"])] == room
    assert [claim.name for claim in find(["*/worst-case", "linear_model/worst-case"])] == [
        "linear_model/worst-case"
    ]
    assert [claim.name for claim in find([room[-1], room[0]])] == [room[0], room[-1]]
    assert find(["*"]) == CLAIMS


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        (Expected("x", 16), "= 16"),
        (Expected("x", 30_001), "= 30001"),
        (Expected("x", 1.0, "~", 0.02), "≈ 1 ± 0.02"),
        (Expected("x", 1e-6, "<="), "≤ 1e-06"),
        (Expected("x", 1.0, ">="), "≥ 1"),
        (Expected("x", 1.0, ">=", 0.05), "≥ 1 − 0.05"),
        (Expected("x", 1.0, "<=", 0.05), "≤ 1 + 0.05"),
    ],
)
def test_a_promise_in_words(expected, words):
    assert expected.words() == words
