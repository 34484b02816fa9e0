"""The page of edits: every control is on it, and who judged is said."""

import json

import pytest
import torch
from torch import nn

from isocline.datasets.shapes import FACTORS, MixedShapes
from isocline.latents import ModuleGenerator, fit_attributes, report_controls


@pytest.fixture
def steered():
    shapes = MixedShapes(12, size=8)
    generator = ModuleGenerator(
        shapes, 12, output_range=(0, 1), prior=lambda n, g: shapes.sample(n, generator=g)
    )
    codes = generator.sample(600, generator=torch.Generator().manual_seed(0))
    truth = shapes.factors(codes)
    scores = {
        "hue": truth[:, FACTORS.index("hue")],
        "scale": truth[:, FACTORS.index("scale")],
        "shape": shapes.logits(codes),
    }
    return generator, fit_attributes(codes, scores, updates=300), codes[:6]


def test_a_page_of_every_control(steered, tmp_path):
    generator, model, codes = steered
    found = report_controls(model, generator, codes, steps=4)
    assert [(c.target, c.to) for c in found.controls] == [
        ("hue", 1), ("hue", -1), ("scale", 1), ("scale", -1), ("shape", 0), ("shape", 1), ("shape", 2),
    ]  # fmt: skip
    page = found.write(tmp_path, title="shapes", command="isocline steer x").read_text("utf-8")
    for words in (
        "Controls of shapes",
        "hue → -1",
        "shape → 2",
        "which flatters them all",
        "isocline steer x",
    ):
        assert words in page
    stored = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert stored["controls"][0]["leakage"]["methods"] == ["project", "exclude", "none"]
    assert stored["controls"][4]["leakage"] is None


def test_a_judge_of_your_own(steered):
    generator, model, codes = steered

    def judge(images):
        return {"hue": images[:, 0].mean((1, 2)), "scale": images.mean((1, 2, 3))}

    found = report_controls(
        model, generator, codes, ["hue"], keep=["scale"], methods=["project"], judge=judge, steps=3
    )
    assert found.judge == "a judge of your own"
    assert found.controls[0].leaked.others == ("scale",)
    assert len(found.strip(found.controls[0], rows=2).axes) == 10


def test_wrong_calls(steered):
    generator, model, codes = steered
    with pytest.raises(ValueError, match="did you mean 'hue'"):
        report_controls(model, generator, codes, ["hu"])
    with pytest.raises(ValueError, match="methods: want some of"):
        report_controls(model, generator, codes, methods=[])
    assert isinstance(model, nn.Module)
