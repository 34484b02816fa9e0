"""The report of a set of pairs: tables, plain data, and a page with its pictures."""

import json

import pytest
import torch

from isocline.level_sets import report_pairs


@pytest.fixture(scope="module")
def found():
    torch.manual_seed(0)
    # a linear model of 3 x 16 x 16 images that sees one pixel of 768
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, 2))
    with torch.no_grad():
        model[1].weight.zero_()
        model[1].weight[0, 5] = 8.0
        model[1].bias.copy_(torch.tensor([0.0, 1.0]))
    source, target = torch.rand(2, 4, 3, 16, 16)
    source[:2] = source[0]
    source[:, 0, 0, 5] = 0.9
    source[3, 0, 0, 5] = 0.0
    label = torch.tensor([0, 0, 0, 0])
    names = ["a", "a", "b", "wrong"]
    return report_pairs(
        model, source, target, label, sources=names, targets=list("wxyz"), classes={0: "zebra"}
    )


def test_pairs_that_share_a_source_make_a_triangle_and_others_none(found):
    assert [hull.pairs for hull in found.hulls] == [(0, 1)]
    assert found.hulls[0].values.shape == (66,)
    shares = found.hulls[0].fractions(float(found.walk.source_confidence[0]))
    assert shares == sorted(shares)
    assert shares[2] == 1.0  # the level set of a linear model is convex


def test_means_are_of_the_pairs_that_were_walked(found):
    assert found.walk.kept.tolist() == [True, True, True, False]
    columns, rows = found.table_a()
    assert all(len(row) == len(columns) for row in rows)
    assert [row[0] for row in rows] == ["a → w", "a → x", "b → y", "wrong → z", "mean", "standard deviation"]
    assert rows[4][1] == pytest.approx(float(found.rmse[:3].mean()), abs=1e-4)
    columns, rows = found.table_b()
    assert [row[0] for row in rows] == ["a"]
    assert len(rows[0]) == len(columns)


def test_the_page_names_what_it_shows_and_what_was_not_walked(found, tmp_path):
    page = found.write(tmp_path, model="one pixel", command="isocline traverse ...").read_text()
    for words in (
        "Blind spots of one pixel",
        "a → w",
        "What this shows",
        "wrong → z",
        "isocline traverse ...",
    ):
        assert words in page
    assert json.loads((tmp_path / "report.json").read_text())["sources"] == ["a", "a", "b", "wrong"]
    assert {"confidence.png", "triangles.png"} < {path.name for path in (tmp_path / "pictures").iterdir()}
    assert len(list((tmp_path / "blind_spots").iterdir())) == 4


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"sources": ["a"]}, "sources: want 2 names"), ({"hulls_per_source": -1}, "hulls_per_source: want")],
)
def test_wrong_calls_are_answered(wrong, message):
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
    with pytest.raises(ValueError, match=message):
        report_pairs(model, torch.rand(2, 4), torch.rand(2, 4), **wrong)
